//! Registers metrics, each by its name, its help text and its labels.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{
    CounterVec, Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::model::names::TransformId;

/// Registers metrics that have the same constant labels. Cloning shares the registry and its metrics.
#[derive(Clone, Default)]
pub(super) struct Registrar {
    registry: Registry,
    labels: HashMap<String, String>,
    /// The metrics that were made here, which are taken away together.
    made: Arc<Mutex<Vec<Box<dyn Collector>>>>,
}

impl Registrar {
    /// Returns a registrar of the same registry for the metrics of one transform.
    pub fn of_transform(&self, id: &TransformId) -> Self {
        let labels = [("team", id.team.as_str()), ("transform", id.name.as_str())];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { registry: self.registry.clone(), labels: HashMap::from(labels), made: Arc::default() }
    }

    /// Takes away all metrics that were made here.
    pub fn unregister(&self) {
        let made = std::mem::take(&mut *self.made.lock());
        for collector in made {
            self.registry.unregister(collector).expect("it was registered when it was made");
        }
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.registered(IntCounter::with_opts(self.opts(name, help)))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.registered(IntCounterVec::new(self.opts(name, help), labels))
    }

    /// Registers counters of fractions.
    pub fn float_counters(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.registered(CounterVec::new(self.opts(name, help), labels))
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::with_opts(self.opts(name, help)))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(self.opts(name, help), labels))
    }

    /// Registers a gauge of fractions.
    pub fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.registered(Gauge::with_opts(self.opts(name, help)))
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
        self.registered(Histogram::with_opts(self.histogram_opts(name, help, buckets)))
    }

    pub fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: Vec<f64>) -> HistogramVec {
        self.registered(HistogramVec::new(self.histogram_opts(name, help, buckets), labels))
    }

    /// Registers a metric that was made elsewhere.
    pub fn register(&self, collector: impl Collector + 'static) {
        self.registry.register(Box::new(collector)).expect("each metric is registered once");
    }

    /// Renders series of the registry in Prometheus' text format: those that `sees` picks by their `team` label. A histogram
    /// of a transform is there from its first value on: empty ones would be nine tenths of the page.
    pub fn render(&self, sees: &dyn Fn(Option<&str>) -> bool) -> String {
        let mut families = self.registry.gather();
        for family in &mut families {
            let is_histogram = family.get_field_type() == MetricType::HISTOGRAM;
            family.mut_metric().retain(|series| {
                let label = |name| series.get_label().iter().find(|label| label.name() == name);
                let is_empty = is_histogram && series.get_histogram().get_sample_count() == 0;
                let is_unused = is_empty && label("transform").is_some();
                !is_unused && sees(label("team").map(|label| label.value()))
            });
        }
        families.retain(|family| !family.get_metric().is_empty());
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::warn!(%error, "metrics could not be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    fn registered<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("names and labels are valid constants");
        self.register(collector.clone());
        self.made.lock().push(Box::new(collector.clone()));
        collector
    }

    fn opts(&self, name: &str, help: &str) -> Opts {
        Opts::new(name, help).const_labels(self.labels.clone())
    }

    fn histogram_opts(&self, name: &str, help: &str, buckets: Vec<f64>) -> HistogramOpts {
        HistogramOpts::new(name, help).const_labels(self.labels.clone()).buckets(buckets)
    }
}

/// Buckets from `first` on, each `factor` times the one before.
pub(super) fn buckets(first: f64, factor: f64, count: usize) -> Vec<f64> {
    prometheus::exponential_buckets(first, factor, count).expect("a positive start, and a factor above 1")
}

/// Buckets of times from 2 ms to 16 s: commits, restores and requests are within them.
pub(super) fn second_buckets() -> Vec<f64> {
    buckets(0.002, 2.0, 14)
}
