//! The one writer of an id: the newest. There is one process, so a number per id is enough.

use std::sync::Arc;

use super::broker::Broker;
use super::commit::{self, OffsetWrite};
use super::error::unavailable;
use crate::model::names::TopicName;
use crate::ports::{ExclusiveError, ExclusiveWriter, GroupOffset, LogError, LogRecord};

pub struct EmbeddedExclusive {
    broker: Arc<Broker>,
    id: String,
    epoch: u64,
}

impl EmbeddedExclusive {
    pub fn open(broker: Arc<Broker>, id: &str) -> Self {
        // A commit of the writer that is fenced must be in or out before this one looks at the end.
        let writer = broker.writer();
        let epoch = {
            let mut metadata = broker.metadata();
            let epoch = metadata.exclusive.entry(id.to_owned()).or_default();
            *epoch += 1;
            *epoch
        };
        drop(writer);
        Self { broker, id: id.to_owned(), epoch }
    }

    fn write(
        &self,
        topic: &TopicName,
        partition: i32,
        records: &[LogRecord],
        offsets: &[OffsetWrite<'_>],
    ) -> Result<(), ExclusiveError> {
        let (mut outputs, taken) = commit::buffer(&self.broker, topic, Some(partition), records, 0)?;
        if taken < records.len() {
            let message = format!("{} records are more than one transaction takes", records.len());
            return Err(LogError::Refused(message).into());
        }
        let mut writer = self.broker.writer();
        if self.broker.metadata().exclusive.get(&self.id) != Some(&self.epoch) {
            return Err(ExclusiveError::Fenced(format!("a newer writer of {:?} took over", self.id)));
        }
        Ok(commit::commit(&self.broker, &mut writer, &mut outputs, offsets).map_err(unavailable)?)
    }
}

impl ExclusiveWriter for EmbeddedExclusive {
    fn end_offset(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        let id = self.broker.find_partition(topic, partition)?;
        Ok(self.broker.metadata().extent(id).end)
    }

    fn commit(self: Box<Self>, topic: &TopicName, partition: i32, records: Vec<LogRecord>) -> Result<(), ExclusiveError> {
        self.write(topic, partition, &records, &[])
    }

    fn commit_with_offsets(
        self: Box<Self>,
        topic: &TopicName,
        partition: i32,
        record: LogRecord,
        group: &str,
        offsets: &[GroupOffset],
    ) -> Result<(), ExclusiveError> {
        let mut written = Vec::new();
        for GroupOffset { topic, partition, next_offset, metadata } in offsets {
            let id = self.broker.find_partition(topic, *partition)?;
            written.push(OffsetWrite { group, id, next_offset: *next_offset, metadata });
        }
        self.write(topic, partition, &[record], &written)
    }
}
