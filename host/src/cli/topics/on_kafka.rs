//! The topics of a Kafka cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api_types::{RecordOut, TopicList, TopicSettings};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::{Log, LogRecord, TopicInfo, TopicReader};
use crate::topics::read::ReadStart;
use crate::topics::{self, TopicError};

use super::super::error::{Error, Kind, Result};
use super::Topics;
use super::consume::{Reading, ends_of};
use super::produce::Rules;
use super::show::TopicDetails;

/// Longest line that is held in memory. The topic has a limit of its own for a record.
const LINE_BYTES_MAX: usize = 64 << 20;
const POLL_WAIT: Duration = Duration::from_millis(500);
/// Time without news after which the ends of the partitions are asked for again; and, of a reader that follows, the time
/// between two looks for new partitions.
const SILENCE_MAX: Duration = Duration::from_secs(5);

pub struct OnKafka {
    pub log: Arc<dyn Log>,
}

impl Topics for OnKafka {
    fn list(&self) -> Result<TopicList> {
        let found = topics::list(&*self.log).map_err(refused)?;
        Ok(TopicList { topics: found.iter().map(|(name, info)| topics::outline(name, info)).collect() })
    }

    fn describe(&self, topic: &TopicName) -> Result<TopicDetails> {
        let info = self.log.topic(topic).map_err(|error| refused(error.into()))?;
        let view = topics::view(&*self.log, topic, &info).map_err(refused)?;
        Ok(TopicDetails { view, compacted: info.compacted, needs_keys: info.needs_keys })
    }

    fn create(&self, topic: &TopicName, settings: &TopicSettings) -> Result<TopicDetails> {
        let create = || {
            topics::refuse_internal(topic)?;
            match topics::find_before(&*self.log, topic, settings)? {
                Some(found) => refuse_other_cleanup(topic, settings, &found),
                None => topics::create(&*self.log, topic, settings),
            }
        };
        create().map_err(refused)?;
        self.describe(topic)
    }

    /// A broker refuses batches, each of one partition: it may have written others, which went before or elsewhere.
    fn rules(&self, topic: &TopicName) -> Result<Rules> {
        topics::refuse_internal(topic).map_err(refused)?;
        let info = self.log.topic(topic).map_err(|error| refused(error.into()))?;
        let needs_keys = info.needs_keys == Some(true);
        Ok(Rules { line_bytes_max: LINE_BYTES_MAX, needs_keys, is_all_or_nothing: false })
    }

    fn produce(&self, topic: &TopicName, lines: &[u8]) -> Result<usize> {
        let write = || {
            topics::refuse_internal(topic)?;
            topics::append(&*self.log, topic, lines, true)
        };
        write().map_err(refused)
    }

    /// Ends, without `follow`, when each partition is read to the end that it had at the beginning; or, if a first record is
    /// waited for, when that came or the time was over. With `follow` it goes on after an error, unless the next read fails too.
    fn consume(&self, topic: &TopicName, reading: &Reading, take: &mut dyn FnMut(&str) -> Result<bool>) -> Result<()> {
        let Reading { partition, from, follow, wait, form } = reading;
        let all = topics::read::start_positions(&*self.log, topic, *partition, from).map_err(refused)?;
        // A partition that has no such offset would be read from its first one.
        let from = all.iter().map(|it| (it.partition, it.next_offset.min(it.end_offset))).collect();
        let mut reader = self.log.follow(topic, Some(&from)).map_err(|error| refused(error.into()))?;
        let began = Instant::now();
        let mut ends: Option<BTreeMap<i32, i64>> = (!follow && wait.is_zero()).then(|| ends_of(&all));
        let mut any = false;
        let mut last_news = began;
        let mut last_look = began;
        let mut has_failed = false;
        loop {
            if let Some(ends) = &ends
                && reader.positions().iter().all(|(partition, position)| position >= &ends[partition])
            {
                return Ok(());
            }
            let before = reader.positions().clone();
            let mut records = Vec::new();
            let polled = reader.poll(POLL_WAIT, &mut |partition, record| {
                if ends.as_ref().is_none_or(|ends| record.offset < ends[&partition]) {
                    records.push((partition, LogRecord::from(record)));
                }
            });
            for (partition, record) in records {
                any = true;
                let record = serde_json::to_string(&RecordOut::of(partition, record, *form)).expect("plain data");
                if !take(&record)? {
                    return Ok(());
                }
            }
            // The records before an error are shown.
            match polled {
                Err(_) if *follow && !has_failed => {
                    has_failed = true;
                    reader = self.reopened(topic, *partition, &*reader)?;
                    continue;
                }
                polled => polled.map_err(|error| refused(error.into()))?,
            }
            if before != *reader.positions() {
                last_news = Instant::now();
                has_failed = false;
            }
            if *follow && partition.is_none() && last_look.elapsed() >= SILENCE_MAX {
                // If the brokers are away they may come back.
                let now = self.ends(topic, *partition).unwrap_or_default();
                if now.keys().any(|partition| !reader.positions().contains_key(partition)) {
                    reader = self.reopened(topic, *partition, &*reader)?;
                }
                last_look = Instant::now();
            }
            let waits = *follow || !any && began.elapsed() < *wait;
            let is_silent = last_news.elapsed() >= SILENCE_MAX;
            if !waits && (ends.is_none() || is_silent) {
                // After a silence the brokers may be away, or the topic was made anew, with other ends.
                let now = self.ends(topic, *partition).map_err(refused)?;
                let before = ends.unwrap_or_else(|| now.clone());
                let least = |(partition, end): (i32, i64)| (partition, now.get(&partition).map_or(end, |now| end.min(*now)));
                ends = Some(before.into_iter().map(least).collect());
                last_news = Instant::now();
            }
        }
    }
}

