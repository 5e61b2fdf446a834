//! The options of an embedded log, with their defaults.

use std::path::PathBuf;
use std::time::Duration;

/// The options of an embedded log. [`Options::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// The log's folder; created if missing.
    pub dir: PathBuf,
    /// A partition that is larger loses its oldest records, unless its topic is compacted. Default: 1 GiB.
    pub retention_bytes: u64,
    /// Records that are older are deleted, unless their topic is compacted. Default: 7 days.
    pub retention_time: Duration,
    /// Time for which a compacted topic keeps the tombstone of a deleted key. Default: 24 hours.
    pub tombstone_retention: Duration,
    /// A group's member that does not poll for longer is evicted. Default: 45 s.
    pub poll_interval_max: Duration,
    /// Most that one transaction writes, in bytes, since it waits in memory; an append that is larger becomes several.
    /// Default: 64 MiB.
    pub transaction_bytes_max: usize,
    /// Largest record (key + value + headers), in bytes. Default: 1 MiB.
    pub record_bytes_max: usize,
    /// fjall's cache of blocks, in bytes. Default: 32 MiB.
    pub cache_bytes: u64,
}

impl Options {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            retention_bytes: 1024 * 1024 * 1024,
            retention_time: Duration::from_secs(7 * 24 * 3600),
            tombstone_retention: Duration::from_secs(24 * 3600),
            poll_interval_max: Duration::from_secs(45),
            transaction_bytes_max: 64 * 1024 * 1024,
            record_bytes_max: 1024 * 1024,
            cache_bytes: 32 * 1024 * 1024,
        }
    }
}
