//! The revisions of a transform in one worker: the one that runs, the one to go back to, the next.
//!
//! ```text
//!   swap ----> next --(no transaction is open)--> current, on trial --(first commit)--> current
//!                                                       |
//!                                                       +--(it traps)--> rejected; previous is current again
//! ```

use std::sync::Arc;

use prometheus::HistogramTimer;

use crate::model::status::{LastError, Refused};
use crate::ports::Guest;
use crate::task::RunnableRevision;

/// The revisions that a worker keeps from one session to the next.
#[derive(Clone)]
pub struct Revisions {
    /// The revision that the tasks run.
    pub current: Arc<RunnableRevision>,
    /// The revision to go back to while `current` is on trial: until the first transaction with its work is committed.
    pub previous: Option<Arc<RunnableRevision>>,
    /// The last revision that did not pass its trial, and the reason.
    pub rejected: Option<Refused>,
}

impl Revisions {
    /// Goes on with `next`, on trial.
    pub fn replace(&mut self, next: Arc<RunnableRevision>) {
        let before = std::mem::replace(&mut self.current, next);
        // Keeps the last committed revision, not one that is itself on trial.
        self.previous.get_or_insert(before);
        self.rejected = None;
    }
}

/// Another revision, and instances of it that were made while the worker went on with its own.
pub struct Swap {
    pub revision: Arc<RunnableRevision>,
    pub guests: Vec<Box<dyn Guest>>,
}

/// The stage of a worker's rollout, as its status shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RolloutStage {
    pub revision: u64,
    /// The revision that it goes back to if this one fails: there is one while this one is on trial.
    pub fallback: Option<u64>,
    /// The last revision that did not pass its trial.
    pub rejected: Option<u64>,
}

/// The revisions of a transform in one worker, with the next one.
pub(super) struct Rollout {
    revisions: Revisions,
    /// Waits for the end of the open transaction.
    next: Option<Swap>,
    /// Measures from the swap to the first call of the new revision. It observes when it is dropped.
    pause_timer: Option<HistogramTimer>,
}

impl Rollout {
    pub fn new(revisions: Revisions) -> Self {
        Self { revisions, next: None, pause_timer: None }
    }

    pub fn revisions(&self) -> &Revisions {
        &self.revisions
    }

    pub fn current(&self) -> &Arc<RunnableRevision> {
        &self.revisions.current
    }

    pub fn is_on_trial(&self) -> bool {
        self.revisions.previous.is_some()
    }

    pub fn stage(&self) -> RolloutStage {
        RolloutStage {
            revision: self.current().settings.revision,
            fallback: self.revisions.previous.as_ref().map(|previous| previous.settings.revision),
            rejected: self.revisions.rejected.as_ref().map(|rejected| rejected.revision),
        }
    }

    /// Goes on with another revision once no transaction is open.
    pub fn schedule(&mut self, next: Swap) {
        self.next = Some(next);
    }

    /// Makes the next revision the current one, if there is a next. Returns its instances.
    pub fn advance(&mut self) -> Option<Vec<Box<dyn Guest>>> {
        let Swap { revision, guests } = self.next.take()?;
        self.pause_timer = Some(revision.observer.metrics.swap_pause.start_timer());
        self.revisions.replace(revision);
        Some(guests)
    }

    /// Notes that no task waits for the new revision: one has made a call, or there is no record.
    pub fn stop_pause_timer(&mut self) {
        self.pause_timer = None;
    }

    /// Goes back to the previous revision, and returns the rejected one. Call it on trial only.
    pub fn reject(&mut self, error: LastError) -> Arc<RunnableRevision> {
        let previous = self.revisions.previous.take().expect("a step is refused on trial only");
        let rejected = std::mem::replace(&mut self.revisions.current, previous);
        self.revisions.rejected = Some(Refused { revision: rejected.settings.revision, error });
        rejected
    }

    /// Ends the trial. Returns false if there was none.
    pub fn pass_trial(&mut self) -> bool {
        self.revisions.previous.take().is_some()
    }

    /// The revisions for the next session, which begins with the next one, if there is a next.
    pub fn into_revisions(mut self) -> Revisions {
        if let Some(next) = self.next {
            self.revisions.replace(next.revision);
        }
        self.revisions
    }
}
