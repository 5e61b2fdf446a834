//! Pauses: the partitions that the session does not read on for now.
//!
//! | reason | until |
//! |---|---|
//! | the task waits ([`Task::is_waiting`]) | it waits no more |
//! | the worker backs off after an abort | the back-off is over |
//! | pending records take too much memory ([`crate::worker::holds`]) | some of them are done |
//!
//! The worker polls meanwhile, as a member of its group must. A pause needs no seek: the session goes on after the last
//! record that it handed over.

use super::TaskManager;
use crate::model::clock::Monotonic;
use crate::ports::SessionError;
use crate::task::Task;

impl TaskManager {
    /// Pauses the partitions in the session that have a reason to wait, and resumes those that have none any more.
    pub(super) fn pause_waiting(&mut self, now: Monotonic) -> Result<(), SessionError> {
        let working = self.tasks.iter().filter(|(_, task)| !task.is_waiting(now));
        let pending: Vec<_> = working.map(|(&partition, task)| (partition, task.pending_bytes())).collect();
        self.holds.update(&pending);
        let is_backing_off = self.transaction.is_backing_off(now);
        for (&partition, task) in &self.tasks {
            let reason = if task.is_waiting(now) {
                Some("waiting")
            } else if is_backing_off {
                Some("back-off")
            } else {
                self.holds.is_held(partition).then_some("pending")
            };
            let index = self.paused.iter().position(|&paused| paused == partition);
            match (reason, index) {
                (Some(reason), None) => {
                    self.session.pause(partition)?;
                    self.paused.push(partition);
                    self.rollout.current().observer.metrics.paused(reason);
                }
                (None, Some(index)) => {
                    self.session.resume(partition)?;
                    self.paused.swap_remove(index);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes of all records that were read and are not processed yet.
    pub fn pending_bytes(&self) -> usize {
        self.tasks.values().map(Task::pending_bytes).sum()
    }
}
