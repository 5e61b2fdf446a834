//! The metrics of one transform. All of them have the labels `team` and `transform`.

mod guest;
mod reading;
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGaugeVec};

pub use self::guest::GuestMetrics;
pub use self::reading::Reading;
pub use self::stores::StoreMetrics;
use super::cpu_costs::CpuCosts;
use super::gauge_value;
use super::registrar::{Registrar, buckets, second_buckets};
use crate::model::codes::Code;
use crate::model::names::{TopicName, TransformId};
use crate::model::status::State;
use crate::telemetry::meter::Meter;

/// The metrics of a transform, over all of its revisions on this host.
pub struct TransformMetrics {
    id: TransformId,
    costs: Arc<CpuCosts>,
    pub guest: GuestMetrics,
    pub stores: StoreMetrics,
    pub dead_lettered: IntCounter,
    pub skipped: IntCounter,
    pub filtered: IntCounter,
    pub repeated: IntCounter,
    pub latency: Histogram,
    pub committed: IntCounter,
    pub commit_time: Histogram,
    pub rebalances: IntCounter,
    pub swap_pause: Histogram,
    records_in: IntCounterVec,
    bytes_in: IntCounterVec,
    records_out: IntCounterVec,
    bytes_out: IntCounterVec,
    failed: IntCounterVec,
    aborted: IntCounterVec,
    pauses: IntCounterVec,
    swaps: IntCounterVec,
    table_look_ups: IntCounterVec,
    lag: IntGaugeVec,
    worker_state: IntGaugeVec,
    quarantined: IntGaugeVec,
    failed_partitions: IntGaugeVec,
    /// The codes that have a gauge.
    failed_codes: Mutex<BTreeSet<Code>>,
    /// The counters of records by input and by output, which a [`Reading`] looks at.
    inputs: Mutex<BTreeMap<TopicName, IntCounter>>,
    outputs: Mutex<BTreeMap<TopicName, IntCounter>>,
}

/// Records and bytes of one topic.
pub struct TopicMetrics {
    pub records: IntCounter,
    pub bytes: IntCounter,
}

/// Failed records of a transform by their way, and dropped log lines of its guests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransformCounts {
    pub dead_lettered: u64,
    pub skipped: u64,
    pub lines_dropped: u64,
}

impl TransformMetrics {
    /// Registers the metrics. `r` has the transform's labels.
    pub(super) fn new(r: &Registrar, id: &TransformId, costs: Arc<CpuCosts>) -> Self {
        let topic = &["topic"];
        let latency = "Time from a record's timestamp to its commit (the oldest record of each batch)";
        let repeated = "Records of an at-least-once transform that are processed again, so their outputs may be repeated";
        let swap_pause =
            "Time of a swap without a guest call: from the old revision's last transaction to the new one's first call";
        let quarantined = "1 for a transform that stays off on this host, as the host died in its calls";
        let failed_partitions = "Partitions of this host that failed, by the code of their error";
        Self {
            id: id.clone(),
            costs,
            guest: GuestMetrics::new(r),
            stores: StoreMetrics::new(r),
            records_in: r.counters("sandbar_records_in_total", "Input records processed and committed", topic),
            records_out: r.counters("sandbar_records_out_total", "Output records committed, dead letters included", topic),
            bytes_in: r.counters("sandbar_bytes_in_total", "Bytes of keys and values of input records", topic),
            bytes_out: r.counters("sandbar_bytes_out_total", "Bytes of keys and values of output records", topic),
            failed: r.counters("sandbar_records_failed_total", "Records that failed for good, by reason", &["reason"]),
            dead_lettered: r.counter("sandbar_records_dead_lettered_total", "Failed records sent to the dead-letter topic"),
            skipped: r.counter("sandbar_records_skipped_total", "Failed records dropped (on_error: skip)"),
            filtered: r.counter("sandbar_records_filtered_total", "Records without output that did not fail"),
            repeated: r.counter("sandbar_records_repeated_total", repeated),
            latency: r.histogram("sandbar_end_to_end_latency_seconds", latency, second_buckets()),
            lag: r.gauges("sandbar_lag_records", "End of the partition minus committed offset", &["topic", "partition"]),
            committed: r.counter("sandbar_transactions_committed_total", "Transactions committed"),
            aborted: r.counters("sandbar_transactions_aborted_total", "Transactions aborted, by reason", &["reason"]),
            pauses: r.counters(
                "sandbar_partition_pauses_total",
                "Partitions that a worker stopped reading for a while, by reason",
                &["reason"],
            ),
            commit_time: r.histogram(
                "sandbar_transaction_commit_seconds",
                "Time of a commit, with the flush before it",
                second_buckets(),
            ),
            rebalances: r.counter("sandbar_rebalances_total", "Changes of a worker's partitions"),
            swaps: r.counters(
                "sandbar_swaps_total",
                "Revisions that a worker swapped in, by the result of their trial",
                &["result"],
            ),
            table_look_ups: r.counters(
                "sandbar_table_lookups_total",
                "Look-ups in a table: hit, or miss where it has no such key",
                &["table", "result"],
            ),
            swap_pause: r.histogram("sandbar_swap_pause_seconds", swap_pause, buckets(0.000_5, 1.6, 18)),
            worker_state: r.gauges("sandbar_worker_state", "1 for the state that the transform is in", &["state"]),
            quarantined: r.gauges("sandbar_quarantined", quarantined, &[]),
            failed_partitions: r.gauges("sandbar_partitions_failed", failed_partitions, &["code"]),
            failed_codes: Mutex::default(),
            inputs: Mutex::default(),
            outputs: Mutex::default(),
        }
    }

