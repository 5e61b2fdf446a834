//! The report of an actor: a [`TransformStatus`] is made of it at any time.

use crate::crashes::{ENDS_MAX, Permit, StartPhase};
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Desired};
use crate::model::status::{LastError, PartitionStatus, Rollout, RolloutState, State, TransformStatus};
use crate::model::units::Timestamp;
use crate::worker::WorkerStatus;

use super::inputs::PartitionSet;
use super::newest::unread;
use super::places::Work;
use super::workers::WorkerHandle;

/// The parts of a transform's status on this host.
#[derive(Clone)]
pub struct Report {
    pub host: String,
    /// The state while there are no workers.
    pub state: State,
    /// The revision that this host is to run.
    pub target: u64,
    /// True if that revision is ready to run.
    pub prepared: bool,
    /// The reason why it is not.
    pub error: Option<LastError>,
    /// The error of a table that the workers use and that does not follow its topic.
    pub stale_table: Option<LastError>,
    pub workers: Vec<WorkerHandle>,
}

impl Report {
    pub fn new(host: &str) -> Self {
        let host = host.to_owned();
        Self {
            host,
            state: State::Starting,
            target: 0,
            prepared: false,
            error: None,
            stale_table: None,
            workers: Vec::new(),
        }
    }

    /// The present status of each worker.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.workers.iter().map(|worker| worker.status.borrow().clone()).collect()
    }

    /// The worker that has the state of a partition number, if one here has it.
    pub fn owner(&self, number: i32) -> Option<&WorkerHandle> {
        self.workers.iter().find(|worker| worker.status.borrow().partitions.iter().any(|own| own.partition == number))
    }

    /// The partitions that are owned here and not worked on, whatever they wait for.
    pub fn waiting(&self) -> PartitionSet {
        let partitions = self.workers().into_iter().flat_map(|worker| worker.partitions);
        let waiting = partitions.filter(|partition| partition.state != State::Running);
        waiting.map(|partition| (partition.topic, partition.partition)).collect()
    }

    /// A revision begins to be prepared.
    pub fn begin(&mut self, revision: u64) {
        // The error of another revision says nothing of this one, and a client that waits for it would take it for its own.
        let is_other = self.target != revision;
        self.target = revision;
        self.prepared = false;
        self.error.take_if(|error| is_other || error.code == Code::Quarantined);
        // A failure of the same revision shows until an attempt succeeds. Nothing else that was before does: it was paused,
        // or not here.
        if self.error.is_none() {
            self.state = State::Starting;
        }
    }

    /// The revision runs, or waits to be swapped in.
    pub fn complete(&mut self) {
        self.prepared = true;
        self.error = None;
    }

    pub fn fail(&mut self, error: LastError) {
        self.state = State::Failed;
        self.error = Some(error);
    }

    /// No worker runs any more. The state stays: whether others are to start in their place shows with the next call of
    /// [`begin`](Self::begin), [`fail`](Self::fail) or [`show_idle`](Self::show_idle).
    pub fn stop(&mut self) {
        self.workers.clear();
        self.stale_table = None;
        self.prepared = false;
    }

    /// Nothing runs: shows why, by the deployment that is desired and the permit to start it.
    pub fn show_idle(&mut self, desired: Option<&Deployment>, permit: Permit) {
        let live = desired.filter(|deployment| deployment.desired != Desired::Deleted);
        let quarantine = match permit {
            Permit::Quarantined { since } => Some(quarantined(since)),
            Permit::Granted | Permit::Waits => None,
        };
        self.error = live.and_then(unread).or(quarantine);
        self.state = match desired.map(|deployment| deployment.desired) {
            Some(Desired::Paused) => State::Paused,
            Some(Desired::Running) if self.error.is_some() => State::Failed,
            Some(Desired::Running) => State::Starting,
            Some(Desired::Deleted) | None => State::Stopped,
        };
        self.target = desired.map_or(0, |deployment| deployment.revision);
    }

    /// Shows that the revision that runs is not the newest, where this host does not understand the newest. Returns true
    /// if that is news.
    pub fn show_unread(&mut self, desired: Option<&Deployment>) -> bool {
        let unread = desired.and_then(unread);
        let is_shown = self.error.as_ref().is_some_and(|error| error.code == Code::NewerFormat);
        if self.error == unread || (unread.is_none() && !is_shown) {
            return false;
        }
        self.target = desired.map_or(self.target, |deployment| deployment.revision);
        self.error = unread;
        true
    }

    /// The work of the workers, by which this host keeps its place.
    pub fn work(&self) -> Work {
        let mut work = Work { has_workers: !self.workers.is_empty(), ..Work::default() };
        let mut busy_percents = 0;
        for worker in &self.workers {
            let status = worker.status.borrow();
            work.partitions += status.partitions.len();
            busy_percents += usize::from(status.busy_percent);
        }
        work.busy_percent = u8::try_from(busy_percents / self.workers.len().max(1)).unwrap_or(100);
        work
    }

    /// The progress of a start, for the host's order of starts. None while no worker runs.
    pub fn phase(&self) -> Option<StartPhase> {
        let workers = self.workers();
        let mut partitions = workers.iter().flat_map(|worker| &worker.partitions).peekable();
        if workers.is_empty() {
            None
        } else if partitions.peek().is_none() {
            Some(StartPhase::WithoutPartitions)
        } else if partitions.any(|partition| partition.state == State::Starting) {
            Some(StartPhase::Starting)
        } else {
            Some(StartPhase::Running)
        }
    }

    pub fn status(&self, id: &TransformId) -> TransformStatus {
        let workers = self.workers();
        let mut partitions: Vec<_> = workers.iter().flat_map(|worker| worker.partitions.clone()).collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let errors = workers.iter().filter_map(|worker| worker.error.as_ref()).chain(&self.stale_table);
        let newest_error = errors.max_by_key(|error| error.at).cloned();
        let state = match State::over(workers.iter().map(|worker| worker.state)).unwrap_or(self.state) {
            State::Running if self.stale_table.is_some() => State::Degraded,
            state => state,
        };
        TransformStatus {
            id: id.clone(),
            state,
            revision: workers.iter().map(|worker| worker.revision).min().unwrap_or(self.target),
            rollout: self.rollout(&workers),
            host: self.host.clone(),
            error: self.error.clone().or(newest_error),
            partitions,
            truncated: false,
            omitted: None,
            // The supervisor knows how many hosts there are.
            hosts_wanted: None,
            activity: None,
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

/// The error of a transform that stays off. It does not change while that is so.
fn quarantined(since: Timestamp) -> LastError {
    let message =
        format!("it was in a call at {ENDS_MAX} abnormal ends of this host in a row, and had not committed between");
    LastError { code: Code::Quarantined, message, offset: None, at: since }
}

/// Returns true if a worker runs the revision for good: a worker that its group does not take in runs nothing. A revision on
/// trial counts if no record waits that it could fail on.
fn has_arrived(worker: &WorkerStatus, revision: u64) -> bool {
    // One that stands still without a place has no record that waits either.
    let is_idle = |partition: &PartitionStatus| match partition.lag {
        Some(lag) => lag == 0,
        None => partition.state == State::Failed,
    };
    let idle = || worker.partitions.iter().all(is_idle);
    worker.joined && worker.revision >= revision && (worker.fallback.is_none() || idle())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TransformId {
        "t/n".parse().expect("valid")
    }

    /// Otherwise its status would be gone for a moment, and its actor would be taken for one that has nothing to do.
    #[test]
    fn a_start_shows_from_its_beginning_to_its_workers() {
        for before in [State::Starting, State::Paused, State::Stopped] {
            let mut report = Report::new("a");
            report.state = before;
            report.begin(2);
            // Workers that ran before have stopped, and others are about to start.
            report.stop();
            let status = report.status(&id());
            assert_eq!((status.state, status.rollout.state), (State::Starting, RolloutState::InProgress), "{before}");
        }
    }

    #[test]
    fn a_failure_shows_until_another_revision_begins() {
        let mut report = Report::new("a");
        report.begin(2);
        report.fail(LastError { code: Code::SecretMissing, message: String::new(), offset: None, at: Timestamp(0) });
        for (revision, expected) in [(2, State::Failed), (3, State::Starting)] {
            report.begin(revision);
            report.stop();
            assert_eq!(report.status(&id()).state, expected, "{revision}");
        }
    }
}
