//! Bytes that requests hold in memory at once: bodies while they arrive and are in work, answers until they are taken.
//!
//! Every share of a budget notes the time of its last step. A budget without room asks the share that has stood still for
//! the longest to give way, so only shares that move on hold bytes: a body that stops half way, or an answer that nobody
//! reads, costs other requests only a moment.
//!
//! The shares of one party have half of the bytes at most. So one team's bodies, however slowly they come and however long
//! they wait for a permit, leave bytes for others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::model::access::Party;

/// The first bytes of every share are free: small requests never wait. The number of connections bounds these bytes.
pub const FREE_BYTES: usize = 64 * 1024;
/// Bytes of one step of a share.
const STEP_BYTES: usize = 64 * 1024;
/// A share that takes no step for this time stands still: a peer with 64 KiB/s is slow enough to wait for.
const STILL: Duration = Duration::from_secs(1);
/// Time for other shares to give way to a share.
const WAIT: Duration = Duration::from_secs(10);
/// Time without a grant after which the shares of a budget wait for each other: twice the time in which a share stands
/// still.
const STUCK: Duration = Duration::from_secs(2);
/// Time between two attempts of a share that waits.
const POLL: Duration = Duration::from_millis(100);
/// The part of the bytes that the shares of one party hold together, at most.
const PARTY_PART: usize = 2;
/// Whole shares that wait at once. More of them are refused at once, since their bytes are in memory already.
const WHOLE_WAITING_MAX: usize = 8;

/// A number of bytes that shares divide among themselves. A clone is the same budget.
#[derive(Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

struct Inner {
    bytes_max: usize,
    table: Mutex<Table>,
    freed: Notify,
    waiting: Semaphore,
    gauge: IntGauge,
}

#[derive(Default)]
struct Table {
    used: usize,
    /// The time of the last grant.
    granted_at: Option<Instant>,
    next: u64,
    shares: HashMap<u64, Entry>,
}

/// The way in which a share takes its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Step by step, as a body arrives: the share may hold bytes while it waits for more.
    Growing,
    /// All at once, as an answer is made: the share never waits while it holds bytes.
    Whole,
}

struct Entry {
    kind: Kind,
    party: Option<Party>,
    bytes: usize,
    moved_at: Instant,
    /// The time at which the holder was asked to give way.
    asked_at: Option<Instant>,
    /// Asks the holder to give way. `None` after that, and for a body that has arrived.
    give_way: Option<Box<dyn FnOnce() + Send>>,
}

/// A part of a budget, until it is dropped.
pub struct Share {
    inner: Arc<Inner>,
    kind: Kind,
    id: u64,
    held: usize,
}

/// The budget has no bytes left: other shares that move on hold them.
#[derive(Debug, PartialEq, Eq)]
pub struct NoRoom;

// === impl Budget ===

impl Budget {
    pub fn new(bytes_max: usize, gauge: IntGauge) -> Self {
        let waiting = Semaphore::new(WHOLE_WAITING_MAX);
        Self { inner: Arc::new(Inner { bytes_max, table: Mutex::default(), freed: Notify::new(), waiting, gauge }) }
    }

    /// An empty share, of a party where there is one. `give_way` is called at most once, if another needs its bytes while it
    /// stands still.
    pub fn share(&self, kind: Kind, party: Option<Party>, give_way: impl FnOnce() + Send + 'static) -> Share {
        let mut table = self.inner.table.lock();
        let id = table.next;
        table.next += 1;
        let now = Instant::now();
        let entry = Entry { kind, party, bytes: 0, moved_at: now, asked_at: None, give_way: Some(Box::new(give_way)) };
        table.shares.insert(id, entry);
        Share { inner: self.inner.clone(), kind, id, held: 0 }
    }
}

// === impl Share ===

