//! A resource that all instances of a host share: its address space, its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shows the bytes that are in use.
type Show = Box<dyn Fn(u64) + Send + Sync>;

/// The budget of a host. Shared by all that make instances.
pub struct Budget {
    taken: AtomicU64,
    bytes_max: u64,
    show: Show,
}

/// The part of one instance, given back when it is dropped.
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub fn new(bytes_max: u64, show: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { taken: AtomicU64::new(0), bytes_max, show: Box::new(show) }
    }

    /// Returns an empty share.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

impl Share {
    /// Takes more, if there is room for it. Otherwise returns the bytes that are in use, with their limit.
    pub fn grow(&mut self, bytes: u64) -> Result<(), String> {
        let Budget { taken, bytes_max, show } = &*self.budget;
        let more = |taken: u64| taken.checked_add(bytes).filter(|total| total <= bytes_max);
        let before = taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|taken| format!("{taken} of {bytes_max} are in use"))?;
        self.bytes += bytes;
        show(before + bytes);
        Ok(())
    }

    /// Gives back a part that it has.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let before = self.budget.taken.fetch_sub(bytes, Ordering::Relaxed);
        (self.budget.show)(before - bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back() {
        let shown = Arc::new(AtomicU64::new(0));
        let last = shown.clone();
        let budget = Arc::new(Budget::new(100, move |bytes| last.store(bytes, Ordering::Relaxed)));
        let mut first = budget.share();
        let mut second = budget.share();
        first.grow(60).expect("there is room");
        assert_eq!(second.grow(41), Err("60 of 100 are in use".to_owned()));
        assert!(second.grow(u64::MAX).is_err());
        second.grow(40).expect("just enough");
        first.shrink(10);
        second.grow(10).expect("it was given back");
        drop(first);
        assert_eq!(shown.load(Ordering::Relaxed), 50);
        drop(second);
        assert_eq!(shown.load(Ordering::Relaxed), 0);
    }
}
