//! Turns at compiling: a bounded number of compilers at once, whoever asks for them.
//!
//! Two queues wait, requests of the API and deployed transforms. The next turn goes to the queue that has fewer compilers
//! running, or else has used less time: uploads that each take the longest time cannot hold up a host's restart, and a
//! restart with hundreds of modules does not close uploads. Within a queue the teams take turns ([`RoundRobin`]): a team
//! with hundreds of modules does not hold up another's only one.
//!
//! A module has one turn at a time, whoever waits for it: when that is done, the others look for the module again. A thread
//! that waits needs a place, of which there are few; a future needs none.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::model::names::{Digest, TeamName};
use crate::round_robin::RoundRobin;
use crate::telemetry::metrics::ModuleMetrics;

/// Most threads of one queue that wait.
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
    /// Callers without a team are those of one more team.
    waiters: RoundRobin<Option<TeamName>, Waiter>,
    next_number: u64,
    /// Places that are taken.
    places: usize,
    /// The modules of the turns that have not ended.
    running: Vec<Option<Digest>>,
    /// Time of all turns that have ended. A queue that was idle begins at the other's.
    used: Duration,
}

/// A caller that waits for its turn.
struct Waiter {
    number: u64,
    module: Option<Digest>,
    hand_over: HandOver,
}

/// Hands a turn to its waiter. Dropped, it tells the waiter to look for its module again.
type HandOver = Box<dyn FnOnce(Turn) + Send>;

/// The number of a waiter. Dropped, it takes the waiter out of its line.
struct Ticket {
    shared: Arc<Shared>,
    queue: Queue,
    number: u64,
}

/// A place for a thread that waits. Dropped, it is given back.
pub struct Place {
    shared: Arc<Shared>,
    queue: Queue,
    until: Option<Instant>,
}

/// The right to run one compiler. Dropped, it goes to the next.
pub struct Turn {
    shared: Arc<Shared>,
    queue: Queue,
    module: Option<Digest>,
    since: Instant,
    is_done: bool,
}

impl Turns {
    pub fn new(at_once_max: usize, metrics: ModuleMetrics) -> Self {
        let lines = Mutex::default();
        Self { shared: Arc::new(Shared { at_once_max: at_once_max.max(1), metrics, lines }) }
    }

    /// Takes a place in a queue, for a thread to wait with.
    pub fn enter(&self, queue: Queue) -> Result<Place, Busy> {
        let mut lines = self.shared.lines.lock();
        let line = &mut lines[queue as usize];
        if line.places >= WAITING_MAX {
            return Err(Busy);
        }
        line.places += 1;
        let until = queue.wait_max().map(|wait| Instant::now() + wait);
        Ok(Place { shared: self.shared.clone(), queue, until })
    }

    /// Waits for a turn at a module, without a thread and for as long as it takes. None: somebody else's turn at the module
    /// is done. A turn that comes to a dropped future goes to the next.
    pub async fn turn(&self, queue: Queue, team: &TeamName, module: Digest) -> Option<Turn> {
        let (sender, receiver) = oneshot::channel();
        let hand_over = Box::new(move |turn| drop(sender.send(turn)));
        let _ticket = self.shared.enqueue(queue, Some(team), Some(module), hand_over);
        receiver.await.ok()
    }
}

impl Place {
    /// Waits for a turn, which is at a module or at none. None: somebody else's turn at the module is done.
    pub fn turn(&self, team: Option<&TeamName>, module: Option<Digest>) -> Result<Option<Turn>, Busy> {
        let (sender, receiver) = sync_channel(1);
        let hand_over = Box::new(move |turn| drop(sender.send(turn)));
        // A turn that comes at the very moment of giving up is dropped with the channel, and goes to the next.
        let _ticket = self.shared.enqueue(self.queue, team, module, hand_over);
        let received = match self.until {
            Some(until) => receiver.recv_timeout(until.saturating_duration_since(Instant::now())),
            None => receiver.recv().map_err(RecvTimeoutError::from),
        };
        match received {
            Ok(turn) => Ok(Some(turn)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(Busy),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lines.lock()[self.queue as usize].places -= 1;
    }
}

impl Turn {
    /// Ends the turn after its module was compiled or refused: all others that wait for the module look for it again.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let is_same = |waiter: &Waiter| waiter.module == self.module;
        let told: Vec<Waiter> = {
            let mut lines = self.shared.lines.lock();
            let line = &mut lines[self.queue as usize];
            if let Some(at) = line.running.iter().position(|module| *module == self.module) {
                line.running.swap_remove(at);
            }
            line.used += self.since.elapsed();
            let told = lines.iter_mut().filter(|_| self.is_done).flat_map(|line| line.waiters.take(is_same)).collect();
            self.shared.show(&lines);
            told
        };
        // Without the lock, as this wakes them.
        drop(told);
        self.shared.hand_out();
    }
}

impl Shared {
    fn enqueue(
        self: &Arc<Self>,
        queue: Queue,
        team: Option<&TeamName>,
        module: Option<Digest>,
        hand_over: HandOver,
    ) -> Ticket {
        let ticket = {
            let mut lines = self.lines.lock();
            let other_used = lines[1 - queue as usize].used;
            let line = &mut lines[queue as usize];
            if line.waiters.is_empty() && line.running.is_empty() {
                line.used = line.used.max(other_used);
            }
            line.next_number += 1;
            let number = line.next_number;
            line.waiters.push(team.cloned(), Waiter { number, module, hand_over });
            self.show(&lines);
            Ticket { shared: self.clone(), queue, number }
        };
        self.hand_out();
        ticket
    }

    /// Gives free turns to those that wait.
    fn hand_out(self: &Arc<Self>) {
        while let Some((waiter, turn)) = self.next() {
            // Whoever gave up has dropped its end: the turn comes back and is dropped.
            (waiter.hand_over)(turn);
        }
    }

    fn next(self: &Arc<Self>) -> Option<(Waiter, Turn)> {
        let mut lines = self.lines.lock();
        let running: Vec<Option<Digest>> = lines.iter().flat_map(|line| line.running.iter().copied()).collect();
        if running.len() >= self.at_once_max {
            return None;
        }
        let fits = |waiter: &Waiter| waiter.module.is_none() || !running.contains(&waiter.module);
        let waiting = Queue::ALL.into_iter().filter(|queue| lines[*queue as usize].waiters.any(fits));
        let queue = waiting.min_by_key(|queue| {
            let line = &lines[*queue as usize];
            (line.running.len(), line.used)
        })?;
        let line = &mut lines[queue as usize];
        let (_, waiter) = line.waiters.pop(fits)?;
        let module = waiter.module;
        line.running.push(module);
        self.show(&lines);
        Some((waiter, Turn { shared: self.clone(), queue, module, since: Instant::now(), is_done: false }))
    }

    fn show(&self, lines: &[Line; 2]) {
        for queue in Queue::ALL {
            self.metrics.compiles_waiting(queue.as_str(), lines[queue as usize].waiters.len());
        }
        self.metrics.compilers_running(lines.iter().map(|line| line.running.len()).sum());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let given_up = {
            let mut lines = self.shared.lines.lock();
            let given_up = lines[self.queue as usize].waiters.take(|waiter| waiter.number == self.number);
            self.shared.show(&lines);
            given_up
        };
        drop(given_up);
    }
}

#[cfg(test)]
mod tests;
