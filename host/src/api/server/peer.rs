//! The other end of a connection, and how long it has kept this host waiting.
//!
//! A connection that keeps the host waiting is given up before one that the host works for: while a request is being
//! answered, or a stream has no line to send, the peer waits and not the host.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A wait of the host for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The wait for a request: its head has not come, or not all of it.
    Head,
    /// The wait for more of a request's body.
    Body,
    /// The wait until the peer takes more of an answer.
    Answer,
    /// The wait until the peer takes bytes that were written.
    Write,
}

/// The reason why this host closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection needed the slot.
    Evicted,
    /// The peer took nothing for too long.
    WriteTime,
    /// The peer did not take its answer, and another answer needed the bytes.
    AnswerBytes,
}

/// One connection, as the whole server sees it.
pub struct Peer {
    pub address: Address,
    /// True if the connection was let in beyond the limits, for requests that cost nothing.
    pub is_extra: bool,
    started: Instant,
    /// The beginning of each wait, in ms after `started`, plus one; 0 if there is no wait.
    since: [AtomicU64; 4],
    closed: watch::Sender<Option<CloseReason>>,
}

/// The part of an address that one party owns: a whole IPv4 address, or the network part of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(u128);

// === impl Peer ===

impl Peer {
    pub fn new(address: Address, is_extra: bool) -> Self {
        let peer =
            Self { address, is_extra, started: Instant::now(), since: Default::default(), closed: watch::Sender::new(None) };
        peer.wait(Wait::Head);
        peer
    }

    /// Begins a wait now, also if there was one already.
    pub fn wait(&self, wait: Wait) {
        self.since[wait as usize].store(self.now(), Ordering::Relaxed);
    }

    /// Begins a wait now, if there is none.
    pub fn still_wait(&self, wait: Wait) {
        let since = &self.since[wait as usize];
        let _ = since.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn done(&self, wait: Wait) {
        self.since[wait as usize].store(0, Ordering::Relaxed);
    }

    pub fn waited(&self, wait: Wait) -> Option<Duration> {
        let since = self.since[wait as usize].load(Ordering::Relaxed);
        (since > 0).then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// The longest wait for which the peer may lose its slot to another connection; `None` if the host does not wait. An
    /// idle peer may lose its slot at once, a peer that sends a body or takes an answer only when it stands still.
    pub fn evictable(&self) -> Option<Duration> {
        let slow = [Wait::Body, Wait::Answer, Wait::Write].into_iter().filter_map(|wait| self.waited(wait));
        let slow = slow.filter(|waited| *waited >= Duration::from_secs(1));
        slow.chain(self.waited(Wait::Head)).max()
    }

    /// Closes the connection. The first reason counts.
    pub fn close(&self, why: CloseReason) {
        self.closed.send_if_modified(|closed| {
            closed.is_none() && {
                *closed = Some(why);
                true
            }
        });
    }

    /// Resolves when the connection is to be closed.
    pub async fn closed(&self) -> CloseReason {
        let mut closed = self.closed.subscribe();
        let why = closed.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        why.unwrap_or(CloseReason::Evicted)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl CloseReason {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::WriteTime => "write_time",
            Self::AnswerBytes => "answer_bytes",
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u128::from(address.to_bits())),
            // Whoever has one address of a /64 has all of them.
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64 | 1 << 63),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(raw: &str) -> Address {
        raw.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
        assert_ne!(address("::1"), address("0.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_wait_counts_and_work_is_none() {
        let peer = Peer::new(address("127.0.0.1"), false);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(peer.evictable(), Some(Duration::from_secs(5)));
        peer.done(Wait::Head);
        assert_eq!(peer.evictable(), None, "it is worked for");
        peer.wait(Wait::Body);
        assert_eq!(peer.evictable(), None, "it may have sent something just now");
        tokio::time::advance(Duration::from_secs(2)).await;
        peer.still_wait(Wait::Body);
        assert_eq!(peer.evictable(), Some(Duration::from_secs(2)));
        peer.done(Wait::Body);
        peer.close(CloseReason::Evicted);
        peer.close(CloseReason::WriteTime);
        assert_eq!(peer.closed().await, CloseReason::Evicted);
    }
}
