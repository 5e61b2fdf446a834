//! A task at the end of a transaction, and between two: commit, abort, swap.

use std::sync::Arc;

use crate::ports::{CommitOffset, Guest, Positions};

use super::{RunnableRevision, Task};

impl Task {
    /// The transaction was aborted: goes back to the committed offset, with a fresh instance. The caller seeks there.
    pub fn rewind(&mut self) {
        self.go_back_to(self.offsets.committed());
        self.guest = None;
        self.waits.undo_pause();
        self.ticks.rewind();
        self.has_expiries = false;
        self.update_state();
    }

    /// The transaction with everything up to [`Task::next_offset`] was committed.
    pub fn committed(&mut self, changelogs: &Positions) {
        if self.has_ended_calls() {
            self.offsets.work_was_committed(&self.revision.settings, changelogs);
        }
        self.offsets.were_committed();
        self.waits.keep_pause();
        self.ticks.committed();
        self.has_expiries = false;
        self.verdicts.committed(self.offsets.next());
        self.skip_control_records();
        self.update_state();
    }

    /// The transaction was ended without work.
    pub fn ended_idle(&mut self) {
        self.waits.keep_pause();
    }

    /// The control records that it passed were committed.
    pub fn passed(&mut self) {
        self.offsets.were_stored();
    }

    /// The offset to be committed, with metadata; None if nothing was done since the last commit. `changelogs` are the
    /// positions of its state's changelogs. After a tick, or expiries alone, the offset is unchanged, so that a commit
    /// always proves who owns the partition. Control records that were passed, and expiries alone, go with the metadata of the
    /// last commit: no revision has worked.
    pub fn commit_offset(&self, changelogs: &Positions) -> Option<CommitOffset> {
        let metadata = if self.has_ended_calls() {
            self.offsets.own_metadata(&self.revision.settings, changelogs)
        } else if self.has_expiries || self.has_passed() {
            self.offsets.stored_metadata()
        } else {
            return None;
        };
        Some(CommitOffset { partition: self.id, next_offset: self.offsets.next(), metadata })
    }

    /// Returns true if control records were passed since the last commit, and nothing else is to be committed.
    pub fn has_passed(&self) -> bool {
        self.offsets.have_passed() && !self.has_worked()
    }

    /// Returns true if the open transaction has work of the task.
    pub fn has_worked(&self) -> bool {
        self.has_ended_calls() || self.has_expiries
    }

    /// Returns true if the open transaction has work of the revision itself. Deletions of expired entries are none: the call
    /// that met them is yet to be made.
    pub fn has_ended_calls(&self) -> bool {
        self.offsets.have_moved() || self.ticks.has_uncommitted()
    }

    /// Lets an instance go whose secrets have changed; the next call makes another. Call it only between two transactions.
    pub fn renew_guest(&mut self) {
        self.guest.take_if(|guest| guest.is_outdated());
    }

    /// From now on a trap is the fault of its record.
    pub fn pass_trial(&mut self) {
        self.on_trial = false;
    }

    /// Goes on with another revision from the next record on, with an instance of it if there is one. A record that
    /// failed gets another chance. Call it only between two transactions; the caller seeks to [`Task::next_offset`] if
    /// the task was paused.
    pub fn swap(&mut self, revision: Arc<RunnableRevision>, guest: Option<Box<dyn Guest>>, on_trial: bool) {
        self.offsets.swap(revision.settings.revision);
        self.revision = revision;
        self.guest = guest;
        self.on_trial = on_trial;
        self.buffer.forget_attempts();
        self.health.note_revision();
        self.resume();
    }
}
