//! One transform's loop on one thread: poll, process, commit.
//!
//! ```text
//! run:       open session -> TaskManager -> run_once, run_once ... -> stop
//!                 ^            |  SessionError::Restart, Ended
//!                 +-- back-off +
//! run_once:  poll -> full batches -> (deadline: the rest, commit) -> rebalance or swap, if one waits
//! ```
//!
//! Invariants: one transaction spans all tasks of the worker; a partition is taken over or given up, and a revision swapped
//! in, only between two transactions; after an abort every task is back at its committed offset with a fresh instance;
//! after a restart nothing of the old session is used. A worker exists per transform, so one team's fatal error, fence or
//! abort never touches another's.

mod bell;
mod busyness;
mod holds;
pub mod inbox;
mod partition_states;
mod portion;
mod rest;
mod rests;
mod rollout;
mod schedule;
mod status;
mod task_manager;
mod transaction;
mod unplaced;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use bell::{Bell, Commands};
pub use inbox::Inbox;
pub use rest::Among;
pub use rests::{RestingPartition, RestingPlace, Rests};
pub use rollout::{Revisions, RolloutStage, Swap};
pub use status::WorkerStatus;
pub use task_manager::TaskManager;

use crate::cpu::Processors;
use crate::model::clock::Now;
use crate::model::status::{LastError, PartitionStatus, State};
use crate::model::units::Backoff;
use crate::ports::{Log, PartitionEnds, SessionError, SessionOptions, StateOpener};
use crate::telemetry::meter::Meter;

/// First and longest time between two attempts to open a session. A session that lasted longer than the longest one
/// resets the back-off.
const REOPEN: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(10) };
/// The time that a worker without work waits in a poll where nothing wakes it: the longest time until it sees a command.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// The time that such a worker waits where commands, records and rebalances wake it.
const QUIET_WAIT: Duration = Duration::from_secs(5);
/// The time of one turn that commands may take, look-ups above all: after it the worker polls again.
const COMMAND_TIME: Duration = Duration::from_millis(10);
/// The time between two reports of the status while no rollout goes on.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// The commands to a worker.
pub enum Command {
    /// Commit the open work, leave the group, end.
    Stop,
    /// Go on with the partitions that a bad record stopped.
    Resume,
    /// Go on with another revision, from the end of the open transaction on.
    Swap(Swap),
    /// Look for partitions that the inputs have got since.
    LookForPartitions,
    /// Show why the revision does not come that some partitions wait for.
    Strand(LastError),
    /// Count the lag up to these ends: a partition that waits is not fetched, so the session does not see it grow.
    NoteEnds(PartitionEnds),
    /// Answer with the committed value of a key.
    LookUp(LookUp),
}

/// A look into a store. A worker that does not have that partition's state drops it without an answer.
pub struct LookUp {
    pub partition: i32,
    pub store: String,
    pub key: Vec<u8>,
    pub answer: SyncSender<Option<Vec<u8>>>,
}

/// One transform's loop. It runs on its own thread.
pub struct Worker {
    pub log: Arc<dyn Log>,
    pub options: SessionOptions,
    pub revisions: Revisions,
    /// Opens the stores of a transform that has any.
    pub stores: Option<Arc<dyn StateOpener>>,
    /// The processors of the host.
    pub processors: Processors,
    pub commands: Inbox,
    /// The workers of the host that rest while nothing comes.
    pub rests: Rests,
    pub status: watch::Sender<WorkerStatus>,
    /// The clocks, read between calls and passed on.
    pub clock: fn() -> Now,
}

/// The end of a session, or of the attempt to open one.
enum End {
    Stopped,
    /// `lasted` is zero if no session was opened.
    Failed {
        error: SessionError,
        lasted: Duration,
    },
}

/// The commands of one turn.
enum CommandTurn {
    /// None had come.
    Idle,
    /// Some were carried out: the next turn does not wait.
    Busy,
    Stopped,
}

impl Worker {
    /// Runs until a command stops it, or nobody is left to send one.
    pub fn run(mut self) {
        let meter = self.revisions.current.observer.metrics.meter(self.revisions.current.settings.revision);
        let _metered = meter.enter();
        let mut failures: u32 = 0;
        while let End::Failed { error, lasted } = self.run_session() {
            // A session that worked for a while failed of something new.
            if lasted > REOPEN.longest {
                failures = 0;
            }
            let pause = REOPEN.after(failures);
            failures = failures.saturating_add(1);
            self.report_failure(&error, pause);
            if self.stopped_while_waiting(pause) {
                break;
            }
        }
        self.publish(WorkerStatus::without_session(State::Stopped, None));
    }

    fn run_session(&mut self) -> End {
        self.options.outputs.clone_from(&self.revisions.current.settings.outputs);
        let commands = &mut self.commands;
        let session = match self.log.open_unless_stopped(&self.options, &mut || commands.is_stopped()) {
            Ok(session) => session,
            Err(_) if self.commands.is_stopped() => return End::Stopped,
            Err(error) => return End::Failed { error, lasted: Duration::ZERO },
        };
        let started = Instant::now();
        let cpu = self.processors.account(&self.revisions.current.settings.id.team);
        let waker = session.waker();
        let can_be_woken = waker.is_some();
        self.commands.bell().hang(waker);
        let mut manager = TaskManager::new(session, self.revisions.clone(), self.stores.clone(), cpu);
        if can_be_woken {
            let team = self.revisions.current.settings.id.team.clone();
            manager = manager.resting_among(Among { rests: self.rests.clone(), team, bell: self.commands.bell().clone() });
        }
        let served = self.serve(&mut manager, can_be_woken);
        self.commands.bell().hang(None);
        self.revisions = manager.into_revisions();
        match served {
            Ok(()) => End::Stopped,
            Err(error) => End::Failed { error, lasted: started.elapsed() },
        }
    }

