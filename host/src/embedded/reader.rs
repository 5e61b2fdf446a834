//! A session's place in its partitions: reads ahead in blocks and hands records over, fair over partitions.
//!
//! Owned by one session. Takes no lock while it reads: [`Reader::refresh`] gives it the ends that it may read up to,
//! and each record before an end is committed and never changes its offset. Bounded: at most [`AHEAD_BYTES_MAX`] and one
//! block are held per partition.

use std::collections::VecDeque;

use super::block::Records;
use super::error::Error;
use super::store::{Block, Extent, PartitionId, Store};
use crate::model::batch::RecordRef;
use crate::ports::TopicPartition;

/// Bytes of a partition at which its reading-ahead stops.
const AHEAD_BYTES_MAX: usize = 512 * 1024;

#[derive(Debug)]
struct Cursor {
    partition: TopicPartition,
    id: PartitionId,
    /// The offset to be handed over next.
    next: i64,
    /// One past the last committed record, as of the last refresh.
    end: i64,
    paused: bool,
    /// Retention deleted the record that was to be handed over next.
    overtaken: bool,
    /// True if [`Reader::ends`] has reported that it is read to its end.
    end_reported: bool,
    ahead: VecDeque<Block>,
    /// The position of the next record in the first block of `ahead`.
    position: usize,
}

#[derive(Debug, Default)]
pub struct Reader {
    cursors: Vec<Cursor>,
    /// The cursor that begins the next delivery.
    turn: usize,
    ends: Vec<(TopicPartition, i64)>,
}

impl Reader {
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, PartitionId)> {
        self.cursors.iter().map(|cursor| (cursor.partition, cursor.id))
    }

    /// Reads `partition` from `next` on, also where it is read already.
    pub fn add(&mut self, partition: TopicPartition, id: PartitionId, next: i64) {
        self.remove(partition);
        self.cursors.push(Cursor {
            partition,
            id,
            next,
            end: i64::MAX,
            paused: false,
            overtaken: false,
            end_reported: false,
            ahead: VecDeque::new(),
            position: 0,
        });
    }

    pub fn remove(&mut self, partition: TopicPartition) {
        self.cursors.retain(|cursor| cursor.partition != partition);
    }

    /// Returns true if the partition is read here.
    pub fn seek(&mut self, partition: TopicPartition, offset: i64) -> bool {
        self.change(partition, |cursor| {
            cursor.next = offset;
            cursor.end_reported = false;
            cursor.position = 0;
            cursor.ahead.clear();
        })
    }

    /// Returns true if the partition is read here.
    pub fn pause(&mut self, partition: TopicPartition, paused: bool) -> bool {
        self.change(partition, |cursor| cursor.paused = paused)
    }

    fn change(&mut self, partition: TopicPartition, change: impl FnOnce(&mut Cursor)) -> bool {
        self.cursors.iter_mut().find(|cursor| cursor.partition == partition).map(change).is_some()
    }

    /// Takes over the present extents of the partitions. Returns true if there is something to deliver.
    pub fn refresh(&mut self, extent: impl Fn(PartitionId) -> Extent) -> bool {
        for cursor in &mut self.cursors {
            let Extent { start, end, .. } = extent(cursor.id);
            cursor.end = end;
            cursor.overtaken |= start > cursor.next && cursor.ahead.is_empty();
        }
        self.cursors.iter().any(Cursor::is_ready)
    }

    /// Returns true if retention has deleted the next record of a partition.
    pub fn is_overtaken(&self) -> bool {
        self.cursors.iter().any(|cursor| cursor.overtaken)
    }

    /// Partitions that came to their end since the last [`Reader::find_ends`] before this, and where they go on.
    pub fn ends(&self) -> &[(TopicPartition, i64)] {
        &self.ends
    }

    /// Looks for partitions that have come to their end.
    pub fn find_ends(&mut self) {
        self.ends.clear();
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.next >= cursor.end && !cursor.end_reported) {
            cursor.end_reported = true;
            self.ends.push((cursor.partition, cursor.next));
        }
    }

    /// Hands over the records that are there, `records_max` at most. Returns their number: 0 if only gaps were left.
    pub fn deliver(
        &mut self,
        store: &Store,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<usize, Error> {
        let mut delivered = 0;
        self.turn = (self.turn + 1) % self.cursors.len().max(1);
        loop {
            let ready = self.cursors.iter().filter(|cursor| cursor.is_ready()).count();
            if ready == 0 || delivered >= records_max {
                return Ok(delivered);
            }
            // Each partition gets a share; a rest of it is shared out again.
            let share = ((records_max - delivered) / ready).max(1);
            let (before, after) = self.cursors.split_at_mut(self.turn);
            for cursor in after.iter_mut().chain(before).filter(|cursor| cursor.is_ready()) {
                let share = share.min(records_max - delivered);
                delivered += cursor.deliver(store, share, on_record)?;
            }
        }
    }
}

impl Cursor {
    fn is_ready(&self) -> bool {
        !self.paused && !self.overtaken && self.next < self.end
    }

    fn deliver(
        &mut self,
        store: &Store,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<usize, Error> {
        let mut delivered = 0;
        self.end_reported = false;
        while delivered < records_max {
            if self.ahead.is_empty() {
                store.read(self.id, self.next, self.end, AHEAD_BYTES_MAX, &mut self.ahead)?;
                self.position = 0;
                if self.is_cut_off(store)? {
                    self.overtaken = true;
                    self.ahead.clear();
                    break;
                }
            }
            let Some(block) = self.ahead.front() else {
                // Nothing is left up to the end: compaction took it.
                self.next = self.next.max(self.end);
                break;
            };
            let mut headers = Vec::new();
            let mut records = Records::new(&block.bytes, self.position);
            while delivered < records_max
                && let Some(record) = records.next(&mut headers)?
            {
                let offset = block.first + i64::from(record.delta);
                if offset < self.next {
                    continue;
                }
                on_record(
                    self.partition,
                    &RecordRef {
                        offset,
                        timestamp: record.timestamp,
                        key: record.key,
                        value: record.value,
                        headers: &headers,
                    },
                );
                self.next = offset + 1;
                delivered += 1;
            }
            self.position = records.position();
            if self.position >= block.bytes.len() {
                self.next = self.next.max(block.last + 1);
                self.position = 0;
                self.ahead.pop_front();
            }
        }
        Ok(delivered)
    }

    /// Returns true if retention has deleted the next record before it was read ahead. (Compaction leaves gaps too, and
    /// does not move the start.)
    fn is_cut_off(&self, store: &Store) -> Result<bool, Error> {
        let is_there = self.ahead.front().is_some_and(|block| block.first <= self.next);
        Ok(!is_there && store.extent(self.id)?.start > self.next)
    }
}
