//! A worker that waits, or has more records than it can do: its memory is bounded, and nobody waits for another for long.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sandbar::model::batch::{Batch, Output};
use sandbar::ports::{Call, Guest, GuestError, GuestFactory, OpenError, Positions, Restore, StateOpener, TopicPartition};
use sandbar::state::KeyedState;
use sandbar::worker::TaskManager;
use serde_json::json;

use super::fake::{FakeLog, Guests, INIT_MS, advance, clock, manager, now_ms, opened, turn};

const IDLE_WAIT: Duration = Duration::from_millis(100);
const PENDING_BYTES_MAX: usize = 8 << 20;
const RECORD_BYTES: usize = 1000;
/// More than the pending bytes may be.
const MANY: i64 = 40_000;

/// Runs the manager until `done`, for `ms` at most. Returns the largest number of pending bytes on the way.
#[track_caller]
fn run_until(manager: &mut TaskManager, log: &Rc<RefCell<FakeLog>>, ms: u64, done: impl Fn(&FakeLog) -> bool) -> usize {
    let end = now_ms() + ms;
    let mut most = 0;
    while !done(&log.borrow()) && now_ms() < end {
        turn(manager, IDLE_WAIT);
        most = most.max(manager.pending_bytes());
    }
    most
}

/// The partition was taken over by the manager.
fn begun(log: FakeLog, guests: Guests, spec: &serde_json::Value) -> (TaskManager, Rc<RefCell<FakeLog>>) {
    let (mut manager, log) = manager(log, guests, spec, None);
    manager.run_once(clock, IDLE_WAIT).expect("it takes its partitions over");
    (manager, log)
}

#[test]
fn a_worker_that_backs_off_reads_nothing_and_sleeps() {
    let (mut manager, log) = begun(FakeLog::new(&[MANY, MANY], RECORD_BYTES), Guests::new(&[], 0), &json!({}));
    log.borrow_mut().refuses_commits = true;
    let most = run_until(&mut manager, &log, 60_000, |_| false);
    let poll_bytes = log.borrow().poll_bytes_max;
    assert!(most <= PENDING_BYTES_MAX + poll_bytes, "{most} bytes are pending, a poll has {poll_bytes}");
    // 20, 40, 80, ... 5000 ms: about 17 transactions, of a few turns each, and a turn each 100 ms between them.
    let polls = log.borrow().polls;
    assert!(polls < 1500, "{polls} polls in a minute");
    log.borrow_mut().refuses_commits = false;
    run_until(&mut manager, &log, 600_000, |log| log.committed.values().sum::<i64>() == 2 * MANY);
    assert_eq!(log.borrow().committed, BTreeMap::from([(0, MANY), (1, MANY)]));
}

#[test]
fn pending_records_of_a_slow_guest_are_bounded() {
    let (mut manager, log) = begun(FakeLog::new(&[MANY, 100], RECORD_BYTES), Guests::new(&[500, 1], 0), &json!({}));
    let done = |log: &FakeLog| log.committed.values().sum::<i64>() == MANY + 100;
    let most = run_until(&mut manager, &log, 600_000, done);
    let poll_bytes = log.borrow().poll_bytes_max;
    assert!(most <= PENDING_BYTES_MAX + poll_bytes, "{most} bytes are pending, a poll has {poll_bytes}");
    assert_eq!(log.borrow().committed, BTreeMap::from([(0, MANY), (1, 100)]));
}

/// The full one is paused, the other is read on.
#[test]
fn a_partition_with_a_slow_guest_leaves_room_for_another() {
    let (mut manager, log) = begun(FakeLog::new(&[MANY, 0], RECORD_BYTES), Guests::new(&[500, 1], 0), &json!({}));
    run_until(&mut manager, &log, 20_000, |_| false);
    log.borrow_mut().ends.insert(1, 100);
    let since = now_ms();
    run_until(&mut manager, &log, 60_000, |log| log.committed.get(&1) == Some(&100));
    let took = now_ms() - since;
    // A call of the other that is under way, its transaction, and one more.
    assert!(took < 4000, "{took} ms");
}

/// A tick is due again before the last one has ended.
#[test]
fn ticks_that_last_longer_than_their_interval_leave_room_for_records() {
    let spec = json!({"tick": "100ms", "limits": {"batch_records": 10}});
    let (mut manager, log) = begun(FakeLog::new(&[100], 10), Guests::new(&[250], 0), &spec);
    run_until(&mut manager, &log, 30_000, |log| log.committed.get(&0) == Some(&100));
    assert_eq!(log.borrow().committed, BTreeMap::from([(0, 100)]));
}

/// Makes guests, and is one, that note the times of their ticks. The first one stalls.
#[derive(Clone, Default)]
struct StallsOnce(Arc<parking_lot::Mutex<Vec<u64>>>);

impl GuestFactory for StallsOnce {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(self.clone()))
    }
}

