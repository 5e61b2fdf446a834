//! A restore that runs in a thread of its own, as its worker sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};

use crate::ports::{OpenError, Restore};
use crate::state::KeyedState;

/// The progress of a restore, shared with its thread.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub read: AtomicU64,
    pub total: AtomicU64,
    /// True if nobody waits for it any more.
    given_up: AtomicBool,
}

impl Progress {
    /// Fails if nobody waits for the restore any more.
    pub fn check(&self) -> Result<(), OpenError> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(OpenError::Unavailable("given up".into()));
        }
        Ok(())
    }
}

/// A restore that runs in a thread of its own.
pub(super) struct RestoreThread {
    pub done: Receiver<Result<KeyedState, OpenError>>,
    pub progress: Arc<Progress>,
}

impl Restore for RestoreThread {
    fn poll(&mut self) -> Option<Result<KeyedState, OpenError>> {
        match self.done.try_recv() {
            Ok(built) => Some(built),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(OpenError::Unavailable("restoring broke off".into()))),
        }
    }

    fn progress(&self) -> (u64, u64) {
        (self.progress.read.load(Ordering::Relaxed), self.progress.total.load(Ordering::Relaxed))
    }
}

impl Drop for RestoreThread {
    fn drop(&mut self) {
        self.progress.given_up.store(true, Ordering::Relaxed);
    }
}
