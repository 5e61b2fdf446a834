//! Events of the process's log as log records of OpenTelemetry: those that the log shows, also lines of guests.

use std::fmt::{self, Write};

use opentelemetry::Context;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer;

use super::system_time;
use crate::model::text::LineWriter;
use crate::model::units::Timestamp;
use crate::telemetry::export_queue::ExportQueue;
use crate::telemetry::logging::{FIELD_BYTES_MAX, FIELDS_BYTES_MAX};

/// The layer of the process's log that queues its events for the collector.
pub struct LogLayer {
    lines: ExportQueue<SdkLogRecord>,
    /// Makes empty records.
    records: SdkLogger,
}

/// Writes fields into a record, as long as there is room.
struct Fields<'a> {
    record: &'a mut SdkLogRecord,
    bytes_left: usize,
}

// === impl LogLayer ===

impl LogLayer {
    pub(super) fn new(lines: ExportQueue<SdkLogRecord>) -> Self {
        Self { lines, records: SdkLoggerProvider::builder().build().logger("sandbar") }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        if Context::is_current_telemetry_suppressed() {
            return;
        }
        let (severity, text) = severity(event.metadata().level());
        let mut record = self.records.create_log_record();
        let now = system_time(Timestamp::now());
        record.set_timestamp(now);
        record.set_observed_timestamp(now);
        record.set_target(event.metadata().target());
        record.set_severity_number(severity);
        record.set_severity_text(text);
        event.record(&mut Fields { record: &mut record, bytes_left: FIELDS_BYTES_MAX });
        self.lines.push(record);
    }
}

// === impl Fields ===

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: impl Into<AnyValue>) {
        match field.name() {
            "message" => self.record.set_body(value.into()),
            // Of events of the crate `log`: where they come from.
            name if name.starts_with("log.") => {}
            name => self.record.add_attribute(name, value),
        }
    }
}

impl Visit for Fields<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.add(field, value),
            Err(_) => self.record_debug(field, &value),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let bytes_max = self.bytes_left.min(FIELD_BYTES_MAX);
        let mut line = LineWriter { out: &mut text, bytes_max };
        // It fails where the value is longer.
        let _ = write!(line, "{value:?}");
        self.bytes_left -= bytes_max - line.bytes_max;
        self.add(field, text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

fn severity(level: &Level) -> (Severity, &'static str) {
    match *level {
        Level::ERROR => (Severity::Error, "ERROR"),
        Level::WARN => (Severity::Warn, "WARN"),
        Level::INFO => (Severity::Info, "INFO"),
        Level::DEBUG => (Severity::Debug, "DEBUG"),
        Level::TRACE => (Severity::Trace, "TRACE"),
    }
}
