//! One store of one partition, in three layers: the committed entries, the writes of the open transaction above them, and
//! the writes of the current call above these.
//!
//! ```text
//!   get ---> call ---> transaction ---> hot entries ---> local store
//!   put ---> call --(the call succeeds)--> transaction --(it is committed)--> local store
//!             |                               |
//!             +--(it fails)--> dropped        +--(it is aborted)--> dropped
//! ```
//!
//! Repeated writes of a key within a transaction are one change: its last. Expired entries are deleted like others, in the
//! transaction: see `sweep`.

mod hot;
mod sweep;

use std::time::Duration;

pub use sweep::{SweepBudget, TRANSACTION_BYTES_MAX};

use super::StateError;
use super::layer::{Layer, merged, scan_over};
use super::local::{Change, Entry, LocalError, LocalStore, Mark};
use crate::model::names::Alias;
use crate::model::spec::{Limits, StoreSpec};
use crate::model::units::Timestamp;
use hot::HotEntries;
use sweep::{FullRound, is_old};

/// Most entries of one scan.
pub const SCAN_ENTRIES_MAX: usize = 4096;
/// Most keys and values of one scan, in bytes; more by the last entry.
pub const SCAN_BYTES_MAX: usize = 1 << 20;
/// Expired entries that a scan passes at once. Their keys wait in memory.
const PASSED_AT_ONCE: usize = 4096;
/// Longest key, in bytes. A local store on disk writes a key's length as 16 bits, and puts one byte before each.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize - 1;

/// The settings of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    pub name: String,
    pub ttl: Option<Duration>,
    /// Largest sum of the keys and values of one partition.
    pub bytes_max: u64,
    /// Largest sum of the keys and values that one call may write, to all stores together.
    pub call_bytes_max: u64,
    /// Largest key and value that its changelog topic takes.
    pub record_bytes_max: usize,
    /// Hot entries that are kept in memory above a store on disk, in bytes.
    pub hot_bytes_max: u64,
}

