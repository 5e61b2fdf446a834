//! One request with its answer, as the server sees it: the host's waits for the peer, and its end.
//!
//! On HTTP/1.1 a connection has one exchange at a time, and an exchange that is given up ends its connection. On HTTP/2 it
//! has several, each with clocks of its own: one that is given up ends alone, and the others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::clock::{Clock, ExchangeClocks};
use super::close_reason::CloseReason;
use super::peer::Peer;

/// A wait of the host for the peer, within one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The wait for more of the request's body.
    Body,
    /// The wait until the peer takes more of the answer.
    Answer,
}

/// An open exchange. It ends when its answer has ended, or when it is dropped.
pub struct Exchange {
    pub peer: Arc<Peer>,
    clocks: Arc<ExchangeClocks>,
    id: u64,
    /// True if the exchange was let in beyond the limits: it may ask for health and metrics.
    pub is_extra: bool,
    is_answered: AtomicBool,
}

// === impl Exchange ===

impl Exchange {
    /// Begins an exchange. `is_own`: it ends by itself, as a stream of HTTP/2.
    pub fn begin(peer: &Arc<Peer>, is_own: bool, is_extra: bool) -> Arc<Self> {
        let clocks = if is_own { ExchangeClocks::of_stream() } else { ExchangeClocks::default() };
        Self::with_clocks(peer, Arc::new(clocks), is_extra)
    }

    /// Begins an exchange with clocks that others see as well.
    pub fn with_clocks(peer: &Arc<Peer>, clocks: Arc<ExchangeClocks>, is_extra: bool) -> Arc<Self> {
        let id = peer.enter(clocks.clone());
        Arc::new(Self { peer: peer.clone(), clocks, id, is_extra, is_answered: AtomicBool::new(false) })
    }

    /// True if other exchanges of the connection go on without this one.
    pub fn is_own(&self) -> bool {
        self.clocks.ending.is_some()
    }

    /// Begins a wait now, also if there was one already.
    pub fn wait(&self, wait: Wait) {
        self.clock(wait).start();
    }

    /// Begins a wait now, if there is none.
    pub fn still_wait(&self, wait: Wait) {
        self.clock(wait).start_if_stopped();
    }

    pub fn done(&self, wait: Wait) {
        self.clock(wait).stop();
    }

    /// Notes that the answer was handed on to its end.
    pub fn answered(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    pub fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    pub fn close(&self, why: CloseReason) {
        self.peer.give_up(&self.clocks, why);
    }

    /// Resolves when this exchange is to end; never on HTTP/1.1, where its connection does.
    pub async fn closed(&self) -> CloseReason {
        match &self.clocks.ending {
            Some(ending) => ending.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the exchange; a second end has no effect.
    pub fn end(&self) {
        self.peer.leave(self.id);
    }

    fn clock(&self, wait: Wait) -> &Clock {
        match wait {
            Wait::Body => &self.clocks.body,
            Wait::Answer => &self.clocks.answer,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::super::limits::ServerLimits;
    use super::*;

    fn peer() -> Arc<Peer> {
        let address: IpAddr = [127, 0, 0, 1].into();
        Arc::new(Peer::new(address.into(), false))
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_wait_counts_and_work_is_none() {
        let peer = peer();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(peer.evictable(), Some(Duration::from_secs(5)));
        let exchange = Exchange::begin(&peer, false, false);
        assert_eq!(peer.evictable(), None, "it is worked for");
        exchange.wait(Wait::Body);
        assert_eq!(peer.evictable(), None, "it may have sent something just now");
        tokio::time::advance(Duration::from_secs(2)).await;
        exchange.still_wait(Wait::Body);
        assert_eq!(peer.evictable(), Some(Duration::from_secs(2)));
        exchange.done(Wait::Body);
        assert_eq!(peer.evictable(), None);
        exchange.end();
        assert_eq!(peer.evictable(), Some(Duration::ZERO));
        peer.close(CloseReason::Evicted);
        peer.close(CloseReason::WriteTime);
        assert_eq!(peer.closed().await, CloseReason::Evicted);
    }

    #[tokio::test(start_paused = true)]
    async fn one_exchange_that_stands_still_is_given_up_alone() {
        let peer = peer();
        peer.multiplexes();
        let [slow, busy, stalled] = [(); 3].map(|()| Exchange::begin(&peer, true, false));
        slow.wait(Wait::Answer);
        stalled.wait(Wait::Body);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(peer.evictable(), None, "one of them is worked for");
        busy.wait(Wait::Body);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(peer.evictable(), Some(Duration::from_secs(2)));
        let limits = ServerLimits { write_time: Duration::from_secs(6), ..ServerLimits::default() };
        peer.close_if_slow(&limits);
        assert_eq!(slow.closed().await, CloseReason::WriteTime);
        for other in [&busy, &stalled] {
            assert!(tokio::time::timeout(Duration::from_millis(1), other.closed()).await.is_err());
        }
        drop((slow, busy, stalled));
        tokio::time::advance(limits.head_time).await;
        peer.close_if_slow(&limits);
        assert_eq!(peer.closed().await, CloseReason::HeadTime);
    }
}
