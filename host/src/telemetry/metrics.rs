//! Every metric of the host. The one place where names, labels and buckets are decided.
//!
//! Labels are bounded: `team` and `transform` by the deployments, `topic` and `partition` by their inputs and outputs;
//! nothing that a record or a client says becomes a label. docs/metrics.md is checked against this file.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::rate::{Allowance, Rate, Rates};
use super::transform_log::{Kind, Sampling, TransformLog};
use crate::model::codes::Code;
use crate::model::journal::{Level, Sample};
use crate::model::names::{TopicName, TransformId};
use crate::model::status::State;

const TRANSFORM: [&str; 2] = ["team", "transform"];
/// Log lines of all guests of a team on a host, by default.
pub const TEAM_LOG_RATE: Rate = Rate { lines: 1000, bytes: 256 * 1024 };

/// Lines of the host's own log that were dropped. The log is the process's, and so is their count.
pub(super) static HOST_LINES_DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Lines of the host's own log that were dropped: too many of one transform, team or kind";
    IntCounter::new("sandbar_host_log_lines_dropped_total", help).expect("a valid name")
});

/// The host's metrics. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    records_in: IntCounterVec,
    records_out: IntCounterVec,
    bytes_in: IntCounterVec,
    bytes_out: IntCounterVec,
    failed: IntCounterVec,
    dead_lettered: IntCounterVec,
    skipped: IntCounterVec,
    filtered: IntCounterVec,
    batch_records: HistogramVec,
    guest_call: HistogramVec,
    guest_traps: IntCounterVec,
    guest_memory: IntGaugeVec,
    latency: HistogramVec,
    lag: IntGaugeVec,
    committed: IntCounterVec,
    aborted: IntCounterVec,
    commit_time: HistogramVec,
    rebalances: IntCounterVec,
    repeated: IntCounterVec,
    swaps: IntCounterVec,
    swap_pause: HistogramVec,
    worker_state: IntGaugeVec,
    quarantined: IntGaugeVec,
    store_entries: IntGaugeVec,
    store_bytes: IntGaugeVec,
    restored: IntCounterVec,
    restore_time: HistogramVec,
    restore_left: IntGaugeVec,
    stores_wiped: IntCounterVec,
    table_entries: IntGaugeVec,
    table_bytes: IntGaugeVec,
    table_lag: IntGaugeVec,
    table_failures: IntCounterVec,
    compiled_kept: IntGauge,
    address_space: IntGauge,
    log_lines: IntCounterVec,
    log_dropped: IntCounterVec,
    compiled: IntCounterVec,
    compilers_running: IntGauge,
    compiles_waiting: IntGaugeVec,
    compile_time: Histogram,
    catalog_changes: IntCounterVec,
    catalog_turns_repeated: IntCounterVec,
    catalog_change_time: Histogram,
    modules_stored: IntGauge,
    modules_stored_bytes: IntGauge,
    modules_collected: IntCounter,
    store_copies_removed: IntCounter,
    journal_entries: IntCounterVec,
    journal_dropped: IntCounterVec,
    http_requests: IntCounterVec,
    http_time: HistogramVec,
    http: HttpMetrics,
    cpu: GaugeVec,
    memory: IntGauge,
    /// Allowances of guests, and the one of all guests that are only tried.
    rates: Rates,
    tried: Arc<Allowance>,
    /// Where guests' log lines and samples go; none in tests that look at neither.
    journal: Option<TransformLog>,
}

/// The HTTP server's handles. Cloning shares them.
#[derive(Clone)]
pub struct HttpMetrics {
    pub connections: IntGauge,
    pub body_bytes: IntGauge,
    pub answer_bytes: IntGauge,
    connections_refused: IntCounterVec,
    connections_closed: IntCounterVec,
    requests_refused: IntCounterVec,
}

