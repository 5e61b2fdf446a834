//! One transform's loop on one thread: poll, process, commit.
//!
//! ```text
//! run:   open session -> TaskManager -> turn, turn, turn ... -> stop
//!             ^            |  SessionError::Restart
//!             +-- backoff -+
//! turn:  poll -> full batches -> (deadline: what is left, commit) -> rebalance, if one waits
//! ```
//!
//! Invariants: one transaction spans all tasks of the worker; a partition is taken over or given up only between two
//! transactions; after an abort every task is back at its committed offset with a fresh instance; after a restart
//! nothing of the old session is used. A worker exists per transform, so one team's fatal error, fence or abort never
//! touches another's.

mod portion;
mod states;
mod task_manager;
mod unplaced;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use task_manager::{Revisions, Swap, TaskManager};

use crate::model::codes::Code;
use crate::model::status::{LastError, PartitionStatus, Refused, State};
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{Log, SessionError, SessionOptions, StateOpener};

/// First and longest time between two attempts to open a session.
const REOPEN: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(10) };
/// How long a worker without work waits in poll: the longest time until it sees a command.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// How often status is published while nothing happens to it.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// What a worker can be told.
pub enum Command {
    /// Commit what is open, leave the group, end.
    Stop,
    /// Go on with the partitions that a bad record stopped.
    Resume,
    /// Go on with another revision, from the end of the open transaction on.
    Swap(Swap),
    /// Look for partitions that the inputs have got since.
    LookForPartitions,
    /// Say of the partitions that wait for another revision why it does not come.
    Strand(LastError),
    /// Say what is committed in a store.
    LookUp(LookUp),
}

/// A look into a store. Not answered where the worker does not have that partition's state.
pub struct LookUp {
    /// Partition number.
    pub number: i32,
    pub store: String,
    pub key: Vec<u8>,
    pub answer: SyncSender<Option<Vec<u8>>>,
}

/// How a worker is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    pub state: State,
    pub error: Option<LastError>,
    pub partitions: Vec<PartitionStatus>,
    /// Memory of its largest instance.
    pub memory_bytes: usize,
    pub revision: u64,
    /// The revision has not committed yet: the one before is kept.
    pub on_trial: bool,
    pub refused: Option<Refused>,
    /// A newer revision that another host has committed with, on partitions that are this worker's now: they wait
    /// for it.
    pub outrun_by: Option<u64>,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        Self {
            state: State::Starting,
            error: None,
            partitions: Vec::new(),
            memory_bytes: 0,
            revision: 0,
            on_trial: false,
            refused: None,
            outrun_by: None,
        }
    }
}

/// See the module. Runs on its own thread.
pub struct Worker {
    pub log: Arc<dyn Log>,
    pub options: SessionOptions,
    pub programs: Revisions,
    /// What opens its stores, where it has any.
    pub stores: Option<Arc<dyn StateOpener>>,
    pub commands: Receiver<Command>,
    pub status: watch::Sender<WorkerStatus>,
    /// The clock, read between calls and passed on.
    pub clock: fn() -> Timestamp,
}

/// Why a cycle ended.
enum End {
    Stopped,
    Failed(SessionError),
}

impl Worker {
    /// Runs until it is told to stop, or nobody is left to tell it.
    pub fn run(mut self) {
        let mut failures = 0;
        loop {
            self.options.outputs.clone_from(&self.programs.run.settings.outputs);
            let ended = match self.log.open(&self.options) {
                Ok(session) => {
                    let started = Instant::now();
                    let mut cycle = TaskManager::new(session, self.programs.clone(), self.stores.clone());
                    let end = self.serve(&mut cycle);
                    self.programs = cycle.into_revisions();
                    // A session that worked for a while failed of something new.
                    failures = if started.elapsed() > REOPEN.longest { 0 } else { failures };
                    end
                }
                Err(error) => End::Failed(error),
            };
            let End::Failed(error) = ended else { break };
            let pause = REOPEN.after(failures);
            failures += 1;
            self.report_failure(&error, pause);
            if self.stopped_while_waiting(pause) {
                break;
            }
        }
        self.publish(WorkerStatus { state: State::Stopped, ..WorkerStatus::default() });
    }

    fn serve(&mut self, cycle: &mut TaskManager) -> End {
        let (mut published, mut standing) = (Instant::now(), cycle.standing());
        loop {
            match self.commands.try_recv() {
                Ok(Command::Resume) => {
                    if let Err(error) = cycle.resume() {
                        return End::Failed(error);
                    }
                }
                Ok(Command::Swap(next)) => cycle.swap(next),
                Ok(Command::LookForPartitions) => {
                    if let Err(error) = cycle.look_for_partitions() {
                        return End::Failed(error);
                    }
                }
                Ok(Command::Strand(error)) => cycle.strand(&error),
                Ok(Command::LookUp(LookUp { number, store, key, answer })) => {
                    if let Some(found) = cycle.look_up(number, &store, &key, (self.clock)()) {
                        let _ = answer.send(found);
                    }
                    continue;
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    if let Err(error) = cycle.stop(self.clock) {
                        // Whoever takes over processes again what was not committed.
                        let id = &self.programs.run.settings.id;
                        tracing::warn!(transform = %id, %error, "stopped without its last commit");
                    }
                    return End::Stopped;
                }
                Err(TryRecvError::Empty) => {}
            }
            if let Err(error) = cycle.turn(self.clock, IDLE_WAIT) {
                return End::Failed(error);
            }
            // How a swap goes is told at once.
            if published.elapsed() >= STATUS_INTERVAL || standing != cycle.standing() {
                self.publish(cycle.status());
                (published, standing) = (Instant::now(), cycle.standing());
            }
        }
    }

    fn publish(&self, status: WorkerStatus) {
        let metrics = &self.programs.run.observer.metrics;
        for partition in &status.partitions {
            metrics.lag(partition.topic.as_str(), partition.partition, partition.lag);
            let left = partition.restoring.map(|restoring| restoring.records_total - restoring.records_read);
            metrics.stores.restore_left(partition.partition, left);
            for store in &partition.stores {
                metrics.stores.size(&store.name, partition.partition, Some((store.entries, store.bytes)));
            }
        }
        for gone in self.status.borrow().partitions.iter().filter(|before| {
            !status.partitions.iter().any(|now| (&now.topic, now.partition) == (&before.topic, before.partition))
        }) {
            metrics.lag(gone.topic.as_str(), gone.partition, None);
            metrics.stores.restore_left(gone.partition, None);
            gone.stores.iter().for_each(|store| metrics.stores.size(&store.name, gone.partition, None));
        }
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
    }

    fn report_failure(&self, error: &SessionError, pause: Duration) {
        self.programs.run.observer.metrics.aborted("restart");
        tracing::warn!(transform = %self.programs.run.settings.id, %error, ?pause, "the worker's session failed and is opened again");
        let code = if let SessionError::Withheld { code, .. } = error { *code } else { Code::LogUnavailable };
        let error = LastError { code, message: error.to_string(), offset: None, at: (self.clock)() };
        self.publish(WorkerStatus { state: State::Failed, error: Some(error), ..WorkerStatus::default() });
    }

    fn stopped_while_waiting(&mut self, pause: Duration) -> bool {
        use std::sync::mpsc::RecvTimeoutError;
        let deadline = Instant::now() + pause;
        loop {
            match self.commands.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Ok(Command::Resume | Command::LookForPartitions | Command::LookUp(_) | Command::Strand(_)) => {}
                Ok(Command::Swap(next)) => self.programs.replace(next.program),
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}
