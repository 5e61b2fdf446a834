//! Permits: how many requests of one kind are worked on at once. More of them wait, and more than that are refused.
//!
//! A permit is taken when a request's body is there, never while it arrives, and each kind has its own: dry runs never
//! close deployments, and neither closes a rollback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::codes::Code;

use super::problem::Refusal;

/// Time for a request to get its permit. Clients wait longer for an answer than this.
const WAIT: Duration = Duration::from_secs(30);
/// Waiting requests for each one in work: each of them holds the bytes of its body.
const WAITING_FACTOR: usize = 8;

/// The permits for one kind of request.
pub struct Permits {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// The name of the limit, for refusals.
    limit: &'static str,
}

/// Counts one waiting request, until it is dropped.
struct QueueEntry<'a>(&'a AtomicUsize);

// === impl Permits ===

impl Permits {
    pub fn new(limit: &'static str, count: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count)),
            waiting: AtomicUsize::new(0),
            waiting_max: count * WAITING_FACTOR,
            limit,
        }
    }

    /// Takes a permit, which is kept where the work is done: a client that leaves does not end the work.
    pub async fn take(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = QueueEntry(&self.waiting);
        if before >= self.waiting_max {
            return Err(self.busy());
        }
        match tokio::time::timeout(WAIT, self.permits.clone().acquire_owned()).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn some_wait_and_more_are_refused_at_once() {
        let permits = Permits::new("uploads_max", 1);
        let first = permits.take().await.expect("free");
        let started = tokio::time::Instant::now();
        let waiting = (0..WAITING_FACTOR).map(|_| permits.take());
        let (late, refused) = tokio::join!(futures::future::join_all(waiting), async {
            tokio::task::yield_now().await;
            let refused = permits.take().await.is_err();
            assert_eq!(started.elapsed(), Duration::ZERO);
            refused
        });
        assert!(refused && late.iter().all(Result::is_err) && started.elapsed() == WAIT);
        drop((first, late));
        assert!(permits.take().await.is_ok());
        assert_eq!(permits.waiting.load(Ordering::Relaxed), 0);
    }
}
