//! Reads every partition of a topic from its start on, outside of any group.

use std::time::Duration;

use super::config::{CALL_TIMEOUT, KafkaConfig, READER_GROUP};
use super::error::unavailable;
use super::raw::{Client, FetchBuffer, PartitionList, QueueMessage};
use crate::model::batch::RecordRef;
use crate::model::names::TopicName;
use crate::ports::{LogError, TopicReader};

/// Records of one poll.
const RECORDS_MAX: usize = 2048;

pub(super) struct KafkaTopicReader {
    client: Client,
    topic: TopicName,
    /// By partition: the offset to go on from.
    positions: Vec<i64>,
    buffer: FetchBuffer,
}

impl KafkaTopicReader {
    pub fn open(config: &KafkaConfig, topic: &TopicName, partitions: i32) -> Result<Self, LogError> {
        let client = Client::consumer(&config.reader(READER_GROUP)).map_err(unavailable)?;
        let mut list = PartitionList::new();
        let mut positions = Vec::new();
        for partition in 0..partitions {
            let (start, _) = client.query_watermarks(topic.as_str(), partition, CALL_TIMEOUT).map_err(unavailable)?;
            list.add(topic.as_str(), partition, start, "");
            positions.push(start);
        }
        client.assign_only(&list).map_err(unavailable)?;
        Ok(Self { client, topic: topic.clone(), positions, buffer: FetchBuffer::default() })
    }
}

impl TopicReader for KafkaTopicReader {
    fn poll(&mut self, wait: Duration, on_record: &mut dyn FnMut(i32, &RecordRef<'_>)) -> Result<(), LogError> {
        let positions = &mut self.positions;
        let mut failed = None;
        self.client.consume(&mut self.buffer, wait, RECORDS_MAX, &mut |message| match message {
            // A record before it may be missing.
            QueueMessage::Record(_) | QueueMessage::End { .. } if failed.is_some() => {}
            QueueMessage::Record(record) => {
                let partition = record.partition();
                if let Some(position) = positions.get_mut(partition as usize) {
                    *position = record.offset() + 1;
                }
                on_record(
                    partition,
                    &RecordRef {
                        offset: record.offset(),
                        timestamp: record.timestamp(),
                        key: record.key(),
                        value: record.value(),
                        headers: &[],
                    },
                );
            }
            QueueMessage::End { partition, offset } => {
                if let Some(position) = positions.get_mut(partition as usize) {
                    *position = offset.max(*position);
                }
            }
            QueueMessage::Error { error, of_partition } => {
                if of_partition {
                    failed = Some(error);
                }
            }
        });
        failed.map_or(Ok(()), |error| Err(unavailable(error)))
    }

    fn behind(&self) -> Result<u64, LogError> {
        let mut behind = 0;
        for (partition, position) in self.positions.iter().enumerate() {
            let ends = self.client.query_watermarks(self.topic.as_str(), partition as i32, CALL_TIMEOUT);
            behind += u64::try_from(ends.map_err(unavailable)?.1 - position).unwrap_or(0);
        }
        Ok(behind)
    }
}
