//! Admits connections within two limits, for all and for one address, and a few more for requests that cost nothing.
//!
//! When there is no slot left, the connection that has kept the host waiting for the longest is closed. So connections that
//! are idle, stopped half way, or take nothing never keep out one with a request. If the host works for all of them, a new
//! connection is let in beside them: it gets health and metrics, and a refusal for all else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::telemetry::metrics::HttpMetrics;

use super::limits::{EXTRA_MAX, ServerLimits};
use super::peer::{Address, CloseReason, Peer, Wait};

pub struct Admission {
    limits: ServerLimits,
    metrics: HttpMetrics,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Arc<Peer>>,
    by_address: HashMap<Address, usize>,
    extra: usize,
}

/// The slot of a connection, until it is dropped.
pub struct Slot {
    admission: Arc<Admission>,
    id: u64,
    pub peer: Arc<Peer>,
}

// === impl Admission ===

impl Admission {
    pub fn new(limits: ServerLimits, metrics: HttpMetrics) -> Self {
        Self { limits, metrics, table: Mutex::default() }
    }

    /// Takes a slot for a new connection. `None`: the connection is closed at once.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let address = Address::from(address);
        let mut table = self.table.lock();
        let own = table.by_address.get(&address).copied().unwrap_or(0);
        let room = if own >= self.limits.connections_per_address_max {
            self.evict(&mut table, |peer| !peer.is_extra && peer.address == address)
        } else if table.open.len() - table.extra >= self.limits.connections_max {
            self.evict(&mut table, |peer| !peer.is_extra)
        } else {
            true
        };
        if !room && table.extra >= EXTRA_MAX && !self.evict(&mut table, |peer| peer.is_extra) {
            let reason = if own >= self.limits.connections_per_address_max { "address" } else { "all" };
            self.metrics.connection_refused(reason);
            return None;
        }
        Some(self.enter(&mut table, address, !room))
    }

    fn enter(self: &Arc<Self>, table: &mut Table, address: Address, is_extra: bool) -> Slot {
        let peer = Arc::new(Peer::new(address, is_extra));
        let id = table.next;
        table.next += 1;
        match is_extra {
            true => table.extra += 1,
            false => *table.by_address.entry(address).or_default() += 1,
        }
        table.open.insert(id, peer.clone());
        self.metrics.connections.set(table.open.len() as i64);
        Slot { admission: self.clone(), id, peer }
    }

    /// Closes the connection among these whose peer has been waited for the longest; false: all are worked for.
    fn evict(&self, table: &mut Table, among: impl Fn(&Peer) -> bool) -> bool {
        let waited =
            table.open.iter().filter(|(_, peer)| among(peer)).filter_map(|(&id, peer)| Some((peer.evictable()?, id)));
        let Some((_, id)) = waited.max() else { return false };
        if let Some(peer) = table.leave(id) {
            peer.close(CloseReason::Evicted);
        }
        true
    }

    /// Closes every connection that has something to take and takes nothing.
    pub fn sweep(&self) {
        let table = self.table.lock();
        for peer in table.open.values() {
            let slow = [Wait::Write, Wait::Answer].into_iter().filter_map(|what| peer.waited(what));
            if slow.max().is_some_and(|waited| waited >= self.limits.write_time) {
                peer.close(CloseReason::WriteTime);
            }
        }
    }
}

// === impl Table ===

impl Table {
    fn leave(&mut self, id: u64) -> Option<Arc<Peer>> {
        let peer = self.open.remove(&id)?;
        if peer.is_extra {
            self.extra -= 1;
        } else if let Some(count) = self.by_address.get_mut(&peer.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&peer.address);
            }
        }
        Some(peer)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.admission.table.lock();
        table.leave(self.id);
        self.admission.metrics.connections.set(table.open.len() as i64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::metrics::Metrics;

    fn admission(all: usize, of_one: usize) -> Arc<Admission> {
        let limits = ServerLimits { connections_max: all, connections_per_address_max: of_one, ..ServerLimits::default() };
        Arc::new(Admission::new(limits, Metrics::new().http))
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn the_peer_that_is_waited_for_the_longest_makes_room() {
        let admission = admission(3, 2);
        let oldest = admission.admit(address(1)).expect("room");
        tokio::time::advance(Duration::from_millis(5)).await;
        let second = admission.admit(address(1)).expect("room");
        let other = admission.admit(address(2)).expect("room");
        // Its address is full: the other address pays nothing for it.
        let third = admission.admit(address(1)).expect("room is made");
        assert_eq!(oldest.peer.closed().await, CloseReason::Evicted);
        drop(oldest);
        // All is full, and one is worked for.
        second.peer.done(Wait::Head);
        tokio::time::advance(Duration::from_millis(5)).await;
        let last = admission.admit(address(3)).expect("room is made");
        assert_eq!(admission.table.lock().open.len(), 3);
        assert!(!last.peer.is_extra && second.peer.evictable().is_none());
        drop((second, other, third, last));
        assert!(admission.table.lock().open.is_empty() && admission.table.lock().by_address.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_worked_for_a_few_more_come_in() {
        let admission = admission(2, 2);
        let busy = |_| {
            let slot = admission.admit(address(1)).expect("room");
            slot.peer.done(Wait::Head);
            slot
        };
        let working: Vec<Slot> = (0..2).map(busy).collect();
        let extra: Vec<Slot> = (0..EXTRA_MAX).map(busy).collect();
        assert!(working.iter().all(|slot| !slot.peer.is_extra) && extra.iter().all(|slot| slot.peer.is_extra));
        assert!(admission.admit(address(1)).is_none() && admission.admit(address(2)).is_none());
        extra[7].peer.wait(Wait::Head);
        let _room = admission.admit(address(2)).expect("an idle one goes");
        assert_eq!(extra[7].peer.closed().await, CloseReason::Evicted);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_closed_and_a_silent_stream_is_not() {
        let admission = admission(2, 2);
        let slow = admission.admit(address(1)).expect("room");
        let silent = admission.admit(address(1)).expect("room");
        for slot in [&slow, &silent] {
            slot.peer.done(Wait::Head);
        }
        slow.peer.still_wait(Wait::Write);
        tokio::time::advance(admission.limits.write_time / 2).await;
        slow.peer.still_wait(Wait::Write);
        admission.sweep();
        assert_eq!(slow.peer.waited(Wait::Write), Some(admission.limits.write_time / 2));
        tokio::time::advance(admission.limits.write_time).await;
        admission.sweep();
        assert_eq!(slow.peer.closed().await, CloseReason::WriteTime);
        assert!(silent.peer.evictable().is_none());
    }
}
