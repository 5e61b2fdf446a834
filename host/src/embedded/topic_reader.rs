//! Reads partitions of a topic, outside of any group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::page;
use crate::model::batch::RecordRef;
use crate::model::names::TopicName;
use crate::ports::{LogError, TopicReader};

/// Bytes of a partition that are read at once.
const READ_BYTES: usize = 1 << 20;
/// Between two looks at the partitions while all are read to their ends.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

pub(super) struct EmbeddedTopicReader {
    broker: Arc<Broker>,
    topic: TopicName,
    /// The offsets to go on from, by partition.
    positions: BTreeMap<i32, i64>,
}

impl EmbeddedTopicReader {
    pub fn new(broker: Arc<Broker>, topic: &TopicName, positions: BTreeMap<i32, i64>) -> Self {
        Self { broker, topic: topic.clone(), positions }
    }
}

impl TopicReader for EmbeddedTopicReader {
    fn poll(&mut self, wait: Duration, on_record: &mut dyn FnMut(i32, &RecordRef<'_>)) -> Result<(), LogError> {
        let deadline = Instant::now() + wait;
        loop {
            let mut any = false;
            for (&partition, position) in &mut self.positions {
                let page = page::read(&self.broker, (&self.topic, partition, *position), Duration::ZERO, READ_BYTES)?;
                *position = page.next_offset;
                for record in &page.records {
                    any = true;
                    let headers: Vec<_> =
                        record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
                    on_record(
                        partition,
                        &RecordRef {
                            offset: record.offset,
                            timestamp: record.timestamp,
                            key: record.key.as_deref(),
                            value: record.value.as_deref(),
                            headers: &headers,
                        },
                    );
                }
            }
            if any || Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(LOOK_INTERVAL.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    fn behind(&self) -> Result<u64, LogError> {
        let mut behind = 0;
        for (&partition, position) in &self.positions {
            let id = self.broker.find_partition(&self.topic, partition)?;
            let end = self.broker.metadata().extent(id).end;
            behind += u64::try_from(end - position).unwrap_or(0);
        }
        Ok(behind)
    }
}
