use std::sync::mpsc::{Receiver, channel};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::telemetry::metrics::Metrics;

fn turns(at_once_max: usize) -> Turns {
    Turns::new(at_once_max, Metrics::new().modules)
}

/// Takes a turn that is free.
fn free(turns: &Turns, queue: Queue) -> Turn {
    turns.enter(queue).expect("there is room").turn(None, None).expect("in time").expect("it is at no module")
}

/// Waits for a turn of a team at a module, without a thread.
fn ahead(turns: &Turns, team: &str, module: &str) -> BoxFuture<'static, Option<Turn>> {
    let turns = turns.clone();
    let team: TeamName = team.parse().expect("valid");
    let module = Digest::of(module.as_bytes());
    let mut waiting = async move { turns.turn(Queue::Deployments, &team, module).await }.boxed();
    assert!(poll(&mut waiting).is_none(), "no turn is free");
    waiting
}

/// Has these teams wait for turns at these modules.
fn all_ahead<const N: usize>(turns: &Turns, waiters: [(&str, &str); N]) -> [BoxFuture<'static, Option<Turn>>; N] {
    waiters.map(|(team, module)| ahead(turns, team, module))
}

/// The end of a wait, if it is over.
fn poll(waiting: &mut BoxFuture<'static, Option<Turn>>) -> Option<Option<Turn>> {
    waiting.now_or_never()
}

/// The turn that a waiter has now.
#[track_caller]
fn granted(waiting: &mut BoxFuture<'static, Option<Turn>>) -> Turn {
    poll(waiting).expect("the wait is over").expect("it is a turn")
}

/// Starts a thread that waits for a turn, and returns once it waits.
fn wait_in(turns: &Turns, queue: Queue, granted: &std::sync::mpsc::Sender<Turn>) {
    let place = turns.enter(queue).expect("there is room");
    let before = wanted(turns, queue);
    let granted = granted.clone();
    std::thread::spawn(move || {
        if let Ok(Some(turn)) = place.turn(None, None) {
            let _ = granted.send(turn);
        }
    });
    while wanted(turns, queue) == before {
        std::thread::yield_now();
    }
}

fn wanted(turns: &Turns, queue: Queue) -> usize {
    turns.shared.lines.lock()[queue as usize].waiters.len()
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
    let first = free(&turns, Queue::Deployments);
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
    let first = free(&turns, Queue::Requests);
    let second = free(&turns, Queue::Requests);
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
    let turn = free(&turns, Queue::Requests);
    let late = || {
        let mut place = turns.enter(Queue::Requests).expect("room");
        place.until = Some(Instant::now());
        place
    };
    assert!(late().turn(None, None).is_err());
    assert_eq!(wanted(&turns, Queue::Requests), 0);
    drop(turn);
    free(&turns, Queue::Requests);
}

#[test]
fn teams_take_turns() {
    let turns = turns(1);
    let held = free(&turns, Queue::Deployments);
    let names = ["a1", "a2", "a3", "a4", "a5", "b1", "c1", "c2"];
    let mut waiting: Vec<_> = names.iter().map(|name| (*name, ahead(&turns, &name[..1], name))).collect();
    drop(held);
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let granted = waiting.iter_mut().enumerate().find_map(|(at, (_, waiting))| Some((at, poll(waiting)?)));
        let (at, turn) = granted.expect("somebody has the turn");
        order.push(waiting.remove(at).0);
        turn.expect("nobody else waits for the module").done();
    }
    assert_eq!(order, ["a1", "b1", "c1", "a2", "c2", "a3", "a4", "a5"]);
}

#[test]
fn a_dropped_waiter_costs_nobody_a_turn() {
    let turns = turns(1);
    let held = free(&turns, Queue::Deployments);
    let [mut a, b1, b2, mut b3] = all_ahead(&turns, [("a", "1"), ("b", "1"), ("b", "2"), ("b", "2")]);
    drop(b1);
    assert_eq!(wanted(&turns, Queue::Deployments), 3);
    drop(held);
    let turn = granted(&mut a);
    assert!(poll(&mut b3).is_none());
    drop(turn);
    // The turn has come to this one, which has not seen it yet.
    drop(b2);
    let turn = granted(&mut b3);
    assert_eq!(wanted(&turns, Queue::Deployments), 0);
    drop(turn);
    free(&turns, Queue::Deployments);
}

#[test]
fn a_module_has_one_turn_for_all_teams() {
    let turns = turns(2);
    let held = [(); 2].map(|()| free(&turns, Queue::Requests));
    let [mut a, mut b, mut c, mut other] = all_ahead(&turns, [("a", "1"), ("b", "1"), ("c", "1"), ("c", "2")]);
    drop(held);
    let turn = granted(&mut a);
    // The second compiler is for another module.
    drop(granted(&mut other));
    assert!(poll(&mut b).is_none() && poll(&mut c).is_none());
    // Nothing was compiled: the next team does it.
    drop(turn);
    let turn = granted(&mut b);
    assert!(poll(&mut c).is_none());
    turn.done();
    let told = poll(&mut c).expect("the module is there");
    assert!(told.is_none());
    assert_eq!(wanted(&turns, Queue::Deployments), 0);
}

#[test]
fn a_module_has_one_turn_for_both_queues() {
    let turns = turns(2);
    let module = Some(Digest::of(b"1"));
    let place = turns.enter(Queue::Deployments).expect("there is room");
    let turn = place.turn(None, module).expect("in time").expect("nobody else has one");
    let request = turns.enter(Queue::Requests).expect("there is room");
    let request = std::thread::spawn(move || request.turn(None, module).expect("in time").is_none());
    while wanted(&turns, Queue::Requests) == 0 {
        std::thread::yield_now();
    }
    turn.done();
    assert!(request.join().expect("no panic"));
}
