//! Records that fail without a call: their outputs cannot be committed, or they came in only in part.

use crate::model::clock::Now;
use crate::ports::Cause;

use super::Task;
use super::failure::RecordFailure;
use super::ledger::Part;

impl Task {
    /// The work of its last call, which was of one record, cannot be committed: the record fails, without another call.
    /// Call it after [`Task::rewind`].
    pub fn condemn(&mut self, failure: RecordFailure, now: Now) {
        match self.called {
            Some(offset) => {
                // A record that failed already has sent its dead letter only.
                if !self.verdicts.condemn(offset, failure.clone()) {
                    self.verdicts.refuse_dead_letter(offset, Cause::Size, &failure.message);
                }
            }
            None => self.condemn_tick(&failure, now),
        }
    }

    /// A topic refused a record that this row became. Call it after [`Task::rewind`]. Returns true if the next run will
    /// be another.
    pub fn reject(&mut self, offset: i64, part: Part, cause: Cause, reason: &str, now: Now) -> bool {
        match part {
            Part::Output => self.verdicts.condemn(offset, RecordFailure::refused(cause, reason)),
            Part::DeadLetter => self.verdicts.refuse_dead_letter(offset, cause, reason),
            Part::Tick => {
                self.condemn_tick(&RecordFailure::refused(cause, reason), now);
                true
            }
        }
    }

    /// The record at this offset came in only in part.
    pub fn condemn_damaged(&mut self, offset: i64, reason: &str) {
        if offset >= self.offsets.next() {
            self.verdicts.condemn_damaged(offset, RecordFailure::damaged(reason));
        }
    }

    /// The first record of its last call; None if that was a tick.
    pub fn called(&self) -> Option<i64> {
        self.called
    }

    fn condemn_tick(&mut self, failure: &RecordFailure, now: Now) {
        self.plan_tick(now);
        self.tick_failed(failure, now.wall);
    }
}
