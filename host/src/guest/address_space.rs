//! The host's address space, as linear memories take it: each reserves 4 GiB and its guard pages, however small it is,
//! so that compiled code needs no bounds checks.
//!
//! A process has 128 TiB of it, and the system keeps a list of its parts that must not become too long
//! (`vm.max_map_count`, 65,530 by default; a linear memory is about four). So instances are refused before either is
//! used up, with an error that says so; they are tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::metrics::ModuleMetrics;

/// Reserved for each linear memory: the largest that 32-bit addresses reach.
pub(super) const LINEAR_BYTES: u64 = 4 << 30;
/// Guard pages before and after it.
pub(super) const GUARD_BYTES: u64 = 32 << 20;
/// Most address space of all instances together by default (`guest_address_space_max`): about 8,000 linear memories.
pub const ADDRESS_SPACE_BYTES_MAX: u64 = 32 << 40;

/// The budget of a host. Shared by all that make instances.
pub struct AddressSpace {
    taken: AtomicU64,
    bytes_max: u64,
    metrics: Option<ModuleMetrics>,
}

/// The share of one instance, given back when it is dropped.
pub(super) struct Reservation {
    space: Arc<AddressSpace>,
    bytes: u64,
}

impl AddressSpace {
    pub fn new(bytes_max: u64, metrics: Option<ModuleMetrics>) -> Self {
        Self { taken: AtomicU64::new(0), bytes_max, metrics }
    }

    /// Takes the share of an instance with this number of linear memories, if there is room for it.
    pub(super) fn reserve(self: &Arc<Self>, memories: u64) -> Result<Reservation, String> {
        let bytes = memories.saturating_mul(LINEAR_BYTES + 2 * GUARD_BYTES);
        let more = |taken: u64| taken.checked_add(bytes).filter(|&total| total <= self.bytes_max);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(before) => {
                self.tell(before + bytes);
                Ok(Reservation { space: self.clone(), bytes })
            }
            Err(taken) => Err(format!(
                "an instance reserves {bytes} bytes of address space, {taken} of {} are in use (guest_address_space_max)",
                self.bytes_max
            )),
        }
    }

    fn tell(&self, bytes: u64) {
        self.metrics.iter().for_each(|metrics| metrics.address_space(bytes));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let before = self.space.taken.fetch_sub(self.bytes, Ordering::Relaxed);
        self.space.tell(before - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_there_again() {
        let one = LINEAR_BYTES + 2 * GUARD_BYTES;
        let space = Arc::new(AddressSpace::new(3 * one, None));
        let first = space.reserve(2).expect("there is room");
        let refused = space.reserve(2).err().expect("there is none left");
        assert!(refused.contains("guest_address_space_max"), "{refused}");
        let second = space.reserve(1).expect("just enough");
        drop(first);
        let third = space.reserve(2).expect("it was given back");
        assert!(space.reserve(1).is_err() && space.reserve(u64::MAX).is_err());
        drop((second, third));
        assert_eq!(space.taken.load(Ordering::Relaxed), 0);
    }
}
