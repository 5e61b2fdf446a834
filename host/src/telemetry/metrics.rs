//! Every metric of the host. This file and those below it are the only ones that decide names, labels and buckets.
//!
//! Each part of the host has a struct of its own here, in which a metric is a field and one declaration. Labels are
//! bounded: `team` and `transform` by the deployments and a few that were deleted (`known_transforms`), `topic` and
//! `partition` by the inputs and outputs of their revisions here; nothing that a record or a client says becomes a label. A
//! test compares docs/metrics.md with these files.

mod access;
mod catalog;
mod cpu;
mod cpu_costs;
mod http;
mod kafka;
mod known_transforms;
mod modules;
mod otlp;
mod places;
mod process;
mod redaction;
mod registrar;
mod signing;
mod state;
mod tables;
mod teams;
mod tls;
mod transform;
mod transform_log;

use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};

use self::known_transforms::KnownTransforms;
use self::process::ProcessMetrics;
use self::registrar::Registrar;
use crate::model::names::TransformId;

pub use self::access::AccessMetrics;
pub use self::catalog::CatalogMetrics;
pub use self::cpu::{CpuMetrics, TeamCpuMetrics};
pub use self::cpu_costs::CpuCosts;
pub use self::http::HttpMetrics;
pub use self::kafka::KafkaMetrics;
pub use self::modules::ModuleMetrics;
pub use self::otlp::{OtlpMetrics, SignalMetrics};
pub use self::places::{PlaceMetrics, PresenceCounts};
pub use self::redaction::RedactionMetrics;
pub use self::signing::{RefusedAt, SigningMetrics};
pub use self::state::StateMetrics;
pub use self::tables::{TableMeter, TableMetrics};
pub use self::teams::TeamMetrics;
pub use self::tls::TlsMetrics;
pub use self::transform::{Reading, TopicMetrics, TransformCounts, TransformMetrics};
pub use self::transform_log::TransformLogMetrics;

/// Dropped lines of the host's own log. The log is the process's, and so is this counter.
pub(super) static HOST_LINES_DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Lines of the host's own log that were dropped: too many about one transform, team or kind";
    IntCounter::new("sandbar_host_log_lines_dropped_total", help).expect("a valid name")
});

/// The host's metrics. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    registrar: Registrar,
    transforms: Arc<Mutex<KnownTransforms>>,
    pub access: AccessMetrics,
    pub catalog: CatalogMetrics,
    pub cpu: CpuMetrics,
    pub modules: ModuleMetrics,
    pub otlp: OtlpMetrics,
    pub places: PlaceMetrics,
    pub tables: TableMetrics,
    pub redaction: RedactionMetrics,
    pub signing: SigningMetrics,
    pub state: StateMetrics,
    pub teams: TeamMetrics,
    pub transform_log: TransformLogMetrics,
    pub http: HttpMetrics,
    pub kafka: KafkaMetrics,
    pub tls: TlsMetrics,
    pub store_copies_removed: IntCounter,
    pub hosts_forgotten: IntCounter,
    ready: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let r = Registrar::default();
        r.register(HOST_LINES_DROPPED.clone());
        r.register(ProcessMetrics::new());
        let build = r.gauges("sandbar_build_info", "Always 1", &["version", "revision", "rustc"]);
        let revision = option_env!("SANDBAR_REVISION").unwrap_or("unknown");
        let rustc = option_env!("SANDBAR_RUSTC").unwrap_or("unknown");
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), revision, rustc]).set(1);
        let cpu = CpuMetrics::new(&r);
        Self {
            transforms: Arc::new(Mutex::new(KnownTransforms::new(&r, cpu.clone()))),
            access: AccessMetrics::new(&r),
            catalog: CatalogMetrics::new(&r),
            cpu,
            modules: ModuleMetrics::new(&r),
            otlp: OtlpMetrics::new(&r),
            places: PlaceMetrics::new(&r),
            tables: TableMetrics::new(&r),
            redaction: RedactionMetrics::new(&r),
            signing: SigningMetrics::new(&r),
            state: StateMetrics::new(&r),
            teams: TeamMetrics::new(&r),
            transform_log: TransformLogMetrics::new(&r),
            http: HttpMetrics::new(&r),
            kafka: KafkaMetrics::new(&r),
            tls: TlsMetrics::new(&r),
            store_copies_removed: r.counter(
                "sandbar_store_copies_removed_total",
                "Local copies of store partitions that were removed because no worker used them",
            ),
            hosts_forgotten: r.counter(
                "sandbar_hosts_forgotten_total",
                "Hosts that this host took out of the cluster's status because they were silent for --host-retention",
            ),
            ready: r.gauge("sandbar_host_ready", "1 while the host follows its control topics, as /readyz says"),
            registrar: r,
        }
    }

    /// Notes that the host does its work, or does not.
    pub fn ready(&self, is_ready: bool) {
        self.ready.set(i64::from(is_ready));
    }

    /// Returns the metrics of a transform, the same ones to everybody who asks.
    pub fn transform(&self, id: &TransformId) -> Arc<TransformMetrics> {
        self.transforms.lock().of(id)
    }

    /// Takes away the gauges of a transform that is not here any more. Its counters stay for the next scrapes, and end once
    /// nobody holds its metrics and enough others were forgotten after it.
    pub fn forget(&self, id: &TransformId) {
        self.transforms.lock().forget(id);
    }

    /// Renders all metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.render_for(&|_| true)
    }

    /// Renders the series that `sees` picks by their `team` label, if they have one.
    pub fn render_for(&self, sees: &dyn Fn(Option<&str>) -> bool) -> String {
        self.registrar.render(sees)
    }
}

