//! One session's life: its tasks, and the transaction over all of them.

mod refusals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use prometheus::HistogramTimer;

use super::WorkerStatus;
use super::portion::Portion;
use super::states::{Opened, PartitionStates};
use super::unplaced::UnplacedPartitions;
use crate::model::codes::Code;
use crate::model::spec::Delivery;
use crate::model::status::{LastError, PartitionStatus, Refused, State};
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{
    CommitOffset, Guest, OpenError, Positions, Rebalance, Session, SessionError, StateOpener, TopicPartition,
};
use crate::task::{Failed, RunnableRevision, Step, Task, TransactionStats};

/// Records taken from the session in one poll.
const POLL_RECORDS_MAX: usize = 4096;
/// With more than this pending, records are taken one at a time: just enough to stay a member of the group.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// A transaction that sent so much is committed before its time: what it sent waits in memory.
const TRANSACTION_BYTES_MAX: u64 = 64 << 20;
/// The same for what it changes in stores.
const STATE_BYTES_MAX: usize = 16 << 20;
/// After an abort, the first and the longest wait before the next transaction.
const ABORT_BACKOFF: Backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_secs(5) };

/// How long control records that were passed may wait for a transaction to be committed with: without one, they get one
/// of their own. Else retention could delete what lies before them and the partition would be out of range for ever.
const PASSED_WAIT: Duration = Duration::from_secs(10);

/// The revisions of a transform that a worker has at hand.
#[derive(Clone)]
pub struct Revisions {
    /// What its tasks run.
    pub run: Arc<RunnableRevision>,
    /// What they ran before, while `run` is on trial: until the first transaction with its work is committed.
    pub kept: Option<Arc<RunnableRevision>>,
    /// What did not pass its trial.
    pub refused: Option<Refused>,
}

impl Revisions {
    /// Goes on with `next`, on trial.
    pub fn replace(&mut self, next: Arc<RunnableRevision>) {
        let before = std::mem::replace(&mut self.run, next);
        // What did not pass its own trial yet is nothing to go back to.
        self.kept.get_or_insert(before);
        self.refused = None;
    }
}

/// Another revision, and instances of it that were made while the worker went on with its own.
pub struct Swap {
    pub program: Arc<RunnableRevision>,
    pub guests: Vec<Box<dyn Guest>>,
}

/// See the module.
pub struct TaskManager {
    session: Box<dyn Session>,
    programs: Revisions,
    /// Waits for the end of the open transaction, which comes in its own time.
    next: Option<Swap>,
    /// Runs from there until a task makes its first call with the new revision.
    swap_timer: Option<HistogramTimer>,
    tasks: BTreeMap<TopicPartition, Task>,
    unplaced: UnplacedPartitions,
    /// By partition number: what tasks of several inputs share.
    states: PartitionStates,
    /// Partitions that the session was told to hold back, because their task waits.
    held: Vec<TopicPartition>,
    /// A change that waits until the open transaction has ended, well or not: the session tells it once.
    change: Option<Rebalance>,
    /// The task that had the last step: the next one is another's.
    stepped: Option<TopicPartition>,
    stats: TransactionStats,
    portion: Portion,
    open: bool,
    /// When what is pending or open is to be committed.
    deadline: Option<Timestamp>,
    /// When control records that were passed are committed.
    passed_at: Option<Timestamp>,
    aborts_in_a_row: u32,
    /// Transactions since the last commit that a refused record ended.
    rejections_in_a_row: u32,
    /// The reason of the last abort, until a transaction is committed.
    abort_error: Option<LastError>,
    quiet_until: Option<Timestamp>,
}

impl TaskManager {
    /// `stores` where the transform has any.
    pub fn new(session: Box<dyn Session>, programs: Revisions, stores: Option<Arc<dyn StateOpener>>) -> Self {
        Self {
            session,
            programs,
            next: None,
            swap_timer: None,
            tasks: BTreeMap::new(),
            unplaced: UnplacedPartitions::default(),
            states: PartitionStates::new(stores),
            held: Vec::new(),
            change: None,
            stepped: None,
            stats: TransactionStats::default(),
            portion: Portion::default(),
            open: false,
            deadline: None,
            passed_at: None,
            aborts_in_a_row: 0,
            rejections_in_a_row: 0,
            abort_error: None,
            quiet_until: None,
        }
    }

