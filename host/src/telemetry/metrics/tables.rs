//! The metrics of tables.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec};

use super::gauge_value;
use super::registrar::Registrar;

/// Sizes of tables and how far behind they are. Cloning shares them.
#[derive(Clone)]
pub struct TableMetrics {
    entries: IntGaugeVec,
    bytes: IntGaugeVec,
    lag: IntGaugeVec,
    stale: IntGaugeVec,
    failures: IntCounterVec,
}

impl TableMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let topic = &["topic"];
        let bytes = "Memory of a table on this host (limit: --table-bytes-max)";
        Self {
            entries: r.gauges("sandbar_table_entries", "Entries of a table on this host", topic),
            bytes: r.gauges("sandbar_table_bytes", bytes, topic),
            lag: r.gauges("sandbar_table_lag_records", "Records of the topic that a table has not read yet", topic),
            stale: r.gauges("sandbar_table_stale_seconds", "Time since a table last followed its topic", topic),
            failures: r.counters("sandbar_table_failures_total", "Reads of a table that failed", topic),
        }
    }

    pub fn update(&self, topic: &str, entries: usize, bytes: usize, lag: u64) {
        let label = &[topic];
        self.entries.with_label_values(label).set(gauge_value(entries as u64));
        self.bytes.with_label_values(label).set(gauge_value(bytes as u64));
        self.lag.with_label_values(label).set(gauge_value(lag));
    }

    /// Sets the time since the table last followed its topic.
    pub fn stale(&self, topic: &str, age: Duration) {
        self.stale.with_label_values(&[topic]).set(gauge_value(age.as_secs()));
    }

    /// Counts a read that broke off.
    pub fn failed(&self, topic: &str) {
        self.failures.with_label_values(&[topic]).inc();
    }

    /// Takes away the metrics of a table that nobody uses any more.
    pub fn forget(&self, topic: &str) {
        // An error says that the metric is not there.
        let _ = self.failures.remove_label_values(&[topic]);
        for gauges in [&self.entries, &self.bytes, &self.lag, &self.stale] {
            let _ = gauges.remove_label_values(&[topic]);
        }
    }
}
