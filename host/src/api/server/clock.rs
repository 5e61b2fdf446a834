//! The clocks of waits, and the end of a connection or of one exchange: both are written on one side and read on
//! the other, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::close_reason::CloseReason;

/// Time after which a peer that sends a body or takes an answer stands still.
pub const STILL: Duration = Duration::from_secs(1);

/// The beginning of a wait, if there is one.
pub struct Clock {
    made: Instant,
    /// In ms after `made`, plus one; 0 if there is no wait.
    since: AtomicU64,
}

/// The reason for an end, as soon as there is one.
pub struct Ending(watch::Sender<Option<CloseReason>>);

/// The clocks of one exchange.
#[derive(Default)]
pub struct ExchangeClocks {
    /// The wait for more of the request's body.
    pub body: Clock,
    /// The wait until the peer takes more of the answer.
    pub answer: Clock,
    /// The end of this exchange alone; none on HTTP/1.1.
    pub ending: Option<Ending>,
}

// === impl ExchangeClocks ===

impl ExchangeClocks {
    /// The clocks of an exchange that ends alone, as a stream of HTTP/2.
    pub fn of_stream() -> Self {
        Self { ending: Some(Ending::default()), ..Self::default() }
    }

    /// The time for which the peer has stood still, if it does.
    pub fn still(&self) -> Option<Duration> {
        self.waited().filter(|waited| *waited >= STILL)
    }

    /// The longest wait for the peer; `None` if the host works.
    pub fn waited(&self) -> Option<Duration> {
        self.body.waited().max(self.answer.waited())
    }
}

// === impl Clock ===

impl Default for Clock {
    fn default() -> Self {
        Self { made: Instant::now(), since: AtomicU64::new(0) }
    }
}

impl Clock {
    pub fn start(&self) {
        self.since.store(self.now(), Ordering::Relaxed);
    }

    pub fn start_if_stopped(&self) {
        let _ = self.since.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn stop(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    pub fn waited(&self) -> Option<Duration> {
        let since = self.since.load(Ordering::Relaxed);
        (since > 0).then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

// === impl Ending ===

impl Default for Ending {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Ending {
    /// The first reason counts.
    pub fn close(&self, why: CloseReason) {
        self.0.send_if_modified(|closed| {
            closed.is_none() && {
                *closed = Some(why);
                true
            }
        });
    }

    pub async fn closed(&self) -> CloseReason {
        let mut closed = self.0.subscribe();
        let why = closed.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        why.unwrap_or(CloseReason::Evicted)
    }
}
