//! The worker threads of one transform on this host, with the sessions and stores that they were started with.
//!
//! Owned by the transform's actor. At most one set of workers per transform runs on a host: they share transactional ids.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::model::clock::{Monotonic, Now};
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::status::LastError;
use crate::model::units::Timestamp;
use crate::ports::{PartitionEnds, StateOpener, log_of};
use crate::steady_clock;
use crate::stores::TransformStores;
use crate::telemetry::metrics::TransformMetrics;
use crate::worker::{Command, Commands, Revisions, Swap, Worker, WorkerStatus, inbox};

use super::error::PrepareError;
use super::membership::{BegunInputs, Membership};
use super::parts::Parts;
use super::prepare::PreparedRevision;

/// A guest's calls use its worker's stack.
const STACK_BYTES: usize = 4 << 20;

/// The clocks of a worker: the wall clock without its steps, and the monotonic one.
fn worker_clock() -> Now {
    Now { wall: steady_clock::now(), mono: Monotonic::now() }
}

/// A worker, as others reach it.
#[derive(Clone)]
pub struct WorkerHandle {
    pub status: watch::Receiver<WorkerStatus>,
    pub commands: Commands,
}

/// The place in the group and the partitions that the workers' sessions were opened with.
#[derive(Debug, Clone)]
pub struct WorkerSessions {
    pub membership: Membership,
    pub begun: BegunInputs,
}

struct WorkerThread {
    commands: Commands,
    thread: std::thread::JoinHandle<()>,
    metrics: Arc<TransformMetrics>,
}

/// The workers of one transform on this host.
#[derive(Default)]
pub struct Workers {
    threads: Vec<WorkerThread>,
    sessions: Option<WorkerSessions>,
    stores: Option<TransformStores>,
    /// The error of partitions that wait for a revision which will not come.
    stranded: Option<LastError>,
}

impl Workers {
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Returns true if a thread has ended. A worker ends when it is told to; otherwise it panicked.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(|worker| worker.thread.is_finished())
    }

    /// None while no worker runs.
    pub fn sessions(&self) -> Option<&WorkerSessions> {
        self.sessions.as_ref().filter(|_| !self.threads.is_empty())
    }

    /// The opener of the workers' stores, where they have any.
    pub fn stores(&self) -> Option<&TransformStores> {
        self.stores.as_ref()
    }

    /// Returns true if the workers can go on with a revision. Otherwise their place in the group changes, and other
    /// workers are started in their place.
    pub fn can_swap(&self, prepared: &PreparedRevision) -> bool {
        let Some(sessions) = self.sessions().filter(|_| !self.has_ended()) else { return false };
        let is_same_place = prepared.membership.is_same_place(&sessions.membership);
        is_same_place && prepared.workers as usize == self.threads.len() && prepared.has_same_stores(self.stores())
    }

    /// Hands the revision to the workers, with an instance for each partition that they own.
    pub fn swap(&self, prepared: PreparedRevision, statuses: &[WorkerStatus]) {
        let PreparedRevision { runnable, mut guests, .. } = prepared;
        for (worker, status) in self.threads.iter().zip(statuses) {
            let own = guests.split_off(guests.len().saturating_sub(status.partitions.len()));
            let _ = worker.commands.send(Command::Swap(Swap { revision: runnable.clone(), guests: own }));
        }
    }

    /// Starts `count` workers. After an error some may run.
    pub fn start(
        &mut self,
        parts: &Parts,
        id: &TransformId,
        count: u32,
        revisions: &Revisions,
        sessions: WorkerSessions,
        stores: Option<TransformStores>,
    ) -> Result<Vec<WorkerHandle>, PrepareError> {
        let mut handles = Vec::new();
        for number in 0..count {
            let (commands, inbox) = inbox::channel();
            let (status, published) = watch::channel(WorkerStatus::default());
            let worker = Worker {
                log: log_of(&parts.log, &id.team),
                options: sessions.membership.session(&parts.host, number, &sessions.begun),
                revisions: revisions.clone(),
                stores: stores.clone().map(|stores| Arc::new(stores) as Arc<dyn StateOpener>),
                processors: parts.processors.clone(),
                commands: inbox,
                rests: parts.rests.clone(),
                status,
                clock: worker_clock,
            };
            let thread = std::thread::Builder::new().name(format!("{}-{number}", id.name)).stack_size(STACK_BYTES);
            let thread = (parts.spawn)(thread, Box::new(move || worker.run())).map_err(|error| {
                let message = format!("the system gives no thread for worker {number} of {count}: {error}");
                PrepareError::new(Code::HostResources, message)
            })?;
            let metrics = revisions.current.observer.metrics.clone();
            self.threads.push(WorkerThread { commands: commands.clone(), thread, metrics });
            handles.push(WorkerHandle { status: published, commands });
        }
        self.sessions = Some(sessions);
        self.stores = stores;
        Ok(handles)
    }

    /// Tells the workers that partitions of their inputs have begun since.
    pub fn set_begun(&mut self, begun: BegunInputs) {
        if let Some(sessions) = &mut self.sessions {
            sessions.begun = begun;
        }
        self.send(|| Command::LookForPartitions);
    }

    /// Tells the workers the ends of partitions that they do not fetch now.
    pub fn note_ends(&self, ends: &PartitionEnds) {
        self.send(|| Command::NoteEnds(ends.clone()));
    }

    /// Takes up the partitions that stopped before a bad record.
    pub fn resume(&self) {
        self.send(|| Command::Resume);
    }

    /// Tells the workers why partitions wait that a revision of no known content has committed.
    pub fn strand(&mut self, PrepareError { code, message }: PrepareError) {
        let known = self.stranded.take().filter(|known| (known.code, &known.message) == (code, &message));
        let error = known.unwrap_or_else(|| LastError { code, message, offset: None, at: Timestamp::now() });
        self.send(|| Command::Strand(error.clone()));
        self.stranded = Some(error);
    }

    /// Ends the workers: each commits its open transaction and leaves the group.
    pub async fn stop(&mut self, id: &TransformId) {
        self.send(|| Command::Stop);
        let threads = std::mem::take(&mut self.threads);
        // They hold the transform's metrics.
        self.stores = None;
        let join = |WorkerThread { thread, metrics, .. }| (thread.join(), metrics);
        let joined = spawn_blocking(move || threads.into_iter().map(join).collect::<Vec<_>>());
        for (ended, metrics) in joined.await.unwrap_or_default() {
            if ended.is_err() {
                tracing::error!(transform = %id, "a worker panicked: this is a bug");
                metrics.clear_partitions();
            }
        }
    }

    fn send(&self, command: impl Fn() -> Command) {
        for worker in &self.threads {
            // A worker that has ended is found by `has_ended`.
            let _ = worker.commands.send(command());
        }
    }
}
