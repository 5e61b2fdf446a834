//! The answer of the task manager to records that topics refuse.
//!
//! ```text
//!   refused, culprits known ----> abort; these records fail, the others are processed again
//!   refused, culprits not known > abort; smaller transactions, down to one record, which then is the culprit
//!   nobody knows why -----------> abort, back off; after some of them smaller ones, so that the others go on; none fails
//! ```
//!
//! Each refusal of a record leaves a verdict in its task, so the same one is not met again.

use std::collections::BTreeSet;

use super::TaskManager;
use crate::model::clock::Now;
use crate::model::codes::Code;
use crate::ports::{Cause, Culprit, Rejection, SessionError};
use crate::task::{RecordFailure, Source};

/// Aborts in a row without a reason after which smaller transactions are tried.
const UNCLEAR_ABORTS_MAX: u32 = 3;
/// After this many aborts for refused records in a row, transactions get smaller, so that other records are committed in
/// between.
const REJECTIONS_MAX: u32 = 4;

impl TaskManager {
    /// Aborts the transaction, and makes the culprits fail; or looks for them.
    pub(super) fn reject(&mut self, rejection: Rejection, now: Now) -> Result<(), SessionError> {
        let Rejection { culprits, cause, reason } = rejection;
        let blamed = |culprit: Culprit| Some((self.stats.source(culprit.send)?, culprit));
        let blamed: Vec<(Source, Culprit)> = culprits.into_iter().filter_map(blamed).collect();
        match cause {
            None => self.narrow(&reason, now),
            // A change of a store is no row's own: smaller transactions find the row.
            Some(cause) if blamed.is_empty() => self.split("rejected", RecordFailure::refused(cause, &reason), now),
            Some(cause) => self.blame(blamed, cause, &reason, now),
        }
    }

    fn blame(&mut self, blamed: Vec<(Source, Culprit)>, cause: Cause, reason: &str, now: Now) -> Result<(), SessionError> {
        let id = &self.revision().settings.id;
        let records = blamed.len();
        tracing::info!(transform = %id, reason, records, "transaction aborted, the records that were refused in it fail");
        self.revision().observer.metrics.aborted("rejected");
        self.aborts.note(RecordFailure::refused(cause, reason).code, reason, now.wall);
        if self.aborts.note_rejection() >= REJECTIONS_MAX {
            self.portion.shrink(self.rollout.current().settings.batch_records);
        }
        self.abort(now.mono)?;
        self.limit_rows();
        let mut done = BTreeSet::new();
        let mut is_new = false;
        for (source, Culprit { cause, reason, .. }) in blamed {
            let Source { partition, offset, part } = source;
            if let Some(task) = self.tasks.get_mut(&partition).filter(|_| done.insert((partition, offset))) {
                is_new |= task.reject(offset, part, cause, &reason, now);
            }
        }
        if !is_new {
            // Never expected: the same refusal would follow at once.
            self.back_off(now.mono);
        }
        Ok(())
    }

    /// Aborts and backs off as after an outage. No record is known to be at fault, so none fails; but the others go on,
    /// and the status shows where the partition stands.
    fn narrow(&mut self, reason: &str, now: Now) -> Result<(), SessionError> {
        let was_one = self.portion.rows_max() == 1;
        if self.aborts.backed_off() >= UNCLEAR_ABORTS_MAX {
            self.portion.shrink(self.rollout.current().settings.batch_records);
        }
        let stepped = self.last_stepped.filter(|_| was_one).and_then(|partition| self.tasks.get(&partition));
        let place = stepped
            .and_then(|task| Some(format!(", at {}/{} offset {}", task.topic(), task.id().partition, task.called()?)));
        self.roll_back(Code::LogRefused, &format!("{reason}{}", place.unwrap_or_default()), now)?;
        self.limit_rows();
        Ok(())
    }
}
