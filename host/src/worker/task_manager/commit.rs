//! The transaction over all tasks: begin, commit, abort.

use std::time::Duration;

use super::{TaskManager, as_restart};
use crate::model::clock::{Monotonic, Now};
use crate::model::codes::Code;
use crate::model::spec::Delivery;
use crate::ports::{CommitOffset, OpenError, Positions, SessionError, TopicPartition};
use crate::state;
use crate::task::{RecordFailure, Settings, Task};

/// Sent bytes after which a transaction is committed before its time: they wait in memory.
const TRANSACTION_BYTES_MAX: u64 = 64 << 20;
/// Changed bytes in stores after which a transaction is committed before its time: they wait in memory as well. A call that
/// a store has no more room for is made again behind that commit.
const STATE_BYTES_MAX: usize = state::TRANSACTION_BYTES_MAX;
/// The time for which passed control records wait for a transaction to be committed with; then they get one of their own.
/// Without it, retention could delete the records before them, and the partition would be out of range for ever.
const PASSED_WAIT: Duration = Duration::from_secs(10);

/// Pending bytes that are worth a transaction before the deadline, for a worker with stores: enough to make the price of a
/// commit small.
const PORTION_BYTES: usize = 2 << 20;

impl TaskManager {
    /// Counts the partitions of the inputs of a worker with stores, before a transaction: keys are where their state is up to
    /// there. Such a transaction takes the records that were read before the count, and is committed before the next ones
    /// are read. So the count asks no broker while a transaction is open.
    pub(super) fn check_inputs(&mut self) -> Result<(), SessionError> {
        self.states.check_inputs().map_err(|error| match error {
            // The supervisor finds the same, and stops the transform; after a passing error all goes on.
            error @ OpenError::Partitions(_) => SessionError::Ended { code: error.code(), message: error.to_string() },
            error => withheld(error),
        })
    }

    /// Begins a transaction, unless one is open.
    pub(super) fn begin(&mut self, now: Monotonic) -> Result<(), SessionError> {
        if !self.transaction.is_open() {
            self.session.begin()?;
            let Settings { commit_interval, transaction_timeout, .. } = self.rollout.current().settings;
            self.transaction.begun(now, commit_interval, transaction_timeout);
        }
        Ok(())
    }

    /// Returns true if there is reason enough for a transaction. Without stores each ready task is one, since further records
    /// join its transaction.
    pub(super) fn may_begin(&self, now: Now) -> bool {
        !self.states.are_needed()
            || self.is_due(now.mono)
            || self.tasks.values().any(|task| task.is_tick_due(now))
            || self.pending_bytes() >= PORTION_BYTES
    }

