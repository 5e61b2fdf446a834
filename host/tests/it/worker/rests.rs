//! A worker for which nothing comes asks its log for nothing, and goes on when it is woken.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sandbar::model::batch::{Batch, Output};
use sandbar::model::names::{TeamName, TopicName};
use sandbar::ports::{Call, Guest, GuestError, GuestFactory};
use sandbar::state::KeyedState;
use sandbar::worker::{Among, Bell, Rests, Swap, TaskManager};
use serde_json::{Value, json};

use super::fake::{FakeLog, Guests, clock, manager, now_ms, revision};

const IDLE_WAIT: Duration = Duration::from_millis(100);

fn team() -> TeamName {
    "t".parse().expect("valid")
}

fn partition(number: i32) -> (TopicName, i32) {
    ("in".parse().expect("valid"), number)
}

/// Runs the manager for `ms`, while somebody looks at the resting workers as soon as the supervisor does.
fn run(manager: &mut TaskManager, log: &Rc<RefCell<FakeLog>>, rests: &Rests, ms: u64) {
    let end = now_ms() + ms;
    while now_ms() < end {
        manager.run_once(clock, IDLE_WAIT).expect("the session goes on");
        let asked: Vec<_> = rests.partitions().remove(&team()).unwrap_or_default();
        let ends = asked.into_iter().map(|of| (of.clone(), log.borrow().ends[&of.1])).collect();
        rests.wake(&[team()], rests.entered(), &Arc::new(ends), clock().mono);
    }
}

fn resting(ends: &[i64]) -> (TaskManager, Rc<RefCell<FakeLog>>, Rests) {
    resting_with(ends, Guests::new(&[], 0), &json!({}))
}

fn resting_with(
    ends: &[i64],
    guests: impl GuestFactory + 'static,
    spec: &Value,
) -> (TaskManager, Rc<RefCell<FakeLog>>, Rests) {
    let (manager, log) = manager(FakeLog::new(ends, 10), guests, spec, None);
    let rests = Rests::default();
    let among = Among { rests: rests.clone(), team: team(), bell: Bell::default() };
    (manager.resting_among(among), log, rests)
}

#[test]
fn a_worker_without_records_reads_nothing_until_there_are_some() {
    let (mut manager, log, rests) = resting(&[3, 0]);
    run(&mut manager, &log, &rests, 4000);
    assert_eq!(log.borrow().paused, BTreeSet::new());
    assert_eq!(log.borrow().committed, BTreeMap::from([(0, 3)]));
    run(&mut manager, &log, &rests, 2000);
    assert_eq!(log.borrow().paused, BTreeSet::from([0, 1]));
    assert_eq!(rests.partitions()[&team()], [partition(0), partition(1)]);
    // For as long as nothing comes.
    run(&mut manager, &log, &rests, 600_000);
    assert_eq!(log.borrow().paused, BTreeSet::from([0, 1]));
    log.borrow_mut().ends.insert(1, 5);
    run(&mut manager, &log, &rests, 500);
    assert_eq!(log.borrow().paused, BTreeSet::new());
    assert_eq!(log.borrow().hastened, [0, 1]);
    assert_eq!(log.borrow().committed, BTreeMap::from([(0, 3), (1, 5)]));
    run(&mut manager, &log, &rests, 6000);
    assert_eq!(log.borrow().paused, BTreeSet::from([0, 1]));
}

#[test]
fn a_worker_that_nobody_looks_at_reads_by_itself() {
    let (mut manager, log, rests) = resting(&[0]);
    run(&mut manager, &log, &rests, 6000);
    assert_eq!(log.borrow().paused, BTreeSet::from([0]));
    log.borrow_mut().ends.insert(0, 5);
    let end = now_ms() + 4000;
    while now_ms() < end {
        manager.run_once(clock, IDLE_WAIT).expect("the session goes on");
    }
    assert_eq!(log.borrow().committed, BTreeMap::from([(0, 5)]));
}

