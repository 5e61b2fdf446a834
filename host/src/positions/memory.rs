//! The memory's records, and their fold.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::Fold;
use crate::model::names::{TopicName, TransformId};
use crate::model::units::Timestamp;
use crate::ports::{LogRecord, TopicSize};

/// The version of the form that this host writes, and the only one that it understands.
const VERSION: u64 = 1;
/// Most topics that are remembered of a transform, unless it has more inputs at once.
pub const INPUTS_MAX: usize = 256;

/// The memory of a transform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub inputs: BTreeMap<TopicName, KnownInput>,
    /// The ids of the changelog topics that its stores have been built from.
    pub changelogs: BTreeMap<TopicName, String>,
}

/// The memory of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownInput {
    /// Tells the topic from one that is made anew under its name.
    pub id: String,
    /// The number of partitions that have had an offset.
    pub partitions: i32,
}

/// A record of the topic, as this host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Known(Known),
    /// Something is remembered, and this host does not know what.
    Unreadable(String),
}

/// The fold of the topic.
#[derive(Default)]
pub struct Memory {
    all: Arc<BTreeMap<TransformId, Entry>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u64,
    inputs: BTreeMap<TopicName, KnownInput>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    changelogs: BTreeMap<TopicName, String>,
}

/// The one field that every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

// === impl Known ===

impl Known {
    /// Tells whether nothing of these topics is to be begun any more.
    pub fn covers(&self, sizes: &BTreeMap<TopicName, TopicSize>) -> bool {
        sizes.iter().all(|(topic, size)| {
            self.inputs.get(topic).is_some_and(|input| input.is_of(&size.id) && input.partitions >= size.partitions)
        })
    }
}

impl Known {
    /// Tells whether these changelogs, by their present ids, are remembered.
    pub fn has_changelogs(&self, ids: &BTreeMap<TopicName, String>) -> bool {
        ids.iter().all(|(topic, id)| self.changelogs.get(topic) == Some(id))
    }

    /// A changelog that has another id than is remembered: it is not the topic that the store was built from.
    pub fn changelog_made_anew<'a>(&self, ids: &'a BTreeMap<TopicName, String>) -> Option<&'a TopicName> {
        let is_other = |topic: &TopicName, id: &str| self.changelogs.get(topic).is_some_and(|known| !is_same(known, id));
        ids.iter().find(|(topic, id)| is_other(topic, id)).map(|(topic, _)| topic)
    }
}

impl KnownInput {
    /// Tells whether it is of the topic with this id.
    pub fn is_of(&self, id: &str) -> bool {
        is_same(&self.id, id)
    }
}

/// Tells whether two ids are one topic's. Where one of the two is not known, they are taken for the same.
fn is_same(one: &str, other: &str) -> bool {
    one == other || one.is_empty() || other.is_empty()
}

impl Fold for Memory {
    type Snapshot = Arc<BTreeMap<TransformId, Entry>>;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).ok_or("its key is not text")?;
        let id: TransformId = key.parse().map_err(|error| format!("{error}"))?;
        let all = Arc::make_mut(&mut self.all);
        match record.value.as_deref() {
            None => all.remove(&id),
            Some(value) => all.insert(id, decode(value)),
        };
        Ok(())
    }

    fn snapshot(&self) -> Self::Snapshot {
        self.all.clone()
    }
}

/// The record that says it.
pub fn encode(id: &TransformId, known: &Known, now: Timestamp) -> LogRecord {
    let form = Form { version: VERSION, inputs: known.inputs.clone(), changelogs: known.changelogs.clone() };
    let value = serde_json::to_vec(&form).expect("numbers and names");
    LogRecord { value: Some(value), ..tombstone(id, now) }
}

/// The record that forgets it.
pub fn tombstone(id: &TransformId, now: Timestamp) -> LogRecord {
    let key = Some(id.to_string().into_bytes());
    LogRecord { offset: 0, timestamp: now.0, key, value: None, headers: Vec::new() }
}

fn decode(value: &[u8]) -> Entry {
    match serde_json::from_slice::<Versioned>(value) {
        Ok(Versioned { version: VERSION }) => {}
        Ok(Versioned { version }) => {
            return Entry::Unreadable(format!("it has version {version}, this host knows version {VERSION}"));
        }
        Err(error) => return Entry::Unreadable(error.to_string()),
    }
    match serde_json::from_slice::<Form>(value) {
        Ok(form) if form.inputs.values().all(|input| input.partitions >= 0) => {
            Entry::Known(Known { inputs: form.inputs, changelogs: form.changelogs })
        }
        Ok(_) => Entry::Unreadable("a number of partitions is negative".into()),
        Err(error) => Entry::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: Option<&str>, readable: Option<bool>) {
        let id: TransformId = "team/name".parse().expect("valid");
        let mut memory = Memory::default();
        let inputs = [("t".parse().expect("valid"), KnownInput { id: "a".into(), partitions: 2 })].into();
        let known = Known { inputs, changelogs: [("c".parse().expect("valid"), "b".to_owned())].into() };
        memory.apply(&encode(&id, &known, Timestamp(1))).expect("its own form");
        assert_eq!(memory.snapshot().get(&id), Some(&Entry::Known(known)));
        let value = value.map(|value| value.as_bytes().to_vec());
        memory.apply(&LogRecord { value, ..tombstone(&id, Timestamp(2)) }).expect("a transform's record");
        let found = memory.snapshot().get(&id).map(|entry| matches!(entry, Entry::Known(_)));
        assert_eq!(found, readable);
    }

    #[test]
    fn what_is_not_understood_is_neither_nothing_nor_what_was() {
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
