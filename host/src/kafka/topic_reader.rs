//! Reads partitions of a topic, outside of any group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::config::{CALL_TIMEOUT, READER_GROUP};
use super::credentials::Connection;
use super::error::unavailable;
use super::raw::{Client, FetchBuffer, PartitionList, QueueMessage};
use super::retry::led;
use crate::model::batch::RecordRef;
use crate::model::names::TopicName;
use crate::ports::{LogError, TopicReader};

/// Records of one poll.
const RECORDS_MAX: usize = 2048;

pub(super) struct KafkaTopicReader {
    client: Client,
    connection: Connection,
    /// The generation of the client's properties.
    generation: u64,
    topic: TopicName,
    /// The offsets to go on from, by partition.
    positions: BTreeMap<i32, i64>,
    /// The partitions of which nothing has come yet, not even that there is nothing.
    unread: BTreeSet<i32>,
    buffer: FetchBuffer,
}

impl KafkaTopicReader {
    pub fn open(connection: &Connection, topic: &TopicName, positions: BTreeMap<i32, i64>) -> Result<Self, LogError> {
        let generation = connection.generation();
        let client = connection.reader(READER_GROUP).map_err(unavailable)?;
        let mut list = PartitionList::new();
        positions.iter().for_each(|(partition, offset)| list.add(topic.as_str(), *partition, *offset, ""));
        client.assign_only(&list).map_err(unavailable)?;
        let connection = connection.clone();
        let unread = positions.keys().copied().collect();
        let buffer = FetchBuffer::default();
        Ok(Self { client, connection, generation, topic: topic.clone(), positions, unread, buffer })
    }
}

impl TopicReader for KafkaTopicReader {
    fn poll(&mut self, wait: Duration, on_record: &mut dyn FnMut(i32, &RecordRef<'_>)) -> Result<(), LogError> {
        if self.connection.generation() != self.generation {
            return Err(LogError::Unavailable("the properties of its client have changed: it is opened again".into()));
        }
        let Self { positions, unread, .. } = self;
        let mut failed = None;
        self.client.consume(&mut self.buffer, wait, RECORDS_MAX, &mut |message| match message {
            // A record before it may be missing.
            QueueMessage::Record(_) | QueueMessage::End { .. } if failed.is_some() => {}
            QueueMessage::Record(record) => {
                let partition = record.partition();
                unread.remove(&partition);
                positions.insert(partition, record.offset() + 1);
                let mut headers = Vec::new();
                record.headers(&mut headers);
                on_record(partition, &record.with_headers(&headers));
            }
            QueueMessage::End { partition, offset } => {
                unread.remove(&partition);
                if let Some(position) = positions.get_mut(&partition) {
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

    fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    fn behind(&self) -> Result<u64, LogError> {
        let mut behind = 0;
        for (partition, position) in &self.positions {
            let ask = || self.client.query_watermarks(self.topic.as_str(), *partition, CALL_TIMEOUT);
            let ends = led(&self.client, ask);
            let left = u64::try_from(ends.map_err(unavailable)?.1 - position).unwrap_or(0);
            // Who may not read a topic may still ask for its ends.
            behind += left.max(u64::from(self.unread.contains(partition)));
        }
        Ok(behind)
    }
}