impl OnKafka {
    /// Opens a reader that goes on at the positions of another one. Partitions that are new, or were made anew, begin at
    /// their first record.
    fn reopened(&self, topic: &TopicName, partition: Option<i32>, reader: &dyn TopicReader) -> Result<Box<dyn TopicReader>> {
        let all = topics::read::start_positions(&*self.log, topic, partition, &ReadStart::Earliest).map_err(refused)?;
        let positions = reader.positions();
        let from = all.iter().map(|it| {
            let own = positions.get(&it.partition).filter(|own| (it.next_offset..=it.end_offset).contains(own));
            (it.partition, own.copied().unwrap_or(it.next_offset))
        });
        self.log.follow(topic, Some(&from.collect())).map_err(|error| refused(error.into()))
    }

    /// The ends of the partitions that are read, as they are now.
    fn ends(&self, topic: &TopicName, partition: Option<i32>) -> Result<BTreeMap<i32, i64>, TopicError> {
        let positions = topics::read::start_positions(&*self.log, topic, partition, &ReadStart::Latest)?;
        Ok(ends_of(&positions))
    }
}

/// Refuses a topic that is known not to be compacted, or to be deleted by age as well, where a compacted one is wanted. A
/// topic for which no compaction is asked has the cluster's default, which may be compaction.
fn refuse_other_cleanup(topic: &TopicName, wanted: &TopicSettings, found: &TopicInfo) -> Result<(), TopicError> {
    if !wanted.compacted || found.compacted != Some(false) {
        return Ok(());
    }
    let is = if found.needs_keys == Some(true) { "is also deleted by age" } else { "is not compacted" };
    Err(TopicError::of_field(Code::TopicDiffers, "compacted", format!("{topic} {is}")))
}

fn refused(error: TopicError) -> Error {
    let code = error.code();
    Error::new(Kind::Failed, error).with(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_with_deletion_and_unknown_settings_are_told_apart() {
        let topic: TopicName = "t".parse().expect("valid");
        let wanted = TopicSettings { partitions: 1, compacted: true };
        let refusal = |compacted: Option<bool>, needs_keys: Option<bool>| {
            let found = TopicInfo {
                partitions: 1,
                record_bytes_max: 1,
                sent_bytes_max: 1,
                compacted,
                needs_keys,
                tombstones_kept: None,
                deleted_after: None,
                id: None,
            };
            refuse_other_cleanup(&topic, &wanted, &found).err().map(|error| error.to_string())
        };
        assert_eq!(refusal(None, None), None);
        assert_eq!(refusal(Some(true), Some(true)), None);
        assert_eq!(refusal(Some(false), Some(false)).as_deref(), Some("compacted: t is not compacted"));
        assert_eq!(refusal(Some(false), Some(true)).as_deref(), Some("compacted: t is also deleted by age"));
    }
}