    /// One round. An error means that the session is of no more use.
    pub fn turn(&mut self, clock: fn() -> Timestamp, idle_wait: Duration) -> Result<(), SessionError> {
        match self.round(clock, idle_wait) {
            Err(SessionError::Abort(reason)) => self.roll_back(Code::LogUnavailable, &reason, clock())?,
            Err(SessionError::Withheld { code, message }) => self.roll_back(code, &message, clock())?,
            Err(SessionError::Rejected(rejection)) => self.reject(rejection, clock())?,
            Err(SessionError::TooLarge(reason)) => self.split("too-large", Failed::too_large(&reason), clock())?,
            other => return other,
        }
        self.settle(clock())
    }

    fn round(&mut self, clock: fn() -> Timestamp, idle_wait: Duration) -> Result<(), SessionError> {
        let now = clock();
        self.settle(now)?;
        self.follow_states(now)?;
        let backlog = self.tasks.values().any(|task| task.is_ready(now, false)) && !self.is_quiet(now);
        let timeout = if backlog { Duration::ZERO } else { self.wait(now, idle_wait) };
        // What waits is held back, so it does not grow, and must not hold up the others.
        let busy = self.tasks.values().filter(|task| !task.is_waiting(now));
        let pending: usize = busy.map(Task::pending_bytes).sum();
        let records_max = if pending > PENDING_BYTES_MAX || self.is_quiet(now) { 1 } else { POLL_RECORDS_MAX };
        let tasks = &mut self.tasks;
        let change = self.session.poll(timeout, records_max, &mut |partition, record| {
            if let Some(task) = tasks.get_mut(&partition) {
                task.offer(record);
            }
        })?;
        if let Some(Rebalance::Lost(partitions)) = change {
            return self.lose(&partitions, clock());
        }
        self.change = change;
        for damage in self.session.damaged() {
            if let Some(task) = self.tasks.get_mut(&damage.partition) {
                task.condemn_damaged(damage.offset, &damage.reason);
            }
        }
        for &(partition, end) in self.session.consumed_ends() {
            if let Some(task) = self.tasks.get_mut(&partition) {
                task.reached_end(end);
            }
        }
        self.plan_passed(clock());
        if self.deadline.is_none() && self.tasks.values().any(Task::has_pending) {
            self.deadline = Some(clock().after(self.program().settings.commit_interval));
        }
        self.process(clock)?;
        self.hold_waiting(clock())?;
        let due = self.deadline.is_some_and(|deadline| clock() >= deadline) || self.is_large();
        if due || self.change.is_some() {
            self.finish(clock())?;
        }
        if self.passed_at.is_some_and(|at| clock() >= at) || matches!(self.change, Some(Rebalance::Revoke(_))) {
            self.commit_passed(clock())?;
        }
        self.look_at_places(clock())?;
        self.settle(clock())
    }

    /// Commits how far control records were passed, in a transaction that has nothing else.
    fn commit_passed(&mut self, now: Timestamp) -> Result<(), SessionError> {
        self.passed_at = None;
        // An open one takes them along.
        if self.open || self.is_quiet(now) || !self.tasks.values().any(Task::has_passed) {
            return Ok(());
        }
        self.session.begin()?;
        let passed = self.tasks.values().filter_map(|task| task.commit_offset(&Positions::new()));
        let passed: Vec<CommitOffset> = passed.collect();
        match self.session.commit(&passed) {
            Ok(()) => {
                self.tasks.values_mut().for_each(Task::passed);
                Ok(())
            }
            // They are committed with the next transaction, or by whoever has the partitions then.
            Err(SessionError::Abort(reason) | SessionError::TooLarge(reason)) => {
                tracing::debug!(transform = %self.program().settings.id, reason, "passed positions were not committed");
                self.session.abort().map_err(as_restart)
            }
            Err(error) => Err(error),
        }
    }

    /// Control records that were passed wait for a transaction, for some time.
    fn plan_passed(&mut self, now: Timestamp) {
        if self.passed_at.is_none() && self.tasks.values().any(Task::has_passed) {
            self.passed_at = Some(now.after(PASSED_WAIT));
        }
    }

