//! Entries of a local store that are read again and again, in memory.
//!
//! A key comes in when it is read for the second time within a while, so that keys which are read once leave the others
//! where they are.

use quick_cache::unsync::Cache;

use super::super::layer::ENTRY_BYTES;
use super::super::local::Entry;

/// Bits that remember the keys that were read once.
const SEEN_BITS: usize = 1 << 16;
/// Keys after which all are forgotten: few others have a bit of theirs until then.
const SEEN_KEYS_MAX: usize = SEEN_BITS / 8;

/// The hot entries of a local store. A key without an entry is remembered as such.
pub(super) struct HotEntries {
    entries: Cache<Vec<u8>, Option<Entry>, Weight>,
    hasher: ahash::RandomState,
    seen: Box<[u64]>,
    seen_keys: usize,
}

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<Vec<u8>, Option<Entry>> for Weight {
    fn weight(&self, key: &Vec<u8>, entry: &Option<Entry>) -> u64 {
        (key.len() + entry.as_ref().map_or(0, |entry| entry.value.len()) + ENTRY_BYTES) as u64
    }
}

impl HotEntries {
    pub fn new(bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max / 128).unwrap_or(usize::MAX);
        Self {
            entries: Cache::with_weighter(entries, bytes_max, Weight),
            hasher: ahash::RandomState::new(),
            seen: vec![0; SEEN_BITS / 64].into(),
            seen_keys: 0,
        }
    }

    /// The entry of a key, if it is known.
    pub fn get(&self, key: &[u8]) -> Option<Option<Entry>> {
        self.entries.get(key).cloned()
    }

    /// Takes in the entry of a key that was read from the local store, if it was read before.
    pub fn offer(&mut self, key: &[u8], entry: &Option<Entry>) {
        let bit = self.hasher.hash_one(key) as usize % SEEN_BITS;
        let word = &mut self.seen[bit / 64];
        let mask = 1 << (bit % 64);
        if *word & mask != 0 {
            self.entries.insert(key.to_vec(), entry.clone());
            return;
        }
        *word |= mask;
        self.seen_keys += 1;
        if self.seen_keys == SEEN_KEYS_MAX {
            self.seen.fill(0);
            self.seen_keys = 0;
        }
    }

    /// Takes in the new entry of a key that was changed, if it has an older one. It forgets one that has grown: the cache makes
    /// room only when an entry is added.
    pub fn renew(&mut self, key: &[u8], entry: Option<&Entry>) {
        let bytes = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.value.len());
        let Some(mut known) = self.entries.peek_mut(key) else { return };
        if bytes(entry) <= bytes(known.as_ref()) {
            // A copy has no room that its weight does not count.
            *known = entry.cloned();
        } else {
            drop(known);
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::Timestamp;

    #[test]
    fn keys_that_are_read_once_leave_the_hot_ones_where_they_are() {
        let entry = Some(Entry { written_at: Timestamp(1), value: vec![1] });
        let mut hot = HotEntries::new(20 * (1 + 1 + ENTRY_BYTES as u64));
        for _ in 0..2 {
            (0..10).for_each(|key: u8| hot.offer(&[key], &entry));
        }
        let known = |hot: &HotEntries| (0..10).filter(|&key: &u8| hot.get(&[key]) == Some(entry.clone())).count();
        assert_eq!(known(&hot), 10);
        (0..1000u32).for_each(|key| hot.offer(&key.to_le_bytes(), &entry));
        assert_eq!(known(&hot), 10);
        let of = |value: &[u8]| Some(Entry { written_at: Timestamp(2), value: value.to_vec() });
        hot.renew(&[3], of(&[2]).as_ref());
        assert_eq!((hot.get(&[3]), known(&hot)), (Some(of(&[2])), 9));
        hot.renew(&[3], None);
        assert_eq!(hot.get(&[3]), Some(None));
        hot.renew(&[4], of(&[4; 1000]).as_ref());
        assert_eq!((hot.get(&[4]), known(&hot)), (None, 8));
        hot.renew(&[100], entry.as_ref());
        assert_eq!(hot.get(&[100]), None);
    }
}