impl StoreSettings {
    /// The settings of a store of a spec. The limits that only a host knows are not set: none, or no cache.
    pub fn of(name: &Alias, spec: &StoreSpec, limits: &Limits) -> Self {
        Self {
            name: name.to_string(),
            ttl: spec.ttl.map(|ttl| ttl.0),
            bytes_max: spec.max_bytes.0,
            call_bytes_max: limits.state_bytes_per_call.0,
            record_bytes_max: usize::MAX,
            hot_bytes_max: 0,
        }
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One store of one partition.
pub struct Store {
    settings: StoreSettings,
    local: Box<dyn LocalStore>,
    mark: Mark,
    hot: Option<HotEntries>,
    transaction: Layer,
    call: Layer,
    last_read: LastRead,
    /// The key at which the next look for old entries begins.
    sweep_from: Vec<u8>,
    full_round: FullRound,
    /// Expired entries that the transaction deletes.
    expired: u64,
}

/// The entries that a scan has found so far.
struct Found {
    pairs: Vec<Pair>,
    bytes: usize,
    limit: usize,
}

/// The entry that was read last, while nothing has been written since: most guests write the entry that they have just read.
#[derive(Default)]
struct LastRead {
    key: Vec<u8>,
    /// The size of the entry with its key, or None if there is none. Not set: something has been written.
    size: Option<Option<usize>>,
}

impl Store {
    /// A store over a local store that is up to date.
    pub fn new(settings: StoreSettings, local: Box<dyn LocalStore>) -> Result<Self, LocalError> {
        let mark = local.mark()?.unwrap_or_default();
        let hot = (local.wants_cache() && settings.hot_bytes_max > 0).then(|| HotEntries::new(settings.hot_bytes_max));
        Ok(Self {
            settings,
            local,
            mark,
            hot,
            transaction: Layer::default(),
            call: Layer::default(),
            last_read: LastRead::default(),
            sweep_from: Vec::new(),
            full_round: FullRound::default(),
            expired: 0,
        })
    }

    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    pub fn get(&mut self, key: &[u8], now: Timestamp) -> Result<Option<Vec<u8>>, LocalError> {
        match self.look_up(key)? {
            Some(entry) if is_old(self.settings.ttl, &entry, now) => {
                self.expire(key.to_vec(), entry.value.len());
                Ok(None)
            }
            found => {
                self.last_read.set(key, found.as_ref().map(|entry| size(key, entry)));
                Ok(found.map(|entry| entry.value))
            }
        }
    }

    /// The committed value of a key, beneath the writes of the open transaction.
    pub fn look_up_committed(&mut self, key: &[u8], now: Timestamp) -> Result<Option<Vec<u8>>, LocalError> {
        let entry = self.look_below(key)?;
        Ok(entry.filter(|entry| !is_old(self.settings.ttl, entry, now)).map(|entry| entry.value))
    }

    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>, now: Timestamp) -> Result<(), StateError> {
        let name = &self.settings.name;
        if key.len() > KEY_BYTES_MAX {
            let message = format!("store {name}: a key of {} bytes is longer than keys may be ({KEY_BYTES_MAX})", key.len());
            return Err(StateError::Limit(message));
        }
        let bytes = key.len() + value.len();
        let limit = self.settings.record_bytes_max;
        if bytes > limit {
            let message =
                format!("store {name}: an entry of {bytes} bytes is larger than its changelog topic takes ({limit})");
            return Err(StateError::Limit(message));
        }
        let growth = |before: Option<usize>| bytes as i64 - before.unwrap_or(0) as i64;
        let mut before = self.size_of(&key)?;
        let limit = i64::try_from(self.settings.bytes_max).unwrap_or(i64::MAX);
        let more = growth(before);
        if more > 0 && self.bytes() + more > limit {
            if !self.make_room(more, limit, now)? {
                let name = &self.settings.name;
                let total = self.bytes() + more;
                let message = format!(
                    "store {name}: the partition would hold {total} bytes, its limit is {limit} (state.{name}.max_bytes)"
                );
                return Err(StateError::Limit(message));
            }
            // If it had expired, it may be among those that made room.
            before = self.size_of(&key)?;
        }
        let more = growth(before);
        self.call.write(key, Some(Entry { written_at: now, value }), more, i64::from(before.is_none()));
        Ok(())
    }

    /// Bytes of its keys and values, after all writes.
    fn bytes(&self) -> i64 {
        self.mark.bytes as i64 + self.transaction.bytes_more + self.call.bytes_more
    }

    pub fn delete(&mut self, key: Vec<u8>) -> Result<(), StateError> {
        let before = self.size_of(&key)?;
        if let Some(bytes) = before {
            self.call.write(key, None, -(bytes as i64), -1);
        }
        Ok(())
    }

    /// Bytes that the current call has written.
    pub fn call_bytes(&self) -> usize {
        self.call.bytes
    }

    /// Entries from `start` on, below `end` if there is one, in ascending order: `limit` at most, and [`SCAN_BYTES_MAX`].
    /// Expired ones that it passes are deleted. There may be millions of them, so `goes_on` is asked after each few
    /// thousand; false ends the scan with an error. Once the transaction takes no more deletions, the scan ends with
    /// [`StateError::TransactionFull`]. The same scan in the next transaction has fewer of them to pass.
    pub fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
        now: Timestamp,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Pair>, StateError> {
        let mut found = Found { pairs: Vec::new(), bytes: 0, limit: limit.min(SCAN_ENTRIES_MAX) };
        if found.is_full() || end.is_some_and(|end| end <= start) {
            return Ok(found.pairs);
        }
        let mut from = start.to_vec();
        while let Some(next) = self.scan_part(&from, end, now, &mut found)? {
            if !goes_on() {
                return Err(StateError::OutOfTime);
            }
            from = next;
        }
        Ok(found.pairs)
    }

    /// Goes on with a scan until it is complete, or has passed [`PASSED_AT_ONCE`] expired entries: then it returns the key of
    /// the next one.
    fn scan_part(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        now: Timestamp,
        found: &mut Found,
    ) -> Result<Option<Vec<u8>>, StateError> {
        // No key is as long as a bound that is cut here, so the whole bound tells which entries are within.
        let from = &start[..start.len().min(KEY_BYTES_MAX)];
        let to = end.filter(|end| end.len() <= KEY_BYTES_MAX);
        let ttl = self.settings.ttl;
        let mut expired = Vec::new();
        let mut next = None;
        let mut take = |key: &[u8], entry: &Entry| {
            if key < start {
                return true;
            }
            if end.is_some_and(|end| key >= end) {
                return false;
            }
            if !is_old(ttl, entry, now) {
                found.push(key, entry);
                return !found.is_full();
            }
            if expired.len() == PASSED_AT_ONCE {
                next = Some(key.to_vec());
                return false;
            }
            expired.push((key.to_vec(), entry.value.len()));
            true
        };
        self.call.changes.put_in_order();
        self.transaction.changes.put_in_order();
        let written = merged(self.call.changes.range(from, to), self.transaction.changes.range(from, to));
        let local = &mut self.local;
        scan_over(written, |on_entry| local.scan(from, to, on_entry), &mut take)?;
        if !self.expire_all(expired) {
            // A scan that passed the others undeleted would pass them again in each call, and one call may have no time
            // for all of them: it would be aborted with its deletions, for ever.
            return Err(StateError::TransactionFull);
        }
        Ok(next)
    }

    /// Returns true if the current call wrote.
    pub fn has_call_writes(&self) -> bool {
        !self.call.changes.is_empty()
    }

    /// Ends the current call: its writes are kept for the transaction, or dropped.
    pub fn end_call(&mut self, keep: bool) {
        self.last_read.forget();
        if keep {
            self.transaction.take_over(&mut self.call);
        } else {
            self.call.clear();
        }
    }

    /// The changes of the transaction, one of each key.
    pub fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&Entry>)> {
        self.transaction.changes.iter()
    }

