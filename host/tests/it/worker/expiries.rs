//! Calls that meet more expired entries than one transaction deletes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sandbar::model::batch::{Batch, Output};
use sandbar::ports::{Call, Guest, GuestError, GuestFactory, StateOpener, TrapKind};
use sandbar::state::{KeyedState, StateError};
use sandbar::worker::{Swap, TaskManager};
use serde_json::{Value, json};

use super::fake::{Expired, FakeLog, Guests, clock, manager, now_ms, revision, turn};

const IDLE_WAIT: Duration = Duration::from_millis(100);
/// More than the time to the first tick.
const PATIENCE_MS: u64 = 2 * 3_600_000;
/// Their deletions have 2.5 times the bytes that a transaction takes.
const EXPIRED: usize = 40_000;
const KEY_BYTES: usize = 1000;
/// Questions about the time after which a call has none left: the deletions of one transaction are fewer parts of a scan,
/// and all expired entries are more.
const QUESTIONS_MAX: usize = 6;
/// The key under which the guest counts its calls.
const CALLS: &[u8] = b"calls";

fn opener() -> Arc<dyn StateOpener> {
    Arc::new(Expired { entries: EXPIRED, key_bytes: KEY_BYTES })
}

/// Makes guests, and is one, that count their calls in the store and then scan all of it.
#[derive(Clone)]
struct Scanner {
    /// Refuses calls with several records.
    takes_one: bool,
    /// Traps behind a scan that was whole.
    traps: bool,
    /// The number of calls that scanned.
    scans: Arc<AtomicUsize>,
}

impl Scanner {
    fn scan(&self, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        let trapped = |error: StateError| GuestError::Trapped { kind: TrapKind::Trap, message: error.to_string() };
        let before = state.get(0, CALLS, call.now).map_err(trapped)?;
        let calls = before.map_or(0, |value| value[0]) + 1;
        state.put(0, CALLS.to_vec(), vec![calls], call.now).map_err(trapped)?;
        let mut questions = 0;
        let mut goes_on = || {
            questions += 1;
            questions < QUESTIONS_MAX
        };
        match state.scan(0, (b"", None), 9, call.now, &mut goes_on) {
            Ok(_) if self.traps => Err(GuestError::Trapped { kind: TrapKind::Trap, message: "as asked".into() }),
            Ok(found) => {
                assert_eq!(found, [(CALLS.to_vec(), vec![calls])]);
                Ok(Output::default())
            }
            Err(StateError::OutOfTime) => Err(GuestError::Stalled("the scan takes too long".into())),
            Err(error) => Err(trapped(error)),
        }
    }
}

impl GuestFactory for Scanner {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(self.clone()))
    }
}

impl Guest for Scanner {
    fn process(&mut self, batch: &Batch, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        if self.takes_one && batch.len() > 1 {
            return Err(GuestError::Returned("one at a time".into()));
        }
        self.scan(call, state)
    }

    fn tick(&mut self, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        self.scan(call, state)
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// Each of so many calls takes effect once, and no transaction is aborted. The first one is made three times: twice it ends
/// with a transaction whose deletions are committed.
#[track_caller]
fn check(records: i64, spec: &Value, takes_one: bool, calls: u8) {
    let scans = Arc::new(AtomicUsize::new(0));
    let guests = Scanner { takes_one, traps: false, scans: scans.clone() };
    let (mut manager, log) = manager(FakeLog::new(&[records], 10), guests, spec, Some(opener()));
    let end = now_ms() + PATIENCE_MS;
    while manager.look_up(0, "s", CALLS, clock().wall) != Some(Some(vec![calls])) {
        let shown = format!("{:?}, {:?}", log.borrow().calls, manager.status().error);
        assert!(now_ms() < end && !log.borrow().calls.contains(&"abort"), "{shown}");
        turn(&mut manager, IDLE_WAIT);
    }
    assert_eq!(log.borrow().committed.get(&0), Some(&records));
    assert_eq!(log.borrow().calls, ["begin", "commit"].repeat(3));
    assert_eq!(scans.load(Ordering::Relaxed), usize::from(calls) + 2);
}

#[test]
fn a_call_that_meets_too_many_expired_entries_is_made_again_after_their_commit() {
    check(3, &json!({}), false, 1);
    check(3, &json!({}), true, 3);
    check(0, &json!({"tick": "1h"}), false, 1);
}

/// Deletions of expired entries are no work of the revision: it is on trial until a call of it has ended.
#[test]
fn a_revision_that_has_only_met_expired_entries_is_still_on_trial() {
    let spec = json!({});
    let (mut manager, log) = manager(FakeLog::new(&[1], 10), Guests::new(&[], 0), &spec, Some(opener()));
    let run_until = |manager: &mut TaskManager, committed: i64| {
        let end = now_ms() + PATIENCE_MS;
        while log.borrow().committed.get(&0) != Some(&committed) {
            assert!(now_ms() < end, "{:?}, {:?}", log.borrow().calls, manager.status().error);
            turn(manager, IDLE_WAIT);
        }
    };
    run_until(&mut manager, 1);
    let scanner = Scanner { takes_one: false, traps: true, scans: Arc::default() };
    let scans = scanner.scans.clone();
    manager.swap(Swap { revision: revision(2, scanner, &spec), guests: Vec::new() });
    log.borrow_mut().ends.insert(0, 2);
    run_until(&mut manager, 2);
    let status = manager.status();
    assert_eq!((status.revision, status.refused.map(|refused| refused.revision)), (1, Some(2)));
    // Twice the deletions were committed before it.
    assert_eq!(scans.load(Ordering::Relaxed), 3);
}
