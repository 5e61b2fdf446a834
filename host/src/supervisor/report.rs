//! What an actor shows: enough to make up a [`TransformStatus`] at any time.

use std::sync::mpsc::Sender;

use tokio::sync::watch;

use crate::model::names::TransformId;
use crate::model::status::{LastError, PartitionStatus, Rollout, RolloutState, State, TransformStatus};
use crate::worker::{Command, WorkerStatus};

/// A worker, from outside.
#[derive(Clone)]
pub struct WorkerSeen {
    pub status: watch::Receiver<WorkerStatus>,
    pub commands: Sender<Command>,
}

/// See the module.
#[derive(Clone)]
pub struct Report {
    pub host: String,
    /// The state while there are no workers.
    pub state: State,
    /// The revision that this host is to run.
    pub target: u64,
    /// It is ready to run.
    pub prepared: bool,
    /// Why it is not.
    pub error: Option<LastError>,
    pub workers: Vec<WorkerSeen>,
}

impl Report {
    pub fn new(host: &str) -> Self {
        let host = host.to_owned();
        Self { host, state: State::Starting, target: 0, prepared: false, error: None, workers: Vec::new() }
    }

    /// How the workers are doing.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.workers.iter().map(|worker| worker.status.borrow().clone()).collect()
    }

    /// The worker that has the state of a partition number, if one here has it.
    pub fn owner(&self, number: i32) -> Option<&WorkerSeen> {
        self.workers.iter().find(|worker| worker.status.borrow().partitions.iter().any(|own| own.partition == number))
    }

    pub fn status(&self, id: &TransformId) -> TransformStatus {
        let workers = self.workers();
        let mut partitions: Vec<_> = workers.iter().flat_map(|worker| worker.partitions.clone()).collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let worker_error = workers.iter().filter_map(|worker| worker.error.clone()).max_by_key(|error| error.at);
        TransformStatus {
            id: id.clone(),
            state: State::over(workers.iter().map(|worker| worker.state)).unwrap_or(self.state),
            revision: workers.iter().map(|worker| worker.revision).min().unwrap_or(self.target),
            rollout: self.rollout(&workers),
            host: self.host.clone(),
            error: self.error.clone().or(worker_error),
            partitions,
        }
    }

    fn rollout(&self, workers: &[WorkerStatus]) -> Rollout {
        let refused = workers.iter().filter_map(|worker| worker.refused.as_ref());
        let refused = refused.filter(|refused| refused.revision == self.target).map(|refused| &refused.error).next();
        let error = self.error.as_ref().or(refused).cloned();
        let state = match () {
            () if error.as_ref().is_some_and(|error| error.code.may_pass()) => RolloutState::InProgress,
            () if error.is_some() => RolloutState::Failed,
            () if workers.is_empty() && matches!(self.state, State::Paused | State::Stopped) => RolloutState::Complete,
            () if !self.prepared => RolloutState::InProgress,
            () if workers.iter().all(|worker| has_arrived(worker, self.target)) => RolloutState::Complete,
            () => RolloutState::Ready,
        };
        Rollout { revision: self.target, state, error }
    }
}

/// Whether a worker runs the revision for good. On trial it does where no record waits that it could fail on.
fn has_arrived(worker: &WorkerStatus, revision: u64) -> bool {
    // One that stands still without a place has no record that waits either.
    let is_idle = |partition: &PartitionStatus| match partition.lag {
        Some(lag) => lag == 0,
        None => partition.state == State::Failed,
    };
    let idle = || worker.partitions.iter().all(is_idle);
    worker.revision >= revision && (!worker.on_trial || idle())
}
