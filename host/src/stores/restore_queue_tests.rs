//! Restores of several teams in few threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;
use crate::telemetry::metrics::Metrics;

const PATIENCE: Duration = Duration::from_secs(60);

/// A job that tells of each of its steps.
struct Steps {
    name: &'static str,
    left: usize,
    turn: Turn,
    told: Sender<&'static str>,
    given_up: Arc<AtomicBool>,
}

impl Job for Steps {
    fn step(&mut self) -> Turn {
        self.told.send(self.name).expect("the test listens");
        self.left -= 1;
        if self.left == 0 { Turn::Done } else { self.turn }
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }
}

/// Holds a thread until it is let go.
struct Gate {
    entered: Sender<()>,
    open: Receiver<()>,
}

impl Job for Gate {
    fn step(&mut self) -> Turn {
        self.entered.send(()).expect("the test listens");
        let _ = self.open.recv_timeout(PATIENCE);
        Turn::Done
    }

    fn is_given_up(&self) -> bool {
        false
    }
}

fn team(name: &str) -> TeamName {
    name.parse().expect("valid")
}

fn queue(threads_max: usize) -> (Arc<RestoreQueue>, Metrics) {
    let metrics = Metrics::new();
    (Arc::new(RestoreQueue::new(threads_max, metrics.state.clone())), metrics)
}

/// Holds all threads of the queue. What is pushed until the returned senders are dropped waits.
fn hold(queue: &Arc<RestoreQueue>, threads: usize) -> Vec<Sender<()>> {
    let (entered, has_entered) = channel();
    let gates = (0..threads).map(|_| {
        let (open, opened) = channel();
        queue.push(&team("gate"), Box::new(Gate { entered: entered.clone(), open: opened }));
        has_entered.recv_timeout(PATIENCE).expect("a thread takes it");
        open
    });
    gates.collect()
}

/// Runs jobs, given as team, name, number of steps and their turns, in one thread. Checks the order of their steps.
#[track_caller]
fn check(jobs: &[(&str, &'static str, usize, Turn)], expected: &[&str]) {
    let (queue, _) = queue(1);
    let gates = hold(&queue, 1);
    let (told, steps) = channel();
    for &(of, name, left, turn) in jobs {
        queue.push(&team(of), Box::new(Steps { name, left, turn, told: told.clone(), given_up: Arc::default() }));
    }
    drop(told);
    drop(gates);
    let mut found = Vec::new();
    while let Ok(step) = steps.recv_timeout(PATIENCE) {
        found.push(step);
    }
    assert_eq!(found, expected);
}

#[test]
fn teams_take_turns_and_finish_one_restore_after_the_other() {
    use Turn::{Ahead, Stuck};
    check(&[("a", "a1", 3, Ahead), ("a", "a2", 2, Ahead)], &["a1", "a1", "a1", "a2", "a2"]);
    check(&[("a", "a1", 2, Stuck), ("a", "a2", 2, Ahead)], &["a1", "a2", "a2", "a1"]);
    let many = [("a", "a1", 2, Ahead), ("a", "a2", 2, Ahead), ("a", "a3", 2, Ahead), ("b", "b", 2, Ahead)];
    check(&many, &["a1", "b", "a1", "b", "a2", "a2", "a3", "a3"]);
}

#[test]
fn no_more_threads_work_than_allowed() {
    const THREADS: usize = 3;
    let (queue, metrics) = queue(THREADS);
    let gates = hold(&queue, THREADS);
    let (told, steps) = channel();
    let given_up = Arc::new(AtomicBool::new(false));
    for name in ["a1", "a2"] {
        let job = Steps { name, left: 1, turn: Turn::Ahead, told: told.clone(), given_up: given_up.clone() };
        queue.push(&team("a"), Box::new(job));
    }
    let other = Steps { name: "a3", left: 1, turn: Turn::Ahead, told, given_up: Arc::default() };
    queue.push(&team("a"), Box::new(other));
    let waiting =
        |count: usize| metrics.render().contains(&format!("sandbar_state_restores_waiting{{team=\"a\"}} {count}\n"));
    assert!(waiting(3) && steps.try_recv().is_err(), "{}", metrics.render());
    given_up.store(true, Ordering::Relaxed);
    queue.clear_given_up(&team("a"));
    assert!(waiting(1));
    drop(gates);
    assert_eq!(steps.recv_timeout(PATIENCE), Ok("a3"));
    assert!(steps.recv_timeout(PATIENCE).is_err(), "the others are dropped");
    assert!(!metrics.render().contains("sandbar_state_restores_waiting{team=\"a\"}"));
}

/// Threads end when nothing is left, and others come with the next restore.
#[test]
fn an_empty_queue_has_no_threads() {
    let (queue, _) = queue(2);
    for _ in 0..5 {
        drop(hold(&queue, 2));
        let deadline = std::time::Instant::now() + PATIENCE;
        while queue.waiting.lock().threads > 0 {
            assert!(std::time::Instant::now() < deadline, "a thread stays");
            std::thread::yield_now();
        }
    }
}
