//! Swapping in another revision, its trial, and the way back.

use super::{TaskManager, as_restart};
use crate::model::clock::{Monotonic, Now};
use crate::model::status::LastError;
use crate::ports::{Guest, SessionError, TopicPartition};
use crate::task::{RecordFailure, Task};
use crate::worker::Swap;

impl TaskManager {
    /// Goes on with another revision once no transaction is open.
    pub fn swap(&mut self, next: Swap) {
        self.rollout.schedule(next);
    }

    /// Gives every task the new revision, which is on trial unless another host has committed with it already.
    pub(super) fn take_over(&mut self, guests: Vec<Box<dyn Guest>>, now: Now) -> Result<(), SessionError> {
        let settings = &self.revision().settings;
        let tasks = self.tasks.len();
        tracing::info!(transform = %settings.id, revision = settings.revision, tasks, "revision swapped in");
        self.pass_trial_if_committed();
        self.install(guests, now)
    }

    /// Aborts, and goes back to the previous revision: the one on trial trapped, and nothing of it was committed.
    pub(super) fn step_back(&mut self, failure: RecordFailure, at: TopicPartition, now: Now) -> Result<(), SessionError> {
        let task = &self.tasks[&at];
        let offset = task.next_offset();
        let RecordFailure { code, message } = failure;
        let rejected = self.rollout.reject(LastError { code, message: message.clone(), offset: Some(offset), at: now.wall });
        tracing::warn!(
            transform = %rejected.settings.id, revision = rejected.settings.revision,
            goes_on = self.revision().settings.revision, topic = %task.topic(), partition = at.partition, offset,
            %code, error = message, "the new revision trapped before its first commit: the one before goes on"
        );
        rejected.observer.metrics.swapped("refused");
        rejected.observer.metrics.aborted("refused");
        self.abort(now.mono)?;
        self.install(Vec::new(), now).map_err(as_restart)
    }

    fn install(&mut self, mut guests: Vec<Box<dyn Guest>>, now: Now) -> Result<(), SessionError> {
        // A task that was paused is read again, and its place among those that rest does not name it.
        self.rest.stir();
        let revision = self.revision().clone();
        let on_trial = self.rollout.is_on_trial();
        self.session.set_outputs(&revision.settings.outputs)?;
        for task in self.tasks.values_mut() {
            let was_paused = task.is_paused();
            task.swap(revision.clone(), guests.pop(), on_trial);
            task.replan_tick(now);
            if was_paused {
                self.session.seek(task.id(), task.next_offset())?;
            }
        }
        if self.tasks.values().any(Task::has_pending) {
            // At once, so that the trial is short.
            self.transaction.set_deadline(Monotonic::PAST);
        } else {
            self.rollout.stop_pause_timer();
        }
        Ok(())
    }

    /// Ends the trial: the current revision has committed, here or elsewhere. From now on single records answer for their
    /// failures.
    pub(super) fn pass_trial(&mut self) {
        self.tasks.values_mut().for_each(Task::pass_trial);
        if self.rollout.pass_trial() {
            self.revision().observer.metrics.swapped("ok");
        }
    }

    /// Ends the trial of a revision that another host has committed with. (A newer revision's commit says nothing of this
    /// one.)
    pub(super) fn pass_trial_if_committed(&mut self) {
        let revision = self.revision().settings.revision;
        if self.tasks.values().any(|task| task.committed_revision() == revision) {
            self.pass_trial();
        }
    }
}
