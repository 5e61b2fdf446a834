//! The log of a transform's guests: lines within the rates go to the host's own log and to the transform log.

use std::sync::Arc;
use std::time::Instant;

use super::metrics::TransformMetrics;
use super::rate::{Allowance, Rate};
use super::transform_log::TransformLog;
use crate::model::log_entry::Level;
use crate::model::names::TransformId;
use crate::model::text;

/// The target of guests' lines in the host's own log. They are held to their own rates before.
pub const GUEST: &str = "guest";
/// The target of those that the guest logs as errors. A filter for [`GUEST`] holds for it too.
pub const GUEST_ERROR: &str = "guest::error";
/// Bytes that a log line counts beside its text.
const LINE_BYTES: usize = 64;

/// Takes the lines of a transform's guests. Cloning shares the allowance.
#[derive(Clone)]
pub struct GuestLog {
    id: TransformId,
    allowance: Arc<Allowance>,
    metrics: Option<Arc<TransformMetrics>>,
    queue: Option<TransformLog>,
}

impl GuestLog {
    pub(super) fn new(
        id: TransformId,
        allowance: Arc<Allowance>,
        metrics: Arc<TransformMetrics>,
        queue: Option<TransformLog>,
    ) -> Self {
        Self { id, allowance, metrics: Some(metrics), queue }
    }

    /// The log of a dry run: its lines go to the host's own log alone, and count for no team.
    pub fn of_dry_run(id: TransformId, allowance: Arc<Allowance>) -> Self {
        Self { id, allowance, metrics: None, queue: None }
    }

    /// Writes a line of a revision's guest, or drops and counts it where the transform (which may have `rate`) or its team
    /// is over its rate.
    pub fn write(&self, revision: u64, rate: Rate, level: Level, line: &str) {
        // As many bytes as the line has where its control characters are escaped, which is how it is written. The host's
        // clock counts: that of the batch stands still within a call, and in `init`.
        let bytes = text::one_line(line).len() + LINE_BYTES;
        if !self.allowance.take(rate, bytes, Instant::now()) {
            self.count_dropped();
            return;
        }
        self.write_to_host(revision, level, line);
        self.metrics.iter().for_each(|metrics| metrics.guest.logged(level));
        if let Some(queue) = &self.queue
            && !queue.log(&self.id, revision, level, line)
        {
            self.count_dropped();
        }
    }

    /// Writes to the host's own log. A guest's error is its team's matter: on the host's scale it is a warning.
    fn write_to_host(&self, revision: u64, level: Level, line: &str) {
        let id = &self.id;
        match level {
            Level::Debug => tracing::debug!(target: GUEST, transform = %id, revision, "{line}"),
            Level::Info => tracing::info!(target: GUEST, transform = %id, revision, "{line}"),
            Level::Warn => tracing::warn!(target: GUEST, transform = %id, revision, level = level.as_str(), "{line}"),
            Level::Error => tracing::warn!(target: GUEST_ERROR, transform = %id, revision, level = level.as_str(), "{line}"),
        }
    }

    fn count_dropped(&self) {
        self.metrics.iter().for_each(|metrics| metrics.guest.log_lines_dropped.inc());
    }
}
