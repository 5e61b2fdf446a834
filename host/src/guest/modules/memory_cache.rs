//! Compiled modules in memory: as many as the cache keeps on the disk. Those that were used longest ago go first; whoever
//! runs one keeps it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Compiled;
use crate::model::names::Digest;

/// See the module.
pub(super) struct Kept<T = Compiled> {
    modules: HashMap<Digest, Entry<T>>,
    /// One lock for each module that somebody compiles or loads: two users of a module compile it once, and other modules
    /// do not wait.
    locks: HashMap<Digest, Arc<Mutex<()>>>,
    /// Counts uses.
    clock: u64,
}

struct Entry<T> {
    compiled: T,
    bytes: u64,
    used: u64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { modules: HashMap::new(), locks: HashMap::new(), clock: 0 }
    }
}

impl<T: Clone> Kept<T> {
    pub fn get(&mut self, digest: &Digest) -> Option<T> {
        self.clock += 1;
        let entry = self.modules.get_mut(digest)?;
        entry.used = self.clock;
        Some(entry.compiled.clone())
    }

    /// Keeps a module. Returns how many bytes are kept now.
    pub fn put(&mut self, digest: Digest, compiled: T, bytes: u64, bytes_max: u64) -> u64 {
        self.clock += 1;
        self.modules.insert(digest, Entry { compiled, bytes, used: self.clock });
        let mut total: u64 = self.modules.values().map(|entry| entry.bytes).sum();
        while total > bytes_max {
            let others = self.modules.iter().filter(|(other, _)| **other != digest);
            let Some((&oldest, _)) = others.min_by_key(|(_, entry)| entry.used) else { break };
            total -= self.modules.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
        total
    }

    /// The lock of a module.
    pub fn lock(&mut self, digest: Digest) -> Arc<Mutex<()>> {
        // Whoever holds one has a second handle.
        self.locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        self.locks.entry(digest).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut kept = Kept::default();
        for name in ["a", "b", "c"] {
            kept.put(digest(name), name, 40, 120);
        }
        assert_eq!(kept.get(&digest("a")), Some("a"));
        assert_eq!(kept.put(digest("d"), "d", 70, 120), 110);
        let has = |name| kept.modules.contains_key(&digest(name));
        assert_eq!([has("a"), has("b"), has("c"), has("d")], [true, false, false, true]);
        // One that is larger than all is kept alone.
        assert_eq!(kept.put(digest("e"), "e", 500, 120), 500);
        assert_eq!(kept.put(digest("e"), "e", 20, 120), 20);
    }

    #[test]
    fn a_lock_lives_as_long_as_somebody_holds_it() {
        let mut kept: Kept<()> = Kept::default();
        let held = kept.lock(digest("a"));
        kept.lock(digest("b"));
        assert!(Arc::ptr_eq(&held, &kept.lock(digest("a"))));
        assert_eq!(kept.locks.len(), 1);
    }
}