impl Guest for StallsOnce {
    fn process(&mut self, _: &Batch, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        Ok(Output::default())
    }

    fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        let mut times = self.0.lock();
        times.push(now_ms());
        if times.len() == 1 { Err(GuestError::Stalled("the host is busy".into())) } else { Ok(Output::default()) }
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

#[test]
fn a_tick_that_could_not_end_is_made_again() {
    let guests = StallsOnce::default();
    let times = guests.0.clone();
    let (mut manager, log) = manager(FakeLog::new(&[0], 10), guests, &json!({"tick": "1h"}), None);
    run_until(&mut manager, &log, 2 * 3_600_000, |log| log.calls.contains(&"commit"));
    let times = times.lock().clone();
    assert_eq!(times.len(), 2, "{times:?}");
    assert!(times[1] - times[0] < 1000, "{times:?}");
}

/// Attempts to make instances that fail are no work, and take time all the same.
#[test]
fn a_deadline_holds_beside_steps_without_work() {
    const FAILING: u32 = 30;
    let ends: Vec<i64> = (0..=i64::from(FAILING)).map(|_| 400).collect();
    let spec = json!({"limits": {"batch_records": 400}});
    let (mut manager, log) = begun(FakeLog::new(&ends, 10), Guests::new(&[], FAILING), &spec);
    let since = now_ms();
    run_until(&mut manager, &log, 600_000, |log| log.calls.contains(&"abort") || log.calls.contains(&"commit"));
    // Interval, grace, and the step that was under way.
    assert!(now_ms() - since <= 100 + 100 + 2 * INIT_MS, "{} ms, {:?}", now_ms() - since, log.borrow().calls);
    run_until(&mut manager, &log, 600_000, |log| log.committed.len() == ends.len());
    assert_eq!(log.borrow().committed.values().sum::<i64>(), 400 * ends.len() as i64);
}

/// Counts partitions, and notes it beside the session's calls.
struct Counting(Arc<parking_lot::Mutex<Vec<u64>>>);

impl StateOpener for Counting {
    fn open(&self, _: i32, _: Positions, _: bool) -> Box<dyn Restore> {
        opened(KeyedState::default())
    }

    fn check_inputs(&self) -> Result<(), OpenError> {
        // As long as a broker may take at worst.
        advance(10_000);
        self.0.lock().push(now_ms());
        Ok(())
    }
}

#[test]
fn partitions_are_counted_before_a_transaction_and_never_within() {
    let counts: Arc<parking_lot::Mutex<Vec<u64>>> = Arc::default();
    let opener: Arc<dyn StateOpener> = Arc::new(Counting(counts.clone()));
    let (mut manager, log) = manager(FakeLog::new(&[MANY], RECORD_BYTES), Guests::new(&[5], 0), &json!({}), Some(opener));
    let mut seen = 0;
    let mut transactions = 0;
    while log.borrow().committed.get(&0) != Some(&MANY) {
        let since = now_ms();
        assert!(since < 1_000_000_000, "it stands at {:?}", log.borrow().committed);
        let is_pending = manager.pending_bytes() > 0;
        manager.run_once(clock, IDLE_WAIT).expect("the session goes on");
        let calls = std::mem::take(&mut log.borrow_mut().calls);
        let counted = counts.lock().len() - seen;
        seen += counted;
        // The transaction of a turn is over when the turn is: all of its records were read before the count.
        match &calls[..] {
            [] => assert_eq!(counted, 0),
            ["begin", "commit"] => assert_eq!(counted, 1),
            other => panic!("{other:?}, {counted} counts"),
        }
        transactions += usize::from(!calls.is_empty());
        assert!(is_pending || calls.is_empty() || counted == 1);
    }
    assert!(transactions > 1, "{transactions}");
}

/// Opens states that have no stores.
struct States;

impl StateOpener for States {
    fn open(&self, _: i32, _: Positions, _: bool) -> Box<dyn Restore> {
        opened(KeyedState::default())
    }

    fn check_inputs(&self) -> Result<(), OpenError> {
        Ok(())
    }
}

/// The state has the work of a newer revision, which the offset of the other input names.
#[test]
fn inputs_over_one_state_wait_for_the_revision_of_either() {
    let other = TopicPartition { input: 1, partition: 0 };
    let spec = json!({"inputs": ["in", "other"]});
    for (opener, committed) in [
        (Some(Arc::new(States) as Arc<dyn StateOpener>), BTreeMap::from([(1, 5)])),
        (None, BTreeMap::from([(0, 5), (1, 5)])),
    ] {
        let mut fake = FakeLog::new(&[5, 5], 10);
        fake.metadata.insert(other, r#"{"revision":3,"since":0}"#.into());
        let (mut manager, log) = manager(fake, Guests::new(&[], 0), &spec, opener);
        run_until(&mut manager, &log, 5000, |_| false);
        assert_eq!(log.borrow().committed, committed);
        assert_eq!(manager.status().outrun_by, Some(3));
    }
}
