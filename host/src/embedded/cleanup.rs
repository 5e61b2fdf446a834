//! Bounds the log: retention deletes the oldest blocks, compaction keeps the last value of each key.
//!
//! Runs under the writer lock, on the thread that wrote last (and when the log is opened); readers go on meanwhile.
//! Every batch that it writes leaves a log that is right, so it may be killed at any point.
//!
//! * A partition over `retention_bytes` loses its oldest blocks until it is 1/16 below; blocks written longer than
//!   `retention_time` ago go as well (looked for once a minute). The newest block always stays.
//! * A compacted partition is compacted once it has doubled since the last time. A tombstone outlives its key by
//!   `tombstone_retention`, so that a reader that is behind sees it. Keys are held in memory meanwhile.

use std::collections::{HashMap, VecDeque};

use super::block::{self, Builder, Entry, Records};
use super::broker::{Broker, Writer};
use super::error::Error;
use super::store::{Block, Extent, PartitionId};
use crate::model::units::Timestamp;

/// A compacted partition below this size is left alone.
const COMPACT_BYTES_MIN: u64 = 1024 * 1024;
/// Bytes that are read and rewritten at once.
const STEP_BYTES: usize = 4 * 1024 * 1024;
/// Blocks are merged only within such a span of time, so that they keep their age.
const MERGE_SPAN_MS: i64 = 3_600_000;
const EXPIRE_INTERVAL_MS: u64 = 60_000;

/// Cleans up the partitions that a write has made due.
pub fn after_write(
    broker: &Broker,
    writer: &mut Writer,
    written: &[(PartitionId, Extent)],
    now: Timestamp,
) -> Result<(), Error> {
    if writer.expired_at.is_none_or(|at| now.millis_since(at) >= EXPIRE_INTERVAL_MS) {
        return all(broker, writer, now);
    }
    for (id, extent) in written {
        let compacted = broker.metadata().is_compacted(*id);
        if compacted && is_dirty(extent) {
            compact(broker, writer, *id, now)?;
        }
        if !compacted && extent.bytes > broker.options.retention_bytes {
            expire(broker, writer, *id, now)?;
        }
    }
    Ok(())
}

/// Cleans up every partition.
pub fn all(broker: &Broker, writer: &mut Writer, now: Timestamp) -> Result<(), Error> {
    writer.expired_at = Some(now);
    let topics: Vec<_> = broker.metadata().topics.values().copied().collect();
    for topic in topics {
        for partition in 0..topic.partitions {
            let id = PartitionId { topic: topic.id, partition };
            if !topic.compacted {
                expire(broker, writer, id, now)?;
            } else if is_dirty(&broker.metadata().extent(id)) {
                compact(broker, writer, id, now)?;
            }
        }
    }
    Ok(())
}

fn is_dirty(extent: &Extent) -> bool {
    extent.bytes > COMPACT_BYTES_MIN + 2 * extent.clean_bytes
}

/// Deletes the oldest blocks of a partition.
fn expire(broker: &Broker, writer: &mut Writer, id: PartitionId, now: Timestamp) -> Result<(), Error> {
    let limit = broker.options.retention_bytes;
    let extent = broker.metadata().extent(id);
    let mut left = extent;
    let is_over = extent.bytes > limit;
    let goal = if is_over { limit - limit / 16 } else { extent.bytes };
    // Once a minute every partition comes here: a look at its oldest block is enough, unless it is over its limit.
    let mut step_bytes = if is_over { STEP_BYTES } else { 1 };
    loop {
        let mut write = broker.store.write();
        let before = left;
        for block in broker.read(id, left.start, left.end, std::mem::replace(&mut step_bytes, STEP_BYTES))? {
            let age_ms = now.millis_since(Timestamp(block::head(&block.bytes)?.written_at));
            let due = left.bytes > goal || u128::from(age_ms) > broker.options.retention_time.as_millis();
            if !due || block.last + 1 >= left.end {
                break;
            }
            write.remove_block(id, block.last);
            left.start = block.last + 1;
            left.bytes = left.bytes.saturating_sub(block.bytes.len() as u64);
        }
        if left == before {
            return Ok(());
        }
        write.extent(id, &left);
        writer.run(write.commit())?;
        broker.metadata().publish(&[(id, left)]);
    }
}

