//! The records of a task that are not processed yet, in batches.
//!
//! ```text
//!            a call of the first batch fails                      its last row is done
//!   batches ---------------------------------> one row at a time ----------------------> batches
//! ```

use std::collections::VecDeque;

use crate::model::batch::{Batch, RecordRef};

use super::spare_batches::SpareBatches;

/// The part of the first batch that a call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Batches,
    /// The rows of the first batch before `row` are done; `attempts` of `row` failed.
    OneByOne {
        row: usize,
        attempts: u32,
    },
}

/// The pending records of a task.
pub(super) struct Buffer {
    /// The first may be done in part, when it is run one by one.
    batches: VecDeque<Batch>,
    spares: SpareBatches,
    mode: Mode,
    /// The lowest offset that may still come in: lower ones are repeats.
    expected: i64,
    /// The highest offset up to which the partition was read with no record dropped.
    end_seen: i64,
    /// Most rows of a batch, if that is less than the settings say.
    rows_max: usize,
}

impl Buffer {
    pub fn new(next_offset: i64, spares: SpareBatches) -> Self {
        Self {
            batches: VecDeque::new(),
            spares,
            mode: Mode::Batches,
            expected: next_offset,
            end_seen: next_offset,
            rows_max: usize::MAX,
        }
    }

    /// Takes a record in, unless it is a repeat. The limits are of a batch.
    pub fn push(&mut self, record: &RecordRef<'_>, records_max: usize, bytes_max: usize) {
        if record.offset < self.expected {
            return;
        }
        self.expected = record.offset.saturating_add(1);
        let fits = self.batches.back().is_some_and(|batch| {
            batch.len() < records_max.min(self.rows_max)
                && batch.bytes() + record.held_bytes() <= bytes_max
                && batch.takes(record.offset)
        });
        // The first batch may be half done; a new row would be taken for one of its own.
        let is_busy = self.batches.len() == 1 && self.mode != Mode::Batches;
        if !fits || is_busy {
            self.batches.push_back(self.spares.take());
        }
        self.batches.back_mut().expect("just pushed").push(record);
    }

    /// From now on a batch has `rows_max` rows at most.
    pub fn limit_rows(&mut self, rows_max: usize) {
        self.rows_max = rows_max;
    }

    /// Notes that the partition was read up to `offset`.
    pub fn note_end(&mut self, offset: i64) {
        self.end_seen = self.end_seen.max(offset);
    }

    /// The offset up to which only control records follow `next_offset`.
    pub fn end_of_control_records(&self, next_offset: i64) -> Option<i64> {
        (self.end_seen > next_offset && self.end_seen >= self.expected).then_some(self.end_seen)
    }

    /// Expects no record before `offset`.
    pub fn expect_from(&mut self, offset: i64) {
        self.expected = offset;
    }

    /// The lowest offset that may still come in.
    pub fn expected(&self) -> i64 {
        self.expected
    }

    /// Forgets everything that was read from `offset` on, and that there was an end: it is read again.
    pub fn rewind(&mut self, offset: i64) {
        while let Some(batch) = self.batches.pop_front() {
            self.spares.keep(batch);
        }
        self.mode = Mode::Batches;
        self.expected = offset;
        self.end_seen = offset;
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Goes on with this row of the first batch.
    pub fn go_one_by_one(&mut self, row: usize, attempts: u32) {
        self.mode = Mode::OneByOne { row, attempts };
    }

    /// Forgets failed attempts: another revision makes the next one.
    pub fn forget_attempts(&mut self) {
        if let Mode::OneByOne { attempts, .. } = &mut self.mode {
            *attempts = 0;
        }
    }

    /// Goes on with the row after `row`, or with the next batch after the last row.
    pub fn next_row(&mut self, row: usize) {
        if row + 1 < self.first().len() {
            self.go_one_by_one(row + 1, 0);
            return;
        }
        self.mode = Mode::Batches;
        let batch = self.take_first();
        self.spares.keep(batch);
    }

    /// The first batch. Call it only if there is one.
    pub fn first(&self) -> &Batch {
        self.batches.front().expect("a step has a batch")
    }

    /// Takes the first batch out. Call it only if there is one.
    pub fn take_first(&mut self) -> Batch {
        self.batches.pop_front().expect("a step has a batch")
    }

    /// Puts a batch back that `take_first` took.
    pub fn put_back(&mut self, batch: Batch) {
        self.batches.push_front(batch);
    }

    /// Ends a batch that [`Self::take_first`] took.
    pub fn done(&mut self, batch: Batch) {
        self.spares.keep(batch);
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Returns true if there is a batch that need not wait for more records.
    pub fn is_full(&self, records_max: usize) -> bool {
        let first_is_full = self.batches.front().is_some_and(|batch| batch.len() >= records_max.min(self.rows_max));
        first_is_full || self.batches.len() > 1 || self.mode != Mode::Batches
    }

    pub fn bytes(&self) -> usize {
        self.batches.iter().map(Batch::bytes).sum()
    }
}
