//! Admits connections within two limits, for all and for one address, and a few more for requests that cost nothing.
//!
//! The connection that has kept the host waiting for the longest is closed when there is no slot left. So connections that
//! are idle, stopped half way, or take nothing never keep out one with a request. If the host works for all of them, a new
//! connection is let in beside them: it gets health and metrics, and a refusal for all else.
//!
//! A connection of HTTP/2 has several streams. One of them comes with the connection; the others have slots of their own,
//! within limits of the same size. So the memory of all requests stays bounded, and an address with many streams keeps no
//! other out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::telemetry::metrics::HttpMetrics;

use super::clock::ExchangeClocks;
use super::close_reason::CloseReason;
use super::limits::{EXTRA_MAX, ServerLimits};
use super::peer::{Address, Peer};

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
    streams: HashMap<u64, (Address, Arc<ExchangeClocks>)>,
    streams_by_address: HashMap<Address, usize>,
}

/// The slot of a connection, until it is dropped.
pub struct Slot {
    admission: Arc<Admission>,
    id: u64,
    pub peer: Arc<Peer>,
}

/// The slot of a stream beside others of its connection, until it is dropped.
pub struct StreamSlot {
    admission: Arc<Admission>,
    id: u64,
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

    /// Takes a slot for a stream beside others of its connection. If none is left, the stream that has kept the host waiting
    /// for the longest is ended.
    pub fn admit_stream(self: &Arc<Self>, address: Address, clocks: &Arc<ExchangeClocks>) -> Option<StreamSlot> {
        let mut table = self.table.lock();
        let own = table.streams_by_address.get(&address).copied().unwrap_or(0);
        let room = if own >= self.limits.connections_per_address_max {
            table.evict_stream(|other| other == address)
        } else if table.streams.len() >= self.limits.connections_max {
            table.evict_stream(|_| true)
        } else {
            true
        };
        if !room {
            return None;
        }
        let id = table.next;
        table.next += 1;
        table.streams.insert(id, (address, clocks.clone()));
        *table.streams_by_address.entry(address).or_default() += 1;
        self.metrics.streams.set(table.streams.len() as i64);
        Some(StreamSlot { admission: self.clone(), id })
    }