/// Keeps the last record of each key.
pub fn compact(broker: &Broker, writer: &mut Writer, id: PartitionId, now: Timestamp) -> Result<(), Error> {
    let mut extent = broker.metadata().extent(id);
    let mut newest: HashMap<Box<[u8]>, i64> = HashMap::new();
    let mut from = extent.start;
    while let Some(blocks) = step(broker, id, &mut from, extent.end)? {
        for block in &blocks {
            let mut records = Records::new(&block.bytes, 0);
            let mut headers = Vec::new();
            while let Some(record) = records.next(&mut headers)? {
                let offset = block.first + i64::from(record.delta);
                newest.insert(record.key.unwrap_or_default().into(), offset);
            }
        }
    }
    let keeps = |offset: i64, key: Option<&[u8]>, is_tombstone: bool, written_at: i64| {
        let age_ms = u128::from(now.millis_since(Timestamp(written_at)));
        newest.get(key.unwrap_or_default()) == Some(&offset)
            && !(is_tombstone && age_ms > broker.options.tombstone_retention.as_millis())
    };
    let mut from = extent.start;
    while let Some(blocks) = step(broker, id, &mut from, extent.end)? {
        let mut write = broker.store.write();
        let mut merger = BlockMerger::default();
        let mut after = Vec::new();
        for block in &blocks {
            let written_at = block::head(&block.bytes)?.written_at;
            let mut records = Records::new(&block.bytes, 0);
            let mut headers = Vec::new();
            while let Some(record) = records.next(&mut headers)? {
                let offset = block.first + i64::from(record.delta);
                if !keeps(offset, record.key, record.value.is_none(), written_at) {
                    continue;
                }
                if !merger.takes(offset, written_at) {
                    after.extend(merger.finish());
                }
                let entry = Entry { timestamp: record.timestamp, key: record.key, value: record.value, headers: &headers };
                merger.push(offset, written_at, &entry);
            }
        }
        after.extend(merger.finish());
        // A batch must not name a key twice: a block that is replaced under its own key is not removed.
        for block in blocks.iter().filter(|block| after.iter().all(|(last, _)| *last != block.last)) {
            write.remove_block(id, block.last);
        }
        extent.bytes = extent.bytes.saturating_sub(blocks.iter().map(|block| block.bytes.len() as u64).sum());
        for (last, block) in after {
            extent.bytes += block.len() as u64;
            write.block(id, last, block);
        }
        write.extent(id, &extent);
        writer.run(write.commit())?;
        broker.metadata().publish(&[(id, extent)]);
    }
    extent.clean_bytes = extent.bytes;
    let mut write = broker.store.write();
    write.extent(id, &extent);
    writer.run(write.commit())?;
    broker.metadata().publish(&[(id, extent)]);
    Ok(())
}

/// The next blocks from `from` on, or None at the end.
fn step(broker: &Broker, id: PartitionId, from: &mut i64, end: i64) -> Result<Option<VecDeque<Block>>, Error> {
    let blocks = broker.read(id, *from, end, STEP_BYTES)?;
    let Some(last) = blocks.back() else { return Ok(None) };
    *from = last.last + 1;
    Ok(Some(blocks))
}

/// A block that gathers the records left of several.
#[derive(Default)]
struct BlockMerger {
    builder: Builder,
    first: i64,
    last: i64,
    written_at: i64,
}

impl BlockMerger {
    fn takes(&self, offset: i64, written_at: i64) -> bool {
        let same_span = written_at.div_euclid(MERGE_SPAN_MS) == self.written_at.div_euclid(MERGE_SPAN_MS);
        self.builder.is_empty() || (!self.builder.is_full() && same_span && u32::try_from(offset - self.first).is_ok())
    }

    fn push(&mut self, offset: i64, written_at: i64, entry: &Entry<'_>) {
        if self.builder.is_empty() {
            self.first = offset;
            self.written_at = written_at;
        }
        self.last = offset;
        self.written_at = self.written_at.max(written_at);
        let delta = u32::try_from(offset - self.first).expect("the caller checked takes()");
        self.builder.push(delta, entry);
    }

    /// The block and its last offset, if it holds anything.
    fn finish(&mut self) -> Option<(i64, Vec<u8>)> {
        (!self.builder.is_empty()).then(|| (self.last, self.builder.seal(self.written_at)))
    }
}
