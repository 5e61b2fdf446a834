//! The writes above a local store: of the open transaction, and of the current call.

use std::cmp::Ordering;

use super::changes::Changes;
use super::local::Entry;

/// Counted for each entry in memory beside its key and value: a delete, or an entry with neither, is not free.
pub const ENTRY_BYTES: usize = 64;

/// The writes of a call or of a transaction.
#[derive(Default)]
pub(super) struct Layer {
    pub changes: Changes,
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

    /// Takes the writes of a layer above over, which is empty afterwards.
    pub fn take_over(&mut self, above: &mut Layer) {
        self.bytes_more += above.bytes_more;
        self.entries_more += above.entries_more;
        for (key, entry) in above.changes.drain() {
            self.write(key, entry, 0, 0);
        }
        above.clear();
    }

    /// Forgets all writes.
    pub fn clear(&mut self) {
        drop(self.changes.drain());
        self.bytes = 0;
        self.bytes_more = 0;
        self.entries_more = 0;
    }
}

/// The changes of an upper layer over those of a lower one. All are in the order of their keys.
pub fn merged<'a>(
    upper: impl Iterator<Item = (&'a [u8], Option<&'a Entry>)>,
    lower: impl Iterator<Item = (&'a [u8], Option<&'a Entry>)>,
) -> impl Iterator<Item = (&'a [u8], Option<&'a Entry>)> {
    let mut upper = upper.peekable();
    let mut lower = lower.peekable();
    std::iter::from_fn(move || {
        let order = match (upper.peek(), lower.peek()) {
            (Some((upper, _)), Some((lower, _))) => upper.cmp(lower),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        if order == Ordering::Equal {
            lower.next();
        }
        if order == Ordering::Greater { lower.next() } else { upper.next() }
    })
}

/// Hands over the changes of a layer and the entries below it, in the order of their keys, until `on_entry` returns false.
/// The layer wins, and a deleted entry is none. `below` hands over its own entries, until it is told false.
pub fn scan_over<'a, I, E>(
    changes: I,
    below: impl FnOnce(&mut dyn FnMut(&[u8], Entry) -> bool) -> Result<(), E>,
    on_entry: &mut dyn FnMut(&[u8], &Entry) -> bool,
) -> Result<(), E>
where
    I: Iterator<Item = (&'a [u8], Option<&'a Entry>)>,
{
    let mut changes = changes.peekable();
    let mut more = true;
    below(&mut |key, entry| {
        while let Some((own, change)) = changes.next_if(|&(own, _)| own <= key) {
            if let Some(entry) = change {
                more = on_entry(own, entry);
            }
            if own == key || !more {
                return more;
            }
        }
        more = on_entry(key, &entry);
        more
    })?;
    while more && let Some((key, change)) = changes.next() {
        if let Some(entry) = change {
            more = on_entry(key, entry);
        }
    }
    Ok(())
}
