//! A host's local copy of a store between transactions: a cache of its changelog, as of a position in it.
//!
//! Invariants: entries and mark change together or not at all; only committed entries are in it. So it is never ahead of
//! Kafka, only behind, and the records of the changelog after the mark's position bring it up to date.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::model::units::Timestamp;

/// A key's value, and the time at which it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub written_at: Timestamp,
    pub value: Vec<u8>,
}

/// A key, and its entry after the change; None if it is deleted.
pub type Change = (Vec<u8>, Option<Entry>);

/// The position of a local store in its changelog, and its size there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// Every record of the changelog before this offset is in it.
    pub position: i64,
    /// Bytes of its keys and values.
    pub bytes: u64,
    pub entries: u64,
    /// The time at which it was last brought up to date, in ms since the Unix epoch.
    pub at: i64,
}

/// A local store that cannot be read or written: broken, full, or not of this host. The remedy is a wipe and a restore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LocalError(pub String);

/// A host's local copy of a store. Every call works on memory or the local disk. After an error, only `wipe` may follow.
pub trait LocalStore: Send {
    /// The entry of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError>;

    /// Hands over entries from `start` on, below `end` if there is one, in ascending order, until `on_entry` returns false.
    fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        on_entry: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError>;

    /// Makes all these changes, each of another key, and sets the mark, at once or not at all. After a kill of the process
    /// they may be gone, together with all later ones.
    fn apply(&mut self, changes: Vec<Change>, mark: &Mark) -> Result<(), LocalError>;

    /// The mark; None if nothing was ever kept here.
    fn mark(&self) -> Result<Option<Mark>, LocalError>;

    /// Forgets all entries and the mark.
    fn wipe(&mut self) -> Result<(), LocalError>;

    /// Tells the store that its restore is over: from now on a worker waits for its calls.
    fn restored(&mut self) {}

    /// Returns true if a look-up is slow enough that hot entries are worth a cache.
    fn wants_cache(&self) -> bool;
}

/// A store in memory: it is gone with the process.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    entries: BTreeMap<Vec<u8>, Entry>,
    mark: Option<Mark>,
}

impl LocalStore for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        Ok(self.entries.get(key).cloned())
    }

    fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        on_entry: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(());
        }
        let range = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        for (key, entry) in self.entries.range::<[u8], _>(range) {
            if !on_entry(key, entry.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, changes: Vec<Change>, mark: &Mark) -> Result<(), LocalError> {
        for (key, entry) in changes {
            match entry {
                Some(entry) => drop(self.entries.insert(key, entry)),
                None => drop(self.entries.remove(&key)),
            }
        }
        self.mark = Some(mark.clone());
        Ok(())
    }

    fn mark(&self) -> Result<Option<Mark>, LocalError> {
        Ok(self.mark.clone())
    }

    fn wipe(&mut self) -> Result<(), LocalError> {
        *self = Self::default();
        Ok(())
    }

    fn wants_cache(&self) -> bool {
        false
    }
}
