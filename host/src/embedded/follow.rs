//! Reads every partition of a topic from its start on, outside of any group.

use std::time::{Duration, Instant};

use super::EmbeddedLog;
use crate::model::batch::RecordRef;
use crate::model::names::TopicName;
use crate::ports::{Log, LogError, TopicReader};

const READ_BYTES: usize = 1 << 20;
/// How often partitions are looked at while all are read to their ends.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

pub(super) struct EmbeddedTopicReader {
    log: EmbeddedLog,
    topic: TopicName,
    /// By partition: the offset to go on from.
    positions: Vec<i64>,
}

impl EmbeddedTopicReader {
    pub fn new(log: EmbeddedLog, topic: &TopicName, partitions: i32) -> Self {
        Self { log, topic: topic.clone(), positions: vec![0; partitions.max(0) as usize] }
    }
}

impl TopicReader for EmbeddedTopicReader {
    fn poll(&mut self, wait: Duration, on_record: &mut dyn FnMut(i32, &RecordRef<'_>)) -> Result<(), LogError> {
        let deadline = Instant::now() + wait;
        loop {
            let mut any = false;
            for (partition, position) in (0..).zip(&mut self.positions) {
                let page = self.log.read(&self.topic, partition, *position, Duration::ZERO, READ_BYTES)?;
                *position = page.next_offset;
                for record in &page.records {
                    any = true;
                    let (key, value) = (record.key.as_deref(), record.value.as_deref());
                    let (offset, timestamp) = (record.offset, record.timestamp);
                    on_record(partition, &RecordRef { offset, timestamp, key, value, headers: &[] });
                }
            }
            if any || Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(LOOK_INTERVAL.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    fn behind(&self) -> Result<u64, LogError> {
        let mut behind = 0;
        for (partition, position) in (0..).zip(&self.positions) {
            behind += u64::try_from(self.log.offsets(&self.topic, partition)?.1 - position).unwrap_or(0);
        }
        Ok(behind)
    }
}