    fn enter(self: &Arc<Self>, table: &mut Table, address: Address, is_extra: bool) -> Slot {
        let peer = Arc::new(Peer::new(address, is_extra));
        let id = table.next;
        table.next += 1;
        if is_extra {
            table.extra += 1;
        } else {
            *table.by_address.entry(address).or_default() += 1;
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

    /// Closes every connection, or stream, that has something to take and takes nothing.
    pub fn sweep(&self) {
        let table = self.table.lock();
        for peer in table.open.values() {
            peer.close_if_slow(&self.limits);
        }
    }
}

// === impl Table ===

impl Table {
    fn leave(&mut self, id: u64) -> Option<Arc<Peer>> {
        let peer = self.open.remove(&id)?;
        if peer.is_extra {
            self.extra -= 1;
        } else {
            count_down(&mut self.by_address, peer.address);
        }
        Some(peer)
    }

    /// Ends the stream among those of these addresses whose peer has stood still for the longest; false: none does.
    fn evict_stream(&mut self, among: impl Fn(Address) -> bool) -> bool {
        let own = self.streams.iter().filter(|(_, (address, _))| among(*address));
        let waited = own.filter_map(|(&id, (_, clocks))| Some((clocks.still()?, id)));
        let Some((_, id)) = waited.max() else { return false };
        if let Some(ending) = self.leave_stream(id).as_ref().and_then(|clocks| clocks.ending.as_ref()) {
            ending.close(CloseReason::Evicted);
        }
        true
    }

    fn leave_stream(&mut self, id: u64) -> Option<Arc<ExchangeClocks>> {
        let (address, clocks) = self.streams.remove(&id)?;
        count_down(&mut self.streams_by_address, address);
        Some(clocks)
    }
}

fn count_down(by_address: &mut HashMap<Address, usize>, address: Address) {
    if let Some(count) = by_address.get_mut(&address) {
        *count -= 1;
        if *count == 0 {
            by_address.remove(&address);
        }
    }
}

impl Slot {
    /// The table that the slot is in.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut table = self.admission.table.lock();
        table.leave_stream(self.id);
        self.admission.metrics.streams.set(table.streams.len() as i64);
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

    use super::super::clock::STILL;
    use super::super::exchange::{Exchange, Wait};
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
        let working = Exchange::begin(&second.peer, false, false);
        tokio::time::advance(Duration::from_millis(5)).await;
        let last = admission.admit(address(3)).expect("room is made");
        assert_eq!(admission.table.lock().open.len(), 3);
        assert!(!last.peer.is_extra && second.peer.evictable().is_none());
        drop((second, other, third, last, working));
        assert!(admission.table.lock().open.is_empty() && admission.table.lock().by_address.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_worked_for_a_few_more_come_in() {
        let admission = admission(2, 2);
        let busy = |_| {
            let slot = admission.admit(address(1)).expect("room");
            let exchange = Exchange::begin(&slot.peer, false, false);
            (slot, exchange)
        };
        let working: Vec<_> = (0..2).map(busy).collect();
        let extra: Vec<_> = (0..EXTRA_MAX).map(busy).collect();
        assert!(working.iter().all(|(slot, _)| !slot.peer.is_extra) && extra.iter().all(|(slot, _)| slot.peer.is_extra));
        assert!(admission.admit(address(1)).is_none() && admission.admit(address(2)).is_none());
        extra[7].1.end();
        let _room = admission.admit(address(2)).expect("an idle one goes");
        assert_eq!(extra[7].0.peer.closed().await, CloseReason::Evicted);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_closed_and_a_silent_stream_is_not() {
        let admission = admission(2, 2);
        let slow = admission.admit(address(1)).expect("room");
        let silent = admission.admit(address(1)).expect("room");
        let _working = [&slow, &silent].map(|slot| Exchange::begin(&slot.peer, false, false));
        slow.peer.writes(true);
        tokio::time::advance(admission.limits.write_time / 2).await;
        slow.peer.writes(true);
        admission.sweep();
        assert_eq!(slow.peer.evictable(), Some(admission.limits.write_time / 2));
        tokio::time::advance(admission.limits.write_time / 2).await;
        admission.sweep();
        assert_eq!(slow.peer.closed().await, CloseReason::WriteTime);
        assert!(silent.peer.evictable().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_ends_its_connection_on_http_1() {
        let admission = admission(2, 2);
        let slot = admission.admit(address(1)).expect("room");
        let exchange = Exchange::begin(&slot.peer, false, false);
        exchange.wait(Wait::Answer);
        tokio::time::advance(admission.limits.write_time).await;
        admission.sweep();
        assert_eq!(slot.peer.closed().await, CloseReason::WriteTime);
    }

    fn clocks() -> Arc<ExchangeClocks> {
        Arc::new(ExchangeClocks::of_stream())
    }

    #[test]
    fn streams_of_one_address_leave_room_for_others() {
        let admission = admission(3, 2);
        let [one, other] = [address(1), address(2)].map(Address::from);
        let held: Vec<_> = (0..4).filter_map(|_| admission.admit_stream(one, &clocks())).collect();
        assert_eq!(held.len(), 2);
        let third = admission.admit_stream(other, &clocks());
        assert!(third.is_some() && admission.admit_stream(other, &clocks()).is_none(), "all are in use");
        drop(held);
        assert!(admission.admit_stream(other, &clocks()).is_some());
        drop(third);
        assert!(admission.table.lock().streams_by_address.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stands_still_makes_room() {
        let admission = admission(3, 2);
        let one = Address::from(address(1));
        let [stalled, busy] = [clocks(), clocks()];
        let held = [&stalled, &busy].map(|clocks| admission.admit_stream(one, clocks).expect("room"));
        assert!(admission.admit_stream(one, &clocks()).is_none(), "the host works for both");
        stalled.answer.start();
        tokio::time::advance(STILL).await;
        let next = admission.admit_stream(one, &clocks());
        assert!(next.is_some());
        let ending = stalled.ending.as_ref().expect("it ends alone");
        assert_eq!(ending.closed().await, CloseReason::Evicted);
        drop((held, next));
        let table = admission.table.lock();
        assert!(table.streams.is_empty() && table.streams_by_address.is_empty());
    }
}
