//! Reading: records go to their tasks, states become open, partitions get their places.

use std::time::Duration;

use super::{TaskManager, as_restart};
use crate::model::clock::{Monotonic, Now};
use crate::model::codes::Code;
use crate::ports::SessionError;
use crate::worker::partition_states::RestoreEnd;

/// Most records of one poll: a few batches, so that a commit is never long in coming.
const POLL_RECORDS_MAX: usize = 4096;
/// The shortest wait for records: less is no wait to a log.
const WAIT_MIN: Duration = Duration::from_millis(1);

impl TaskManager {
    /// Hands the session's records to their tasks, and keeps a rebalance for the boundary. Returns true if there was no work
    /// to do before records came.
    pub(super) fn poll(&mut self, now: Now, idle_wait: Duration) -> Result<bool, SessionError> {
        let timeout = self.poll_timeout(now, idle_wait);
        let tasks = &mut self.tasks;
        self.rebalance = self.session.poll(timeout, POLL_RECORDS_MAX, &mut |partition, record| {
            if let Some(task) = tasks.get_mut(&partition) {
                task.offer(record);
            }
        })?;
        Ok(!timeout.is_zero())
    }

    /// The time until there is work to do: none if there is some, else until the next task, deadline or back-off is due.
    fn poll_timeout(&self, now: Now, idle_wait: Duration) -> Duration {
        let has_backlog = self.may_begin(now) && self.tasks.values().any(|task| task.is_ready(now, false));
        if !self.transaction.is_backing_off(now.mono) && (has_backlog || self.is_due(now.mono)) {
            return Duration::ZERO;
        }
        let commits_in = self.transaction.deadline().map(|at| at.since(now.mono.after(self.commit_lead())));
        let times = self.transaction.times().chain(self.commit_passed_at).map(|at| at.since(now.mono));
        let left = self.tasks.values().filter_map(|task| task.time_left(now)).chain(times).chain(commits_in);
        left.filter(|left| !left.is_zero()).min().unwrap_or(idle_wait).max(WAIT_MIN).min(idle_wait)
    }

    /// Tells the tasks of damaged records, and of partitions that were read to their end.
    pub(super) fn note_read(&mut self) {
        for damage in self.session.damaged() {
            if let Some(task) = self.tasks.get_mut(&damage.partition) {
                task.condemn_damaged(damage.offset, &damage.reason);
            }
        }
        for &(partition, end) in self.session.consumed_ends() {
            if let Some(task) = self.tasks.get_mut(&partition) {
                task.reached_end(end);
            }
        }
    }

    /// Lets tasks go whose state is open now.
    pub(super) fn poll_states(&mut self, now: Now) -> Result<(), SessionError> {
        for (partition, end) in self.states.poll(now) {
            let id = &self.rollout.current().settings.id;
            match end {
                RestoreEnd::Opened => {
                    tracing::info!(transform = %id, partition, "state is up to date");
                    for task in self.tasks.values_mut().filter(|task| task.id().partition == partition) {
                        task.state_opened();
                        if self.paused.contains(&task.id()) {
                            self.session.seek(task.id(), task.expected_offset()).map_err(as_restart)?;
                        }
                    }
                }
                RestoreEnd::Failed(error) => {
                    tracing::error!(transform = %id, partition, code = %error.code, error = error.message, "no state");
                    let own = self.tasks.values_mut().filter(|task| task.id().partition == partition);
                    own.for_each(|task| task.state_failed(error.clone()));
                }
                RestoreEnd::Stopped(error) => {
                    tracing::error!(transform = %id, partition, code = %error.code, error = error.message, "stopped");
                    for task in self.tasks.values_mut() {
                        task.wait_for_state(true);
                        task.state_failed(error.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the session if another one would begin elsewhere.
    pub(super) fn look_at_places(&mut self, now: Monotonic) -> Result<(), SessionError> {
        if self.unplaced.is_due(now) {
            self.look_for_places()?;
        }
        let Some(reason) = self.session.interrupted().map(str::to_owned) else { return Ok(()) };
        // The records before the gap are done and committed first.
        let is_busy = self.tasks.values().any(|task| task.has_pending() && !task.is_waiting(now));
        if is_busy || self.transaction.is_open() {
            self.transaction.set_deadline(Monotonic::PAST);
            return Ok(());
        }
        Err(SessionError::Ended { code: Code::OffsetOutside, message: reason })
    }

    fn look_for_places(&mut self) -> Result<(), SessionError> {
        if self.session.finds_places()? {
            return Err(SessionError::Restart("a partition has got an offset".into()));
        }
        Ok(())
    }

    /// Looks for partitions that the inputs have got since, and for offsets that partitions have got.
    pub fn look_for_partitions(&mut self) -> Result<(), SessionError> {
        self.session.look_for_partitions()?;
        self.look_for_places()
    }
}