    /// Returns a meter for the CPU time of a worker, which begins with a revision.
    pub fn meter(&self, revision: u64) -> Arc<Meter> {
        self.costs.meter(&self.id, revision)
    }

    /// Returns the metrics of an input topic.
    pub fn input(&self, topic: &TopicName) -> TopicMetrics {
        let label = &[topic.as_str()];
        let records = self.records_in.with_label_values(label);
        self.inputs.lock().insert(topic.clone(), records.clone());
        TopicMetrics { records, bytes: self.bytes_in.with_label_values(label) }
    }

    /// Returns the metrics of a topic that is written.
    pub fn output(&self, topic: &TopicName) -> TopicMetrics {
        let label = &[topic.as_str()];
        let records = self.records_out.with_label_values(label);
        self.outputs.lock().insert(topic.clone(), records.clone());
        TopicMetrics { records, bytes: self.bytes_out.with_label_values(label) }
    }

    /// Returns the counter of a table's look-ups that were a `hit` or a `miss`.
    pub fn table_look_ups(&self, table: &str, result: &str) -> IntCounter {
        self.table_look_ups.with_label_values(&[table, result])
    }

    /// Counts a record that failed for good.
    pub fn failed(&self, reason: &str) {
        self.failed.with_label_values(&[reason]).inc();
    }

    /// Counts a transaction that was given up.
    pub fn aborted(&self, reason: &str) {
        self.aborted.with_label_values(&[reason]).inc();
    }

    /// Counts a partition that is not read on for a while.
    pub fn paused(&self, reason: &str) {
        self.pauses.with_label_values(&[reason]).inc();
    }

    /// Counts a trial that ended: `ok` or `refused`.
    pub fn swapped(&self, result: &str) {
        self.swaps.with_label_values(&[result]).inc();
    }

    /// Sets the lag of a partition; `None` takes the gauge away, since another host reports the partition now.
    pub fn lag(&self, topic: &str, partition: i32, records: Option<u64>) {
        set_or_remove(&self.lag, &[topic, &partition.to_string()], records);
    }

    /// Sets the gauge of the transform's state.
    pub fn state(&self, current: State) {
        for state in State::ALL {
            self.worker_state.with_label_values(&[state.as_str()]).set(i64::from(state == current));
        }
    }

    /// Sets the numbers of failed partitions by code. A code that none has any more has no gauge.
    pub fn failed_partitions(&self, counts: BTreeMap<Code, u64>) {
        let mut codes = self.failed_codes.lock();
        for gone in codes.iter().filter(|code| !counts.contains_key(code)) {
            set_or_remove(&self.failed_partitions, &[gone.as_str()], None);
        }
        for (code, count) in &counts {
            set_or_remove(&self.failed_partitions, &[code.as_str()], Some(*count));
        }
        *codes = counts.into_keys().collect();
    }

    /// Notes that a transform stays off on this host, or does not any more.
    pub fn quarantined(&self, is_quarantined: bool) {
        set_or_remove(&self.quarantined, &[], is_quarantined.then_some(1));
    }

    /// Returns the counts since the host started.
    pub fn counts(&self) -> TransformCounts {
        TransformCounts {
            dead_lettered: self.dead_lettered.get(),
            skipped: self.skipped.get(),
            lines_dropped: self.guest.log_lines_dropped.get(),
        }
    }

    /// Takes away the gauges of a transform that is not here any more, which would stand still. Its counters stay.
    pub fn clear_gauges(&self) {
        self.worker_state.reset();
        self.failed_partitions(BTreeMap::new());
        self.quarantined.reset();
        self.guest.clear_gauges();
        self.clear_partitions();
    }

    /// Takes away the gauges of all partitions, which a worker that panicked leaves behind.
    pub fn clear_partitions(&self) {
        self.lag.reset();
        self.stores.clear_gauges();
    }
}

/// Sets a gauge, or takes it away where there is no value.
fn set_or_remove(gauges: &IntGaugeVec, labels: &[&str], value: Option<u64>) {
    if let Some(value) = value {
        gauges.with_label_values(labels).set(gauge_value(value));
    } else {
        // An error says that the gauge is not there.
        let _ = gauges.remove_label_values(labels);
    }
}