    /// Ends the session where another one would begin elsewhere.
    fn look_at_places(&mut self, now: Timestamp) -> Result<(), SessionError> {
        if self.unplaced.is_due(now) {
            self.look_for_places()?;
        }
        let Some(reason) = self.session.interrupted().map(str::to_owned) else { return Ok(()) };
        // What was read before the gap is done and committed first.
        let busy = self.tasks.values().any(|task| task.has_pending() && !task.is_waiting(now));
        if busy || self.open {
            self.deadline = Some(Timestamp(0));
            return Ok(());
        }
        Err(SessionError::Restart(reason))
    }

    fn look_for_places(&mut self) -> Result<(), SessionError> {
        if self.session.finds_places()? {
            return Err(SessionError::Restart("a partition has got an offset".into()));
        }
        Ok(())
    }

    /// The inputs may have other partitions than the session knows.
    pub fn look_for_partitions(&mut self) -> Result<(), SessionError> {
        self.session.look_for_partitions()?;
        self.look_for_places()
    }

    /// Does what waits for the end of a transaction, unless one is open. (None is held open for long.)
    fn settle(&mut self, now: Timestamp) -> Result<(), SessionError> {
        if self.open {
            return Ok(());
        }
        if let Some(next) = self.next.take() {
            self.swap_timer = Some(next.program.observer.metrics.swap_pause.start_timer());
            self.take_over(next, now).map_err(as_restart)?;
        }
        self.change.take().map_or(Ok(()), |change| self.apply(change, now).map_err(as_restart))
    }

