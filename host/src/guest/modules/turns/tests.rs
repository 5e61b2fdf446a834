use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::telemetry::metrics::Metrics;

fn turns(at_once_max: usize) -> Turns {
    Turns::new(at_once_max, Metrics::new().modules)
}

/// Starts a thread that waits for a turn, and returns once it waits.
fn wait_in(turns: &Turns, queue: Queue, granted: &std::sync::mpsc::Sender<Turn>) {
    let place = turns.enter(queue).expect("there is room");
    let before = wanted(turns, queue);
    let granted = granted.clone();
    std::thread::spawn(move || {
        if let Ok(turn) = place.turn() {
            let _ = granted.send(turn);
        }
    });
    while wanted(turns, queue) == before {
        std::thread::yield_now();
    }
}

fn wanted(turns: &Turns, queue: Queue) -> usize {
    turns.shared.lines.lock()[queue as usize].turns_wanted.len()
}

/// Ends the next turns, each after its number of seconds, and returns whose they were.
fn order(granted: &Receiver<Turn>, count: usize, seconds: impl Fn(Queue) -> u64) -> String {
    let mut order = String::new();
    for _ in 0..count {
        let mut turn = granted.recv().expect("a turn");
        order.push_str(&turn.queue.as_str()[..1]);
        turn.since =
            Instant::now().checked_sub(Duration::from_secs(seconds(turn.queue))).expect("the machine runs that long");
    }
    order
}

/// Checks the order in which one compiler serves the queues, each of which has a number of threads waiting.
#[track_caller]
fn check(requests: usize, deployments: usize, seconds: impl Fn(Queue) -> u64, expected: &str) {
    let turns = turns(1);
    let first = turns.enter(Queue::Deployments).expect("room").turn().expect("free");
    let (granted, receiver) = channel();
    for (queue, count) in [(Queue::Deployments, deployments), (Queue::Requests, requests)] {
        for _ in 0..count {
            wait_in(&turns, queue, &granted);
        }
    }
    drop(first);
    assert_eq!(order(&receiver, requests + deployments, seconds), expected);
}

#[test]
fn queues_share_the_time() {
    check(3, 3, |_| 10, "rdrdrd");
    check(3, 0, |_| 10, "rrr");
    check(0, 3, |_| 10, "ddd");
    // Uploads that take long do not hold up a restart, and the other way round.
    check(2, 8, |queue| if queue == Queue::Requests { 25 } else { 10 }, "rdddrddddd");
    check(4, 2, |queue| if queue == Queue::Requests { 10 } else { 25 }, "rdrrdr");
}

#[test]
fn no_more_run_than_may() {
    let turns = turns(2);
    let (granted, receiver) = channel();
    let first = turns.enter(Queue::Requests).expect("room").turn().expect("free");
    let second = turns.enter(Queue::Requests).expect("room").turn().expect("free");
    wait_in(&turns, Queue::Requests, &granted);
    wait_in(&turns, Queue::Deployments, &granted);
    receiver.try_recv().map(drop).expect_err("both are taken");
    drop(first);
    // The queue that has none running goes first.
    let third = receiver.recv().expect("a turn");
    assert_eq!(third.queue, Queue::Deployments);
    receiver.try_recv().map(drop).expect_err("both are taken");
    drop(second);
    assert_eq!(receiver.recv().expect("a turn").queue, Queue::Requests);
}

#[test]
fn a_queue_is_short_and_the_other_has_room() {
    let turns = turns(1);
    let mut places: Vec<Place> = (0..WAITING_MAX).map(|_| turns.enter(Queue::Requests).expect("room")).collect();
    assert!(turns.enter(Queue::Requests).is_err());
    assert!(turns.enter(Queue::Deployments).is_ok());
    places.pop();
    assert!(turns.enter(Queue::Requests).is_ok());
}

#[test]
fn a_request_does_not_wait_for_long() {
    let turns = turns(1);
    let turn = turns.enter(Queue::Requests).expect("room").turn().expect("free");
    let late = || {
        let mut place = turns.enter(Queue::Requests).expect("room");
        place.until = Some(Instant::now());
        place
    };
    assert!(late().turn().is_err());
    let one = Mutex::new(());
    let held = one.lock();
    assert!(late().lock(&one).is_err());
    drop(held);
    assert!(late().lock(&one).is_ok());
    assert_eq!(wanted(&turns, Queue::Requests), 0);
    drop(turn);
    assert!(turns.enter(Queue::Requests).expect("room").turn().is_ok());
}
