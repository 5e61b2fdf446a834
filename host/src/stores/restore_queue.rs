//! A bounded number of threads for all restores of a host, in which the teams take turns.
//!
//! A restore is done in steps. After each, the turn goes to the next team that waits, so a team with 300 partitions leaves
//! another's one partition half of the threads' time. Within a team, the first restore goes on as long as it gets ahead:
//! one finished partition is worth more than two halves. A restore that gets no further (it waits for the end of another's
//! transaction) lets the next one go on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::names::TeamName;
use crate::round_robin::RoundRobin;
use crate::telemetry::metrics::StateMetrics;

/// The outcome of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is more to do.
    Ahead,
    /// There is more to do, and for now it cannot be done.
    Stuck,
    Done,
}

/// A restore, in steps of less than a second while the log answers.
pub(super) trait Job: Send {
    fn step(&mut self) -> Turn;

    /// Returns true if nobody waits for it any more.
    fn is_given_up(&self) -> bool;
}

/// The restores of a host that wait for a thread.
pub(super) struct RestoreQueue {
    threads_max: usize,
    metrics: StateMetrics,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    jobs: RoundRobin<TeamName, Box<dyn Job>>,
    threads: usize,
}

impl RestoreQueue {
    pub fn new(threads_max: usize, metrics: StateMetrics) -> Self {
        Self { threads_max: threads_max.max(1), metrics, waiting: Mutex::default() }
    }

    /// Adds a restore. If the system has no thread for it, it is dropped.
    pub fn push(self: &Arc<Self>, team: &TeamName, job: Box<dyn Job>) {
        let mut waiting = self.waiting.lock();
        self.put(&mut waiting, team, job, true);
        if waiting.threads == self.threads_max {
            return;
        }
        let own = self.clone();
        let spawned = std::thread::Builder::new().name("restore".into()).spawn(move || own.run());
        match spawned {
            Ok(_) => waiting.threads += 1,
            Err(error) if waiting.threads == 0 => {
                tracing::error!(%error, "the system has no thread to restore a store");
                let dropped = std::mem::take(&mut waiting.jobs);
                dropped.owners().for_each(|team| self.metrics.restores_waiting(team.as_str(), None));
                drop(waiting);
                drop(dropped);
            }
            // The threads that there are do it in their time.
            Err(_) => {}
        }
    }

    /// Drops the restores of a team that nobody waits for.
    pub fn clear_given_up(&self, team: &TeamName) {
        let mut waiting = self.waiting.lock();
        let given_up = waiting.jobs.take_of(team, |job| job.is_given_up());
        self.show(&waiting, team);
        drop(waiting);
        // Closing stores takes a moment: not while others wait for the lock.
        drop(given_up);
    }

    /// Works until nothing is left.
    fn run(&self) {
        while let Some((team, mut job)) = self.next() {
            // A panic ends the restore, and not the thread that others wait for: it was reported where it happened.
            let step = || if job.is_given_up() { Turn::Done } else { job.step() };
            let turn = catch_unwind(AssertUnwindSafe(step)).unwrap_or(Turn::Done);
            let mut waiting = self.waiting.lock();
            // Asked under the lock: whoever gives it up takes the lock after that, and finds it in the queue or not.
            if turn == Turn::Done || job.is_given_up() {
                drop(waiting);
                // Without the lock, as its stores are closed here.
                drop(job);
            } else {
                self.put(&mut waiting, &team, job, turn == Turn::Stuck);
            }
        }
    }

    fn put(&self, waiting: &mut Waiting, team: &TeamName, job: Box<dyn Job>, is_last: bool) {
        if is_last {
            waiting.jobs.push(team.clone(), job);
        } else {
            waiting.jobs.push_front(team.clone(), job);
        }
        self.show(waiting, team);
    }

    /// The job whose turn it is. Without one, the thread that asks counts as ended.
    fn next(&self) -> Option<(TeamName, Box<dyn Job>)> {
        let mut waiting = self.waiting.lock();
        let next = waiting.jobs.pop(|_| true);
        match &next {
            Some((team, _)) => self.show(&waiting, team),
            None => waiting.threads -= 1,
        }
        next
    }

    fn show(&self, waiting: &Waiting, team: &TeamName) {
        let jobs = waiting.jobs.len_of(team);
        self.metrics.restores_waiting(team.as_str(), (jobs > 0).then_some(jobs as u64));
    }
}

#[cfg(test)]
#[path = "restore_queue_tests.rs"]
mod tests;
