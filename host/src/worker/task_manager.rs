//! One session's life: its tasks, their turns, and the pauses of those that wait. Polling, the transaction, rebalances and
//! swaps are in files of their own.

mod commit;
mod poll;
mod rebalance;
mod rejections;
mod swap;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::partition_states::PartitionStates;
use super::portion::Portion;
use super::rollout::{Revisions, Rollout, RolloutStage};
use super::status::{self, WorkerStatus};
use super::transaction::{Aborts, Transaction};
use super::unplaced::UnplacedPartitions;
use crate::model::codes::Code;
use crate::model::status::{LastError, PartitionStatus};
use crate::model::units::Timestamp;
use crate::ports::{PartitionEnds, Rebalance, Session, SessionError, StateOpener, TopicPartition};
use crate::task::{RecordFailure, RunnableRevision, Step, StepContext, Task, TransactionStats};

/// See the module.
pub struct TaskManager {
    session: Box<dyn Session>,
    rollout: Rollout,
    tasks: BTreeMap<TopicPartition, Task>,
    unplaced: UnplacedPartitions,
    /// By partition: the tasks of several inputs share them.
    states: PartitionStates,
    /// Partitions that are paused in the session, because their task waits.
    paused: Vec<TopicPartition>,
    /// A rebalance that waits until the open transaction has ended, well or not: the session tells it once.
    rebalance: Option<Rebalance>,
    /// The task that had the last step: the next one is another's.
    last_stepped: Option<TopicPartition>,
    transaction: Transaction,
    aborts: Aborts,
    stats: TransactionStats,
    portion: Portion,
    /// The ends of partitions that are not fetched now.
    noted_ends: PartitionEnds,
    /// The time at which passed control records are committed alone.
    commit_passed_at: Option<Timestamp>,
}

impl TaskManager {
    /// `opener` opens the stores of a transform that has any.
    pub fn new(session: Box<dyn Session>, revisions: Revisions, opener: Option<Arc<dyn StateOpener>>) -> Self {
        Self {
            session,
            rollout: Rollout::new(revisions),
            tasks: BTreeMap::new(),
            unplaced: UnplacedPartitions::default(),
            states: PartitionStates::new(opener),
            paused: Vec::new(),
            rebalance: None,
            last_stepped: None,
            transaction: Transaction::Idle { deadline: None },
            aborts: Aborts::default(),
            stats: TransactionStats::default(),
            portion: Portion::default(),
            noted_ends: PartitionEnds::default(),
            commit_passed_at: None,
        }
    }

    /// Polls, processes and, if it is time, commits. Waits up to `idle_wait` for work. An error means that the session is
    /// of no more use.
    pub fn run_once(&mut self, clock: fn() -> Timestamp, idle_wait: Duration) -> Result<(), SessionError> {
        match self.poll_and_process(clock, idle_wait) {
            Err(SessionError::Abort(reason)) => self.roll_back(Code::LogUnavailable, &reason, clock())?,
            Err(SessionError::Withheld { code, message }) => self.roll_back(code, &message, clock())?,
            Err(SessionError::Rejected(rejection)) => self.reject(rejection, clock())?,
            Err(SessionError::TooLarge(reason)) => self.split("too-large", RecordFailure::too_large(&reason), clock())?,
            other => return other,
        }
        self.at_boundary(clock())
    }

    fn poll_and_process(&mut self, clock: fn() -> Timestamp, idle_wait: Duration) -> Result<(), SessionError> {
        self.at_boundary(clock())?;
        self.poll_states(clock())?;
        self.poll(clock(), idle_wait)?;
        if let Some(Rebalance::Lost(partitions)) = self.rebalance.take_if(|change| matches!(change, Rebalance::Lost(_))) {
            return self.on_lost(&partitions, clock());
        }
        self.note_read();
        self.plan_passed(clock());
        if self.transaction.deadline().is_none() && self.tasks.values().any(Task::has_pending) {
            self.transaction.set_deadline(clock().after(self.revision().settings.commit_interval));
        }
        self.process(clock)?;
        self.pause_waiting(clock())?;
        let is_due = self.transaction.is_overdue(clock(), Duration::ZERO) || self.is_large();
        if is_due || self.rebalance.is_some() {
            self.commit(clock())?;
        }
        let is_passed_due = self.commit_passed_at.is_some_and(|at| clock() >= at);
        if is_passed_due || matches!(self.rebalance, Some(Rebalance::Revoke(_))) {
            self.commit_passed(clock())?;
        }
        self.look_at_places(clock())?;
        self.at_boundary(clock())
    }

    /// Does the work that waits for the end of a transaction, unless one is open. (None is held open for long.)
    fn at_boundary(&mut self, now: Timestamp) -> Result<(), SessionError> {
        if self.transaction.is_open() {
            return Ok(());
        }
        if let Some(guests) = self.rollout.advance() {
            self.take_over(guests, now).map_err(as_restart)?;
        }
        match self.rebalance.take() {
            Some(change) => self.apply(change, now).map_err(as_restart),
            None => Ok(()),
        }
    }

    // === Processing ===

