//! One session's life: its tasks and their turns. Polling with its pauses, the transaction, rebalances and swaps are in files
//! of their own.

mod commit;
mod pause;
mod poll;
mod rebalance;
mod rejections;
mod swap;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::busyness::Busyness;
use super::holds::Holds;
use super::partition_states::PartitionStates;
use super::portion::Portion;
use super::rest::{Among, Rest};
use super::rollout::{Revisions, Rollout, RolloutStage};
use super::schedule::Schedule;
use super::status::{self, WorkerStatus};
use super::transaction::{Aborts, Transaction, next_commit};
use super::unplaced::UnplacedPartitions;
use crate::cpu::{self, CpuAccount};
use crate::model::clock::{Monotonic, Now};
use crate::model::codes::Code;
use crate::model::status::{LastError, PartitionStatus};
use crate::model::units::Timestamp;
use crate::ports::{PartitionEnds, Rebalance, Session, SessionError, StateOpener, TopicPartition};
use crate::task::{RecordFailure, RunnableRevision, SpareBatches, Step, StepContext, Task, TransactionStats};

/// Longest wait for a processor between two polls: as long as an idle worker waits in a poll.
const PROCESSOR_WAIT: Duration = Duration::from_millis(100);

/// The tasks and the transaction of one session.
pub struct TaskManager {
    session: Box<dyn Session>,
    /// The team's share of the processors.
    cpu: CpuAccount,
    rollout: Rollout,
    tasks: BTreeMap<TopicPartition, Task>,
    spares: SpareBatches,
    unplaced: UnplacedPartitions,
    /// The states by partition: the tasks of several inputs share them.
    states: PartitionStates,
    holds: Holds,
    rest: Rest,
    /// Partitions that are paused in the session: see `pause`.
    paused: BTreeSet<TopicPartition>,
    /// A rebalance that waits until the open transaction has ended, well or not: the session tells it once.
    rebalance: Option<Rebalance>,
    schedule: Schedule,
    busyness: Busyness,
    /// The task that had the last step.
    last_stepped: Option<TopicPartition>,
    /// True if tasks were ready when the last transaction was cut off, for the time that it took.
    was_cut: bool,
    transaction: Transaction,
    /// The time at which the last commit began.
    last_commit: Option<Monotonic>,
    aborts: Aborts,
    stats: TransactionStats,
    portion: Portion,
    /// The ends of partitions that are not fetched now.
    noted_ends: PartitionEnds,
    /// The time at which passed control records are committed alone.
    commit_passed_at: Option<Monotonic>,
}

impl TaskManager {
    /// `opener` opens the stores of a transform that has any.
    pub fn new(
        session: Box<dyn Session>,
        revisions: Revisions,
        opener: Option<Arc<dyn StateOpener>>,
        cpu: CpuAccount,
    ) -> Self {
        Self {
            session,
            cpu,
            rollout: Rollout::new(revisions),
            tasks: BTreeMap::new(),
            spares: SpareBatches::default(),
            unplaced: UnplacedPartitions::default(),
            states: PartitionStates::new(opener),
            holds: Holds::default(),
            rest: Rest::default(),
            paused: BTreeSet::new(),
            rebalance: None,
            schedule: Schedule::default(),
            busyness: Busyness::default(),
            last_stepped: None,
            was_cut: false,
            transaction: Transaction::Idle { deadline: None },
            last_commit: None,
            aborts: Aborts::default(),
            stats: TransactionStats::default(),
            portion: Portion::default(),
            noted_ends: PartitionEnds::default(),
            commit_passed_at: None,
        }
    }

    /// Rests among others while nothing comes. The session can be woken.
    pub fn resting_among(self, among: Among) -> Self {
        Self { rest: Rest::among(among), ..self }
    }

    /// Polls, processes and, if it is time, commits. Waits up to `idle_wait` for work. An error means that the session is
    /// of no more use.
    pub fn run_once(&mut self, clock: fn() -> Now, idle_wait: Duration) -> Result<(), SessionError> {
        match self.poll_and_process(clock, idle_wait) {
            Err(SessionError::Abort(reason)) => self.roll_back(Code::LogUnavailable, &reason, clock())?,
            Err(SessionError::Withheld { code, message }) => {
                if code == Code::CallStalled {
                    // Fewer records may end in time.
                    self.portion.shrink(self.revision().settings.batch_records);
                    self.limit_rows();
                }
                self.roll_back(code, &message, clock())?;
            }
            Err(SessionError::Rejected(rejection)) => self.reject(rejection, clock())?,
            Err(SessionError::TooLarge(reason)) => self.split("too-large", RecordFailure::too_large(&reason), clock())?,
            other => return other,
        }
        self.at_boundary(clock())
    }

    fn poll_and_process(&mut self, clock: fn() -> Now, idle_wait: Duration) -> Result<(), SessionError> {
        self.at_boundary(clock())?;
        self.poll_states(clock())?;
        self.pause_waiting(clock().mono)?;
        let polled_at = clock();
        let has_waited = self.poll(polled_at, idle_wait)?;
        self.busyness.polled(polled_at.mono, clock().mono, has_waited);
        if let Some(Rebalance::Lost(partitions)) = self.rebalance.take_if(|change| matches!(change, Rebalance::Lost(_))) {
            return self.on_lost(&partitions, clock());
        }
        self.note_read();
        self.plan_passed(clock().mono);
        if self.transaction.deadline().is_none() && self.tasks.values().any(Task::has_pending) {
            let next = next_commit(self.last_commit, clock().mono, self.revision().settings.commit_interval);
            self.transaction.set_deadline(next);
        }
        self.process(clock)?;
        let is_due = self.is_due(clock().mono) || self.is_large();
        if is_due || self.rebalance.is_some() {
            self.commit(clock())?;
        }
        let is_passed_due = self.commit_passed_at.is_some_and(|at| clock().mono >= at);
        if is_passed_due || matches!(self.rebalance, Some(Rebalance::Revoke(_))) {
            self.commit_passed(clock().mono)?;
        }
        self.look_at_places(clock().mono)?;
        self.at_boundary(clock())
    }

