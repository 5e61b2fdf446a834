//! Pauses: the partitions that the session does not read on for now.
//!
//! | reason | until |
//! |---|---|
//! | the task waits ([`Task::is_waiting`]) | it waits no more |
//! | the worker backs off after an abort | the back-off is over |
//! | pending records take too much memory ([`crate::worker::holds`]) | some of them are done |
//! | nothing has come for a while ([`crate::worker::rest`]) | one of the partitions has got records |
//!
//! The worker polls meanwhile, as a member of its group must. A pause needs no seek: the session goes on after the last
//! record that it handed over.

use super::TaskManager;
use crate::model::clock::Monotonic;
use crate::ports::SessionError;
use crate::task::Task;
use crate::worker::rests::RestingPartition;

impl TaskManager {
    /// Pauses the partitions in the session that have a reason to wait, and resumes those that have none any more.
    pub(super) fn pause_waiting(&mut self, now: Monotonic) -> Result<(), SessionError> {
        let working = self.tasks.iter().filter(|(_, task)| !task.is_waiting(now));
        let pending: Vec<_> = working.map(|(&partition, task)| (partition, task.pending_bytes())).collect();
        self.holds.update(&pending);
        let is_backing_off = self.transaction.is_backing_off(now);
        let has_rested = self.rest.is_on();
        if self.rest.update(self.is_quiet(now), now) {
            self.rest.begin(self.positions(now), now);
            self.spares.clear();
        }
        let mut resumed = Vec::new();
        for (&partition, task) in &self.tasks {
            let reason = if task.is_waiting(now) {
                Some("waiting")
            } else if is_backing_off {
                Some("back-off")
            } else {
                let held = self.holds.is_held(partition).then_some("pending");
                held.or(self.rest.is_on().then_some("idle"))
            };
            match (reason, self.paused.contains(&partition)) {
                (Some(reason), false) => {
                    self.session.pause(partition)?;
                    self.paused.insert(partition);
                    self.rollout.current().observer.metrics.paused(reason);
                }
                (None, true) => {
                    self.session.resume(partition)?;
                    self.paused.remove(&partition);
                    resumed.push(partition);
                }
                _ => {}
            }
        }
        // The first records after a silence come at once; the others are on their way already.
        if has_rested && !resumed.is_empty() { self.session.hasten(&resumed) } else { Ok(()) }
    }

    /// Returns true if there is nothing to do until a record comes.
    fn is_quiet(&self, now: Monotonic) -> bool {
        let waits = self.rebalance.is_some() || self.commit_passed_at.is_some() || !self.unplaced.is_empty();
        // A back-off that is over stays until the next transaction.
        let has_work = self.transaction.is_open() || self.transaction.is_backing_off(now);
        let is_idle = !has_work && self.transaction.deadline().is_none();
        is_idle && !waits && !self.tasks.is_empty() && self.tasks.values().all(Task::is_quiet)
    }

    /// The partitions that are read now, each with the offset of its next record.
    fn positions(&self, now: Monotonic) -> Vec<RestingPartition> {
        let read = self.tasks.values().filter(|task| !task.is_waiting(now));
        read.map(|task| ((task.topic().clone(), task.id().partition), task.expected_offset())).collect()
    }

    /// Bytes of all records that were read and are not processed yet.
    pub fn pending_bytes(&self) -> usize {
        self.tasks.values().map(Task::pending_bytes).sum()
    }
}
