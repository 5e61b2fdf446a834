//! A session's place in its partitions: reads ahead in blocks and hands records over, fair over partitions.
//!
//! Owned by one session. Takes no lock while it reads: the ends that it may read up to were told by [`Reader::refresh`],
//! and everything before an end is committed and never changes its offset. Bounded: at most [`AHEAD_BYTES_MAX`] and one
//! block are held per partition.

use std::collections::VecDeque;

use super::Error;
use super::block::Records;
use super::store::{Block, Extent, PartitionId, Store};
use crate::model::batch::RecordRef;
use crate::ports::TopicPartition;

/// Where a partition's reading-ahead stops.
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
    /// Whether [`Reader::ends`] has told that it is read to its end.
    told: bool,
    ahead: VecDeque<Block>,
    /// Where the next record lies in the first block of `ahead`.
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

    /// Reads `partition` from `next` on. One that is read already starts anew.
    pub fn add(&mut self, partition: TopicPartition, id: PartitionId, next: i64) {
        self.remove(partition);
        let (end, position, ahead) = (i64::MAX, 0, VecDeque::new());
        self.cursors.push(Cursor {
            partition,
            id,
            next,
            end,
            paused: false,
            overtaken: false,
            told: false,
            ahead,
            position,
        });
    }

    pub fn remove(&mut self, partition: TopicPartition) {
        self.cursors.retain(|cursor| cursor.partition != partition);
    }

    /// Returns whether the partition is read here.
    pub fn seek(&mut self, partition: TopicPartition, offset: i64) -> bool {
        self.change(partition, |cursor| {
            cursor.next = offset;
            cursor.told = false;
            cursor.position = 0;
            cursor.ahead.clear();
        })
    }

    /// Returns whether the partition is read here.
    pub fn pause(&mut self, partition: TopicPartition, paused: bool) -> bool {
        self.change(partition, |cursor| cursor.paused = paused)
    }

    fn change(&mut self, partition: TopicPartition, change: impl FnOnce(&mut Cursor)) -> bool {
        self.cursors.iter_mut().find(|cursor| cursor.partition == partition).map(change).is_some()
    }

    /// Learns what the partitions hold now. Returns whether there is something to deliver.
    pub fn refresh(&mut self, extent: impl Fn(PartitionId) -> Extent) -> bool {
        for cursor in &mut self.cursors {
            let Extent { start, end, .. } = extent(cursor.id);
            cursor.end = end;
            cursor.overtaken |= start > cursor.next && cursor.ahead.is_empty();
        }
        self.cursors.iter().any(Cursor::is_ready)
    }

    /// Tells whether retention has deleted what a partition was to be read from.
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
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.next >= cursor.end && !cursor.told) {
            cursor.told = true;
            self.ends.push((cursor.partition, cursor.next));
        }
    }

    /// Hands over what is there, `records_max` at most. Returns how many that were: 0 if only gaps were left.
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
            // Everybody gets a share; what they leave is shared out again.
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
        self.told = false;
        while delivered < records_max {
            if self.ahead.is_empty() {
                store.read(self.id, self.next, self.end, AHEAD_BYTES_MAX, &mut self.ahead)?;
                self.position = 0;
            }
            let Some(block) = self.ahead.front() else {
                // Nothing is left up to the end: compaction or retention took it.
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
                let (timestamp, key, value) = (record.timestamp, record.key, record.value);
                on_record(self.partition, &RecordRef { offset, timestamp, key, value, headers: &headers });
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
}