#[test]
fn a_partition_that_comes_while_a_worker_rests_is_read() {
    let (mut manager, log, rests) = resting(&[0]);
    run(&mut manager, &log, &rests, 6000);
    assert_eq!(log.borrow().paused, BTreeSet::from([0]));
    log.borrow_mut().ends.insert(1, 5);
    log.borrow_mut().given.push(1);
    run(&mut manager, &log, &rests, 1000);
    assert_eq!(log.borrow().committed, BTreeMap::from([(1, 5)]));
    run(&mut manager, &log, &rests, 6000);
    assert_eq!(rests.partitions()[&team()], [partition(0), partition(1)]);
    log.borrow_mut().ends.insert(0, 2);
    run(&mut manager, &log, &rests, 1000);
    assert_eq!(log.borrow().committed, BTreeMap::from([(0, 2), (1, 5)]));
}

/// Makes guests, and is one, that fail with every record.
struct Failing;

impl GuestFactory for Failing {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(Failing))
    }
}

impl Guest for Failing {
    fn process(&mut self, _: &Batch, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        Err(GuestError::Returned("as asked".into()))
    }

    fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        Ok(Output::default())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// A partition that a bad record paused has no place among those that rest.
#[test]
fn a_paused_partition_is_read_by_the_revision_that_comes_while_the_worker_rests() {
    let spec = json!({"on_error": {"then": "pause"}});
    for ends in [&[1][..], &[1, 0]] {
        let (mut manager, log, rests) = resting_with(ends, Failing, &spec);
        run(&mut manager, &log, &rests, 10_000);
        assert_eq!(log.borrow().paused.len(), ends.len());
        assert_eq!(log.borrow().committed, BTreeMap::new());
        manager.swap(Swap { revision: revision(2, Guests::new(&[], 0), &spec), guests: Vec::new() });
        run(&mut manager, &log, &rests, 1000);
        assert_eq!(log.borrow().committed, BTreeMap::from([(0, 1)]), "{ends:?}");
    }
}

/// Partition 0 is paused in a transaction of its own, before those of partition 1 are aborted.
#[test]
fn a_paused_partition_stays_paused_when_others_abort() {
    let spec = json!({"on_error": {"then": "pause"}});
    let failing = FailsOn { partition: 0, calls: Arc::default() };
    let calls = failing.calls.clone();
    let (mut manager, log, rests) = resting_with(&[1, 0], failing, &spec);
    run(&mut manager, &log, &rests, 1000);
    let made = calls.load(Ordering::Relaxed);
    assert!(made > 0 && log.borrow().paused.contains(&0));
    log.borrow_mut().ends.insert(1, 5);
    log.borrow_mut().refuses_commits = true;
    run(&mut manager, &log, &rests, 1000);
    assert!(log.borrow().calls.contains(&"abort"));
    log.borrow_mut().refuses_commits = false;
    run(&mut manager, &log, &rests, 5000);
    assert_eq!(log.borrow().committed, BTreeMap::from([(1, 5)]));
    assert_eq!(calls.load(Ordering::Relaxed), made, "nobody has resumed it");
    manager.resume().expect("goes on");
    run(&mut manager, &log, &rests, 1000);
    assert!(calls.load(Ordering::Relaxed) > made);
}

/// Makes guests, and is one, that fail with every record of one partition, and count these.
#[derive(Clone)]
struct FailsOn {
    partition: i32,
    calls: Arc<AtomicUsize>,
}

impl GuestFactory for FailsOn {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(self.clone()))
    }
}

impl Guest for FailsOn {
    fn process(&mut self, _: &Batch, call: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        if call.partition.partition != self.partition {
            return Ok(Output::default());
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Err(GuestError::Returned("as asked".into()))
    }

    fn tick(&mut self, _: Call, _: &mut KeyedState) -> Result<Output, GuestError> {
        Ok(Output::default())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}
