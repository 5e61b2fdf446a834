//! The metrics of redaction.

use prometheus::IntCounterVec;

use super::registrar::Registrar;

/// Content that was masked in answers. Cloning shares them.
#[derive(Clone)]
pub struct RedactionMetrics {
    redacted: IntCounterVec,
    masked_whole: IntCounterVec,
}

impl RedactionMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let redacted = "Samples, results of dry runs, log lines, errors and entries of stores that were shown masked, or not \
            at all";
        let masked_whole = "Keys and values that were masked whole since the paths of their rule could not be looked for";
        Self {
            redacted: r.counters("sandbar_redacted_total", redacted, &["way"]),
            masked_whole: r.counters("sandbar_redaction_whole_total", masked_whole, &["reason"]),
        }
    }

    /// Counts content that is shown masked, by the way on which it is shown.
    pub fn redacted(&self, way: &str) {
        self.redacted.with_label_values(&[way]).inc();
    }

    /// Counts a key or value whose paths could not be looked for.
    pub fn masked_whole(&self, reason: &str) {
        self.masked_whole.with_label_values(&[reason]).inc();
    }
}
