//! The other end of a connection, and how long it has kept this host waiting.
//!
//! A connection whose peer is waited for is given up before one that is worked for: while a request is being answered, or
//! a stream has nothing to say, the peer waits and not the host.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Things that a peer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// A request: its head has not come, or not all of it.
    Head,
    /// More of a request's body.
    Body,
    /// Taking more of an answer.
    Answer,
    /// Taking bytes that were written.
    Write,
}

/// Reasons for which this host closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Another needed its place.
    Evicted,
    /// The peer took nothing for too long.
    WriteTime,
    /// Its answer was not taken, and another needed the bytes.
    AnswerBytes,
}

/// One connection, as the whole server sees it.
pub struct Peer {
    pub address: Address,
    /// Tells a connection that was let in beyond the limits, for requests that cost nothing.
    pub is_extra: bool,
    started: Instant,
    /// Beginnings of the waits, in ms since `started`, and one; 0: there is none.
    since: [AtomicU64; 4],
    closed: watch::Sender<Option<Closed>>,
}

/// An address as far as one party owns it: a whole IPv4 address, or the network part of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(u128);

// === impl Peer ===

impl Peer {
    pub fn new(address: Address, is_extra: bool) -> Self {
        let peer =
            Self { address, is_extra, started: Instant::now(), since: Default::default(), closed: watch::Sender::new(None) };
        peer.wait(For::Head);
        peer
    }

    /// The peer is waited for from now on, even if it was already.
    pub fn wait(&self, what: For) {
        self.since[what as usize].store(self.now(), Ordering::Relaxed);
    }

    /// The peer is waited for from now on, if it was not already.
    pub fn still_wait(&self, what: For) {
        let since = &self.since[what as usize];
        let _ = since.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn done(&self, what: For) {
        self.since[what as usize].store(0, Ordering::Relaxed);
    }

    pub fn waited(&self, what: For) -> Option<Duration> {
        let since = self.since[what as usize].load(Ordering::Relaxed);
        (since > 0).then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// The longest wait for which another connection may have the place; None: the peer is not waited for. An idle peer may
    /// lose its place at once, one that sends a body or takes an answer only when it stands still.
    pub fn evictable(&self) -> Option<Duration> {
        let slow = [For::Body, For::Answer, For::Write].into_iter().filter_map(|what| self.waited(what));
        let slow = slow.filter(|waited| *waited >= Duration::from_secs(1));
        slow.chain(self.waited(For::Head)).max()
    }

    /// Closes the connection. The first reason counts.
    pub fn close(&self, why: Closed) {
        self.closed.send_if_modified(|closed| {
            closed.is_none() && {
                *closed = Some(why);
                true
            }
        });
    }

    /// Resolves when the connection is to be closed.
    pub async fn closed(&self) -> Closed {
        let mut closed = self.closed.subscribe();
        let why = closed.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        why.unwrap_or(Closed::Evicted)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl Closed {
    /// As metrics name it.
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
        peer.done(For::Head);
        assert_eq!(peer.evictable(), None, "it is worked for");
        peer.wait(For::Body);
        assert_eq!(peer.evictable(), None, "it may have sent something just now");
        tokio::time::advance(Duration::from_secs(2)).await;
        peer.still_wait(For::Body);
        assert_eq!(peer.evictable(), Some(Duration::from_secs(2)));
        peer.done(For::Body);
        peer.close(Closed::Evicted);
        peer.close(Closed::WriteTime);
        assert_eq!(peer.closed().await, Closed::Evicted);
    }
}
