//! The host's address space, as linear memories take it: each reserves 4 GiB and its guard pages, however small it is,
//! so that compiled code needs no bounds checks.
//!
//! A process has 128 TiB of it, and the system keeps a list of its parts that must not become too long
//! (`vm.max_map_count`, 65,530 by default; a linear memory is about four). So instances are refused before either is
//! used up, with an error that says so; they are tried again.

use std::sync::Arc;

use super::budget::{Budget, Share};

/// Reserved for each linear memory: the largest that 32-bit addresses reach.
pub(super) const LINEAR_BYTES: u64 = 4 << 30;
/// Guard pages before and after it.
pub(super) const GUARD_BYTES: u64 = 32 << 20;
/// Most address space of all instances together by default (`guest_address_space_max`): about 8,000 linear memories.
pub const ADDRESS_SPACE_BYTES_MAX: u64 = 32 << 40;

/// Takes the address space of an instance with this number of linear memories, if there is room for it.
pub(super) fn reserve(space: &Arc<Budget>, memories: u64) -> Result<Share, String> {
    let bytes = memories.saturating_mul(LINEAR_BYTES + 2 * GUARD_BYTES);
    let mut share = space.share();
    let grown = share.grow(bytes);
    grown
        .map_err(|used| format!("an instance reserves {bytes} bytes of address space, {used} (guest_address_space_max)"))?;
    Ok(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_there_again() {
        let one = LINEAR_BYTES + 2 * GUARD_BYTES;
        let space = Arc::new(Budget::new(3 * one, |_| {}));
        let first = reserve(&space, 2).expect("there is room");
        let refused = reserve(&space, 2).err().expect("there is none left");
        assert!(refused.contains("guest_address_space_max"), "{refused}");
        let second = reserve(&space, 1).expect("just enough");
        drop(first);
        let third = reserve(&space, 2).expect("it was given back");
        assert!(reserve(&space, 1).is_err() && reserve(&space, u64::MAX).is_err());
        drop((second, third));
        drop(reserve(&space, 3).expect("all of it is there again"));
    }
}