    /// Returns true if everything that is pending is to be done and committed now.
    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        let is_closed_to_more = self.states.are_needed() && self.transaction.is_open();
        is_closed_to_more || self.transaction.is_overdue(now.after(self.commit_lead()), Duration::ZERO)
    }

    /// The time by which a commit comes before its deadline: the deadline is for little work, and there may be much. That is
    /// as much as a batch holds.
    pub(super) fn commit_lead(&self) -> Duration {
        let &Settings { commit_interval, commit_interval_min, batch_records, batch_bytes, .. } = &self.revision().settings;
        let lead = commit_interval.saturating_sub(commit_interval_min);
        let is_much = || {
            let bytes = self.stats.held_bytes() + self.pending_bytes() as u64;
            bytes >= batch_bytes as u64
                || self.stats.records() >= batch_records as u64
                || self.tasks.values().any(Task::has_full_batch)
        };
        if !lead.is_zero() && is_much() { lead } else { Duration::ZERO }
    }

    /// Returns true if the open transaction is to be committed before its time: its work waits in memory.
    pub(super) fn is_large(&self) -> bool {
        let is_large = || {
            !self.portion.is_whole()
                || !self.session.has_room()
                || self.stats.held_bytes() > TRANSACTION_BYTES_MAX
                || self.states.pending_bytes() > STATE_BYTES_MAX
        };
        // Deletions of expired entries may be left of a transaction that ended without work: there is nothing to commit yet.
        self.transaction.is_open() && is_large()
    }

    /// Commits the open transaction, if there is one, with the offsets of every task that went on.
    pub(super) fn commit(&mut self, now: Now) -> Result<(), SessionError> {
        if !self.transaction.is_open() {
            // Records that wait for a processor stay due.
            if !self.cpu.is_waiting() {
                self.transaction.clear_deadline();
            }
            return Ok(());
        }
        if !self.tasks.values().any(Task::has_worked) {
            // A task waits for a retry, or was paused, and nothing was done: no transaction waits for its turn.
            self.transaction.ended(now.mono);
            self.tasks.values_mut().for_each(Task::ended_idle);
            self.aborts.forget_error();
            return self.session.abort().map_err(as_restart);
        }
        let observer = self.revision().observer.clone();
        let timer = observer.metrics.commit_time.start_timer();
        // A deletion that a topic refuses must not be taken for the change of the one record that is tried alone.
        if self.portion.is_whole() {
            self.sweep(now)?;
        }
        self.states.check_growth().map_err(withheld)?;
        let first_changelog = self.revision().settings.changelogs.start;
        self.states.send(&mut *self.session, first_changelog)?;
        let positions = self.states.changelog_positions(&*self.session, first_changelog);
        let none = Positions::new();
        let positions_of = |task: &Task| positions.get(&task.id().partition).unwrap_or(&none);
        let offsets = self.tasks.values().filter_map(|task| task.commit_offset(positions_of(task)));
        let offsets: Vec<CommitOffset> = offsets.collect();
        self.session.commit(&offsets)?;
        timer.observe_duration();

        let has_ended_calls = self.tasks.values().any(Task::has_ended_calls);
        let partitions: Vec<TopicPartition> = offsets.iter().map(|offset| offset.partition).collect();
        self.revision().guests.committed(&partitions);
        self.transaction.ended(now.mono);
        self.last_commit = Some(now.mono);
        self.aborts = super::Aborts::default();
        for task in self.tasks.values_mut() {
            task.committed(positions_of(task));
        }
        let faulty = self.states.committed(&*self.session, first_changelog, now.wall);
        self.wait_for_states(&faulty);
        observer.metrics.committed.inc();
        observer.metrics.stores.expired.inc_by(self.states.take_expired());
        self.stats.count(&observer, now.wall);
        if has_ended_calls {
            self.pass_trial();
        }
        if self.portion.committed(self.revision().settings.batch_records) {
            self.limit_rows();
        }
        if self.tasks.values().any(Task::has_pending) {
            // The rest of a transaction that was cut off has waited for its time already.
            let wait = if self.was_cut { Duration::ZERO } else { self.revision().settings.commit_interval };
            self.transaction.set_deadline(now.mono.after(wait));
        }
        Ok(())
    }

    /// Deletes expired entries of the partitions whose state is up to this revision.
    fn sweep(&mut self, now: Now) -> Result<(), SessionError> {
        let spared = self.tasks.values().filter(|task| task.may_be_of_newer()).map(|task| task.id().partition).collect();
        self.states.sweep(now.wall, &spared).map_err(|fault| {
            let message = format!("the local state failed: {fault}");
            SessionError::Withheld { code: Code::StateUnavailable, message }
        })
    }

    // === Control records ===

    /// Commits the positions of passed control records, in a transaction that has nothing else.
    pub(super) fn commit_passed(&mut self, now: Monotonic) -> Result<(), SessionError> {
        self.commit_passed_at = None;
        // An open transaction takes them along.
        let waits = self.transaction.is_open() || self.transaction.is_backing_off(now);
        if waits || !self.tasks.values().any(Task::has_passed) {
            return Ok(());
        }
        self.session.begin()?;
        let passed = self.tasks.values().filter_map(|task| task.commit_offset(&Positions::new()));
        let passed: Vec<CommitOffset> = passed.collect();
        match self.session.commit(&passed) {
            Ok(()) => {
                self.tasks.values_mut().for_each(Task::passed);
                Ok(())
            }
            // They are committed with the next transaction, or by the next owner of the partitions.
            Err(
                SessionError::Abort(reason)
                | SessionError::TooLarge(reason)
                | SessionError::Withheld { code: Code::Fenced, message: reason },
            ) => {
                tracing::debug!(transform = %self.revision().settings.id, reason, "passed positions were not committed");
                self.session.abort().map_err(as_restart)
            }
            Err(error @ (SessionError::Withheld { .. } | SessionError::Rejected(_))) => {
                // It is not this worker's own transaction, which is what a roll-back aborts.
                self.session.abort().map_err(as_restart)?;
                Err(error)
            }
            Err(error @ (SessionError::Restart(_) | SessionError::Ended { .. })) => Err(error),
        }
    }

    /// Gives passed control records some time to wait for a transaction.
    pub(super) fn plan_passed(&mut self, now: Monotonic) {
        if self.commit_passed_at.is_none() && self.tasks.values().any(Task::has_passed) {
            self.commit_passed_at = Some(now.after(PASSED_WAIT));
        }
    }

    // === Aborts ===

    /// Goes back to the committed offsets, and backs off: the transaction failed for no fault of a record.
    pub(super) fn roll_back(&mut self, code: Code, reason: &str, now: Now) -> Result<(), SessionError> {
        let id = &self.revision().settings.id;
        tracing::warn!(transform = %id, %code, reason, "transaction aborted, its records are processed again");
        self.revision().observer.metrics.aborted("abort");
        self.aborts.note(code, reason, now.wall);
        self.abort(now.mono).map_err(|error| with_reason(error, code, reason))?;
        self.back_off(now.mono);
        Ok(())
    }

    pub(super) fn back_off(&mut self, now: Monotonic) {
        let until = now.after(self.aborts.next_backoff());
        self.transaction.back_off(until, now);
    }

    /// Aborts, and goes on with smaller transactions: it was more than the log takes, or was refused for one of many
    /// records. A record that is too much alone fails.
    pub(super) fn split(&mut self, label: &str, failure: RecordFailure, now: Now) -> Result<(), SessionError> {
        let can_shrink = self.portion.shrink(self.revision().settings.batch_records);
        let id = &self.revision().settings.id;
        let reason = &failure.message;
        let rows_max = self.portion.rows_max();
        tracing::info!(transform = %id, reason, rows_max, "transaction aborted, done again in smaller ones");
        self.revision().observer.metrics.aborted(label);
        self.aborts.note(failure.code, reason, now.wall);
        self.abort(now.mono)?;
        self.limit_rows();
        let single = self.last_stepped.filter(|_| !can_shrink);
        if let Some(task) = single.and_then(|partition| self.tasks.get_mut(&partition)) {
            task.condemn(failure, now);
        }
        Ok(())
    }

    pub(super) fn limit_rows(&mut self) {
        let rows_max = self.portion.rows_max();
        self.session.isolate(rows_max == 1);
        self.tasks.values_mut().for_each(|task| task.limit_rows(rows_max));
    }

    /// Aborts the open transaction, if there is one, and takes every task back to its committed offset.
    pub(super) fn abort(&mut self, now: Monotonic) -> Result<(), SessionError> {
        if self.transaction.is_open() {
            self.transaction.ended(now);
            self.session.abort().map_err(as_restart)?;
        }
        self.transaction.clear_deadline();
        self.forget_work();
        // A task that was paused in this transaction goes on.
        self.rest.stir();
        let faulty = self.states.roll_back();
        self.wait_for_states(&faulty);
        self.tasks.values_mut().for_each(Task::rewind);
        let places: Vec<_> = self.tasks.values().map(|task| (task.id(), task.committed_offset())).collect();
        self.session.seek_all(&places).map_err(as_restart)
    }

    /// Forgets the work of the transaction. With at-least-once delivery it is in the log all the same.
    pub(super) fn forget_work(&mut self) {
        let revision = self.rollout.current();
        if revision.settings.delivery == Delivery::AtLeastOnce {
            revision.observer.metrics.repeated.inc_by(self.stats.records());
        }
        self.stats.clear();
    }

    /// Lets the tasks of these partitions wait for their state.
    fn wait_for_states(&mut self, partitions: &[i32]) {
        let own = self.tasks.values_mut().filter(|task| partitions.contains(&task.id().partition));
        own.for_each(|task| task.wait_for_state(true));
    }
}

fn withheld(error: OpenError) -> SessionError {
    SessionError::Withheld { code: error.code(), message: error.to_string() }
}

/// The error of an abort, after a transaction that failed for a reason with a code: a transaction that could not even begin
/// at the broker cannot be aborted there either, which says nothing to anybody.
fn with_reason(error: SessionError, code: Code, reason: &str) -> SessionError {
    if code == Code::LogUnavailable || error.code() != Code::LogUnavailable {
        return error;
    }
    SessionError::Ended { code, message: format!("{reason} ({error})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: SessionError, code: Code, expected: Code) {
        assert_eq!(with_reason(error, code, "no right").code(), expected);
    }

    #[test]
    fn an_abort_that_fails_hides_no_reason() {
        let failed = || SessionError::Restart("invalid state".into());
        check(failed(), Code::Unauthorized, Code::Unauthorized);
        check(failed(), Code::LogUnavailable, Code::LogUnavailable);
        let fenced = SessionError::Ended { code: Code::Fenced, message: "fenced".into() };
        check(fenced, Code::Unauthorized, Code::Fenced);
    }
}