    /// Lets tasks go whose state has been opened.
    fn follow_states(&mut self, now: Timestamp) -> Result<(), SessionError> {
        for (number, opened) in self.states.advance(now) {
            let id = &self.programs.run.settings.id;
            match opened {
                Opened::Ready => {
                    tracing::info!(transform = %id, partition = number, "state is up to date");
                    for task in self.tasks.values_mut().filter(|task| task.partition().partition == number) {
                        task.state_opened();
                        if self.held.contains(&task.partition()) {
                            self.session.seek(task.partition(), task.expected_offset()).map_err(as_restart)?;
                        }
                    }
                }
                Opened::Failed(error) => {
                    tracing::error!(transform = %id, partition = number, code = %error.code, error = error.message, "no state");
                    let own = self.tasks.values_mut().filter(|task| task.partition().partition == number);
                    own.for_each(|task| task.state_failed(error.clone()));
                }
                Opened::Stopped(error) => {
                    tracing::error!(transform = %id, partition = number, code = %error.code, error = error.message, "stopped");
                    for task in self.tasks.values_mut() {
                        task.hold(true);
                        task.state_failed(error.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the open transaction is to be committed before its time: what it has waits in memory.
    fn is_large(&self) -> bool {
        let is_split = self.open && !self.portion.is_whole();
        is_split
            || !self.session.has_room()
            || self.stats.held_bytes() > TRANSACTION_BYTES_MAX
            || self.states.pending_bytes() > STATE_BYTES_MAX
    }

    /// Steps the tasks in turn until nothing is ready: full batches at any time, the rest once the deadline is there.
    /// It goes on where it was broken off, so that a slow task does not starve the others.
    fn process(&mut self, clock: fn() -> Timestamp) -> Result<(), SessionError> {
        loop {
            let now = clock();
            if self.is_quiet(now) {
                return Ok(());
            }
            let overdue = self.deadline.is_some_and(|deadline| now >= deadline);
            let mut ready: Vec<TopicPartition> =
                self.tasks.iter().filter(|(_, task)| task.is_ready(now, overdue)).map(|(&partition, _)| partition).collect();
            if ready.is_empty() {
                return Ok(());
            }
            let next = ready.iter().position(|&partition| Some(partition) > self.stepped).unwrap_or(0);
            ready.rotate_left(next);
            self.begin(now)?;
            for partition in ready {
                self.stepped = Some(partition);
                // It observes as it is dropped.
                self.swap_timer = None;
                let task = self.tasks.get_mut(&partition).expect("collected above");
                let state = self.states.get_mut(partition.partition);
                let stepped = task.step(clock(), &mut *self.session, state, &mut self.stats)?;
                if let Step::Refused(failed) = stepped {
                    return self.step_back(failed, partition, clock());
                }
                // A slow guest must not hold up what others of its transaction have done.
                let overdue =
                    stepped == Step::Worked && self.is_overdue_by(clock(), self.program().settings.commit_interval);
                if overdue || self.is_large() {
                    return Ok(());
                }
            }
        }
    }

    fn begin(&mut self, now: Timestamp) -> Result<(), SessionError> {
        if !self.open {
            self.session.begin()?;
            self.open = true;
            // A tick comes without records.
            self.deadline.get_or_insert(now.after(self.programs.run.settings.commit_interval));
        }
        Ok(())
    }

    /// Commits the open transaction, if there is one, with the offsets of every task that went on.
    fn finish(&mut self, now: Timestamp) -> Result<(), SessionError> {
        self.deadline = None;
        if !self.open {
            return Ok(());
        }
        if !self.tasks.values().any(Task::has_worked) {
            // Nothing was done but waiting for a retry, or a partition was paused: no transaction waits for its turn.
            self.open = false;
            self.abort_error = None;
            return self.session.abort().map_err(as_restart);
        }
        let observer = self.program().observer.clone();
        let timer = observer.metrics.commit_time.start_timer();
        self.states.check_inputs().map_err(|error| match error {
            // The supervisor finds the same, and stops the transform; where it was a moment's error, all goes on.
            OpenError::Partitions(message) => SessionError::Restart(message),
            error => SessionError::Withheld { code: error.code(), message: error.to_string() },
        })?;
        let first = self.program().settings.changelogs.start;
        self.states.send(&mut *self.session, first)?;
        let reach = self.states.reach(&*self.session, first);
        let none = Positions::new();
        let reach_of = |task: &Task| reach.get(&task.partition().partition).unwrap_or(&none);
        let offsets: Vec<CommitOffset> = self.tasks.values().filter_map(|task| task.commit_offset(reach_of(task))).collect();
        self.session.commit(&offsets)?;
        timer.observe_duration();
        let partitions: Vec<TopicPartition> = offsets.iter().map(|offset| offset.partition).collect();
        self.program().guests.committed(&partitions);
        self.open = false;
        self.aborts_in_a_row = 0;
        self.rejections_in_a_row = 0;
        self.abort_error = None;
        for task in self.tasks.values_mut() {
            let reach = reach_of(task);
            task.committed(reach);
        }
        let faulty = self.states.committed(&*self.session, first, now);
        self.hold_for_state(&faulty);
        observer.metrics.committed.inc();
        self.stats.count(&observer, now);
        self.pass_trial();
        if self.portion.committed(self.program().settings.batch_records) {
            self.limit_rows();
        }
        if self.tasks.values().any(Task::has_pending) {
            self.deadline = Some(now.after(self.program().settings.commit_interval));
        }
        Ok(())
    }

    /// The transaction was more than the log takes, or was refused for one of many records: the same is done in smaller
    /// ones. A record that is too much alone fails.
    fn split(&mut self, label: &str, failed: Failed, now: Timestamp) -> Result<(), SessionError> {
        let can_shrink = self.portion.shrink(self.program().settings.batch_records);
        let id = &self.program().settings.id;
        let reason = &failed.message;
        tracing::info!(transform = %id, reason, rows_max = self.portion.rows_max(), "transaction aborted, done again in smaller ones");
        self.program().observer.metrics.aborted(label);
        self.note_abort(failed.code, reason, now);
        self.abort()?;
        self.limit_rows();
        if let Some(task) = self.stepped.filter(|_| !can_shrink).and_then(|partition| self.tasks.get_mut(&partition)) {
            task.condemn(failed, now);
        }
        Ok(())
    }

    fn limit_rows(&mut self) {
        let rows_max = self.portion.rows_max();
        self.session.isolate(rows_max == 1);
        self.tasks.values_mut().for_each(|task| task.limit_rows(rows_max));
    }

    /// The transaction failed: everything goes back to what was committed.
    fn roll_back(&mut self, code: Code, reason: &str, now: Timestamp) -> Result<(), SessionError> {
        let id = &self.program().settings.id;
        tracing::warn!(transform = %id, %code, reason, "transaction aborted, its records are processed again");
        self.program().observer.metrics.aborted("abort");
        self.note_abort(code, reason, now);
        self.abort()?;
        self.back_off(now);
        Ok(())
    }

    fn back_off(&mut self, now: Timestamp) {
        let pause = ABORT_BACKOFF.after(self.aborts_in_a_row);
        self.aborts_in_a_row = self.aborts_in_a_row.saturating_add(1);
        self.quiet_until = Some(now.after(pause));
    }

    fn note_abort(&mut self, code: Code, reason: &str, now: Timestamp) {
        self.abort_error = Some(LastError { code, message: reason.to_owned(), offset: None, at: now });
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        if std::mem::take(&mut self.open) {
            self.session.abort().map_err(as_restart)?;
        }
        self.deadline = None;
        self.forget_work();
        let faulty = self.states.roll_back();
        self.hold_for_state(&faulty);
        for task in self.tasks.values_mut() {
            let was_paused = task.is_paused();
            task.rewind();
            self.session.seek(task.partition(), task.committed_offset()).map_err(as_restart)?;
            if was_paused {
                self.session.resume(task.partition()).map_err(as_restart)?;
                self.held.retain(|&held| held != task.partition());
            }
        }
        Ok(())
    }

    /// Forgets what the transaction did. Sent at least once, it is in the log all the same.
    fn forget_work(&mut self) {
        let program = self.program();
        if program.settings.delivery == Delivery::AtLeastOnce {
            program.observer.metrics.repeated.inc_by(self.stats.records());
        }
        self.stats.clear();
    }

    fn hold_for_state(&mut self, numbers: &[i32]) {
        let own = self.tasks.values_mut().filter(|task| numbers.contains(&task.partition().partition));
        own.for_each(|task| task.hold(true));
    }

    /// Gives up the states that no task has any more.
    fn keep_states(&mut self) {
        let numbers: BTreeSet<i32> = self.tasks.keys().map(|partition| partition.partition).collect();
        self.states.retain(&numbers);
    }

    /// Gives every task the next revision, which is on trial unless somebody has committed with it already.
    fn take_over(&mut self, next: Swap, now: Timestamp) -> Result<(), SessionError> {
        self.programs.replace(next.program);
        let (id, revision) = (&self.program().settings.id, self.revision());
        tracing::info!(transform = %id, revision, tasks = self.tasks.len(), "revision swapped in");
        self.pass_trial_if_committed();
        self.install(next.guests, now)
    }

    /// The revision on trial trapped: nothing of it was committed, and the one before goes on.
    fn step_back(&mut self, failed: Failed, at: TopicPartition, now: Timestamp) -> Result<(), SessionError> {
        let kept = self.programs.kept.take().expect("a step is refused on trial only");
        let refused = std::mem::replace(&mut self.programs.run, kept);
        let offset = self.tasks[&at].next_offset();
        tracing::warn!(
            transform = %refused.settings.id, revision = refused.settings.revision, goes_on = self.revision(),
            topic = %self.tasks[&at].topic(), partition = at.partition, offset, code = %failed.code, error = failed.message,
            "the new revision trapped before its first commit: the one before goes on"
        );
        refused.observer.metrics.swapped("refused");
        refused.observer.metrics.aborted("refused");
        let error = LastError { code: failed.code, message: failed.message, offset: Some(offset), at: now };
        self.programs.refused = Some(Refused { revision: refused.settings.revision, error });
        self.abort()?;
        self.install(Vec::new(), now).map_err(as_restart)
    }

    fn install(&mut self, mut guests: Vec<Box<dyn Guest>>, now: Timestamp) -> Result<(), SessionError> {
        let (program, on_trial) = (self.program().clone(), self.programs.kept.is_some());
        self.session.set_outputs(&program.settings.outputs)?;
        for task in self.tasks.values_mut() {
            let was_paused = task.is_paused();
            task.swap(program.clone(), guests.pop(), on_trial);
            task.plan_tick(now);
            if was_paused {
                self.session.seek(task.partition(), task.next_offset())?;
            }
        }
        match self.tasks.values().any(Task::has_pending) {
            // At once, so that the trial is short.
            true => self.deadline = Some(Timestamp(0)),
            false => self.swap_timer = None,
        }
        Ok(())
    }

    /// The revision that runs has committed, here or elsewhere: from now on single records answer for their failures.
    fn pass_trial(&mut self) {
        self.tasks.values_mut().for_each(Task::pass_trial);
        if self.programs.kept.take().is_some() {
            self.program().observer.metrics.swapped("ok");
        }
    }

    /// What another host has committed with is not on trial here. (A newer revision's commit says nothing of this one.)
    fn pass_trial_if_committed(&mut self) {
        if self.tasks.values().any(|task| task.committed_revision() == self.revision()) {
            self.pass_trial();
        }
    }

    fn lose(&mut self, partitions: &[TopicPartition], now: Timestamp) -> Result<(), SessionError> {
        tracing::warn!(transform = %self.program().settings.id, ?partitions, "partitions lost: what was not committed is dropped");
        self.program().observer.metrics.rebalances.inc();
        self.program().observer.metrics.aborted("lost");
        self.tasks.retain(|partition, _| !partitions.contains(partition));
        self.unplaced.remove(partitions);
        self.held.retain(|partition| !partitions.contains(partition));
        self.keep_states();
        self.session.unassign(partitions).map_err(as_restart)?;
        self.abort()?;
        self.abort_error = None;
        self.quiet_until = Some(now);
        Ok(())
    }

    fn apply(&mut self, change: Rebalance, now: Timestamp) -> Result<(), SessionError> {
        self.program().observer.metrics.rebalances.inc();
        let id = self.program().settings.id.clone();
        match change {
            Rebalance::Assign(partitions) => {
                for assigned in self.session.assign(&partitions)? {
                    let mut task = Task::new(&assigned, self.program().clone(), self.programs.kept.is_some());
                    task.plan_tick(now);
                    task.limit_rows(self.portion.rows_max());
                    if self.states.are_needed() {
                        let number = assigned.partition.partition;
                        self.states.need(number, task.committed_changelogs());
                        task.hold(!self.states.is_open(number));
                    }
                    tracing::info!(
                        transform = %id, topic = %task.topic(), partition = assigned.partition.partition,
                        offset = assigned.next_offset, "partition assigned"
                    );
                    self.tasks.insert(assigned.partition, task);
                }
                self.unplaced.follow(self.session.unplaced(), &self.programs.run.settings, now);
                self.stop_unreadable(now);
                self.pass_trial_if_committed();
            }
            Rebalance::Revoke(partitions) | Rebalance::Lost(partitions) => {
                tracing::info!(transform = %id, partitions = partitions.len(), "partitions revoked");
                self.tasks.retain(|partition, _| !partitions.contains(partition));
                self.unplaced.remove(&partitions);
                self.held.retain(|partition| !partitions.contains(partition));
                self.keep_states();
                if self.tasks.is_empty() {
                    // Whoever has the records now tells how it goes on with them.
                    self.abort_error = None;
                }
                self.session.unassign(&partitions)?;
            }
        }
        Ok(())
    }

    /// Holds back the partitions of waiting tasks, and lets go those that wait no more.
    fn hold_waiting(&mut self, now: Timestamp) -> Result<(), SessionError> {
        for (&partition, task) in &mut self.tasks {
            let held = self.held.iter().position(|&held| held == partition);
            match (task.is_waiting(now), held) {
                (true, None) => {
                    self.session.pause(partition)?;
                    self.held.push(partition);
                }
                (false, Some(index)) => {
                    self.session.resume(partition)?;
                    self.held.swap_remove(index);
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
            self.session.seek(task.partition(), task.next_offset()).map_err(as_restart)?;
        }
        Ok(())
    }

    /// Commits what is open. Dropping the cycle leaves the group.
    pub fn stop(&mut self, clock: fn() -> Timestamp) -> Result<(), SessionError> {
        match self.finish(clock()).and_then(|()| self.commit_passed(clock())) {
            Err(error @ SessionError::Restart(_)) => Err(error),
            Err(error) => self.roll_back(Code::LogUnavailable, &error.to_string(), clock()),
            Ok(()) => Ok(()),
        }
    }

    /// Closes the session.
    pub fn into_revisions(mut self) -> Revisions {
        self.forget_work();
        if let Some(next) = self.next {
            self.programs.replace(next.program);
        }
        self.programs
    }

    fn program(&self) -> &Arc<RunnableRevision> {
        &self.programs.run
    }

    fn revision(&self) -> u64 {
        self.program().settings.revision
    }

    /// The revision that runs, whether it is on trial, and the one that was refused.
    pub fn standing(&self) -> (u64, bool, Option<u64>) {
        let refused = self.programs.refused.as_ref().map(|refused| refused.revision);
        (self.revision(), self.programs.kept.is_some(), refused)
    }

    /// Says why the partitions wait that a newer revision has committed.
    pub fn strand(&mut self, error: &LastError) {
        self.tasks.values_mut().filter(|task| task.is_outrun()).for_each(|task| task.state_failed(error.clone()));
    }

    /// Stops partitions whose offsets say what this host does not understand, and with them those that share their state.
    fn stop_unreadable(&mut self, now: Timestamp) {
        let unreadable: Vec<(TopicPartition, LastError)> =
            self.tasks.values().filter_map(|task| Some((task.partition(), task.unreadable(now)?))).collect();
        for (partition, error) in unreadable {
            let id = &self.programs.run.settings.id;
            tracing::error!(transform = %id, partition = partition.partition, code = %error.code, error = error.message, "stopped");
            let shares = |task: &&mut Task| {
                task.partition() == partition
                    || (self.states.are_needed() && task.partition().partition == partition.partition)
            };
            self.tasks.values_mut().filter(shares).for_each(|task| task.stop(error.clone()));
        }
    }

    /// Waits for the end of the open transaction, then goes on with another revision.
    pub fn swap(&mut self, next: Swap) {
        self.next = Some(next);
    }

    /// What is committed under a key of a store; None where this worker does not have that partition's state.
    pub fn look_up(&mut self, number: i32, store: &str, key: &[u8], now: Timestamp) -> Option<Option<Vec<u8>>> {
        self.states.look_up(number, store, key, now)
    }

    pub fn status(&self) -> WorkerStatus {
        let of_task = |task: &Task| {
            let partition = task.partition();
            let status = task.status(self.session.end_offset(partition));
            let stores = if partition.input == 0 { self.states.stores_of(partition.partition) } else { Vec::new() };
            PartitionStatus { restoring: self.states.restoring(partition.partition), stores, ..status }
        };
        let unplaced = self.unplaced.statuses(&self.program().settings);
        let partitions: Vec<_> = self.tasks.values().map(of_task).chain(unplaced).collect();
        let any = |state| partitions.iter().any(|partition| partition.state == state);
        let state = match () {
            () if partitions.is_empty() => State::Running,
            () if partitions.iter().all(|partition| partition.state == State::Starting) => State::Starting,
            () if partitions.iter().all(|partition| partition.state == State::Paused) => State::Paused,
            () if any(State::Paused) || any(State::Failed) || any(State::Degraded) || self.is_stuck() => State::Degraded,
            () => State::Running,
        };
        WorkerStatus {
            state,
            error: self.last_error(&partitions),
            memory_bytes: self.tasks.values().map(Task::memory_bytes).max().unwrap_or(0),
            partitions,
            revision: self.revision(),
            on_trial: self.programs.kept.is_some(),
            refused: self.programs.refused.clone(),
            outrun_by: self.tasks.values().map(Task::committed_revision).filter(|&other| other > self.revision()).max(),
        }
    }

    /// Transactions are aborted again and again, or for a reason that does not pass by itself.
    fn is_stuck(&self) -> bool {
        let lasts = |error: &LastError| self.aborts_in_a_row > 0 && !error.code.may_pass();
        self.aborts_in_a_row > 2 || self.abort_error.as_ref().is_some_and(lasts)
    }

    fn last_error(&self, partitions: &[PartitionStatus]) -> Option<LastError> {
        let errors = partitions.iter().filter_map(|partition| partition.error.as_ref());
        self.abort_error.iter().chain(errors).max_by_key(|error| error.at).cloned()
    }

    fn wait(&self, now: Timestamp, idle_wait: Duration) -> Duration {
        let waits = self.tasks.values().filter_map(Task::wait_until);
        let next = waits.chain(self.deadline).chain(self.quiet_until).filter(|&at| at > now).min();
        let left = next.map_or(idle_wait, |at| Duration::from_millis(at.millis_since(now)));
        match self.deadline.is_some_and(|deadline| deadline <= now) && !self.is_quiet(now) {
            true => Duration::ZERO,
            false => left.min(idle_wait),
        }
    }

    fn is_quiet(&self, now: Timestamp) -> bool {
        self.quiet_until.is_some_and(|until| now < until)
    }

    fn is_overdue_by(&self, now: Timestamp, grace: Duration) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline.after(grace))
    }
}

/// A call outside a transaction has nothing to abort.
fn as_restart(error: SessionError) -> SessionError {
    match error {
        SessionError::Restart(reason) => SessionError::Restart(reason),
        other => SessionError::Restart(other.to_string()),
    }
}