    /// Does the work that waits for the end of a transaction, unless one is open. (None is held open for long.)
    fn at_boundary(&mut self, now: Now) -> Result<(), SessionError> {
        if self.transaction.is_open() {
            return Ok(());
        }
        self.tasks.values_mut().for_each(Task::renew_guest);
        if let Some(guests) = self.rollout.advance() {
            self.take_over(guests, now).map_err(as_restart)?;
        }
        if let Some(change) = self.rebalance.take() {
            self.apply(change, now).map_err(as_restart)?;
        }
        self.settle(now).map_err(as_restart)
    }

    // === Processing ===

    /// Steps the ready tasks in turn until none is left: full batches at any time, the rest once the deadline is there. Works
    /// on a processor of the team, and returns early without one, or if it is another team's turn.
    fn process(&mut self, clock: fn() -> Now) -> Result<(), SessionError> {
        let mut processor = None;
        self.schedule.clear();
        loop {
            let now = clock();
            let Some(next) = self.next_task(now) else {
                self.was_cut = false;
                return Ok(());
            };
            if !self.transaction.is_open() {
                // Both may wait for a broker, so they come before there is a processor.
                self.check_inputs()?;
                self.session.prepare()?;
            }
            if processor.is_none() {
                processor = self.cpu.take(self.processor_wait(now.mono));
            }
            if processor.is_none() {
                self.was_cut = true;
                return Ok(());
            }
            self.begin(clock().mono)?;
            self.rollout.stop_pause_timer();
            if let Step::Refused(failure) = self.step(next, clock)? {
                return self.step_back(failure, next, clock());
            }
            // A slow guest must not hold up the finished work of the others in its transaction.
            let grace = self.revision().settings.commit_interval;
            if self.transaction.is_overdue(clock().mono, grace) || self.is_large() || cpu::is_wanted() {
                self.was_cut = true;
                return Ok(());
            }
        }
    }

    /// The time to wait for a processor before the next poll. Open work is committed at its deadline all the same.
    fn processor_wait(&self, now: Monotonic) -> Duration {
        let deadline = self.transaction.deadline().filter(|_| self.transaction.is_open());
        deadline.map_or(PROCESSOR_WAIT, |deadline| deadline.since(now)).min(PROCESSOR_WAIT)
    }

    /// The task that comes next; None if none is ready.
    fn next_task(&mut self, now: Now) -> Option<TopicPartition> {
        if self.transaction.is_backing_off(now.mono) || !self.may_begin(now) {
            return None;
        }
        let is_due = self.is_due(now.mono);
        if let Some(next) = self.schedule.next(is_due) {
            return Some(next);
        }
        let ready = self.tasks.iter().filter(|(_, task)| task.is_ready(now, is_due));
        self.schedule.fill(ready.map(|(&partition, _)| partition), is_due);
        self.schedule.next(is_due)
    }

    fn step(&mut self, partition: TopicPartition, clock: fn() -> Now) -> Result<Step, SessionError> {
        let now = clock();
        let end = self.transaction.end().expect("a step is inside of a transaction");
        self.last_stepped = Some(partition);
        let task = self.tasks.get_mut(&partition).expect("it was found ready");
        let step = task.step(&mut StepContext {
            now,
            end,
            session: &mut *self.session,
            state: self.states.get_mut(partition.partition),
            stats: &mut self.stats,
        });
        let then = clock();
        let is_ready = task.is_ready(then, self.schedule.is_for_all());
        self.schedule.charge(partition, then.mono.since(now.mono), is_ready);
        step
    }

    /// Goes on with partitions that a bad record stopped.
    pub fn resume(&mut self) -> Result<(), SessionError> {
        self.rest.stir();
        for task in self.tasks.values_mut().filter(|task| task.is_paused()) {
            task.resume();
            self.session.seek(task.id(), task.next_offset()).map_err(as_restart)?;
        }
        Ok(())
    }

    // === The end, and questions ===

    /// Commits the open work. Dropping the task manager leaves the group.
    pub fn stop(&mut self, clock: fn() -> Now) -> Result<(), SessionError> {
        match self.commit(clock()).and_then(|()| self.commit_passed(clock().mono)) {
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

    /// Returns true if the transform's group has taken the session in. Whoever has partitions has been: the session is asked
    /// only where there are none, since librdkafka answers on another thread, which would be woken at each status.
    fn is_member(&self) -> bool {
        !self.tasks.is_empty() || self.session.is_member()
    }

    /// Returns true if something has to be looked at again and again: nobody tells the worker of it.
    pub fn has_to_look(&self) -> bool {
        !self.unplaced.is_empty() || self.tasks.values().any(Task::waits_for_others)
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
            joined: self.is_member(),
            partitions: self.tasks.values().map(of_task).chain(unplaced).collect(),
            stage,
            rejected: self.rollout.revisions().rejected.as_ref(),
            outrun_by: outruns.max(),
            abort_error: self.aborts.error(),
            is_stuck: self.aborts.are_stuck(),
            memory_bytes: self.tasks.values().map(Task::memory_bytes).max().unwrap_or(0),
            memory_total_bytes: self.tasks.values().map(Task::memory_bytes).sum(),
            busy_percent: self.busyness.percent(),
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
