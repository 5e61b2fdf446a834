//! The one writer of an id: the newest. There is one process, so a number per id is enough.

use std::sync::Arc;

use super::broker::Broker;
use super::commit::{self, OffsetWrite};
use super::error::unavailable;
use super::outputs::Outputs;
use crate::model::names::TopicName;
use crate::ports::{ExclusiveError, ExclusiveWriter, GroupOffset, LogError, PartitionWrite};

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

    pub(super) fn write(&self, writes: &[PartitionWrite], offsets: &[OffsetWrite<'_>]) -> Result<(), ExclusiveError> {
        let mut outputs = Outputs::new(&self.broker.options);
        for PartitionWrite { topic, partition, records } in writes {
            let taken = commit::buffer(&self.broker, &mut outputs, topic, Some(*partition), records, 0)?;
            if taken < records.len() {
                let message = format!("{} records are more than one transaction takes", records.len());
                return Err(LogError::Refused(message).into());
            }
        }
        self.end(&mut outputs, offsets)
    }

    /// Writes everything, unless a newer writer took over.
    fn end(&self, outputs: &mut Outputs, offsets: &[OffsetWrite<'_>]) -> Result<(), ExclusiveError> {
        let mut writer = self.broker.writer();
        if self.broker.metadata().exclusive.get(&self.id) != Some(&self.epoch) {
            return Err(ExclusiveError::Fenced(format!("a newer writer of {:?} took over", self.id)));
        }
        Ok(commit::commit(&self.broker, &mut writer, outputs, offsets).map_err(unavailable)?)
    }

    pub(super) fn offset_writes<'a>(
        &self,
        group: &'a str,
        offsets: &'a [GroupOffset],
    ) -> Result<Vec<OffsetWrite<'a>>, LogError> {
        let write = |GroupOffset { topic, partition, next_offset, metadata }: &'a GroupOffset| {
            let id = self.broker.find_partition(topic, *partition)?;
            Ok(OffsetWrite { group, id, next_offset: *next_offset, metadata })
        };
        offsets.iter().map(write).collect()
    }
}

impl ExclusiveWriter for EmbeddedExclusive {
    fn end_offset(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        let id = self.broker.find_partition(topic, partition)?;
        Ok(self.broker.metadata().extent(id).end)
    }

    fn commit(self: Box<Self>, writes: &[PartitionWrite]) -> Result<Option<Box<dyn ExclusiveWriter>>, ExclusiveError> {
        self.write(writes, &[])?;
        Ok(Some(self))
    }

    fn commit_with_offsets(
        self: Box<Self>,
        writes: &[PartitionWrite],
        group: &str,
        offsets: &[GroupOffset],
    ) -> Result<(), ExclusiveError> {
        let written = self.offset_writes(group, offsets)?;
        self.write(writes, &written)
    }
}