    /// Runs the session until a command stops it. An error means that the session is of no more use.
    fn serve(&mut self, manager: &mut TaskManager, can_be_woken: bool) -> Result<(), SessionError> {
        let mut published_at = Instant::now();
        let mut stage = manager.rollout_stage();
        count_for(stage);
        // True if the last report had something new: more may follow.
        let mut was_news = true;
        loop {
            let idle_wait = match self.obey(manager)? {
                CommandTurn::Stopped => return Ok(()),
                CommandTurn::Busy => Duration::ZERO,
                CommandTurn::Idle if !can_be_woken || manager.has_to_look() => IDLE_WAIT,
                CommandTurn::Idle if was_news => STATUS_INTERVAL.saturating_sub(published_at.elapsed()),
                CommandTurn::Idle => QUIET_WAIT,
            };
            manager.run_once(self.clock, idle_wait)?;
            let next = manager.rollout_stage();
            if next.revision != stage.revision {
                count_for(next);
            }
            // A rollout shows at once.
            let is_due = published_at.elapsed() >= STATUS_INTERVAL || stage != next;
            if is_due {
                was_news = self.report(manager.status());
                published_at = Instant::now();
                stage = next;
            }
        }
    }

    /// Carries out the commands that have come, for [`COMMAND_TIME`] at most.
    fn obey(&mut self, manager: &mut TaskManager) -> Result<CommandTurn, SessionError> {
        let end = (self.clock)().mono.after(COMMAND_TIME);
        let mut has_obeyed = false;
        while let Some(command) = self.commands.take() {
            has_obeyed = true;
            match command {
                Command::Stop => {
                    self.stop(manager);
                    return Ok(CommandTurn::Stopped);
                }
                Command::Resume => manager.resume()?,
                Command::Swap(next) => manager.swap(next),
                Command::LookForPartitions => manager.look_for_partitions()?,
                Command::Strand(error) => manager.strand(&error),
                Command::NoteEnds(ends) => manager.note_ends(ends),
                Command::LookUp(look_up) => self.answer(manager, look_up),
            }
            if (self.clock)().mono >= end {
                break;
            }
        }
        // What they changed shows after a turn without a wait.
        Ok(if has_obeyed { CommandTurn::Busy } else { CommandTurn::Idle })
    }

    fn stop(&self, manager: &mut TaskManager) {
        if let Err(error) = manager.stop(self.clock) {
            // The next owner processes the uncommitted records again.
            let id = &self.revisions.current.settings.id;
            tracing::warn!(transform = %id, %error, "stopped without its last commit");
        }
    }

    fn answer(&self, manager: &mut TaskManager, look_up: LookUp) {
        let LookUp { partition, store, key, answer } = look_up;
        if let Some(found) = manager.look_up(partition, &store, &key, (self.clock)().wall) {
            let _ = answer.send(found);
        }
    }

    /// Publishes the status of a session. Returns true if another report is to follow soon.
    fn report(&self, status: WorkerStatus) -> bool {
        let is_member = status.joined;
        let gives_way = self.status.borrow().gives_way(is_member);
        let is_news = gives_way && self.publish(status);
        is_news || !is_member
    }

    /// Returns true if the status is another one than before.
    fn publish(&self, status: WorkerStatus) -> bool {
        let metrics = &self.revisions.current.observer.metrics;
        for partition in &status.partitions {
            metrics.lag(partition.topic.as_str(), partition.partition, partition.lag);
            let left = partition.restoring.map(|restoring| restoring.records_total - restoring.records_read);
            metrics.stores.restore_left(partition.partition, left);
            for store in &partition.stores {
                metrics.stores.size(&store.name, partition.partition, Some((store.entries, store.bytes)));
            }
        }
        let present: BTreeSet<_> = status.partitions.iter().map(|now| (&now.topic, now.partition)).collect();
        let is_gone = |before: &&PartitionStatus| !present.contains(&(&before.topic, before.partition));
        for gone in self.status.borrow().partitions.iter().filter(is_gone) {
            metrics.lag(gone.topic.as_str(), gone.partition, None);
            metrics.stores.restore_left(gone.partition, None);
            gone.stores.iter().for_each(|store| metrics.stores.size(&store.name, gone.partition, None));
        }
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        })
    }

    fn report_failure(&self, error: &SessionError, pause: Duration) {
        let revision = &self.revisions.current;
        revision.observer.metrics.aborted("restart");
        let code = error.code();
        tracing::warn!(transform = %revision.settings.id, %code, %error, ?pause, "the worker's session failed and is opened again");
        let error = LastError { code, message: error.to_string(), offset: None, at: (self.clock)().wall };
        self.publish(WorkerStatus::without_session(State::Failed, Some(error)));
    }

    fn stopped_while_waiting(&mut self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        loop {
            match self.commands.wait(deadline.saturating_duration_since(Instant::now())) {
                Some(Command::Stop) => return true,
                Some(
                    Command::Resume
                    | Command::LookForPartitions
                    | Command::LookUp(_)
                    | Command::NoteEnds(_)
                    | Command::Strand(_),
                ) => {}
                Some(Command::Swap(next)) => self.revisions.replace(next.revision),
                None => return false,
            }
        }
    }
}

/// Has the CPU time of this thread and of its clients count for the revision that it runs from now on.
fn count_for(stage: RolloutStage) {
    if let Some(meter) = Meter::of_this_thread() {
        meter.work_for(stage.revision);
    }
}
