//! Start records, their form on the topic, and their fold.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::Fold;
use crate::model::json;
use crate::model::names::{TopicName, TransformId};
use crate::model::units::Timestamp;
use crate::ports::{LogRecord, TopicSize};

/// The version of the form that this host writes, and the only one that it understands.
const VERSION: u64 = 1;
/// Most topics in a record, unless it has more inputs at once.
pub const INPUTS_MAX: usize = 256;

/// The inputs and changelogs that a transform has begun with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartRecord {
    pub inputs: BTreeMap<TopicName, InputStart>,
    /// The ids of the changelog topics that its stores have been built from.
    pub changelogs: BTreeMap<TopicName, String>,
}

/// The start of a transform in an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputStart {
    /// The topic's id, which another topic of the same name does not have.
    pub id: String,
    /// The number of partitions that have had an offset.
    pub partitions: i32,
}

/// A record of the topic, as this host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartEntry {
    Readable(StartRecord),
    /// There is a record, and this host does not understand it.
    Unreadable(String),
}

/// The fold of the topic.
#[derive(Default)]
pub struct StartRecords {
    all: Arc<BTreeMap<TransformId, StartEntry>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonForm {
    version: u64,
    inputs: BTreeMap<TopicName, InputStart>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    changelogs: BTreeMap<TopicName, String>,
}

/// The one field that every version has.
#[derive(Deserialize)]
struct VersionField {
    version: u64,
}

// === impl StartRecord ===

impl StartRecord {
    /// Returns true if every partition of these topics has begun.
    pub fn covers(&self, sizes: &BTreeMap<TopicName, TopicSize>) -> bool {
        // An id that is not in the record yet is to come into it: by it a later topic of the same name is told.
        let has_id = |input: &InputStart, size: &TopicSize| size.id.is_empty() || input.id == size.id;
        sizes.iter().all(|(topic, size)| {
            self.inputs.get(topic).is_some_and(|input| has_id(input, size) && input.partitions >= size.partitions)
        })
    }

    /// Returns true if one of these topics was deleted and created again since it began.
    pub fn has_recreated(&self, sizes: &BTreeMap<TopicName, TopicSize>) -> bool {
        sizes.iter().any(|(topic, size)| self.inputs.get(topic).is_some_and(|input| !input.is_of(&size.id)))
    }

    /// Returns true if these changelogs, by their present ids, are in the record.
    pub fn has_changelogs(&self, ids: &BTreeMap<TopicName, String>) -> bool {
        ids.iter().all(|(topic, id)| self.changelogs.get(topic) == Some(id))
    }

    /// A changelog that has another id than the record: it is not the topic that the store was built from.
    pub fn recreated_changelog<'a>(&self, ids: &'a BTreeMap<TopicName, String>) -> Option<&'a TopicName> {
        let is_other = |topic: &TopicName, id: &str| self.changelogs.get(topic).is_some_and(|known| !is_same(known, id));
        ids.iter().find(|(topic, id)| is_other(topic, id)).map(|(topic, _)| topic)
    }
}

impl InputStart {
    /// Returns true if it is of the topic with this id.
    pub fn is_of(&self, id: &str) -> bool {
        is_same(&self.id, id)
    }
}

/// Returns true if two ids are one topic's. Where one of the two is not known, they count as the same.
fn is_same(one: &str, other: &str) -> bool {
    one == other || one.is_empty() || other.is_empty()
}

impl Fold for StartRecords {
    type Snapshot = Arc<BTreeMap<TransformId, StartEntry>>;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        let (id, entry) = read(record)?;
        let all = Arc::make_mut(&mut self.all);
        match entry {
            None => all.remove(&id),
            Some(entry) => all.insert(id, entry),
        };
        Ok(())
    }

    fn snapshot(&self) -> Self::Snapshot {
        self.all.clone()
    }
}

/// Reads a record of the topic: its transform, and the entry. None is an entry that was deleted.
pub fn read(record: &LogRecord) -> Result<(TransformId, Option<StartEntry>), String> {
    let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).ok_or("its key is not text")?;
    let id: TransformId = key.parse().map_err(|error| format!("{error}"))?;
    Ok((id, record.value.as_deref().map(decode)))
}

/// The record on the topic.
pub fn encode(id: &TransformId, record: &StartRecord, now: Timestamp) -> LogRecord {
    LogRecord { value: Some(value(record)), ..tombstone(id, now) }
}

/// The value of the record on the topic.
pub fn value(record: &StartRecord) -> Vec<u8> {
    let form = JsonForm { version: VERSION, inputs: record.inputs.clone(), changelogs: record.changelogs.clone() };
    serde_json::to_vec(&form).expect("numbers and names")
}

/// The record that deletes it.
pub fn tombstone(id: &TransformId, now: Timestamp) -> LogRecord {
    let key = Some(id.to_string().into_bytes());
    LogRecord { offset: 0, timestamp: now.0, key, value: None, headers: Vec::new() }
}

fn decode(value: &[u8]) -> StartEntry {
    match json::read::<VersionField>(value) {
        Ok(VersionField { version: VERSION }) => {}
        Ok(VersionField { version }) => {
            return StartEntry::Unreadable(format!("it has version {version}, this host knows version {VERSION}"));
        }
        Err(error) => return StartEntry::Unreadable(error.to_string()),
    }
    match json::read::<JsonForm>(value) {
        Ok(form) if form.inputs.values().all(|input| input.partitions >= 0) => {
            StartEntry::Readable(StartRecord { inputs: form.inputs, changelogs: form.changelogs })
        }
        Ok(_) => StartEntry::Unreadable("a number of partitions is negative".into()),
        Err(error) => StartEntry::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: Option<&str>, readable: Option<bool>) {
        let id: TransformId = "team/name".parse().expect("valid");
        let mut records = StartRecords::default();
        let inputs = [("t".parse().expect("valid"), InputStart { id: "a".into(), partitions: 2 })].into();
        let record = StartRecord { inputs, changelogs: [("c".parse().expect("valid"), "b".to_owned())].into() };
        records.apply(&encode(&id, &record, Timestamp(1))).expect("its own form");
        assert_eq!(records.snapshot().get(&id), Some(&StartEntry::Readable(record)));
        let value = value.map(|value| value.as_bytes().to_vec());
        records.apply(&LogRecord { value, ..tombstone(&id, Timestamp(2)) }).expect("a transform's record");
        let found = records.snapshot().get(&id).map(|entry| matches!(entry, StartEntry::Readable(_)));
        assert_eq!(found, readable);
    }

    #[test]
    fn an_unreadable_record_is_neither_missing_nor_the_one_before() {
        check(None, None);
        check(Some(r#"{"version":1,"inputs":{"t":{"id":"a","partitions":3}}}"#), Some(true));
        check(Some(r#"{"version":1,"inputs":{},"changelogs":{"c":"b"}}"#), Some(true));
        for unreadable in [
            "",
            "{}",
            "null",
            "{\"version\":",
            r#"{"version":2,"inputs":{}}"#,
            r#"{"version":2,"else":true}"#,
            r#"{"version":1,"inputs":{},"more":1}"#,
            r#"{"version":1,"inputs":{"t":{"id":"a","partitions":3,"more":1}}}"#,
            r#"{"version":1,"inputs":{"t":{"id":"a","partitions":-3}}}"#,
            r#"{"version":1,"inputs":{"not a topic":{"id":"a","partitions":3}}}"#,
            r#"{"version":1}"#,
        ] {
            check(Some(unreadable), Some(false));
        }
    }
}
