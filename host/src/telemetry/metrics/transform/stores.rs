//! The metrics of a transform's stores.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGaugeVec};

use super::super::registrar::{Registrar, second_buckets};
use super::set_or_remove;

/// Sizes of stores and their restores.
pub struct StoreMetrics {
    entries: IntGaugeVec,
    bytes: IntGaugeVec,
    restored: IntCounter,
    restore_time: Histogram,
    restore_left: IntGaugeVec,
    wiped: IntCounterVec,
    /// Entries that expired and were deleted, in committed transactions.
    pub expired: IntCounter,
}

impl StoreMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let labels = &["store", "partition"];
        let entries = "Entries of one partition of a store, as of its last commit";
        let bytes = "Bytes of keys and values of one partition of a store (limit: state.NAME.max_bytes)";
        let restore_time = "Time to restore one partition of a store";
        let restore_left = "Changelog records that a partition's restore still has to read";
        Self {
            entries: r.gauges("sandbar_store_entries", entries, labels),
            bytes: r.gauges("sandbar_store_bytes", bytes, labels),
            restored: r.counter("sandbar_restored_records_total", "Records read from changelogs"),
            restore_time: r.histogram("sandbar_restore_seconds", restore_time, second_buckets()),
            restore_left: r.gauges("sandbar_restore_left_records", restore_left, &["partition"]),
            wiped: r.counters(
                "sandbar_stores_wiped_total",
                "Local stores that were deleted and restored, by reason",
                &["reason"],
            ),
            expired: r.counter("sandbar_store_entries_expired_total", "Entries that were deleted at the end of their ttl"),
        }
    }

    /// Counts a partition of a store that was brought up to date. `wiped` is the reason for which its local copy was
    /// thrown away.
    pub fn restored(&self, records: u64, took: Duration, wiped: Option<&str>) {
        self.restored.inc_by(records);
        self.restore_time.observe(took.as_secs_f64());
        if let Some(reason) = wiped {
            self.wiped.with_label_values(&[reason]).inc();
        }
    }

    /// Sets the entries and bytes of a partition of a store; `None` takes the gauges away, since the partition is not here
    /// any more.
    pub fn size(&self, store: &str, partition: i32, size: Option<(u64, u64)>) {
        let labels = [store, &partition.to_string()];
        set_or_remove(&self.entries, &labels, size.map(|(entries, _)| entries));
        set_or_remove(&self.bytes, &labels, size.map(|(_, bytes)| bytes));
    }

    /// Sets the rest of a partition's restore; `None` takes the gauge away.
    pub fn restore_left(&self, partition: i32, records: Option<u64>) {
        set_or_remove(&self.restore_left, &[&partition.to_string()], records);
    }

    pub(super) fn clear_gauges(&self) {
        self.entries.reset();
        self.bytes.reset();
        self.restore_left.reset();
    }
}
