//! The topics of a Kafka cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api_types::{Line, RecordOut, TopicList, TopicSettings, TopicView};
use crate::model::names::TopicName;
use crate::ports::{Log, LogRecord};
use crate::topics::{self, TopicError};

use super::super::error::{Error, Kind, Result};
use super::Topics;
use super::consume::Reading;

/// Wait for records after which the end may have been reached.
const POLL_WAIT: Duration = Duration::from_millis(500);

pub struct OnKafka {
    pub log: Arc<dyn Log>,
}

impl Topics for OnKafka {
    fn list(&self) -> Result<TopicList> {
        let found = topics::list(&*self.log).map_err(refused)?;
        let view = |(name, info): (TopicName, crate::ports::TopicInfo)| TopicView {
            name: Line::of(name),
            partitions: info.partitions,
            record_bytes_max: info.record_bytes_max,
            offsets: Vec::new(),
        };
        Ok(TopicList { topics: found.into_iter().map(view).collect() })
    }

    fn describe(&self, topic: &TopicName) -> Result<TopicView> {
        let info = self.log.topic(topic).map_err(|error| refused(error.into()))?;
        topics::view(&*self.log, topic, &info).map_err(refused)
    }

    fn create(&self, topic: &TopicName, settings: &TopicSettings) -> Result<TopicView> {
        let create = || {
            topics::refuse_internal(topic)?;
            if topics::find_before(&*self.log, topic, settings)?.is_none() {
                topics::create(&*self.log, topic, settings)?;
            }
            Ok(())
        };
        create().map_err(refused)?;
        self.describe(topic)
    }

    fn produce(&self, topic: &TopicName, lines: &[u8]) -> Result<usize> {
        let write = || {
            topics::refuse_internal(topic)?;
            topics::append(&*self.log, topic, lines, true)
        };
        write().map_err(refused)
    }

    fn consume(&self, topic: &TopicName, reading: &Reading, take: &mut dyn FnMut(&str) -> Result<bool>) -> Result<()> {
        let Reading { partition, from, follow, wait, form } = reading;
        let mut all = topics::read::start_positions(&*self.log, topic, *partition, from).map_err(refused)?;
        for it in &mut all {
            // A partition has no such offset, and would be read from its first one.
            it.next_offset = it.next_offset.min(it.end_offset);
        }
        let from = all.iter().map(|it| (it.partition, it.next_offset)).collect();
        // Records that come later are not waited for, unless none is there yet and some are awaited.
        let ends: BTreeMap<i32, i64> = all.iter().map(|it| (it.partition, it.end_offset)).collect();
        let none_is_there = all.iter().all(|it| it.next_offset == it.end_offset);
        let is_open = *follow || none_is_there && !wait.is_zero();
        let mut reader = self.log.follow(topic, Some(&from)).map_err(|error| refused(error.into()))?;
        let began = Instant::now();
        let mut any = false;
        while is_open || reader.positions().iter().any(|(partition, position)| *position < ends[partition]) {
            let mut records = Vec::new();
            let polled = reader.poll(POLL_WAIT, &mut |partition, record| {
                if is_open || record.offset < ends[&partition] {
                    records.push((partition, LogRecord::from(record)));
                }
            });
            // Those before an error are there.
            let is_quiet = records.is_empty();
            for (partition, record) in records {
                any = true;
                let record = serde_json::to_string(&RecordOut::of(partition, record, *form)).expect("plain data");
                if !take(&record)? {
                    return Ok(());
                }
            }
            polled.map_err(|error| refused(error.into()))?;
            if !follow && is_open && is_quiet && (any || began.elapsed() >= *wait) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn refused(error: TopicError) -> Error {
    let code = error.code();
    Error::new(Kind::Failed, error).with_code(code.as_str()).with_hint(code.hint())
}