    /// Steps the tasks in turn until nothing is ready: full batches at any time, the rest once the deadline is there.
    /// Begins after the task that had the last step, so that a slow task does not starve the others.
    fn process(&mut self, clock: fn() -> Timestamp) -> Result<(), SessionError> {
        loop {
            let now = clock();
            if self.transaction.is_backing_off(now) {
                return Ok(());
            }
            let is_due = self.transaction.is_overdue(now, Duration::ZERO);
            let ready = self.tasks.iter().filter(|(_, task)| task.is_ready(now, is_due));
            let mut ready: Vec<TopicPartition> = ready.map(|(&partition, _)| partition).collect();
            if ready.is_empty() {
                return Ok(());
            }
            let next = ready.iter().position(|&partition| Some(partition) > self.last_stepped).unwrap_or(0);
            ready.rotate_left(next);
            self.begin(now)?;
            for partition in ready {
                self.last_stepped = Some(partition);
                self.rollout.stop_pause_timer();
                let step = self.step(partition, clock())?;
                if let Step::Refused(failure) = step {
                    return self.step_back(failure, partition, clock());
                }
                // A slow guest must not hold up the finished work of the others in its transaction.
                let grace = self.revision().settings.commit_interval;
                let is_slow = step == Step::Worked && self.transaction.is_overdue(clock(), grace);
                if is_slow || self.is_large() {
                    return Ok(());
                }
            }
        }
    }

    fn step(&mut self, partition: TopicPartition, now: Timestamp) -> Result<Step, SessionError> {
        let task = self.tasks.get_mut(&partition).expect("it was found ready");
        task.step(&mut StepContext {
            now,
            session: &mut *self.session,
            state: self.states.get_mut(partition.partition),
            stats: &mut self.stats,
        })
    }

    // === Pausing ===

    /// Pauses the partitions of waiting tasks in the session, and resumes those that wait no more.
    fn pause_waiting(&mut self, now: Timestamp) -> Result<(), SessionError> {
        for (&partition, task) in &mut self.tasks {
            let index = self.paused.iter().position(|&paused| paused == partition);
            match (task.is_waiting(now), index) {
                (true, None) => {
                    self.session.pause(partition)?;
                    self.paused.push(partition);
                }
                (false, Some(index)) => {
                    self.session.resume(partition)?;
                    self.paused.swap_remove(index);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Goes on with partitions that a bad record stopped.
    pub fn resume(&mut self) -> Result<(), SessionError> {
        for task in self.tasks.values_mut().filter(|task| task.is_paused()) {
            task.resume();
            self.session.seek(task.id(), task.next_offset()).map_err(as_restart)?;
        }
        Ok(())
    }

    // === The end, and questions ===

    /// Commits the open work. Dropping the task manager leaves the group.
    pub fn stop(&mut self, clock: fn() -> Timestamp) -> Result<(), SessionError> {
        match self.commit(clock()).and_then(|()| self.commit_passed(clock())) {
            Err(error @ (SessionError::Restart(_) | SessionError::Ended { .. })) => Err(error),
            Err(error) => self.roll_back(error.code(), &error.to_string(), clock()),
            Ok(()) => Ok(()),
        }
    }

    /// Closes the session.
    pub fn into_revisions(mut self) -> Revisions {
        self.forget_work();
        self.rollout.into_revisions()
    }

    fn revision(&self) -> &Arc<RunnableRevision> {
        self.rollout.current()
    }

    pub fn rollout_stage(&self) -> RolloutStage {
        self.rollout.stage()
    }

    /// Returns true if the transform's group has taken the session in.
    pub fn is_member(&self) -> bool {
        self.session.is_member()
    }

    /// Takes note of the ends of partitions that are not fetched now: see [`super::Command::NoteEnds`].
    pub fn note_ends(&mut self, ends: PartitionEnds) {
        self.noted_ends = ends;
    }

    /// The end of a partition, as the newest of a fetch and a question told it.
    fn end_offset(&self, task: &Task) -> Option<i64> {
        let noted = self.noted_ends.get(&(task.topic().clone(), task.id().partition)).copied();
        self.session.end_offset(task.id()).max(noted)
    }

    /// Shows why the partitions wait that a newer revision has committed.
    pub fn strand(&mut self, error: &LastError) {
        self.tasks.values_mut().filter(|task| task.is_outrun()).for_each(|task| task.state_failed(error.clone()));
    }

    /// The committed value of a key; None if this worker does not have that partition's state.
    pub fn look_up(&mut self, partition: i32, store: &str, key: &[u8], now: Timestamp) -> Option<Option<Vec<u8>>> {
        self.states.look_up(partition, store, key, now)
    }

    pub fn status(&self) -> WorkerStatus {
        let of_task = |task: &Task| {
            let TopicPartition { input, partition } = task.id();
            let stores = if input == 0 { self.states.stores_of(partition) } else { Vec::new() };
            let restoring = self.states.restoring(partition);
            PartitionStatus { restoring, stores, ..task.status(self.end_offset(task)) }
        };
        let unplaced = self.unplaced.statuses(&self.revision().settings);
        let stage = self.rollout.stage();
        let outruns = self.tasks.values().map(Task::committed_revision).filter(|&other| other > stage.revision);
        status::of(status::Facts {
            joined: self.session.is_member(),
            partitions: self.tasks.values().map(of_task).chain(unplaced).collect(),
            stage,
            rejected: self.rollout.revisions().rejected.as_ref(),
            outrun_by: outruns.max(),
            abort_error: self.aborts.error(),
            is_stuck: self.aborts.are_stuck(),
            memory_bytes: self.tasks.values().map(Task::memory_bytes).max().unwrap_or(0),
        })
    }
}

/// A call outside a transaction has nothing to abort.
fn as_restart(error: SessionError) -> SessionError {
    match error {
        SessionError::Withheld { code, message } | SessionError::Ended { code, message } => {
            SessionError::Ended { code, message }
        }
        other => SessionError::Restart(other.to_string()),
    }
}
