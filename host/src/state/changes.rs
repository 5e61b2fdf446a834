//! The last change of each key, above a store.
//!
//! Most stores are read by key alone, so the changes are hashed. The first scan puts them in order, and they stay so.

use std::collections::BTreeMap;
use std::ops::Bound;

use indexmap::IndexMap;

use super::local::{Change, Entry};

/// Keys are a guest's, so the hashes are seeded.
type Hashed = IndexMap<Vec<u8>, Option<Entry>, ahash::RandomState>;

/// Room for this number of keys is kept when the changes are taken out, or for twice as many as there were.
const KEPT_KEYS_MIN: usize = 256;

/// The last change of each key. None is a deleted entry.
pub enum Changes {
    /// In the order of their first writes.
    Hashed(Hashed),
    /// In the order of their keys.
    Ordered(BTreeMap<Vec<u8>, Option<Entry>>),
}

impl Changes {
    /// Empty changes, which are put in order from the beginning if they will be scanned.
    pub fn new(is_ordered: bool) -> Self {
        if is_ordered { Self::Ordered(BTreeMap::new()) } else { Self::default() }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Hashed(changes) => changes.len(),
            Self::Ordered(changes) => changes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The change of a key; None if it has none.
    pub fn get(&self, key: &[u8]) -> Option<&Option<Entry>> {
        match self {
            Self::Hashed(changes) => changes.get(key),
            Self::Ordered(changes) => changes.get(key),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// Writes a change over an earlier one, which it returns.
    pub fn insert(&mut self, key: Vec<u8>, entry: Option<Entry>) -> Option<Option<Entry>> {
        match self {
            Self::Hashed(changes) => changes.insert(key, entry),
            Self::Ordered(changes) => changes.insert(key, entry),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&Entry>)> {
        let (hashed, ordered) = match self {
            Self::Hashed(changes) => (Some(changes.iter()), None),
            Self::Ordered(changes) => (None, Some(changes.iter())),
        };
        let each = hashed.into_iter().flatten().chain(ordered.into_iter().flatten());
        each.map(|(key, entry)| (key.as_slice(), entry.as_ref()))
    }

    /// Takes all changes out, in the order of [`Changes::iter`].
    pub fn drain(&mut self) -> impl Iterator<Item = Change> {
        let (hashed, ordered) = match self {
            Self::Hashed(changes) => {
                let kept = KEPT_KEYS_MIN.max(2 * changes.len());
                if changes.capacity() > 2 * kept {
                    changes.shrink_to(kept);
                }
                (Some(changes.drain(..)), None)
            }
            Self::Ordered(changes) => (None, Some(std::mem::take(changes))),
        };
        hashed.into_iter().flatten().chain(ordered.into_iter().flatten())
    }

    /// The changes in the order of their keys.
    pub fn sorted(&self) -> Vec<(&[u8], Option<&Entry>)> {
        let mut sorted: Vec<_> = self.iter().collect();
        if matches!(self, Self::Hashed(_)) {
            // Most comparisons end within the first bytes, which are not where the key is.
            sorted.sort_by_cached_key(|(key, _)| (prefix(key), *key));
        }
        sorted
    }

    /// Puts the changes in order, for [`Changes::range`].
    pub fn put_in_order(&mut self) {
        if let Self::Hashed(changes) = self {
            *self = Self::Ordered(std::mem::take(changes).into_iter().collect());
        }
    }

    /// The changes of the keys from `start` on, below `end` if there is one. They were put in order before.
    pub fn range<'a>(
        &'a self,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a Entry>)> + use<'a> {
        let Self::Ordered(changes) = self else { unreachable!("the changes are put in order before a scan") };
        let range = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        changes.range::<[u8], _>(range).map(|(key, entry)| (key.as_slice(), entry.as_ref()))
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::Hashed(Hashed::default())
    }
}

fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = key.len().min(first.len());
    first[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::Timestamp;

    fn entry(n: u64) -> Option<Entry> {
        (!n.is_multiple_of(4)).then(|| Entry { written_at: Timestamp(1), value: n.to_le_bytes().to_vec() })
    }

    type Pairs = Vec<(Vec<u8>, Option<Entry>)>;

    fn owned<'a>(changes: impl IntoIterator<Item = (&'a [u8], Option<&'a Entry>)>) -> Pairs {
        changes.into_iter().map(|(key, entry)| (key.to_vec(), entry.cloned())).collect()
    }

    /// Hashed and ordered, the changes are those of a plain map.
    #[test]
    fn they_are_the_last_of_each_key_in_either_order() {
        for seed in 0..20u64 {
            let mut state = seed;
            let mut hashed = Changes::default();
            let mut turned = Changes::default();
            let mut plain = BTreeMap::new();
            for n in 0..200u64 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Some have an end in common, and some are longer than what is compared first.
                let key = format!("{:04}", (state >> 33) % 90).repeat((state >> 40) as usize % 4).into_bytes();
                let expected = plain.insert(key.clone(), entry(n));
                assert_eq!(hashed.insert(key.clone(), entry(n)), expected);
                assert_eq!(turned.insert(key.clone(), entry(n)), expected);
                if n == 100 {
                    turned.put_in_order();
                }
                assert_eq!((hashed.get(&key), hashed.contains(b"other")), (Some(&entry(n)), false));
            }
            let all: Pairs = plain.clone().into_iter().collect();
            assert_eq!((owned(hashed.sorted()), owned(turned.sorted())), (all.clone(), all.clone()), "seed {seed}");
            let part = plain.range(b"002".to_vec()..b"006".to_vec()).map(|(key, entry)| (key.clone(), entry.clone()));
            assert_eq!(owned(turned.range(b"002", Some(b"006"))), part.collect::<Pairs>(), "seed {seed}");
            assert_eq!(turned.drain().collect::<Pairs>(), all, "seed {seed}");
            assert_eq!((hashed.drain().count(), hashed.len(), turned.is_empty()), (all.len(), 0, true));
        }
    }
}
