//! The one way to write to an embedded log: records and offsets of a transaction as one.
//!
//! Runs under the writer's lock. A record is visible once its partition's `end` is past it, which happens after its
//! transaction was written as a whole.

use super::block::Entry;
use super::broker::{Broker, Writer};
use super::cleanup;
use super::error::Error;
use super::outputs::{Outputs, Refusal};
use super::store::PartitionId;
use crate::model::batch::HeaderRef;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::{LogError, LogRecord};

/// An offset that is committed together with outputs.
#[derive(Debug)]
pub struct OffsetWrite<'a> {
    pub group: &'a str,
    pub id: PartitionId,
    pub next_offset: i64,
    pub metadata: &'a str,
}

/// Buffers records of one topic. Returns the number of those that one transaction takes together with all that `outputs`
/// has: the first of them, or all. Records without a key begin at the partition `turn`.
pub fn buffer(
    broker: &Broker,
    outputs: &mut Outputs,
    name: &TopicName,
    partition: Option<i32>,
    records: &[LogRecord],
    turn: usize,
) -> Result<usize, LogError> {
    let topic = broker.find(name)?;
    let fixed = partition.map(|number| broker.find_partition(name, number)).transpose()?;
    let target = outputs.add_topic(name, &topic, turn);
    for (taken, record) in records.iter().enumerate() {
        let headers: Vec<HeaderRef<'_>> = record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        let entry = Entry {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        match outputs.push(target, fixed.map(|id| id.partition), &entry) {
            Ok(()) => {}
            Err(Refusal::Full { .. }) if taken > 0 => return Ok(taken),
            Err(refusal) => return Err(LogError::Refused(refusal.to_string())),
        }
    }
    Ok(records.len())
}

/// Writes outputs and offsets as one, makes them visible, and wakes the readers that wait for them.
pub fn commit(
    broker: &Broker,
    writer: &mut Writer,
    outputs: &mut Outputs,
    offsets: &[OffsetWrite<'_>],
) -> Result<(), Error> {
    writer.check()?;
    let now = Timestamp::now();
    let mut write = broker.store.write();
    let mut extents = Vec::new();
    for changed in outputs.seal(now.0) {
        let mut extent = broker.metadata().extent(changed.id);
        for (span, block) in changed.blocks {
            extent.end += i64::from(span) + 1;
            extent.bytes += block.len() as u64;
            write.block(changed.id, extent.end - 1, block);
        }
        write.extent(changed.id, &extent);
        extents.push((changed.id, extent));
    }
    for (i, offset) in offsets.iter().enumerate() {
        // A batch must not name a key twice: the last one counts.
        if offsets[i + 1..].iter().any(|later| (later.group, later.id) == (offset.group, offset.id)) {
            continue;
        }
        write.offset(offset.group, offset.id, offset.next_offset, offset.metadata);
    }
    writer.run(write.commit())?;
    broker.metadata().publish(&extents);
    // The records are written and stay so: a failure here is the next write's.
    if let Err(error) = cleanup::after_write(broker, writer, &extents, now) {
        tracing::warn!(%error, "the embedded log could not be cleaned up");
    }
    Ok(())
}

/// Removes the offsets of a group for these partitions.
pub fn delete_offsets(broker: &Broker, writer: &mut Writer, group: &str, partitions: &[PartitionId]) -> Result<(), Error> {
    writer.check()?;
    let mut write = broker.store.write();
    for id in partitions {
        if broker.store.committed(group, *id)?.is_some() {
            write.remove_offset(group, *id);
        }
    }
    writer.run(write.commit())
}
