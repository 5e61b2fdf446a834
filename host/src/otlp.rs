//! Export of traces and logs to an OpenTelemetry collector, by OTLP over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! ```text
//! tasks -- commit --> spans queue ---> thread "otlp-traces" --\
//!                                                              POST to the collector
//! log events -------> lines queue ---> thread "otlp-logs" ----/
//! ```
//!
//! The queues are bounded and nobody waits for them, so a collector that is slow or down costs telemetry and nothing else.
//! The threads export no line that they log themselves: that would never end.

mod client;
mod exporter;
mod log_layer;
mod traces;

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, LogExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord};
use opentelemetry_sdk::trace::SpanExporter as _;

use self::client::Client;
pub use self::client::Endpoint;
use self::exporter::Exporter;
pub use self::log_layer::LogLayer;
use crate::model::units::Timestamp;
use crate::telemetry::export_queue::ExportQueue;
use crate::telemetry::metrics::{OtlpMetrics, SignalMetrics};
use crate::telemetry::record_span::RecordSpan;
use crate::trust::{Trust, TrustError};

/// Spans, and log lines, that wait for the collector at most. OpenTelemetry's own default.
pub const QUEUE_MAX: usize = 2048;
/// Time for one request and its repetitions.
const EXPORT_TIME: Duration = Duration::from_secs(10);

/// The options of the export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpOptions {
    pub endpoint: Endpoint,
    /// Authorities of the collector's certificate in place of the system's.
    pub ca: Option<PathBuf>,
    /// Spans that wait at most, and log lines.
    pub queue_max: usize,
}

/// The queues before their exporters run. Lines that are logged meanwhile wait in them.
pub struct Otlp {
    options: OtlpOptions,
    spans: Signal<RecordSpan>,
    lines: Signal<SdkLogRecord>,
}

/// One kind of telemetry on its way.
struct Signal<T> {
    queue: ExportQueue<T>,
    waiting: Receiver<T>,
    metrics: SignalMetrics,
}

/// The running exporters.
pub struct Exporters([Exporter; 2]);

/// An export that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    #[error("the authorities of --otlp-ca: {0}")]
    Trust(#[from] TrustError),
    #[error("the export by OTLP: {0}")]
    Exporter(#[from] ExporterBuildError),
    #[error("the export by OTLP: no thread: {0}")]
    Thread(#[from] std::io::Error),
}

// === impl Otlp ===

impl Otlp {
    pub fn new(options: OtlpOptions, metrics: &OtlpMetrics) -> Self {
        let spans = Signal::new(options.queue_max, metrics.of("traces"));
        let lines = Signal::new(options.queue_max, metrics.of("logs"));
        Self { options, spans, lines }
    }

    /// The queue of spans.
    pub fn spans(&self) -> ExportQueue<RecordSpan> {
        self.spans.queue.clone()
    }

    /// The part of the process's log that exports its events.
    pub fn log_layer(&self) -> LogLayer {
        LogLayer::new(self.lines.queue.clone())
    }

    /// Starts the exporters of the host with this name.
    ///
    /// The library reads the standard variables `OTEL_EXPORTER_OTLP_HEADERS` (secrets: nothing here shows them),
    /// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
    pub fn start(self, host: &str) -> Result<Exporters, OtlpError> {
        let Self { options, spans, lines } = self;
        let client = Client::new(options.ca.map_or(Trust::SystemAnd(None), Trust::Only), EXPORT_TIME)?;
        let resource = resource(host);

        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client.clone())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(options.endpoint.of_signal("traces"))
            .with_timeout(EXPORT_TIME)
            .build()?;
        exporter.set_resource(&resource);
        let traces = Exporter::start("traces", spans.waiting, spans.metrics, move |batch: Vec<RecordSpan>| {
            let batch = batch.into_iter().map(traces::span_data).collect();
            futures::executor::block_on(exporter.export(batch))
        })?;

        let mut exporter = LogExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(options.endpoint.of_signal("logs"))
            .with_timeout(EXPORT_TIME)
            .build()?;
        exporter.set_resource(&resource);
        let scope = scope();
        let logs = Exporter::start("logs", lines.waiting, lines.metrics, move |batch: Vec<SdkLogRecord>| {
            let batch: Vec<_> = batch.iter().map(|line| (line, &scope)).collect();
            futures::executor::block_on(exporter.export(LogBatch::new(&batch)))
        })?;
        Ok(Exporters([traces, logs]))
    }
}

// === impl Signal ===

impl<T> Signal<T> {
    fn new(queue_max: usize, metrics: SignalMetrics) -> Self {
        let (queue, waiting) = ExportQueue::new(queue_max, metrics.dropped.clone());
        Self { queue, waiting, metrics }
    }
}

// === impl Exporters ===

impl Exporters {
    /// Lets the exporters send all waiting items and end. Waits for `time` at most.
    pub fn stop(self, time: Duration) {
        let until = std::time::Instant::now() + time;
        self.0.iter().for_each(Exporter::ask_to_stop);
        for exporter in &self.0 {
            exporter.wait(until.saturating_duration_since(std::time::Instant::now()));
        }
    }
}

/// Describes this host, the subject of the telemetry. Variables of the environment may name it otherwise.
fn resource(host: &str) -> Resource {
    let standard = Resource::builder().build();
    let is_named = standard.get(&"service.name".into()).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", host.to_owned()),
    ]);
    if !is_named {
        resource = resource.with_service_name("sandbar");
    }
    resource.build()
}

/// The code that made the telemetry.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("sandbar").with_version(env!("CARGO_PKG_VERSION")).build()
}

/// A time as OpenTelemetry takes it.
fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}
