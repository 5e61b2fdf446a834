//! The memory of all instances of a host together. Each instance has its own limit, `limits.memory`; the sum of these limits
//! may be more than a machine has, since few instances need all of theirs.
//!
//! An instance that asks for more than is left is not to blame: its call ends as a fault of the host, which is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::metrics::ModuleMetrics;

/// The budget of a host. Shared by all that make instances.
pub struct HostMemory {
    taken: AtomicU64,
    bytes_max: u64,
    metrics: Option<ModuleMetrics>,
}

/// The part of one instance, given back when it is dropped.
pub(super) struct MemoryShare {
    host: Arc<HostMemory>,
    bytes: u64,
}

impl HostMemory {
    pub fn new(bytes_max: u64, metrics: Option<ModuleMetrics>) -> Self {
        Self { taken: AtomicU64::new(0), bytes_max, metrics }
    }

    /// Returns an empty share.
    pub(super) fn share(self: &Arc<Self>) -> MemoryShare {
        MemoryShare { host: self.clone(), bytes: 0 }
    }

    fn show(&self, bytes: u64) {
        self.metrics.iter().for_each(|metrics| metrics.guest_memory(bytes));
    }
}

impl MemoryShare {
    /// Takes more, if there is room for it.
    pub fn grow(&mut self, bytes: usize) -> Result<(), String> {
        let HostMemory { taken, bytes_max, .. } = &*self.host;
        let bytes = bytes as u64;
        let more = |taken: u64| taken.checked_add(bytes).filter(|total| total <= bytes_max);
        match taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(before) => {
                self.bytes += bytes;
                self.host.show(before + bytes);
                Ok(())
            }
            Err(taken) => Err(format!(
                "an instance needs {bytes} bytes more, and {taken} of {bytes_max} are in use by all (guest_memory_max)"
            )),
        }
    }

    /// Gives back a part that it has.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = (bytes as u64).min(self.bytes);
        self.bytes -= bytes;
        let before = self.host.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.host.show(before - bytes);
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.shrink(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back() {
        let host = Arc::new(HostMemory::new(100, None));
        let mut first = host.share();
        let mut second = host.share();
        first.grow(60).expect("there is room");
        let refused = second.grow(41).expect_err("there is none left");
        assert!(refused.contains("guest_memory_max"), "{refused}");
        assert!(second.grow(usize::MAX).is_err());
        second.grow(40).expect("just enough");
        first.shrink(10);
        second.grow(10).expect("it was given back");
        drop(first);
        assert_eq!(host.taken.load(Ordering::Relaxed), 50);
        drop(second);
        assert_eq!(host.taken.load(Ordering::Relaxed), 0);
    }
}