    /// The bytes by which it grows with the open transaction; negative if it shrinks.
    pub fn growth(&self) -> i64 {
        self.transaction.bytes_more
    }

    /// Bytes that the transaction and the current call hold in memory.
    pub fn pending_bytes(&self) -> usize {
        self.transaction.bytes + self.call.bytes
    }

    pub fn roll_back(&mut self) {
        self.last_read.forget();
        self.call.clear();
        self.transaction.clear();
        // The entries are there again that it deleted.
        self.full_round = FullRound::default();
        self.expired = 0;
    }

    /// Moves the changes of the committed transaction to the local store. They end before `position` in the changelog.
    pub fn committed(&mut self, position: Option<i64>, now: Timestamp) -> Result<(), LocalError> {
        if self.transaction.changes.is_empty() {
            return Ok(());
        }
        let mark = Mark {
            position: position.unwrap_or(self.mark.position),
            bytes: self.mark.bytes.saturating_add_signed(self.transaction.bytes_more),
            entries: self.mark.entries.saturating_add_signed(self.transaction.entries_more),
            at: now.0,
        };
        let changes: Vec<Change> = self.transaction.changes.drain().collect();
        self.transaction.clear();
        self.last_read.forget();
        if let Some(hot) = &mut self.hot {
            changes.iter().for_each(|(key, entry)| hot.renew(key, entry.as_ref()));
        }
        self.local.apply(changes, &mark)?;
        self.mark = mark;
        Ok(())
    }

    /// Returns the number of expired entries that were deleted since the last question.
    pub fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired)
    }

    /// The entry of a key, however old it is.
    fn look_up(&mut self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        match self.written(key) {
            Some(change) => Ok(change.clone()),
            None => self.look_below(key),
        }
    }

    /// The size of an entry with its key, if there is one. It is about to be written.
    fn size_of(&mut self, key: &[u8]) -> Result<Option<usize>, LocalError> {
        if let Some(size) = self.last_read.take(key) {
            return Ok(size);
        }
        let size = |entry: &Entry| size(key, entry);
        match self.written(key) {
            Some(change) => Ok(change.as_ref().map(size)),
            None => Ok(self.look_below(key)?.as_ref().map(size)),
        }
    }

    /// The change of a key in the call or in the transaction; None if it has none.
    fn written(&self, key: &[u8]) -> Option<&Option<Entry>> {
        self.call.changes.get(key).or_else(|| self.transaction.changes.get(key))
    }

    /// The entry of a key below the transaction. No entry has a key that is too long for one.
    fn look_below(&mut self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        if key.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        if let Some(entry) = self.hot.as_ref().and_then(|hot| hot.get(key)) {
            return Ok(entry);
        }
        let entry = self.local.get(key)?;
        if let Some(hot) = &mut self.hot {
            hot.offer(key, &entry);
        }
        Ok(entry)
    }
}

fn size(key: &[u8], entry: &Entry) -> usize {
    key.len() + entry.value.len()
}

impl Found {
    fn push(&mut self, key: &[u8], entry: &Entry) {
        self.bytes += size(key, entry);
        self.pairs.push((key.to_vec(), entry.value.clone()));
    }

    fn is_full(&self) -> bool {
        self.pairs.len() >= self.limit || self.bytes >= SCAN_BYTES_MAX
    }
}

impl LastRead {
    fn set(&mut self, key: &[u8], size: Option<usize>) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.size = Some(size);
    }

    /// Forgets it, and returns its size if it has this key.
    fn take(&mut self, key: &[u8]) -> Option<Option<usize>> {
        self.size.take().filter(|_| self.key == key)
    }

    fn forget(&mut self) {
        self.size = None;
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
