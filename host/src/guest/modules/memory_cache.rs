//! Compiled modules in memory, of as many bytes as the cache on the disk. The modules that were used longest ago go first;
//! a module that runs is kept by its instances.
//!
//! `quick_cache` does not do this: it refuses an entry that is larger than the whole cache or a shard of it, so that such a
//! module would be compiled again for each of its transforms, and it does not evict in the order of uses, which the help
//! of `--compiled-cache-max` promises.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::CompiledModule;
use crate::model::names::Digest;

/// The compiled modules that a host has in memory.
pub(super) struct MemoryCache<T = CompiledModule> {
    modules: HashMap<Digest, Entry<T>>,
    /// A lock for each module that a thread loads: two users of a module load it once, and other modules do not wait.
    locks: HashMap<Digest, Arc<Mutex<()>>>,
    /// Counts uses.
    clock: u64,
}

struct Entry<T> {
    compiled: T,
    bytes: u64,
    used: u64,
}

impl<T> Default for MemoryCache<T> {
    fn default() -> Self {
        Self { modules: HashMap::new(), locks: HashMap::new(), clock: 0 }
    }
}

impl<T: Clone> MemoryCache<T> {
    pub fn get(&mut self, digest: &Digest) -> Option<T> {
        self.clock += 1;
        let entry = self.modules.get_mut(digest)?;
        entry.used = self.clock;
        Some(entry.compiled.clone())
    }

    /// Keeps a module. Returns the bytes of all modules that are kept now.
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

    /// Returns the lock of a module.
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
        let mut cache = MemoryCache::default();
        for name in ["a", "b", "c"] {
            cache.put(digest(name), name, 40, 120);
        }
        assert_eq!(cache.get(&digest("a")), Some("a"));
        assert_eq!(cache.put(digest("d"), "d", 70, 120), 110);
        let has = |name| cache.modules.contains_key(&digest(name));
        assert_eq!([has("a"), has("b"), has("c"), has("d")], [true, false, false, true]);
        // One that is larger than all is kept alone.
        assert_eq!(cache.put(digest("e"), "e", 500, 120), 500);
        assert_eq!(cache.put(digest("e"), "e", 20, 120), 20);
    }

    #[test]
    fn a_lock_lives_as_long_as_somebody_holds_it() {
        let mut cache: MemoryCache<()> = MemoryCache::default();
        let held = cache.lock(digest("a"));
        cache.lock(digest("b"));
        assert!(Arc::ptr_eq(&held, &cache.lock(digest("a"))));
        assert_eq!(cache.locks.len(), 1);
    }
}
