//! One session's life: its tasks, and the transaction over all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::WorkerStatus;
use crate::model::status::State;
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{CommitOffset, Partition, Rebalance, Session, SessionError};
use crate::task::{Program, Step, Tally, Task};

/// Records taken from the session in one poll.
const POLL_RECORDS_MAX: usize = 4096;
/// With more than this pending, records are taken one at a time: just enough to stay a member of the group.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// A transaction that sent so much is committed before its time: what it sent waits in memory.
const TRANSACTION_BYTES_MAX: u64 = 64 << 20;
/// After an abort, the first and the longest wait before the next transaction.
const ABORT_BACKOFF: Backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_secs(5) };

/// See the module.
pub struct Cycle {
    session: Box<dyn Session>,
    program: Arc<Program>,
    commit_interval: Duration,
    tasks: BTreeMap<Partition, Task>,
    /// Partitions that the session was told to hold back, because their task waits.
    held: Vec<Partition>,
    /// A change that waits until the open transaction has ended, well or not: the session tells it once.
    change: Option<Rebalance>,
    /// The task that had the last step: the next one is another's.
    stepped: Option<Partition>,
    tally: Tally,
    open: bool,
    /// When what is pending or open is to be committed.
    deadline: Option<Timestamp>,
    aborts_in_a_row: u32,
    quiet_until: Option<Timestamp>,
}

impl Cycle {
    pub fn new(session: Box<dyn Session>, program: Arc<Program>, commit_interval: Duration) -> Self {
        Self {
            session,
            program,
            commit_interval,
            tasks: BTreeMap::new(),
            held: Vec::new(),
            change: None,
            stepped: None,
            tally: Tally::default(),
            open: false,
            deadline: None,
            aborts_in_a_row: 0,
            quiet_until: None,
        }
    }

    /// One round. An error means that the session is of no more use.
    pub fn turn(&mut self, clock: fn() -> Timestamp, idle_wait: Duration) -> Result<(), SessionError> {
        match self.round(clock, idle_wait) {
            Err(SessionError::Abort(reason)) => {
                self.roll_back(&reason, clock())?;
                self.settle()
            }
            other => other,
        }
    }

    fn round(&mut self, clock: fn() -> Timestamp, idle_wait: Duration) -> Result<(), SessionError> {
        let now = clock();
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
        for &(partition, end) in self.session.consumed_ends() {
            if let Some(task) = self.tasks.get_mut(&partition) {
                task.reached_end(end);
            }
        }
        if self.deadline.is_none() && self.tasks.values().any(Task::has_pending) {
            self.deadline = Some(clock().after(self.commit_interval));
        }
        self.process(clock)?;
        self.hold_waiting(clock())?;
        let due =
            self.deadline.is_some_and(|deadline| clock() >= deadline) || self.tally.bytes_out() > TRANSACTION_BYTES_MAX;
        if due || self.change.is_some() {
            self.finish(clock())?;
        }
        self.settle()
    }

