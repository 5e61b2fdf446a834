//! One transaction, in parts: they wait in memory, up to the limit of any transaction of this log.

use std::sync::Arc;

use super::broker::Broker;
use super::exclusive::EmbeddedExclusive;
use crate::ports::{BulkWriter, ExclusiveError, GroupOffset, PartitionWrite};

pub struct EmbeddedBulk {
    writer: EmbeddedExclusive,
    parts: Vec<PartitionWrite>,
    offsets: Vec<(String, Vec<GroupOffset>)>,
}

impl EmbeddedBulk {
    pub fn open(broker: Arc<Broker>, id: &str) -> Self {
        Self { writer: EmbeddedExclusive::open(broker, id), parts: Vec::new(), offsets: Vec::new() }
    }
}

impl BulkWriter for EmbeddedBulk {
    fn write(&mut self, part: PartitionWrite) -> Result<(), ExclusiveError> {
        // A partition is named once in a transaction of this log.
        let is_same = |known: &&mut PartitionWrite| (&known.topic, known.partition) == (&part.topic, part.partition);
        match self.parts.iter_mut().find(is_same) {
            Some(known) => known.records.extend(part.records),
            None => self.parts.push(part),
        }
        Ok(())
    }

    fn write_offsets(&mut self, group: &str, offsets: &[GroupOffset]) -> Result<(), ExclusiveError> {
        self.offsets.push((group.to_owned(), offsets.to_vec()));
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), ExclusiveError> {
        let mut offsets = Vec::new();
        for (group, of_group) in &self.offsets {
            offsets.extend(self.writer.offset_writes(group, of_group)?);
        }
        self.writer.write(&self.parts, &offsets)
    }
}
