//! Turns at compiling: a bounded number of compilers at once, whoever asks for them.
//!
//! Two queues wait, requests of the API and deployed transforms. The next turn goes to the queue that has fewer compilers
//! running, or else has used less time: uploads that each take the longest time cannot hold up a host's restart, and a
//! restart with hundreds of modules does not close uploads. A wait holds a thread, so each queue is short.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::telemetry::metrics::ModuleMetrics;

/// Threads of one queue that wait.
const WAITING_MAX: usize = 64;
/// Longest time that a request waits for its turn.
const REQUEST_WAIT: Duration = Duration::from_secs(30);

/// The party that a module is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Somebody waits for an answer.
    Requests,
    /// The supervisor prepares a deployed transform.
    Deployments,
}

impl Queue {
    const ALL: [Self; 2] = [Self::Requests, Self::Deployments];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Deployments => "deployments",
        }
    }

    fn wait_max(self) -> Option<Duration> {
        match self {
            Self::Requests => Some(REQUEST_WAIT),
            Self::Deployments => None,
        }
    }
}

/// There is no room in the queue, or the turn did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// Hands out turns. Cloning shares them.
#[derive(Clone)]
pub struct Turns {
    shared: Arc<Shared>,
}

struct Shared {
    at_once_max: usize,
    metrics: ModuleMetrics,
    lines: Mutex<[Line; 2]>,
}

/// One queue.
#[derive(Default)]
struct Line {
    /// Callers that wait for their turn, each by a number of its own.
    turns_wanted: VecDeque<(u64, SyncSender<Turn>)>,
    next_number: u64,
    /// Threads that wait for a turn, or for another one that compiles the same module.
    waiting: usize,
    running: usize,
    /// Time of all turns that have ended. A queue that was idle begins at the other's.
    used: Duration,
}

/// A place among those that wait. Dropped, it is given back.
pub struct Place {
    shared: Arc<Shared>,
    queue: Queue,
    until: Option<Instant>,
}

/// The right to run one compiler. Dropped, it goes to the next.
pub struct Turn {
    shared: Arc<Shared>,
    queue: Queue,
    since: Instant,
}

impl Turns {
    pub fn new(at_once_max: usize, metrics: ModuleMetrics) -> Self {
        let lines = Mutex::default();
        Self { shared: Arc::new(Shared { at_once_max: at_once_max.max(1), metrics, lines }) }
    }

    /// Takes a place in a queue, to wait with.
    pub fn enter(&self, queue: Queue) -> Result<Place, Busy> {
        let mut lines = self.shared.lines.lock();
        let line = &mut lines[queue as usize];
        if line.waiting >= WAITING_MAX {
            return Err(Busy);
        }
        line.waiting += 1;
        self.shared.metrics.compiles_waiting(queue.as_str(), line.waiting);
        let until = queue.wait_max().map(|wait| Instant::now() + wait);
        Ok(Place { shared: self.shared.clone(), queue, until })
    }
}

impl Place {
    /// Waits until nobody else compiles the module of this lock.
    pub fn lock<'a>(&self, one: &'a Mutex<()>) -> Result<MutexGuard<'a, ()>, Busy> {
        match self.until {
            Some(until) => one.try_lock_until(until).ok_or(Busy),
            None => Ok(one.lock()),
        }
    }

    /// Waits for a turn.
    pub fn turn(self) -> Result<Turn, Busy> {
        let (sender, turn) = sync_channel(1);
        let number = {
            let mut lines = self.shared.lines.lock();
            let other_used = lines[1 - self.queue as usize].used;
            let line = &mut lines[self.queue as usize];
            if line.turns_wanted.is_empty() && line.running == 0 {
                line.used = line.used.max(other_used);
            }
            line.next_number += 1;
            line.turns_wanted.push_back((line.next_number, sender));
            line.next_number
        };
        self.shared.hand_out();
        let received = match self.until {
            Some(until) => turn.recv_timeout(until.saturating_duration_since(Instant::now())),
            None => turn.recv().map_err(RecvTimeoutError::from),
        };
        received.map_err(|_| {
            // A turn that comes at this very moment is dropped with the channel, and goes on to the next.
            self.shared.lines.lock()[self.queue as usize].turns_wanted.retain(|(other, _)| *other != number);
            Busy
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.shared.lines.lock();
        let line = &mut lines[self.queue as usize];
        line.waiting -= 1;
        self.shared.metrics.compiles_waiting(self.queue.as_str(), line.waiting);
    }
}

impl Shared {
    /// Gives free turns to those that wait.
    fn hand_out(self: &Arc<Self>) {
        while let Some((waiting, turn)) = self.next() {
            // Whoever gave up has dropped its end: the turn comes back and is dropped.
            let _ = waiting.send(turn);
        }
    }

    fn next(self: &Arc<Self>) -> Option<(SyncSender<Turn>, Turn)> {
        let mut lines = self.lines.lock();
        if lines.iter().map(|line| line.running).sum::<usize>() >= self.at_once_max {
            return None;
        }
        let waiting = Queue::ALL.into_iter().filter(|queue| !lines[*queue as usize].turns_wanted.is_empty());
        let queue = waiting.min_by_key(|queue| {
            let line = &lines[*queue as usize];
            (line.running, line.used)
        })?;
        let line = &mut lines[queue as usize];
        let (_, sender) = line.turns_wanted.pop_front()?;
        line.running += 1;
        self.metrics.compilers_running(lines.iter().map(|line| line.running).sum());
        Some((sender, Turn { shared: self.clone(), queue, since: Instant::now() }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut lines = self.shared.lines.lock();
            let line = &mut lines[self.queue as usize];
            line.running -= 1;
            line.used += self.since.elapsed();
            self.shared.metrics.compilers_running(lines.iter().map(|line| line.running).sum());
        }
        self.shared.hand_out();
    }
}

#[cfg(test)]
mod tests;