    /// Applies the change that waits, if there is one. Call only between two transactions.
    fn settle(&mut self) -> Result<(), SessionError> {
        self.change.take().map_or(Ok(()), |change| self.apply(change).map_err(as_restart))
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
            let mut ready: Vec<Partition> =
                self.tasks.iter().filter(|(_, task)| task.is_ready(now, overdue)).map(|(&partition, _)| partition).collect();
            if ready.is_empty() {
                return Ok(());
            }
            let next = ready.iter().position(|&partition| Some(partition) > self.stepped).unwrap_or(0);
            ready.rotate_left(next);
            self.begin()?;
            for partition in ready {
                self.stepped = Some(partition);
                let task = self.tasks.get_mut(&partition).expect("collected above");
                let stepped = task.step(clock(), &mut *self.session, &mut self.tally)?;
                // A slow guest must not hold up what others of its transaction have done.
                let overdue = stepped == Step::Worked && self.is_overdue_by(clock(), self.commit_interval);
                if overdue || self.tally.bytes_out() > TRANSACTION_BYTES_MAX {
                    return Ok(());
                }
            }
        }
    }

    fn begin(&mut self) -> Result<(), SessionError> {
        if !self.open {
            self.session.begin()?;
            self.open = true;
        }
        Ok(())
    }

    /// Commits the open transaction, if there is one, with the offsets of every task that went on.
    fn finish(&mut self, now: Timestamp) -> Result<(), SessionError> {
        self.deadline = None;
        if !self.open {
            return Ok(());
        }
        let revision = self.program.settings.revision;
        let moved = self.tasks.values().filter(|task| task.next_offset() != task.committed_offset());
        let offsets: Vec<CommitOffset> = moved
            .map(|task| CommitOffset {
                partition: task.partition(),
                next_offset: task.next_offset(),
                metadata: format!("{{\"revision\":{revision}}}"),
            })
            .collect();
        if offsets.is_empty() {
            // Nothing was done but waiting for a retry.
            self.open = false;
            return self.session.abort().map_err(as_restart);
        }
        let timer = self.program.metrics.commit_time.start_timer();
        self.session.commit(&offsets)?;
        timer.observe_duration();
        self.open = false;
        self.aborts_in_a_row = 0;
        self.tasks.values_mut().for_each(Task::committed);
        self.program.metrics.committed.inc();
        self.tally.count(&self.program.metrics, now);
        if self.tasks.values().any(Task::has_pending) {
            self.deadline = Some(now.after(self.commit_interval));
        }
        Ok(())
    }

    /// The transaction failed: everything goes back to what was committed.
    fn roll_back(&mut self, reason: &str, now: Timestamp) -> Result<(), SessionError> {
        tracing::warn!(transform = %self.program.settings.id, reason, "transaction aborted, its records are processed again");
        self.program.metrics.aborted("abort");
        self.abort()?;
        let pause = ABORT_BACKOFF.after(self.aborts_in_a_row);
        self.aborts_in_a_row = self.aborts_in_a_row.saturating_add(1);
        self.quiet_until = Some(now.after(pause));
        Ok(())
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        if std::mem::take(&mut self.open) {
            self.session.abort().map_err(as_restart)?;
        }
        self.deadline = None;
        self.tally.clear();
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

    fn lose(&mut self, partitions: &[Partition], now: Timestamp) -> Result<(), SessionError> {
        tracing::warn!(transform = %self.program.settings.id, ?partitions, "partitions lost: what was not committed is dropped");
        self.program.metrics.rebalances.inc();
        self.program.metrics.aborted("lost");
        self.tasks.retain(|partition, _| !partitions.contains(partition));
        self.held.retain(|partition| !partitions.contains(partition));
        self.session.unassign(partitions).map_err(as_restart)?;
        self.abort()?;
        self.quiet_until = Some(now);
        Ok(())
    }

    fn apply(&mut self, change: Rebalance) -> Result<(), SessionError> {
        self.program.metrics.rebalances.inc();
        let id = &self.program.settings.id;
        match change {
            Rebalance::Assign(partitions) => {
                for assigned in self.session.assign(&partitions)? {
                    let task = Task::new(assigned.partition, assigned.next_offset, self.program.clone());
                    tracing::info!(
                        transform = %id, topic = %task.topic(), partition = assigned.partition.number,
                        offset = assigned.next_offset, "partition assigned"
                    );
                    self.tasks.insert(assigned.partition, task);
                }
            }
            Rebalance::Revoke(partitions) | Rebalance::Lost(partitions) => {
                tracing::info!(transform = %id, partitions = partitions.len(), "partitions revoked");
                self.tasks.retain(|partition, _| !partitions.contains(partition));
                self.held.retain(|partition| !partitions.contains(partition));
                self.session.unassign(&partitions)?;
            }
        }
        Ok(())
    }

    /// Holds back the partitions of waiting tasks, and lets go those that wait no more.
    fn hold_waiting(&mut self, now: Timestamp) -> Result<(), SessionError> {
        for (&partition, task) in &mut self.tasks {
            task.saw_end(self.session.end_offset(partition));
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
        match self.finish(clock()) {
            Err(SessionError::Abort(reason)) => self.roll_back(&reason, clock()),
            other => other,
        }
    }

    pub fn status(&self) -> WorkerStatus {
        let partitions: Vec<_> = self.tasks.values().map(Task::status).collect();
        let any = |state| partitions.iter().any(|partition| partition.state == state);
        let state = match () {
            () if partitions.is_empty() => State::Running,
            () if partitions.iter().all(|partition| partition.state == State::Paused) => State::Paused,
            () if any(State::Paused) || any(State::Failed) || any(State::Degraded) || self.aborts_in_a_row > 2 => {
                State::Degraded
            }
            () => State::Running,
        };
        WorkerStatus {
            state,
            error: partitions.iter().filter_map(|partition| partition.error.clone()).max_by_key(|error| error.at),
            memory_bytes: self.tasks.values().map(Task::memory_bytes).max().unwrap_or(0),
            partitions,
        }
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
        SessionError::Abort(reason) | SessionError::Restart(reason) => SessionError::Restart(reason),
    }
}