impl Share {
    /// Grows to `bytes` in all, as soon as there is room for them.
    pub async fn grow_to(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let wanted = bytes.saturating_sub(FREE_BYTES).div_ceil(STEP_BYTES) * STEP_BYTES;
        if wanted <= self.held {
            return Ok(());
        }
        if self.inner.take(self.id, wanted - self.held) {
            self.held = wanted;
            return Ok(());
        }
        let _turn = match self.kind {
            Kind::Growing => None,
            Kind::Whole => Some(self.inner.waiting.try_acquire().map_err(|_| NoRoom)?),
        };
        let deadline = Instant::now() + WAIT;
        loop {
            let freed = self.inner.freed.notified();
            if self.inner.take(self.id, wanted - self.held) {
                self.held = wanted;
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(NoRoom);
            }
            let _ = tokio::time::timeout(POLL, freed).await;
        }
    }

    /// Gives back all but `bytes`: the peer has taken the rest.
    pub fn shrink_to(&mut self, bytes: usize) {
        let wanted = bytes.saturating_sub(FREE_BYTES).div_ceil(STEP_BYTES) * STEP_BYTES;
        if wanted < self.held {
            self.inner.give(self.id, self.held - wanted);
            self.held = wanted;
        }
    }

    /// Ends the growth: the body has arrived, and the share stays until it is dropped.
    pub fn settle(&mut self) {
        if let Some(entry) = self.inner.table.lock().shares.get_mut(&self.id) {
            entry.give_way = None;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.inner.give(self.id, self.held);
        self.inner.table.lock().shares.remove(&self.id);
    }
}

// === impl Table ===

impl Table {
    /// The bytes that the shares of a party hold together. The number of connections bounds that of shares.
    fn of(&self, party: &Party) -> usize {
        self.shares.values().filter(|entry| entry.party.as_ref() == Some(party)).map(|entry| entry.bytes).sum()
    }
}

// === impl Inner ===

impl Inner {
    /// Takes the bytes if there is room. Else it asks the share that has stood still for the longest to give way. If all move
    /// on and none has got bytes for a while, growing shares wait for each other: then the youngest gives way to the older
    /// ones.
    fn take(&self, id: u64, bytes: usize) -> bool {
        let now = Instant::now();
        let mut table = self.table.lock();
        let party = table.shares.get(&id).and_then(|entry| entry.party.clone());
        let is_over = party.as_ref().is_some_and(|party| table.of(party) + bytes > self.bytes_max / PARTY_PART);
        if !is_over && table.used + bytes <= self.bytes_max {
            table.used += bytes;
            table.granted_at = Some(now);
            self.gauge.set(table.used as i64);
            if let Some(entry) = table.shares.get_mut(&id) {
                entry.bytes += bytes;
                entry.moved_at = now;
            }
            return true;
        }
        // A share that waits here does not stand still.
        if let Some(own) = table.shares.get_mut(&id) {
            own.moved_at = now;
        }
        // Only one share at a time gives way: it needs a moment for that.
        let is_leaving = |entry: &Entry| entry.bytes > 0 && entry.asked_at.is_some_and(|at| now.duration_since(at) < STILL);
        if table.shares.values().any(is_leaving) {
            return false;
        }
        // Where the party has its part, only shares of its own make room.
        let may_help = |entry: &Entry| !is_over || entry.party == party;
        let others =
            || table.shares.iter().filter(|(_, entry)| entry.bytes > 0 && entry.give_way.is_some() && may_help(entry));
        let still = others().filter(|(_, entry)| now.duration_since(entry.moved_at) >= STILL);
        let longest = still.min_by_key(|(_, entry)| entry.moved_at).map(|(&other, _)| other);
        let is_stuck = table.granted_at.is_some_and(|at| now.duration_since(at) >= STUCK);
        let growing = || others().filter(|(_, entry)| is_stuck && entry.kind == Kind::Growing);
        let youngest = || growing().map(|(&other, _)| other).max().filter(|&other| other > id);
        let chosen = longest.or_else(youngest);
        let give_way = chosen.and_then(|other| {
            let entry = table.shares.get_mut(&other)?;
            entry.asked_at = Some(now);
            entry.give_way.take()
        });
        drop(table);
        if let Some(give_way) = give_way {
            give_way();
        }
        false
    }

    fn give(&self, id: u64, bytes: usize) {
        let mut table = self.table.lock();
        table.used -= bytes;
        self.gauge.set(table.used as i64);
        if let Some(entry) = table.shares.get_mut(&id) {
            entry.bytes -= bytes;
            entry.moved_at = Instant::now();
        }
        drop(table);
        self.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