/// One transform's handles, looked up once.
pub struct TransformMetrics {
    pub inputs: Vec<TopicCounters>,
    pub outputs: Vec<TopicCounters>,
    pub dead_lettered: IntCounter,
    pub skipped: IntCounter,
    pub filtered: IntCounter,
    pub batch_records: Histogram,
    pub guest_call: Histogram,
    pub guest_memory: IntGauge,
    pub latency: Histogram,
    pub committed: IntCounter,
    pub commit_time: Histogram,
    pub rebalances: IntCounter,
    pub repeated: IntCounter,
    pub swap_pause: Histogram,
    pub log_dropped: IntCounter,
    /// Log lines that its guests may write.
    pub allowance: Arc<Allowance>,
    /// The switch of its samples.
    pub sampling: Arc<Sampling>,
    id: TransformId,
    all: Metrics,
}

/// Failed records of a transform, by their way (dead-lettered, skipped), and log lines of its guests that were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub dead_lettered: u64,
    pub skipped: u64,
    pub lines_dropped: u64,
}

/// Records and bytes of one topic.
pub struct TopicCounters {
    pub records: IntCounter,
    pub bytes: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        let r = &registry;
        let topic = ["team", "transform", "topic"];
        let call_seconds = || prometheus::exponential_buckets(0.000_05, 2.5, 14).expect("constant");
        let seconds = || prometheus::exponential_buckets(0.002, 2.0, 14).expect("constant");
        let rates = Rates::new(TEAM_LOG_RATE, 1);
        let metrics = Self {
            records_in: counters(r, "sandbar_records_in_total", "Input records processed and committed", &topic),
            records_out: counters(r, "sandbar_records_out_total", "Output records committed, dead letters too", &topic),
            bytes_in: counters(r, "sandbar_bytes_in_total", "Bytes of keys and values of input records", &topic),
            bytes_out: counters(r, "sandbar_bytes_out_total", "Bytes of keys and values of output records", &topic),
            failed: counters(
                r,
                "sandbar_records_failed_total",
                "Records that failed for good, by reason",
                &["team", "transform", "reason"],
            ),
            dead_lettered: counters(
                r,
                "sandbar_records_dead_lettered_total",
                "Failed records sent to the dead-letter topic",
                &TRANSFORM,
            ),
            skipped: counters(r, "sandbar_records_skipped_total", "Failed records dropped (on_error: skip)", &TRANSFORM),
            filtered: counters(
                r,
                "sandbar_records_filtered_total",
                "Records that became no output and did not fail",
                &TRANSFORM,
            ),
            batch_records: histograms(
                r,
                "sandbar_batch_records",
                "Records per guest call",
                &TRANSFORM,
                prometheus::exponential_buckets(1.0, 2.0, 13).expect("constant"),
            ),
            guest_call: histograms(r, "sandbar_guest_call_seconds", "Time of one guest call", &TRANSFORM, call_seconds()),
            guest_traps: counters(
                r,
                "sandbar_guest_traps_total",
                "Guest calls that ended in a trap",
                &["team", "transform", "kind"],
            ),
            guest_memory: gauges(
                r,
                "sandbar_guest_memory_bytes",
                "Memory of the transform's largest instance: linear memory, tables, its own size",
                &TRANSFORM,
            ),
            latency: histograms(
                r,
                "sandbar_end_to_end_latency_seconds",
                "From a record's timestamp to the commit of what became of it (the oldest record of each batch)",
                &TRANSFORM,
                seconds(),
            ),
            lag: gauges(
                r,
                "sandbar_lag_records",
                "Records behind the end of the partition",
                &["team", "transform", "topic", "partition"],
            ),
            committed: counters(r, "sandbar_transactions_committed_total", "Transactions committed", &TRANSFORM),
            aborted: counters(
                r,
                "sandbar_transactions_aborted_total",
                "Transactions given up",
                &["team", "transform", "reason"],
            ),
            commit_time: histograms(
                r,
                "sandbar_transaction_commit_seconds",
                "Time of a commit, flush included",
                &TRANSFORM,
                seconds(),
            ),
            rebalances: counters(r, "sandbar_rebalances_total", "Changes of a worker's partitions", &TRANSFORM),
            repeated: counters(
                r,
                "sandbar_records_repeated_total",
                "Records of an at-least-once transform that are processed again, whose output may be there twice",
                &TRANSFORM,
            ),
            swaps: counters(
                r,
                "sandbar_swaps_total",
                "Revisions that a worker swapped in, by how their trial ended",
                &["team", "transform", "result"],
            ),
            swap_pause: histograms(
                r,
                "sandbar_swap_pause_seconds",
                "Without a guest call: from the order to swap, over the last commit of the old revision, to the new one's turn",
                &TRANSFORM,
                prometheus::exponential_buckets(0.000_5, 1.6, 18).expect("constant"),
            ),
            worker_state: gauges(
                r,
                "sandbar_worker_state",
                "1 for the state that the transform is in",
                &["team", "transform", "state"],
            ),
            quarantined: gauges(
                r,
                "sandbar_quarantined",
                "1 for a transform that stays off on this host, as the host died in its calls",
                &TRANSFORM,
            ),
            store_entries: gauges(
                r,
                "sandbar_store_entries",
                "Entries of one partition of a store, as of its last commit",
                &["team", "transform", "store", "partition"],
            ),
            store_bytes: gauges(
                r,
                "sandbar_store_bytes",
                "Bytes of keys and values of one partition of a store (limit: state.NAME.max_bytes)",
                &["team", "transform", "store", "partition"],
            ),
            restored: counters(r, "sandbar_restored_records_total", "Records read from changelogs", &TRANSFORM),
            restore_time: histograms(
                r,
                "sandbar_restore_seconds",
                "Time to bring one partition of a store up to date",
                &TRANSFORM,
                seconds(),
            ),
            restore_left: gauges(
                r,
                "sandbar_restore_left_records",
                "Places of changelogs that a partition's restore has still to read",
                &["team", "transform", "partition"],
            ),
            stores_wiped: counters(
                r,
                "sandbar_stores_wiped_total",
                "Local stores that were begun anew, by reason",
                &["team", "transform", "reason"],
            ),
            table_entries: gauges(r, "sandbar_table_entries", "Entries of a table on this host", &["topic"]),
            table_bytes: gauges(
                r,
                "sandbar_table_bytes",
                "Memory of a table on this host (limit: --table-bytes-max)",
                &["topic"],
            ),
            address_space: registered(
                r,
                IntGauge::new(
                    "sandbar_guest_address_space_bytes",
                    "Address space that the instances of all transforms reserve (limit: --guest-address-space-max)",
                ),
            ),
            compiled_kept: registered(
                r,
                IntGauge::new("sandbar_compiled_modules_bytes", "Compiled modules that are kept in memory"),
            ),
            table_failures: counters(r, "sandbar_table_failures_total", "Reads of a table that broke off", &["topic"]),
            table_lag: gauges(r, "sandbar_table_lag_records", "Records that a table has not taken in yet", &["topic"]),
            log_lines: counters(r, "sandbar_log_lines_total", "Log lines of guests", &["team", "transform", "level"]),
            log_dropped: counters(
                r,
                "sandbar_log_lines_dropped_total",
                "Log lines of guests that were dropped: over a rate, or no room in the queue",
                &TRANSFORM,
            ),
            compiled: counters(r, "sandbar_modules_compiled_total", "Modules compiled, by result", &["result"]),
            compilers_running: registered(
                r,
                IntGauge::new("sandbar_compilers_running", "Modules being compiled (limit: --compilers-max)"),
            ),
            compiles_waiting: gauges(r, "sandbar_compiles_waiting", "Threads that wait for a turn to compile", &["queue"]),
            compile_time: registered(
                r,
                Histogram::with_opts(
                    HistogramOpts::new("sandbar_module_compile_seconds", "Time to compile a module")
                        .buckets(prometheus::exponential_buckets(0.05, 2.0, 11).expect("constant")),
                ),
            ),
            catalog_changes: counters(r, "sandbar_catalog_changes_total", "Changes of transforms, by outcome", &["outcome"]),
            catalog_turns_repeated: counters(
                r,
                "sandbar_catalog_turns_repeated_total",
                "Turns at writing the catalog that had to be taken again, by reason",
                &["reason"],
            ),
            catalog_change_time: registered(
                r,
                Histogram::with_opts(
                    HistogramOpts::new("sandbar_catalog_change_seconds", "Time of a change, waiting for its turn included")
                        .buckets(seconds()),
                ),
            ),
            modules_stored: registered(r, IntGauge::new("sandbar_modules_stored", "Modules in the log")),
            modules_stored_bytes: registered(
                r,
                IntGauge::new("sandbar_modules_stored_bytes", "Bytes of the modules in the log"),
            ),
            modules_collected: registered(
                r,
                IntCounter::new(
                    "sandbar_modules_collected_total",
                    "Modules that nobody used any more, deleted from the log",
                ),
            ),
            store_copies_removed: registered(
                r,
                IntCounter::new(
                    "sandbar_store_copies_removed_total",
                    "Local copies of store partitions that no worker used any more, removed",
                ),
            ),
            journal_entries: counters(
                r,
                "sandbar_journal_entries_total",
                "Entries written to the control topics of logs and samples",
                &["kind"],
            ),
            journal_dropped: counters(
                r,
                "sandbar_journal_dropped_total",
                "Entries that found no room in the queue, or that the log did not take",
                &["kind"],
            ),
            http_requests: counters(r, "sandbar_http_requests_total", "API requests", &["method", "route", "status"]),
            http_time: histograms(
                r,
                "sandbar_http_request_seconds",
                "Time of an API request",
                &["method", "route"],
                seconds(),
            ),
            http: HttpMetrics::new(r),
            cpu: registered(r, GaugeVec::new(Opts::new("process_cpu_seconds_total", "CPU time of the process"), &[])),
            memory: registered(r, IntGauge::new("process_resident_memory_bytes", "Resident memory of the process")),
            tried: rates.apart(),
            rates,
            journal: None,
            registry,
        };
        registered(&metrics.registry, Ok(HOST_LINES_DROPPED.clone()));
        let build = gauges(&metrics.registry, "sandbar_build_info", "Always 1", &["version", "revision", "rustc"]);
        let (version, revision) = (env!("CARGO_PKG_VERSION"), option_env!("SANDBAR_REVISION").unwrap_or("unknown"));
        build.with_label_values(&[version, revision, option_env!("SANDBAR_RUSTC").unwrap_or("unknown")]).set(1);
        metrics
    }

    /// Sets how much all guests of a team may log together.
    pub fn with_team_log_rate(self, rate: Rate) -> Self {
        let rates = Rates::new(rate, 1);
        Self { tried: rates.apart(), rates, ..self }
    }

    /// Adds a journal for the lines, events and samples of transforms.
    pub fn with_journal(self, journal: TransformLog) -> Self {
        Self { journal: Some(journal), ..self }
    }

    /// The handles of a transform. `outputs` are the topics in the order of `task::Settings::outputs`.
    pub fn transform(&self, id: &TransformId, inputs: &[TopicName], outputs: &[TopicName]) -> Arc<TransformMetrics> {
        let labels = [id.team.as_str(), id.name.as_str()];
        let topics = |records: &IntCounterVec, bytes: &IntCounterVec, topics: &[TopicName]| {
            let counters = topics.iter().map(|topic| {
                let labels = [labels[0], labels[1], topic.as_str()];
                TopicCounters { records: records.with_label_values(&labels), bytes: bytes.with_label_values(&labels) }
            });
            counters.collect()
        };
        Arc::new(TransformMetrics {
            inputs: topics(&self.records_in, &self.bytes_in, inputs),
            outputs: topics(&self.records_out, &self.bytes_out, outputs),
            dead_lettered: self.dead_lettered.with_label_values(&labels),
            skipped: self.skipped.with_label_values(&labels),
            filtered: self.filtered.with_label_values(&labels),
            batch_records: self.batch_records.with_label_values(&labels),
            guest_call: self.guest_call.with_label_values(&labels),
            guest_memory: self.guest_memory.with_label_values(&labels),
            latency: self.latency.with_label_values(&labels),
            committed: self.committed.with_label_values(&labels),
            commit_time: self.commit_time.with_label_values(&labels),
            rebalances: self.rebalances.with_label_values(&labels),
            repeated: self.repeated.with_label_values(&labels),
            swap_pause: self.swap_pause.with_label_values(&labels),
            log_dropped: self.log_dropped.with_label_values(&labels),
            allowance: self.rates.of(id),
            sampling: self.journal.as_ref().map_or_else(Arc::default, |journal| journal.sampling(id)),
            id: id.clone(),
            all: self.clone(),
        })
    }

    /// Forgets a deleted transform's gauges, so that they do not stand still for ever.
    pub fn forget(&self, id: &TransformId) {
        for state in State::ALL {
            let _ = self.worker_state.remove_label_values(&[id.team.as_str(), id.name.as_str(), state.as_str()]);
        }
        let _ = self.guest_memory.remove_label_values(&[id.team.as_str(), id.name.as_str()]);
        let _ = self.quarantined.remove_label_values(&[id.team.as_str(), id.name.as_str()]);
    }

    pub fn compiled(&self, result: &'static str, took: Duration) {
        self.compiled.with_label_values(&[result]).inc();
        self.compile_time.observe(took.as_secs_f64());
    }

    /// A module was asked for, and neither compiled nor loaded.
    pub fn not_compiled(&self, result: &'static str) {
        self.compiled.with_label_values(&[result]).inc();
    }

    pub fn compilers_running(&self, count: usize) {
        self.compilers_running.set(count as i64);
    }

    pub fn compiles_waiting(&self, queue: &str, count: usize) {
        self.compiles_waiting.with_label_values(&[queue]).set(count as i64);
    }

    /// Instances of all transforms reserve so much address space now.
    pub fn address_space_taken(&self, bytes: u64) {
        self.address_space.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Compiled modules in memory.
    pub fn compiled_kept(&self, bytes: u64) {
        self.compiled_kept.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A change of the catalog has ended.
    pub fn catalog_change(&self, outcome: &'static str, took: Duration) {
        self.catalog_changes.with_label_values(&[outcome]).inc();
        self.catalog_change_time.observe(took.as_secs_f64());
    }

    /// A turn at writing the catalog has to be taken again.
    pub fn catalog_turn_repeated(&self, reason: &'static str) {
        self.catalog_turns_repeated.with_label_values(&[reason]).inc();
    }

    /// The allowance of guests that are only tried: no team pays for them.
    pub fn tried(&self) -> Arc<Allowance> {
        self.tried.clone()
    }

    /// Counts of a transform since the host started.
    pub fn counts(&self, id: &TransformId) -> Counts {
        let labels = [id.team.as_str(), id.name.as_str()];
        let count = |counters: &IntCounterVec| counters.with_label_values(&labels).get();
        Counts {
            dead_lettered: count(&self.dead_lettered),
            skipped: count(&self.skipped),
            lines_dropped: count(&self.log_dropped),
        }
    }

    /// The modules that the log holds now.
    pub fn modules_stored(&self, count: usize, bytes: u64) {
        self.modules_stored.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.modules_stored_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub fn modules_collected(&self, count: usize) {
        self.modules_collected.inc_by(count as u64);
    }

    pub fn store_copies_removed(&self, count: usize) {
        self.store_copies_removed.inc_by(count as u64);
    }

    /// Counts entries of the journal that were written.
    pub fn journal_entries(&self, kind: Kind, count: usize) {
        self.journal_entries.with_label_values(&[kind.as_str()]).inc_by(count as u64);
    }

    pub fn journal_dropped(&self, kind: Kind) -> IntCounter {
        self.journal_dropped.with_label_values(&[kind.as_str()])
    }

    pub fn http(&self, method: &str, route: &str, status: u16, seconds: f64) {
        self.http_requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.http_time.with_label_values(&[method, route]).observe(seconds);
    }

    /// Gives the handles of the HTTP server.
    pub fn connections(&self) -> HttpMetrics {
        self.http.clone()
    }

    pub fn table(&self, topic: &str, entries: usize, bytes: usize, behind: u64) {
        let gauge = |gauges: &IntGaugeVec, value: i64| gauges.with_label_values(&[topic]).set(value);
        gauge(&self.table_entries, i64::try_from(entries).unwrap_or(i64::MAX));
        gauge(&self.table_bytes, i64::try_from(bytes).unwrap_or(i64::MAX));
        gauge(&self.table_lag, i64::try_from(behind).unwrap_or(i64::MAX));
    }

    /// A read of a table broke off.
    pub fn table_failed(&self, topic: &str) {
        self.table_failures.with_label_values(&[topic]).inc();
    }

    /// A table that nobody uses any more.
    pub fn forget_table(&self, topic: &str) {
        let _ = self.table_failures.remove_label_values(&[topic]);
        for gauges in [&self.table_entries, &self.table_bytes, &self.table_lag] {
            let _ = gauges.remove_label_values(&[topic]);
        }
    }

    /// Prometheus's text format.
    pub fn render(&self) -> String {
        self.sample_process();
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics could not be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    fn sample_process(&self) {
        let (cpu, memory) = process_usage();
        self.cpu.with_label_values(&[] as &[&str]).set(cpu.as_secs_f64());
        self.memory.set(i64::try_from(memory).unwrap_or(i64::MAX));
    }
}

impl TransformMetrics {
    pub fn failed(&self, reason: &str) {
        self.all.failed.with_label_values(&[self.id.team.as_str(), self.id.name.as_str(), reason]).inc();
    }

    pub fn trapped(&self, kind: &str) {
        self.all.guest_traps.with_label_values(&[self.id.team.as_str(), self.id.name.as_str(), kind]).inc();
    }

    pub fn aborted(&self, reason: &str) {
        self.all.aborted.with_label_values(&[self.id.team.as_str(), self.id.name.as_str(), reason]).inc();
    }

    /// A trial ended: `ok` or `refused`.
    pub fn swapped(&self, result: &str) {
        self.all.swaps.with_label_values(&[self.id.team.as_str(), self.id.name.as_str(), result]).inc();
    }

    /// The guest of a revision logged a line, within its allowance.
    pub fn logged(&self, level: Level, revision: u64, line: &str) {
        self.all.log_lines.with_label_values(&[self.id.team.as_str(), self.id.name.as_str(), level.as_str()]).inc();
        if let Some(journal) = &self.all.journal
            && !journal.log(&self.id, revision, level, line)
        {
            self.log_dropped.inc();
        }
    }

    /// A record to be shown to whoever looks.
    pub fn sampled(&self, sample: Sample) {
        if let Some(journal) = &self.all.journal {
            journal.sample(&self.id, sample);
        }
    }

    pub fn lag(&self, topic: &str, partition: i32, records: Option<u64>) {
        let number = partition.to_string();
        let labels = [self.id.team.as_str(), self.id.name.as_str(), topic, &number];
        match records {
            Some(records) => self.all.lag.with_label_values(&labels).set(i64::try_from(records).unwrap_or(i64::MAX)),
            // Not ours any more: another host reports it.
            None => drop(self.all.lag.remove_label_values(&labels)),
        }
    }

    /// A partition of a store was brought up to date; `wiped`: why it was begun anew.
    pub fn restored(&self, records: u64, took: Duration, wiped: Option<&str>) {
        let labels = [self.id.team.as_str(), self.id.name.as_str()];
        self.all.restored.with_label_values(&labels).inc_by(records);
        self.all.restore_time.with_label_values(&labels).observe(took.as_secs_f64());
        if let Some(reason) = wiped {
            self.all.stores_wiped.with_label_values(&[labels[0], labels[1], reason]).inc();
        }
    }

    /// What a partition of a store holds; None: it is not here any more.
    pub fn store(&self, store: &str, partition: i32, held: Option<(u64, u64)>) {
        let number = partition.to_string();
        let labels = [self.id.team.as_str(), self.id.name.as_str(), store, &number];
        let gauge = |gauges: &IntGaugeVec, value: Option<u64>| match value {
            Some(value) => gauges.with_label_values(&labels).set(i64::try_from(value).unwrap_or(i64::MAX)),
            None => drop(gauges.remove_label_values(&labels)),
        };
        gauge(&self.all.store_entries, held.map(|(entries, _)| entries));
        gauge(&self.all.store_bytes, held.map(|(_, bytes)| bytes));
    }

    /// How much a partition's restore has still to read; None: nothing is being restored.
    pub fn restore_left(&self, partition: i32, records: Option<u64>) {
        let number = partition.to_string();
        let labels = [self.id.team.as_str(), self.id.name.as_str(), &number];
        match records {
            Some(records) => {
                self.all.restore_left.with_label_values(&labels).set(i64::try_from(records).unwrap_or(i64::MAX))
            }
            None => drop(self.all.restore_left.remove_label_values(&labels)),
        }
    }

    /// Notes that a transform stays off on this host, or does not any more.
    pub fn quarantined(&self, is_quarantined: bool) {
        let labels = [self.id.team.as_str(), self.id.name.as_str()];
        match is_quarantined {
            true => self.all.quarantined.with_label_values(&labels).set(1),
            false => drop(self.all.quarantined.remove_label_values(&labels)),
        }
    }

    pub fn state(&self, current: State) {
        for state in State::ALL {
            let labels = [self.id.team.as_str(), self.id.name.as_str(), state.as_str()];
            self.all.worker_state.with_label_values(&labels).set(i64::from(state == current));
        }
    }
}

impl HttpMetrics {
    fn new(r: &Registry) -> Self {
        let in_flight =
            gauges(r, "sandbar_http_bytes_in_flight", "Bytes of bodies and answers beyond the first of each", &["kind"]);
        Self {
            connections: registered(r, IntGauge::new("sandbar_http_connections", "Open connections of the API")),
            body_bytes: in_flight.with_label_values(&["body"]),
            answer_bytes: in_flight.with_label_values(&["answer"]),
            connections_refused: counters(
                r,
                "sandbar_http_connections_refused_total",
                "Connections that were closed when they came, by which places were full",
                &["reason"],
            ),
            connections_closed: counters(
                r,
                "sandbar_http_connections_closed_total",
                "Connections that the host closed, by what their peer failed to do",
                &["reason"],
            ),
            requests_refused: counters(
                r,
                "sandbar_http_requests_refused_total",
                "Requests that were refused before they reached a route",
                &["code"],
            ),
        }
    }

    pub fn connection_refused(&self, reason: &str) {
        self.connections_refused.with_label_values(&[reason]).inc();
    }

    pub fn connection_closed(&self, reason: &str) {
        self.connections_closed.with_label_values(&[reason]).inc();
    }

    pub fn request_refused(&self, code: Code) {
        self.requests_refused.with_label_values(&[code.as_str()]).inc();
    }
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("constant name and labels");
    registry.register(Box::new(collector.clone())).expect("each name once");
    collector
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn histograms(registry: &Registry, name: &str, help: &str, labels: &[&str], buckets: Vec<f64>) -> HistogramVec {
    registered(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
}

#[expect(unsafe_code, reason = "a question to the system that std does not ask")]
/// CPU time and resident bytes of this process; zeros where the system does not say.
pub fn process_usage() -> (Duration, u64) {
    // SAFETY: getrusage fills the struct it is given; zeroed is a valid value of it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    (time(usage.ru_utime) + time(usage.ru_stime), pages * 4096)
}
