//! A log in memory for one worker, in virtual time: it notes the calls, and fails as a test says. Partitions have as many
//! records as are wanted, made when they are read.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sandbar::model::batch::{Batch, Output, RecordRef};
use sandbar::model::clock::{Monotonic, Now};
use sandbar::model::names::{Digest, TopicName};
use sandbar::model::spec::Spec;
use sandbar::model::units::Timestamp;
use sandbar::ports::{
    Call, CommitOffset, Guest, GuestError, GuestFactory, OpenError, Positions, ProducerRecord, Rebalance, Restore, Session,
    SessionError, StateOpener, TopicPartition,
};
use sandbar::state::local::Entry;
use sandbar::state::{KeyedState, StoreSettings};
use sandbar::task::{RunnableRevision, Settings};
use sandbar::telemetry::observer::Observers;
use sandbar::worker::{Revisions, TaskManager};
use serde_json::{Value, json};

/// The time of an attempt to make an instance that fails.
pub const INIT_MS: u64 = 300;

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(1_000_000) };
}

pub fn clock() -> Now {
    Now { wall: Timestamp(NOW_MS.get() as i64), mono: Monotonic::from_millis(NOW_MS.get()) }
}

pub fn advance(ms: u64) {
    NOW_MS.set(NOW_MS.get() + ms);
}

pub fn now_ms() -> u64 {
    NOW_MS.get()
}

/// The state of the log, which a test shares with the session.
#[derive(Default)]
pub struct FakeLog {
    /// The number of records of each partition.
    pub ends: BTreeMap<i32, i64>,
    pub record_bytes: usize,
    pub committed: BTreeMap<i32, i64>,
    /// The metadata of the offsets that were committed before. Inputs above the first have no records.
    pub metadata: BTreeMap<TopicPartition, String>,
    /// Every commit fails with an abort.
    pub refuses_commits: bool,
    /// The calls, but for polls and sends.
    pub calls: Vec<&'static str>,
    pub polls: usize,
    positions: BTreeMap<i32, i64>,
    pub paused: BTreeSet<i32>,
    /// The partitions that were to be read without delay.
    pub hastened: Vec<i32>,
    is_assigned: bool,
    /// Partitions that the group gives to the session with its next poll.
    pub given: Vec<i32>,
    /// The largest number of bytes that one poll has handed over.
    pub poll_bytes_max: usize,
}

impl FakeLog {
    /// A log of partitions with these numbers of records.
    pub fn new(ends: &[i64], record_bytes: usize) -> Self {
        Self { ends: (0..).zip(ends.iter().copied()).collect(), record_bytes, ..Self::default() }
    }
}

struct FakeSession(Rc<RefCell<FakeLog>>);

impl Session for FakeSession {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        let log = &mut *self.0.borrow_mut();
        log.polls += 1;
        if !std::mem::replace(&mut log.is_assigned, true) {
            let others = log.metadata.keys().copied().filter(|partition| partition.input > 0);
            let all = log.ends.keys().map(|&partition| at(partition)).chain(others);
            return Ok(Some(Rebalance::Assign(all.collect())));
        }
        if !log.given.is_empty() {
            return Ok(Some(Rebalance::Assign(std::mem::take(&mut log.given).into_iter().map(at).collect())));
        }
        let value = vec![b'x'; log.record_bytes];
        let mut taken = 0;
        for (&partition, &end) in log.ends.iter().filter(|(partition, _)| !log.paused.contains(partition)) {
            let Some(position) = log.positions.get_mut(&partition) else { continue };
            while taken < records_max && *position < end {
                let timestamp = NOW_MS.get() as i64;
                let offset = *position;
                on_record(at(partition), &RecordRef { offset, timestamp, key: None, value: Some(&value), headers: &[] });
                *position += 1;
                taken += 1;
            }
        }
        log.poll_bytes_max = log.poll_bytes_max.max(taken * (log.record_bytes + 64));
        if taken == 0 {
            advance(timeout.as_millis() as u64);
        }
        Ok(None)
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<CommitOffset>, SessionError> {
        let log = &mut *self.0.borrow_mut();
        let offset = |&partition: &TopicPartition| {
            let next_offset = log.committed.get(&partition.partition).copied().unwrap_or(0);
            log.positions.insert(partition.partition, next_offset);
            let metadata = log.metadata.get(&partition).cloned().unwrap_or_default();
            CommitOffset { partition, next_offset, metadata }
        };
        Ok(partitions.iter().map(offset).collect())
    }

    fn unassign(&mut self, _: &[TopicPartition]) -> Result<(), SessionError> {
        Ok(())
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), SessionError> {
        if partition.input == 0 {
            self.0.borrow_mut().positions.insert(partition.partition, offset);
        }
        Ok(())
    }

    fn pause(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        if partition.input == 0 {
            self.0.borrow_mut().paused.insert(partition.partition);
        }
        Ok(())
    }

    fn resume(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        if partition.input == 0 {
            self.0.borrow_mut().paused.remove(&partition.partition);
        }
        Ok(())
    }

    fn hasten(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        self.0.borrow_mut().hastened.extend(partitions.iter().map(|at| at.partition));
        Ok(())
    }

    fn end_offset(&self, partition: TopicPartition) -> Option<i64> {
        self.0.borrow().ends.get(&partition.partition).copied()
    }

    fn consumed_ends(&self) -> &[(TopicPartition, i64)] {
        &[]
    }

