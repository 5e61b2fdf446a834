//! The metrics of a transform's guests.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGaugeVec};

use super::super::gauge_value;
use super::super::registrar::{Registrar, buckets};
use crate::model::log_entry::Level;

/// Calls of guests, their memory and their log lines.
pub struct GuestMetrics {
    pub batch_records: Histogram,
    pub call_time: Histogram,
    pub log_lines_dropped: IntCounter,
    log_lines: IntCounterVec,
    traps: IntCounterVec,
    memory: IntGaugeVec,
    memory_total: IntGaugeVec,
    memory_bytes: AtomicU64,
}

impl GuestMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let memory = "Memory of the transform's largest instance: linear memory, tables and its own size";
        let total = "Memory of all instances of the transform on this host";
        let dropped = "Log lines of guests that were dropped: over a rate, or no space in the queue";
        Self {
            batch_records: r.histogram("sandbar_batch_records", "Records per guest call", buckets(1.0, 2.0, 13)),
            // From 50 us, about the time of crossing to the guest and back, to 7 s, which is over every limit of a call.
            call_time: r.histogram("sandbar_guest_call_seconds", "Time of one guest call", buckets(0.000_05, 2.5, 14)),
            traps: r.counters("sandbar_guest_traps_total", "Guest calls that ended in a trap", &["kind"]),
            memory: r.gauges("sandbar_guest_memory_bytes", memory, &[]),
            memory_total: r.gauges("sandbar_transform_memory_bytes", total, &[]),
            memory_bytes: AtomicU64::new(0),
            log_lines: r.counters("sandbar_log_lines_total", "Log lines of guests", &["level"]),
            log_lines_dropped: r.counter("sandbar_log_lines_dropped_total", dropped),
        }
    }

    /// Counts a call that ended in a trap.
    pub fn trapped(&self, kind: &str) {
        self.traps.with_label_values(&[kind]).inc();
    }

    /// Sets the memory of the largest instance, and that of all.
    pub fn memory(&self, largest_bytes: u64, total_bytes: u64) {
        self.memory.with_label_values(&[] as &[&str]).set(gauge_value(largest_bytes));
        self.memory_total.with_label_values(&[] as &[&str]).set(gauge_value(total_bytes));
        self.memory_bytes.store(largest_bytes, Ordering::Relaxed);
    }

    /// Returns the memory of the largest instance.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Counts a log line that is within the rates.
    pub(in crate::telemetry) fn logged(&self, level: Level) {
        self.log_lines.with_label_values(&[level.as_str()]).inc();
    }

    pub(super) fn clear_gauges(&self) {
        self.memory.reset();
        self.memory_total.reset();
    }
}
