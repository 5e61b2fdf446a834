//! Bytes that requests hold in memory at once: bodies while they arrive and are worked on, answers until they are taken.
//!
//! Every share of a budget says when it last moved on by a step. A budget that is used up asks the one that has stood still
//! for the longest to give way, so bytes are held only by those who send or take them: a body that stops half way, or an
//! answer that nobody reads, costs nobody else anything but a moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// The first bytes of every share are free: small requests wait for nobody. How many there are is bounded by the
/// connections.
pub const FREE_BYTES: usize = 64 * 1024;
/// Shares grow by so much at once. Who does not need a step in [`STILL`] stands still.
const STEP_BYTES: usize = 64 * 1024;
const STILL: Duration = Duration::from_secs(1);
/// Time for others to give way to a share.
const WAIT: Duration = Duration::from_secs(10);
/// A budget of which nobody has got anything for so long is held by shares that wait for each other.
const STUCK: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(100);
/// Whole shares that wait: their bytes are there already, so more of them are refused at once.
const WHOLE_WAITING_MAX: usize = 8;

/// A number of bytes that shares divide among themselves. Cloning shares it.
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
    /// The last time that a share got bytes.
    granted_at: Option<Instant>,
    next: u64,
    shares: HashMap<u64, Entry>,
}

/// The way in which a share comes by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Step by step, as a body arrives: it may hold some while it waits for more.
    Growing,
    /// At once, as an answer is made: it never waits while it holds any.
    Whole,
}

struct Entry {
    kind: Kind,
    bytes: usize,
    moved_at: Instant,
    /// The moment at which its holder was asked to give way.
    asked_at: Option<Instant>,
    /// Asks its holder to give way; None: it has been asked, or moves no more.
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

    /// An empty share. `give_way` is called at most once, if another needs its bytes while it stands still.
    pub fn share(&self, kind: Kind, give_way: impl FnOnce() + Send + 'static) -> Share {
        let mut table = self.inner.table.lock();
        let id = table.next;
        table.next += 1;
        let entry = Entry { kind, bytes: 0, moved_at: Instant::now(), asked_at: None, give_way: Some(Box::new(give_way)) };
        table.shares.insert(id, entry);
        Share { inner: self.inner.clone(), kind, id, held: 0 }
    }
}

// === impl Share ===

impl Share {
    /// Holds `bytes` in all from now on, as soon as there is room for them.
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

    /// Gives back all but `bytes`: others have taken the rest.
    pub fn shrink_to(&mut self, bytes: usize) {
        let wanted = bytes.saturating_sub(FREE_BYTES).div_ceil(STEP_BYTES) * STEP_BYTES;
        if wanted < self.held {
            self.inner.give(self.id, self.held - wanted);
            self.held = wanted;
        }
    }