/// A number as a gauge takes it.
fn gauge_value(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::codes::Code;
    use crate::model::status::State;

    #[test]
    fn transforms_share_names_and_are_told_apart_by_their_labels() {
        let metrics = Metrics::new();
        let [a, b] = ["t/a", "t/b"].map(|name| name.parse::<TransformId>().expect("valid"));
        metrics.transform(&a).skipped.inc();
        metrics.transform(&a).skipped.inc();
        metrics.transform(&b).aborted("lost");
        let text = metrics.render();
        for line in [
            "sandbar_records_skipped_total{team=\"t\",transform=\"a\"} 2",
            "sandbar_records_skipped_total{team=\"t\",transform=\"b\"} 0",
            "sandbar_transactions_aborted_total{reason=\"lost\",team=\"t\",transform=\"b\"} 1",
            "sandbar_modules_stored 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert_eq!(text.matches("# HELP sandbar_records_skipped_total ").count(), 1);
    }

    #[test]
    fn a_histogram_of_a_transform_is_there_from_its_first_value_on() {
        let metrics = Metrics::new();
        let transform = metrics.transform(&"t/a".parse().expect("valid"));
        let has = |name: &str| metrics.render().contains(&format!("{name}_count"));
        assert!(!has("sandbar_swap_pause_seconds") && has("sandbar_module_compile_seconds"));
        transform.swap_pause.observe(0.1);
        assert!(has("sandbar_swap_pause_seconds"));
    }

    #[test]
    fn failed_partitions_are_counted_by_code_while_there_are_some() {
        let metrics = Metrics::new();
        let transform = metrics.transform(&"t/a".parse().expect("valid"));
        let shown = |counts: &[(Code, u64)]| {
            transform.failed_partitions(counts.iter().copied().collect());
            let page = metrics.render();
            let lines = page.lines().filter(|line| line.starts_with("sandbar_partitions_failed{"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let line = |code: &str, count: u64| {
            format!("sandbar_partitions_failed{{code=\"{code}\",team=\"t\",transform=\"a\"}} {count}")
        };
        assert_eq!(shown(&[(Code::OffsetForgotten, 1), (Code::OffsetOutside, 2)]), [line("E224", 1), line("E225", 2)]);
        assert_eq!(shown(&[(Code::OffsetOutside, 1)]), [line("E225", 1)]);
        assert!(shown(&[]).is_empty());
    }

    #[test]
    fn the_failures_of_a_table_are_counted_over_all_attempts() {
        let metrics = Metrics::new();
        let topic = "shop.products".parse().expect("valid");
        for _ in 0..3 {
            let attempt = metrics.tables.table(&topic, None);
            attempt.update(1, 1, 1);
            attempt.failed();
        }
        let page = metrics.render();
        assert!(page.contains("sandbar_table_failures_total{team=\"-\",topic=\"shop.products\"} 3"), "{page}");
        assert!(!page.contains("sandbar_table_bytes{"), "{page}");
    }

    #[test]
    fn a_forgotten_transform_keeps_its_counters_and_no_gauge() {
        const OF_TRANSFORM: [&str; 5] =
            ["guest_memory_bytes", "transform_memory_bytes", "partitions_failed", "worker_state", "quarantined"];
        const OF_PARTITIONS: [&str; 4] = ["lag_records", "store_entries", "store_bytes", "restore_left_records"];
        let metrics = Metrics::new();
        let id: TransformId = "t/a".parse().expect("valid");
        let shown = || {
            let page = metrics.render();
            let is_there = |name: &&&str| page.contains(&format!("\nsandbar_{name}{{"));
            [&OF_TRANSFORM[..], &OF_PARTITIONS[..]].map(|names| names.iter().filter(is_there).count())
        };
        let set = || {
            let transform = metrics.transform(&id);
            transform.guest.memory(1, 2);
            transform.state(State::Running);
            transform.failed_partitions(BTreeMap::from([(Code::OffsetOutside, 1)]));
            transform.quarantined(true);
            transform.lag("in", 0, Some(1));
            transform.stores.size("counts", 0, Some((1, 2)));
            transform.stores.restore_left(0, Some(1));
        };
        set();
        assert_eq!(shown(), [5, 4]);
        // As after a worker that panicked: the transform is here.
        metrics.transform(&id).clear_partitions();
        assert_eq!(shown(), [5, 0]);
        set();
        metrics.forget(&id);
        assert_eq!(shown(), [0, 0]);
        assert!(metrics.render().contains("sandbar_records_skipped_total"));
        set();
        assert_eq!(shown(), [5, 4]);
    }

    #[test]
    fn a_host_is_ready_or_not() {
        let metrics = Metrics::new();
        for (is_ready, line) in [(true, "sandbar_host_ready 1"), (false, "sandbar_host_ready 0")] {
            metrics.ready(is_ready);
            assert!(metrics.render().lines().any(|found| found == line), "{line}");
        }
    }
}