    fn begin(&mut self) -> Result<(), SessionError> {
        self.0.borrow_mut().calls.push("begin");
        Ok(())
    }

    fn send(&mut self, _: &ProducerRecord<'_>) -> Result<(), SessionError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    fn written_end(&self, _: usize, _: i32) -> Option<i64> {
        None
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), SessionError> {
        let log = &mut *self.0.borrow_mut();
        log.calls.push("commit");
        if log.refuses_commits {
            return Err(SessionError::Abort("as asked".into()));
        }
        for offset in offsets {
            let before = log.committed.insert(offset.partition.partition, offset.next_offset).unwrap_or(0);
            assert!(offset.next_offset >= before, "offsets go back");
        }
        Ok(())
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        self.0.borrow_mut().calls.push("abort");
        Ok(())
    }

    fn set_outputs(&mut self, _: &[TopicName]) -> Result<(), SessionError> {
        Ok(())
    }
}

pub fn at(partition: i32) -> TopicPartition {
    TopicPartition { input: 0, partition }
}

/// A state that is open at once.
struct Opened(Option<KeyedState>);

impl Restore for Opened {
    fn poll(&mut self) -> Option<Result<KeyedState, OpenError>> {
        self.0.take().map(Ok)
    }

    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }
}

pub fn opened(state: KeyedState) -> Box<dyn Restore> {
    Box::new(Opened(Some(state)))
}

/// Opens states of one store with so many entries, whose keys have these bytes. They expired long ago.
pub struct Expired {
    pub entries: usize,
    pub key_bytes: usize,
}

impl StateOpener for Expired {
    fn open(&self, _: i32, _: Positions, _: bool) -> Box<dyn Restore> {
        let settings = StoreSettings {
            name: "s".into(),
            ttl: Some(Duration::from_secs(60)),
            bytes_max: 1 << 30,
            call_bytes_max: 1 << 20,
            record_bytes_max: 1 << 20,
            hot_bytes_max: 0,
        };
        let key = |n: usize| format!("{n:0width$}", width = self.key_bytes).into_bytes();
        let entry = Entry { written_at: Timestamp(0), value: b"old".to_vec() };
        let entries = (0..self.entries).map(|n| (key(n), Some(entry.clone()))).collect();
        opened(KeyedState::in_memory(vec![(settings, entries)]).expect("memory does not fail"))
    }

    fn check_inputs(&self) -> Result<(), OpenError> {
        Ok(())
    }
}

/// Has the manager make one turn, which itself takes time.
#[track_caller]
pub fn turn(manager: &mut TaskManager, idle_wait: Duration) {
    let before = now_ms();
    manager.run_once(clock, idle_wait).expect("the session goes on");
    if now_ms() == before {
        advance(1);
    }
}

/// Makes guests without outputs, whose calls take time.
pub struct Guests {
    /// The time of a call, by partition.
    call_ms: Vec<u64>,
    /// The number of the next instances that cannot be made.
    failing: Mutex<u32>,
}

impl Guests {
    /// `failing`: the number of the first instances that cannot be made, each after [`INIT_MS`].
    pub fn new(call_ms: &[u64], failing: u32) -> Self {
        Self { call_ms: call_ms.to_vec(), failing: Mutex::new(failing) }
    }
}

struct TimedGuest {
    call_ms: Vec<u64>,
}

impl GuestFactory for Guests {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        let mut failing = self.failing.lock();
        if *failing > 0 {
            *failing -= 1;
            advance(INIT_MS);
            return Err(GuestError::Init("as asked".into()));
        }
        Ok(Box::new(TimedGuest { call_ms: self.call_ms.clone() }))
    }
}

impl TimedGuest {
    fn call(&self, call: Call) -> Result<Output, GuestError> {
        advance(self.call_ms.get(call.partition.partition as usize).copied().unwrap_or(0));
        Ok(Output::default())
    }
}

impl Guest for TimedGuest {
    fn process(&mut self, _: &Batch, call: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        self.call(call)
    }

    fn tick(&mut self, call: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        self.call(call)
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// A revision of this number. `spec` has fields beside inputs and outputs.
pub fn revision(number: u64, guests: impl GuestFactory + 'static, spec: &Value) -> Arc<RunnableRevision> {
    let mut raw = json!({"inputs": ["in"], "outputs": {"out": "out"}});
    raw.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    let raw = serde_json::from_value(raw).expect("a spec");
    let spec = Spec::parse(&raw, &"t/n".parse().expect("valid"), Some(Digest::of(b""))).expect("valid");
    let settings = Settings::of(&spec, number, Vec::new(), vec![usize::MAX; 2]);
    let observer = Observers::default().transform(&spec.id, &settings.inputs, &settings.outputs);
    Arc::new(RunnableRevision { settings, guests: Arc::new(guests), observer })
}

/// A task manager on a fake log, with a [`revision`].
pub fn manager(
    log: FakeLog,
    guests: impl GuestFactory + 'static,
    spec: &Value,
    opener: Option<Arc<dyn StateOpener>>,
) -> (TaskManager, Rc<RefCell<FakeLog>>) {
    let current = revision(1, guests, spec);
    let log = Rc::new(RefCell::new(log));
    let session = Box::new(FakeSession(log.clone()));
    (
        TaskManager::new(
            session,
            Revisions { current, previous: None, rejected: None },
            opener,
            crate::support::cpu::account("t"),
        ),
        log,
    )
}