    /// Everything has arrived: from now on nobody waits for a peer, and the share stays until it is dropped.
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

// === impl Inner ===

impl Inner {
    /// Takes the bytes if they are there; else asks another share to give way: the one that stands still for the longest.
    /// Where none does and nobody has got anything for a while, growing shares wait for each other: then the youngest gives
    /// way to those that are older.
    fn take(&self, id: u64, bytes: usize) -> bool {
        let now = Instant::now();
        let mut table = self.table.lock();
        if table.used + bytes <= self.bytes_max {
            table.used += bytes;
            table.granted_at = Some(now);
            self.gauge.set(table.used as i64);
            if let Some(entry) = table.shares.get_mut(&id) {
                entry.bytes += bytes;
                entry.moved_at = now;
            }
            return true;
        }
        // Who waits here moves on as soon as it may.
        if let Some(own) = table.shares.get_mut(&id) {
            own.moved_at = now;
        }
        // One at a time: it needs a moment to go.
        let is_leaving = |entry: &Entry| entry.bytes > 0 && entry.asked_at.is_some_and(|at| now.duration_since(at) < STILL);
        if table.shares.values().any(is_leaving) {
            return false;
        }
        let others = || table.shares.iter().filter(|(_, entry)| entry.bytes > 0 && entry.give_way.is_some());
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
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const MIB: usize = 1 << 20;

    fn budget(bytes_max: usize) -> (Budget, IntGauge) {
        let gauge = IntGauge::new("bytes", "bytes").expect("a gauge");
        (Budget::new(bytes_max, gauge.clone()), gauge)
    }

    fn asked(budget: &Budget) -> (Share, Arc<AtomicBool>) {
        let asked = Arc::new(AtomicBool::new(false));
        let flag = asked.clone();
        (budget.share(Kind::Growing, move || flag.store(true, Ordering::Relaxed)), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn small_shares_are_free_and_all_is_given_back() {
        let (budget, gauge) = budget(MIB);
        let (mut small, _) = asked(&budget);
        assert_eq!(small.grow_to(FREE_BYTES).await, Ok(()));
        assert_eq!(gauge.get(), 0);
        let (mut large, _) = asked(&budget);
        assert_eq!(large.grow_to(MIB + FREE_BYTES).await, Ok(()));
        assert_eq!(gauge.get(), MIB as i64);
        large.shrink_to(MIB / 2);
        assert_eq!(gauge.get(), (MIB / 2 - FREE_BYTES) as i64);
        drop((small, large));
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_still_for_longest_gives_way() {
        let (budget, _) = budget(2 * MIB);
        let (mut first, first_asked) = asked(&budget);
        first.grow_to(MIB).await.expect("room");
        tokio::time::sleep(STILL / 2).await;
        let (mut second, second_asked) = asked(&budget);
        second.grow_to(MIB).await.expect("room");
        tokio::time::sleep(STILL * 2).await;
        let holder = tokio::spawn(async move {
            while !first_asked.load(Ordering::Relaxed) {
                tokio::time::sleep(POLL).await;
            }
            drop(first);
        });
        let (mut third, _) = asked(&budget);
        assert_eq!(third.grow_to(MIB).await, Ok(()));
        holder.await.expect("it gave way");
        assert!(!second_asked.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn few_whole_shares_wait() {
        let (budget, _) = budget(MIB);
        let mut held = budget.share(Kind::Whole, || ());
        held.grow_to(MIB).await.expect("room");
        let more = (0..WHOLE_WAITING_MAX + 3).map(|_| async {
            let started = Instant::now();
            let refused = budget.share(Kind::Whole, || ()).grow_to(MIB).await.is_err();
            (refused, started.elapsed() < POLL)
        });
        let ended = futures::future::join_all(more).await;
        assert!(ended.iter().all(|(refused, _)| *refused));
        assert_eq!(ended.iter().filter(|(_, at_once)| *at_once).count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_on() {
        let (budget, _) = budget(2 * MIB);
        let (mut old, old_asked) = asked(&budget);
        old.grow_to(MIB).await.expect("room");
        let (mut young, young_asked) = asked(&budget);
        young.grow_to(MIB).await.expect("room");
        let waiting = tokio::spawn(async move { old.grow_to(2 * MIB).await });
        while !young_asked.load(Ordering::Relaxed) {
            tokio::time::sleep(POLL / 10).await;
            // It sends all the time, and still gives way.
            young.inner.table.lock().shares.get_mut(&young.id).expect("there").moved_at = Instant::now();
        }
        drop(young);
        assert_eq!(waiting.await.expect("no panic"), Ok(()));
        assert!(!old_asked.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_arrived_stays_and_the_next_is_told_after_a_time() {
        let (budget, gauge) = budget(MIB);
        let (mut arrived, arrived_asked) = asked(&budget);
        arrived.grow_to(MIB).await.expect("room");
        arrived.settle();
        let (mut next, _) = asked(&budget);
        assert_eq!(next.grow_to(MIB).await, Err(NoRoom));
        assert!(!arrived_asked.load(Ordering::Relaxed));
        drop(arrived);
        assert_eq!(next.grow_to(MIB).await, Ok(()));
        drop(next);
        assert_eq!(gauge.get(), 0);
    }
}
