//! Counts of one transform's calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::start_queue::{Activity, StartPhase};

/// The counts of one transform's calls.
#[derive(Debug)]
pub struct CallCounts {
    made: AtomicU64,
    under_way: AtomicU64,
    is_suspect: AtomicBool,
}

impl CallCounts {
    pub fn new(is_suspect: bool) -> Self {
        Self { made: AtomicU64::new(0), under_way: AtomicU64::new(0), is_suspect: AtomicBool::new(is_suspect) }
    }

    pub fn begin(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    pub fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn activity(&self, phase: StartPhase) -> Activity {
        Activity { phase, calls: self.made.load(Ordering::Relaxed), is_in_call: self.under_way.load(Ordering::Relaxed) > 0 }
    }

    pub fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Relaxed)
    }

    pub fn set_suspect(&self, is_suspect: bool) {
        self.is_suspect.store(is_suspect, Ordering::Relaxed);
    }
}
