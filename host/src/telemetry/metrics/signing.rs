//! The metrics of the signatures of modules.

use prometheus::IntCounterVec;

use super::registrar::Registrar;

/// The place where a module was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedAt {
    /// A deployment, a dry run or an upload.
    Request,
    /// The start of a transform.
    Start,
    /// A transform that ran when its key was removed.
    Run,
}

/// Modules that were refused because of their signature. Cloning shares them.
#[derive(Clone)]
pub struct SigningMetrics {
    refused: IntCounterVec,
}

impl SigningMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let refused = "Modules that were refused because of their signature, by place: request, start, run";
        Self { refused: r.counters("sandbar_signatures_refused_total", refused, &["at"]) }
    }

    pub fn refused(&self, at: RefusedAt) {
        let at = match at {
            RefusedAt::Request => "request",
            RefusedAt::Start => "start",
            RefusedAt::Run => "run",
        };
        self.refused.with_label_values(&[at]).inc();
    }
}
