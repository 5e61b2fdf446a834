//! The metrics of exported telemetry.

use prometheus::{IntCounter, IntCounterVec};

use super::registrar::Registrar;

/// Spans and log lines on their way to an OpenTelemetry collector. Cloning shares them.
#[derive(Clone)]
pub struct OtlpMetrics {
    exported: IntCounterVec,
    failed: IntCounterVec,
    dropped: IntCounterVec,
}

/// The counters of one signal: `traces` or `logs`.
#[derive(Clone)]
pub struct SignalMetrics {
    pub exported: IntCounter,
    pub failed: IntCounter,
    pub dropped: IntCounter,
}

impl OtlpMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let counters = |name, help| r.counters(name, help, &["signal"]);
        Self {
            exported: counters("sandbar_otlp_exported_total", "Spans and log lines that the collector took"),
            failed: counters(
                "sandbar_otlp_failed_total",
                "Spans and log lines that were lost because the collector took none",
            ),
            dropped: counters("sandbar_otlp_dropped_total", "Spans and log lines for which the queue had no room"),
        }
    }

    pub fn of(&self, signal: &str) -> SignalMetrics {
        let of = |counters: &IntCounterVec| counters.with_label_values(&[signal]);
        SignalMetrics { exported: of(&self.exported), failed: of(&self.failed), dropped: of(&self.dropped) }
    }
}
