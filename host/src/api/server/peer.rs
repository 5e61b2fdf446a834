//! The other end of a connection, and how long it has kept this host waiting.
//!
//! A connection that keeps the host waiting is given up before one that the host works for: while a request is being
//! answered, or a stream has no line to send, the peer waits and not the host.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::clock::{Clock, Ending, ExchangeClocks, STILL};
use super::close_reason::CloseReason;
use super::limits::ServerLimits;

/// Most exchanges that a peer may leave early, beyond those that it lets end.
const LEFT_EARLY_MAX: i64 = 100;

/// One connection, as the whole server sees it.
pub struct Peer {
    pub address: Address,
    /// True if the connection was let in beyond the limits, for requests that cost nothing.
    pub is_extra: bool,
    /// The wait for a request, while there is none.
    idle: Clock,
    /// The wait until the peer takes bytes that were written.
    write: Clock,
    ending: Ending,
    exchanges: Mutex<Exchanges>,
    /// True if the connection speaks HTTP/2.
    is_multiplexed: AtomicBool,
    /// Exchanges that the peer left before their answers, less those whose answers it took.
    left_early: AtomicI64,
}

/// The open exchanges of a connection.
#[derive(Default)]
struct Exchanges {
    next: u64,
    open: HashMap<u64, Arc<ExchangeClocks>>,
}

/// The part of an address that one party owns: a whole IPv4 address, or the network part of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(u128);

// === impl Peer ===

impl Peer {
    pub fn new(address: Address, is_extra: bool) -> Self {
        let idle = Clock::default();
        idle.start();
        Self {
            address,
            is_extra,
            idle,
            write: Clock::default(),
            ending: Ending::default(),
            exchanges: Mutex::default(),
            is_multiplexed: AtomicBool::new(false),
            left_early: AtomicI64::new(0),
        }
    }

    /// Notes that the connection speaks HTTP/2.
    pub fn multiplexes(&self) {
        self.is_multiplexed.store(true, Ordering::Relaxed);
    }

    /// Begins an exchange: the host works. Returns its number.
    pub fn enter(&self, exchange: Arc<ExchangeClocks>) -> u64 {
        let mut exchanges = self.exchanges.lock();
        let id = exchanges.next;
        exchanges.next += 1;
        exchanges.open.insert(id, exchange);
        self.idle.stop();
        id
    }

    /// Ends an exchange. After the last one the host waits for the next request.
    pub fn leave(&self, id: u64) {
        let mut exchanges = self.exchanges.lock();
        if exchanges.open.remove(&id).is_some() && exchanges.open.is_empty() {
            self.idle.start();
        }
    }

    pub fn has_exchanges(&self) -> bool {
        !self.exchanges.lock().open.is_empty()
    }

    /// Counts the end of an exchange of HTTP/2. A peer that leaves many of them before their answers asks for nothing but
    /// work (CVE-2023-44487).
    pub fn count_end(&self, is_answered: bool) {
        if is_answered {
            let _ = self.left_early.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some((left - 1).max(0)));
        } else if self.left_early.fetch_add(1, Ordering::Relaxed) >= LEFT_EARLY_MAX {
            self.close(CloseReason::Resets);
        }
    }

    /// Notes if bytes wait until the peer takes them.
    pub fn writes(&self, is_blocked: bool) {
        if is_blocked { self.write.start_if_stopped() } else { self.write.stop() }
    }

    /// The longest wait for which the peer may lose its slot to another connection; `None` if the host does not wait. An
    /// idle peer may lose its slot at once, a peer that sends a body or takes an answer only when it stands still, and one
    /// with several exchanges only when all of them do.
    pub fn evictable(&self) -> Option<Duration> {
        let exchanges = self.exchanges.lock();
        let least = exchanges.open.values().map(|exchange| exchange.waited()).min().flatten();
        drop(exchanges);
        let slow = [least, self.write.waited()].into_iter().flatten().filter(|waited| *waited >= STILL);
        slow.chain(self.idle.waited()).max()
    }

    /// Closes the connection, or an exchange of HTTP/2, if the peer has kept the host waiting for too long.
    pub fn close_if_slow(&self, limits: &ServerLimits) {
        if self.write.waited().is_some_and(|waited| waited >= limits.write_time) {
            self.close(CloseReason::WriteTime);
        }
        // HTTP/1.1 has a clock of its own for the head of a request.
        let is_multiplexed = self.is_multiplexed.load(Ordering::Relaxed);
        if is_multiplexed && self.idle.waited().is_some_and(|waited| waited >= limits.head_time) {
            self.close(CloseReason::HeadTime);
        }
        for exchange in self.exchanges.lock().open.values() {
            if exchange.answer.waited().is_some_and(|waited| waited >= limits.write_time) {
                self.give_up(exchange, CloseReason::WriteTime);
            }
        }
    }

    /// Closes an exchange; on HTTP/1.1 with its connection.
    pub fn give_up(&self, exchange: &ExchangeClocks, why: CloseReason) {
        match &exchange.ending {
            Some(ending) => ending.close(why),
            None => self.close(why),
        }
    }

    /// Closes the connection. The first reason counts.
    pub fn close(&self, why: CloseReason) {
        self.ending.close(why);
    }

    /// Resolves when the connection is to be closed.
    pub async fn closed(&self) -> CloseReason {
        self.ending.closed().await
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
    async fn exchanges_that_are_left_early_are_counted_beyond_the_others() {
        let peer = Peer::new(address("127.0.0.1"), false);
        let is_open = async || tokio::time::timeout(Duration::from_millis(1), peer.closed()).await.is_err();
        for _ in 0..1000 {
            peer.count_end(false);
            peer.count_end(true);
        }
        for _ in 0..LEFT_EARLY_MAX {
            peer.count_end(false);
        }
        assert!(is_open().await);
        peer.count_end(false);
        assert_eq!(peer.closed().await, CloseReason::Resets);
    }
}
