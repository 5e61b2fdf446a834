//! Committed changes of a store that its database does not have yet.
//!
//! A key that is written a hundred times goes to the disk once, in a table that is written in order. The process's end
//! loses a buffer, and with it the mark that says how far the changes reached: the next restore reads them again, from the
//! changelog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::state::changes::Changes;
use crate::state::local::{Change, Mark};
use crate::telemetry::metrics::StateMetrics;

/// Bytes of changes that one store buffers at most, and one transaction more.
const BYTES_MAX: u64 = 16 << 20;
/// A store that buffers less is not written early because all stores together buffer too much.
const BYTES_MIN: u64 = 256 << 10;
/// Bytes of changes after which a buffer is written, however often they were of the same keys: a restore after a kill reads
/// this much of the changelog.
const APPLIED_BYTES_MAX: u64 = 64 << 20;
/// Time after which a buffer is written with the next change. That of an idle store waits for one: see `Buffers::share`.
const AGE_MS_MAX: u64 = 5 * 60 * 1000;
/// Counted for each entry beside its key and value.
const ENTRY_BYTES: usize = 128;

/// The buffers of all stores of a host.
pub struct Buffers {
    bytes: AtomicU64,
    bytes_max: u64,
    /// The number of buffers that are not empty.
    used: AtomicU64,
    metrics: StateMetrics,
}

/// The committed changes that a store's database does not have yet.
pub(super) struct Buffer {
    pub changes: Changes,
    /// The state that the store has with the changes.
    pub mark: Mark,
    /// Bytes of the changes.
    pub bytes: u64,
    /// Bytes of all changes since the buffer was empty, also of those that others have replaced.
    applied_bytes: u64,
    /// The time of the first change.
    began_at: i64,
    all: Arc<Buffers>,
}

impl Buffers {
    pub fn new(bytes_max: u64, metrics: StateMetrics) -> Self {
        Self { bytes: AtomicU64::new(0), bytes_max, used: AtomicU64::new(0), metrics }
    }

    /// Bytes from which a buffer is written early while all together are over their limit. A store writes its buffer with a
    /// change, on its own thread, so the buffers of idle stores keep their bytes without an end. If busy stores had to make
    /// up for that, each would write small pieces for ever. With an equal share for each buffer, a busy store has as much as
    /// an idle one, and all together have about twice the limit at most, or [`BYTES_MIN`] each.
    fn share(&self) -> u64 {
        (self.bytes_max / self.used.load(Ordering::Relaxed).max(1)).max(BYTES_MIN)
    }

    fn add(&self, bytes: u64) {
        self.metrics.buffered(self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes));
    }

    fn remove(&self, bytes: u64) {
        self.metrics.buffered(self.bytes.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes));
    }
}

impl Buffer {
    /// An empty buffer of a store.
    pub fn new(all: &Arc<Buffers>, is_ordered: bool) -> Self {
        Self {
            changes: Changes::new(is_ordered),
            mark: Mark::default(),
            bytes: 0,
            applied_bytes: 0,
            began_at: 0,
            all: all.clone(),
        }
    }

    /// Returns true if it says nothing about the store.
    pub fn is_empty(&self) -> bool {
        self.applied_bytes == 0
    }

    /// Takes the changes of a transaction, which lead to `mark`.
    pub fn apply(&mut self, changes: Vec<Change>, mark: &Mark) {
        if self.is_empty() {
            self.began_at = mark.at;
            self.all.used.fetch_add(1, Ordering::Relaxed);
        }
        let before = self.bytes;
        // The mark alone counts as well.
        self.applied_bytes += ENTRY_BYTES as u64;
        for (key, entry) in changes {
            let key_bytes = key.len();
            let bytes = key_bytes + entry.as_ref().map_or(0, |entry| entry.value.len()) + ENTRY_BYTES;
            self.applied_bytes += bytes as u64;
            self.bytes += bytes as u64;
            if let Some(replaced) = self.changes.insert(key, entry) {
                let bytes = key_bytes + replaced.map_or(0, |entry| entry.value.len()) + ENTRY_BYTES;
                self.bytes -= bytes as u64;
            }
        }
        self.mark = mark.clone();
        match self.bytes.checked_sub(before) {
            Some(more) => self.all.add(more),
            None => self.all.remove(before - self.bytes),
        }
    }

