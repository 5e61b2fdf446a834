//! A commit interval with a shortest and a longest time: little work waits for the longest, much for the shortest.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{FakeLog, Guests, clock, manager, now_ms, turn};

const IDLE_WAIT: Duration = Duration::from_millis(100);

/// The time from the arrival of `records` records until they are committed, with batches of 10.
#[track_caller]
fn check(commit_interval: &Value, records: i64, expected_ms: u64) {
    let spec = json!({"commit_interval": commit_interval, "limits": {"batch_records": 10}});
    let (mut manager, log) = manager(FakeLog::new(&[0], 10), Guests::new(&[], 0), &spec, None);
    manager.run_once(clock, IDLE_WAIT).expect("it takes its partition over");
    log.borrow_mut().ends.insert(0, records);
    let since = now_ms();
    while log.borrow().committed.get(&0) != Some(&records) {
        assert!(now_ms() - since < 10_000, "{commit_interval}: {records} are not committed");
        turn(&mut manager, IDLE_WAIT);
    }
    let took_ms = now_ms() - since;
    assert!((expected_ms..expected_ms + 20).contains(&took_ms), "{commit_interval}, {records} records: {took_ms} ms");
}

#[test]
fn an_interval_stretches_while_little_is_open() {
    let range = json!({"min": "50ms", "max": "2s"});
    check(&range, 1, 2000);
    check(&range, 9, 2000);
    check(&range, 10, 50);
    check(&range, 35, 50);
    check(&json!("200ms"), 1, 200);
    check(&json!("200ms"), 35, 200);
}
