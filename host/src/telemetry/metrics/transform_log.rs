//! The metrics of the queue through which log lines, events and samples go.

use prometheus::{IntCounter, IntCounterVec};

use super::registrar::Registrar;
use crate::telemetry::transform_log::EntryKind;

/// Entries of the transform log. Cloning shares them. Their names say "journal" since 0.1, and names stay.
#[derive(Clone)]
pub struct TransformLogMetrics {
    written: IntCounterVec,
    dropped: IntCounterVec,
}

impl TransformLogMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let written = "Entries written to the topics of logs and samples";
        let dropped = "Entries dropped because the queue had no space or the log refused them";
        Self {
            written: r.counters("sandbar_journal_entries_total", written, &["kind"]),
            dropped: r.counters("sandbar_journal_dropped_total", dropped, &["kind"]),
        }
    }

    /// Counts entries that were written.
    pub fn written(&self, kind: EntryKind, count: usize) {
        self.written.with_label_values(&[kind.as_str()]).inc_by(count as u64);
    }

    /// Returns the counter of dropped entries of a kind.
    pub fn dropped(&self, kind: EntryKind) -> IntCounter {
        self.dropped.with_label_values(&[kind.as_str()])
    }
}
