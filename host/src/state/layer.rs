//! The writes above a local store: of the open transaction, and of the current call.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::ops::Bound;

use super::local::Entry;

/// Counted for each entry in memory beside its key and value: a delete, or an entry with neither, is not free.
pub const ENTRY_BYTES: usize = 64;
/// Writes by key; None is a deleted entry.
pub(super) type Overlay = BTreeMap<Vec<u8>, Option<Entry>>;

/// The writes of a call or of a transaction.
#[derive(Default)]
pub(super) struct Layer {
    pub changes: Overlay,
    /// Bytes that `changes` take in memory: keys, values, and [`ENTRY_BYTES`] for each.
    pub bytes: usize,
    /// The growth of the store's bytes by `changes`; negative if it shrinks.
    pub bytes_more: i64,
    /// The growth of the number of its entries.
    pub entries_more: i64,
}

impl Layer {
    /// Writes an entry, or deletes it. `bytes_more` and `entries_more` are the growth of the store.
    pub fn write(&mut self, key: Vec<u8>, entry: Option<Entry>, bytes_more: i64, entries_more: i64) {
        self.bytes_more += bytes_more;
        self.entries_more += entries_more;
        let size = |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.value.len());
        let key_bytes = key.len();
        self.bytes += size(&entry);
        match self.changes.insert(key, entry) {
            Some(before) => self.bytes -= size(&before),
            None => self.bytes += key_bytes + ENTRY_BYTES,
        }
    }

    /// Takes the writes of a layer above over.
    pub fn take_over(&mut self, above: Layer) {
        self.bytes_more += above.bytes_more;
        self.entries_more += above.entries_more;
        for (key, entry) in above.changes {
            self.write(key, entry, 0, 0);
        }
    }
}

/// The changes of two overlays, by key. The upper one wins.
pub(super) struct OverlayIter<'a> {
    upper: Peekable<Range<'a, Vec<u8>, Option<Entry>>>,
    lower: Peekable<Range<'a, Vec<u8>, Option<Entry>>>,
}

impl<'a> OverlayIter<'a> {
    pub fn new(upper: &'a Overlay, lower: &'a Overlay, start: &[u8], end: Option<&[u8]>) -> Self {
        let range = || (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let of = |overlay: &'a Overlay| overlay.range::<[u8], _>(range()).peekable();
        Self { upper: of(upper), lower: of(lower) }
    }

    /// The next change, if its key is not above `key`.
    pub fn next_up_to(&mut self, key: &[u8]) -> Option<(&'a [u8], Option<&'a Entry>)> {
        let first = [self.upper.peek(), self.lower.peek()].into_iter().flatten().map(|(own, _)| own.as_slice()).min()?;
        if first > key { None } else { self.next() }
    }

    pub fn next(&mut self) -> Option<(&'a [u8], Option<&'a Entry>)> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (self.upper.peek(), self.lower.peek()) {
            (Some((upper, _)), Some((lower, _))) => upper.cmp(lower),
            (Some(_), None) => Less,
            (None, _) => Greater,
        };
        if order == Equal {
            self.lower.next();
        }
        let (key, change) = if order == Greater { self.lower.next() } else { self.upper.next() }?;
        Some((key, change.as_ref()))
    }
}
