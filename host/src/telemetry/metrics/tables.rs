//! The metrics of tables.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::gauge_value;
use super::registrar::Registrar;
use crate::model::names::{TeamName, TopicName};

/// Sizes of tables and how far behind they are. Cloning shares them.
#[derive(Clone)]
pub struct TableMetrics {
    entries: IntGaugeVec,
    bytes: IntGaugeVec,
    lag: IntGaugeVec,
    stale: IntGaugeVec,
    failures: IntCounterVec,
    memory: IntGauge,
}

/// The metrics of one table. When it is dropped, its gauges end. The failures stay: a table that cannot be read is dropped
/// after each attempt.
pub struct TableMeter {
    all: TableMetrics,
    topic: String,
    /// The team with whose rights the table is read, or `-`.
    team: String,
}

impl TableMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let labels = &["topic", "team"];
        let bytes = "Memory of a table on this host (limit: --table-bytes-max)";
        Self {
            entries: r.gauges("sandbar_table_entries", "Entries of a table on this host", labels),
            bytes: r.gauges("sandbar_table_bytes", bytes, labels),
            lag: r.gauges("sandbar_table_lag_records", "Records of the topic that a table has not read yet", labels),
            stale: r.gauges("sandbar_table_stale_seconds", "Time since a table last followed its topic", labels),
            failures: r.counters("sandbar_table_failures_total", "Reads of a table that failed", labels),
            memory: r.gauge("sandbar_table_memory_bytes", "Memory of all tables on this host (limit: --table-memory-max)"),
        }
    }

    /// Sets the memory of all tables.
    pub fn memory(&self, bytes: usize) {
        self.memory.set(gauge_value(bytes as u64));
    }

    pub fn table(&self, topic: &TopicName, team: Option<&TeamName>) -> TableMeter {
        let team = team.map_or("-", |team| team.as_str()).to_owned();
        TableMeter { all: self.clone(), topic: topic.to_string(), team }
    }
}

impl TableMeter {
    fn labels(&self) -> [&str; 2] {
        [&self.topic, &self.team]
    }

    pub fn update(&self, entries: usize, bytes: usize, lag: u64) {
        let values = [entries as u64, bytes as u64, lag];
        for (gauges, value) in [&self.all.entries, &self.all.bytes, &self.all.lag].into_iter().zip(values) {
            gauges.with_label_values(&self.labels()).set(gauge_value(value));
        }
    }

    /// Sets the time since the table last followed its topic.
    pub fn stale(&self, age: Duration) {
        self.all.stale.with_label_values(&self.labels()).set(gauge_value(age.as_secs()));
    }

    /// Counts a read that broke off.
    pub fn failed(&self) {
        self.all.failures.with_label_values(&self.labels()).inc();
    }
}

impl Drop for TableMeter {
    fn drop(&mut self) {
        for gauges in [&self.all.entries, &self.all.bytes, &self.all.lag, &self.all.stale] {
            // An error says that the gauge is not there.
            let _ = gauges.remove_label_values(&self.labels());
        }
    }
}
