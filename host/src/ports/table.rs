//! A compacted topic as a look-up.

/// The last value of each key of a compacted topic. All transforms that use the topic share it.
pub trait Table: Send + Sync {
    /// The value of a key. Returns at once: a read lock is held for the time of one copy.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
}