    /// Returns true if it is to be written now.
    pub fn is_full(&self) -> bool {
        let age_ms = u64::try_from(self.mark.at.saturating_sub(self.began_at)).unwrap_or(0);
        self.reaches_limits(1) || age_ms >= AGE_MS_MAX
    }

    /// Returns true if it is twice as large as a full one.
    pub fn is_overfull(&self) -> bool {
        self.reaches_limits(2)
    }

    /// Returns true if its bytes reach one of their limits so many times.
    fn reaches_limits(&self, times: u64) -> bool {
        let is_early = self.all.bytes.load(Ordering::Relaxed) > self.all.bytes_max
            && self.bytes >= self.all.share().saturating_mul(times);
        is_early || self.bytes >= times * BYTES_MAX || self.applied_bytes >= times * APPLIED_BYTES_MAX
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.all.remove(self.bytes);
        if !self.is_empty() {
            self.all.used.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::Timestamp;
    use crate::state::local::Entry;
    use crate::telemetry::metrics::Metrics;

    fn change(key: u64, value_bytes: usize) -> Change {
        (key.to_le_bytes().to_vec(), Some(Entry { written_at: Timestamp(1), value: vec![0; value_bytes] }))
    }

    /// Applies transactions of these keys, each with a value of so many bytes, and a mark of this time.
    #[track_caller]
    fn check(bytes_max: u64, transactions: &[(u64, usize, i64)], expected: bool) {
        let all = Arc::new(Buffers::new(bytes_max, Metrics::new().state));
        let mut buffer = Buffer::new(&all, false);
        assert!(buffer.is_empty() && !buffer.is_full());
        for &(key, value_bytes, at) in transactions {
            buffer.apply(vec![change(key, value_bytes)], &Mark { at, ..Mark::default() });
        }
        assert_eq!(buffer.is_full(), expected);
        assert_eq!(all.bytes.load(Ordering::Relaxed), buffer.bytes);
        drop(buffer);
        assert_eq!((all.bytes.load(Ordering::Relaxed), all.used.load(Ordering::Relaxed)), (0, 0), "it is given back");
    }

    #[test]
    fn a_buffer_is_full_by_its_bytes_their_sum_its_age_and_those_of_the_host() {
        const MIB: usize = 1 << 20;
        let many = |transactions: u64, keys: u64| -> Vec<_> { (0..transactions).map(|n| (n % keys, MIB, 7)).collect() };
        check(u64::MAX, &many(15, 15), false);
        check(u64::MAX, &many(16, 16), true);
        check(u64::MAX, &many(63, 1), false);
        check(u64::MAX, &many(64, 1), true);
        check(u64::MAX, &[(1, 1, 7), (2, 1, 7 + AGE_MS_MAX as i64 - 1)], false);
        check(u64::MAX, &[(1, 1, 7), (2, 1, 7 + AGE_MS_MAX as i64)], true);
        check(MIB as u64, &[(1, MIB, 7)], true);
        check(2 * MIB as u64, &[(1, MIB, 7)], false);
        check(0, &[(1, 1000, 7)], false);
    }

    #[test]
    fn a_busy_store_has_as_much_of_a_used_up_limit_as_an_idle_one() {
        const MIB: usize = 1 << 20;
        let all = Arc::new(Buffers::new(3 * MIB as u64, Metrics::new().state));
        let [mut idle, mut busy, empty] = [(); 3].map(|()| Buffer::new(&all, false));
        for key in 0..3 {
            idle.apply(vec![change(key, MIB)], &Mark::default());
        }
        assert!(idle.is_full() && !idle.is_overfull(), "alone, it has all of the limit");
        for (key, expected) in [(0, (false, false)), (1, (true, false)), (2, (true, true))] {
            busy.apply(vec![change(key, MIB)], &Mark::default());
            assert_eq!((busy.is_full(), busy.is_overfull()), expected, "{key}");
        }
        assert!(!empty.is_full());
    }

    #[test]
    fn a_buffer_is_overfull_at_twice_its_bytes_however_old_it_is() {
        let all = Arc::new(Buffers::new(u64::MAX, Metrics::new().state));
        let mut buffer = Buffer::new(&all, false);
        for key in 0..32 {
            assert!(!buffer.is_overfull(), "{key}");
            buffer.apply(vec![change(key, 1 << 20)], &Mark { at: key as i64 * AGE_MS_MAX as i64, ..Mark::default() });
        }
        assert!(buffer.is_overfull());
    }
}
