//! The metrics of the catalog.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::gauge_value;
use super::registrar::{Registrar, second_buckets};

/// Changes of the catalog, and the modules in the log. Cloning shares them.
#[derive(Clone)]
pub struct CatalogMetrics {
    changes: IntCounterVec,
    change_time: Histogram,
    waiting: IntGauge,
    turns_repeated: IntCounterVec,
    modules_stored: IntGauge,
    modules_stored_bytes: IntGauge,
    pub modules_collected: IntCounter,
}

impl CatalogMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let repeated = "Repeated attempts to write the catalog, by reason";
        let collected = "Modules deleted from the log because no transform used them";
        let change_time = "Time of a change, with the wait for other changes";
        Self {
            changes: r.counters("sandbar_catalog_changes_total", "Changes of transforms, by outcome", &["outcome"]),
            change_time: r.histogram("sandbar_catalog_change_seconds", change_time, second_buckets()),
            waiting: r.gauge("sandbar_catalog_changes_waiting", "Changes that wait for this host's turn"),
            turns_repeated: r.counters("sandbar_catalog_turns_repeated_total", repeated, &["reason"]),
            modules_stored: r.gauge("sandbar_modules_stored", "Modules in the log"),
            modules_stored_bytes: r.gauge("sandbar_modules_stored_bytes", "Bytes of the modules in the log"),
            modules_collected: r.counter("sandbar_modules_collected_total", collected),
        }
    }

    /// Counts a change that has ended.
    pub fn changed(&self, outcome: &'static str, took: Duration) {
        self.changes.with_label_values(&[outcome]).inc();
        self.change_time.observe(took.as_secs_f64());
    }

    /// Sets the changes that wait for a turn.
    pub fn changes_waiting(&self, count: usize) {
        self.waiting.set(gauge_value(count as u64));
    }

    /// Counts a turn at writing that has to be taken again.
    pub fn turn_repeated(&self, reason: &'static str) {
        self.turns_repeated.with_label_values(&[reason]).inc();
    }

    /// Sets the modules that the log holds now.
    pub fn modules_stored(&self, count: usize, bytes: u64) {
        self.modules_stored.set(gauge_value(count as u64));
        self.modules_stored_bytes.set(gauge_value(bytes));
    }
}
