//! Permits: how many requests of one kind are worked on at once. More of them wait, and more than that are refused.
//!
//! A permit is taken when a request's body is there, never while it arrives, and each kind has its own: dry runs never
//! close deployments, and neither closes a rollback. A team has a smaller number of each kind, and waits for those before
//! it waits for the host's: however much it asks for, it leaves permits for others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::model::access::Party;
use crate::model::codes::Code;
use crate::model::names::TeamName;

use super::problem::Refusal;

/// Time for a request to get its permit. Clients wait longer for an answer than this.
const WAIT: Duration = Duration::from_secs(30);
/// Waiting requests for each one in work: each of them holds the bytes of its body.
const WAITING_FACTOR: usize = 8;

/// The permits for one kind of request.
pub struct Permits {
    host: Queue,
    parties: Arc<PartyQueues>,
}

/// The permit of one request, until it is dropped. It is kept where the work is done: a client that leaves does not end
/// the work. Fields drop in order: the permit of a team before its place in the team's queue.
pub struct Permit {
    _host: OwnedSemaphorePermit,
    _party: Option<(OwnedSemaphorePermit, PartyTicket)>,
}

/// A number of permits, and the requests that wait for one.
struct Queue {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// The name of the limit, for refusals.
    limit: &'static str,
}

/// The queues of the parties that have requests now.
struct PartyQueues {
    limit: &'static str,
    count: usize,
    queues: Mutex<BTreeMap<Party, Arc<Queue>>>,
}

/// A place in the queue of a party. The last one takes the queue away.
struct PartyTicket {
    parties: Arc<PartyQueues>,
    party: Party,
    queue: Option<Arc<Queue>>,
}

/// Counts one waiting request, until it is dropped.
struct QueueEntry<'a>(&'a AtomicUsize);

// === impl Permits ===

impl Permits {
    /// Makes the permits of a host, and of each team: the names of the two limits with their numbers.
    pub fn new(of_host: (&'static str, usize), of_team: (&'static str, usize)) -> Self {
        let (limit, count) = of_team;
        let parties = Arc::new(PartyQueues { limit, count, queues: Mutex::default() });
        Self { host: Queue::new(of_host), parties }
    }

    /// Takes a permit for a request that concerns a team.
    pub async fn take_for(&self, team: &TeamName) -> Result<Permit, Refusal> {
        self.take(Some(Party::of(team))).await
    }

    /// Takes a permit for a request of a party.
    pub async fn take(&self, party: Option<Party>) -> Result<Permit, Refusal> {
        let deadline = Instant::now() + WAIT;
        let of_party = match party.map(|party| PartyTicket::new(&self.parties, party)) {
            Some(ticket) => Some((ticket.queue().take(deadline).await?, ticket)),
            None => None,
        };
        Ok(Permit { _host: self.host.take(deadline).await?, _party: of_party })
    }
}

// === impl Queue ===

impl Queue {
    fn new((limit, count): (&'static str, usize)) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count)),
            waiting: AtomicUsize::new(0),
            waiting_max: count * WAITING_FACTOR,
            limit,
        }
    }

    async fn take(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = QueueEntry(&self.waiting);
        if before >= self.waiting_max {
            return Err(self.busy());
        }
        match tokio::time::timeout_at(deadline, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(self.busy()),
        }
    }

    fn busy(&self) -> Refusal {
        Refusal::new(Code::Busy, format!("too many requests of this kind are in progress ({})", self.limit))
    }
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl PartyTicket ===

impl PartyTicket {
    fn new(parties: &Arc<PartyQueues>, party: Party) -> Self {
        let mut queues = parties.queues.lock();
        let queue = queues.entry(party.clone()).or_insert_with(|| Arc::new(Queue::new((parties.limit, parties.count))));
        Self { parties: parties.clone(), party, queue: Some(queue.clone()) }
    }

    fn queue(&self) -> &Queue {
        self.queue.as_ref().expect("it is there until the ticket is dropped")
    }
}

impl Drop for PartyTicket {
    fn drop(&mut self) {
        let mut queues = self.parties.queues.lock();
        self.queue = None;
        if queues.get(&self.party).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.party);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(of_host: usize, of_team: usize) -> Permits {
        Permits::new(("uploads_max", of_host), ("uploads_per_team_max", of_team))
    }

    fn team(name: &str) -> TeamName {
        name.parse().expect("valid")
    }

    #[tokio::test(start_paused = true)]
    async fn some_wait_and_more_are_refused_at_once() {
        let permits = permits(1, 1);
        let first = permits.take(None).await.expect("free");
        let started = Instant::now();
        let waiting = (0..WAITING_FACTOR).map(|_| permits.take(None));
        let (late, refused) = tokio::join!(futures::future::join_all(waiting), async {
            tokio::task::yield_now().await;
            let refused = permits.take(None).await.is_err();
            assert_eq!(started.elapsed(), Duration::ZERO);
            refused
        });
        assert!(refused && late.iter().all(Result::is_err) && started.elapsed() == WAIT);
        drop((first, late));
        assert!(permits.take(None).await.is_ok());
        assert_eq!(permits.host.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_team_leaves_permits_for_others() {
        let permits = permits(3, 2);
        let started = Instant::now();
        let first = permits.take_for(&team("greedy")).await.expect("free");
        let second = permits.take_for(&team("greedy")).await.expect("free");
        let greedy = team("greedy");
        let waiting = (0..2 * WAITING_FACTOR + 1).map(|_| permits.take_for(&greedy));
        let (late, other) = tokio::join!(futures::future::join_all(waiting), async {
            tokio::task::yield_now().await;
            let other = permits.take_for(&team("modest")).await;
            assert_eq!(started.elapsed(), Duration::ZERO, "it does not wait behind the other team");
            other
        });
        assert!(other.is_ok());
        for refusal in late {
            let detail = refusal.err().expect("none came free").detail().to_owned();
            assert!(detail.contains("uploads_per_team_max"), "{detail}");
        }
        let third = permits.take(None).await.err().expect("the host has three").detail().to_owned();
        assert!(third.contains("(uploads_max)"), "{third}");
        drop((first, second, other));
        assert!(permits.parties.queues.lock().is_empty(), "nothing is kept of a team without requests");
    }
}
