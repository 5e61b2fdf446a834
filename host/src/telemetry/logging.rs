//! The process's own log: lines on stderr, as text or JSON.
//!
//! An event is one line, whatever its fields hold: they are escaped and cut where they are formatted, so that no place
//! that logs has to escape anything. Lines that a transform can cause are bounded ([`HostLines`]).

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::host_lines::HostLines;
use crate::model::text::{self, LineWriter};

/// Longest text of a field, and of all fields of an event, in bytes; the rest is cut.
pub const FIELD_BYTES_MAX: usize = 4096;
pub const FIELDS_BYTES_MAX: usize = 16 * 1024;
/// Longest line of JSON, in bytes; of a longer one the beginning is shown, as text.
const JSON_BYTES_MAX: usize = 64 * 1024;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The options of the host's own log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// In the syntax of `tracing_subscriber::EnvFilter`: `info`, `sandbar=debug`.
    pub filter: String,
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::default() }
    }
}

/// Takes the events that the log shows, too.
pub type ExportedLog = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging.
pub fn init(options: &LogOptions, exported: Option<ExportedLog>) -> Result<(), String> {
    let LogOptions { filter, format } = options;
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    let registry = tracing_subscriber::registry().with(exported).with(filter).with(HostLines::default());
    let lines = tracing_subscriber::fmt::layer();
    let started = match format {
        LogFormat::Text => {
            let lines = lines.with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).with_target(false);
            registry.with(lines.fmt_fields(OneLineFields)).try_init()
        }
        LogFormat::Json => {
            registry.with(lines.json().flatten_event(true).with_writer(|| JsonLines(io::stderr()))).try_init()
        }
    };
    started.map_err(|error| error.to_string())
}

/// Reports panics on one line: to the log where there is one, else to stderr. Their messages may hold anybody's text.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let message = panic.payload_as_str().unwrap_or("of no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::capture();
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!(thread, place, %backtrace, "panic: {message}");
        } else {
            let message = text::cut(message, FIELDS_BYTES_MAX);
            // `eprintln!` panics if nobody reads, and a panic in here ends the process at once.
            let line = format!("panic in thread {thread:?} at {place}: {message}");
            let _ = io::Write::write_all(&mut io::stderr(), format!("{}\n", text::one_line(&line)).as_bytes());
        }
    }));
}

/// Formats fields as `name=value`, on one line of bounded length.
struct OneLineFields;

struct OneLineVisitor<'a> {
    out: Writer<'a>,
    bytes_left: usize,
    is_first: bool,
}

impl<'writer> FormatFields<'writer> for OneLineFields {
    fn format_fields<R: RecordFields>(&self, out: Writer<'writer>, fields: R) -> fmt::Result {
        fields.record(&mut OneLineVisitor { out, bytes_left: FIELDS_BYTES_MAX, is_first: true });
        Ok(())
    }
}

impl Visit for OneLineVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Of events of the crate `log`: where they come from.
        if self.bytes_left == 0 || field.name().starts_with("log.") {
            return;
        }
        let space = if std::mem::take(&mut self.is_first) { "" } else { " " };
        let bytes_max = self.bytes_left.min(FIELD_BYTES_MAX);
        let mut line = LineWriter { out: &mut self.out, bytes_max };
        // It fails where the field is longer; then the next one follows. The message stands without its name.
        let _ = match field.name() {
            "message" => write!(line, "{space}{value:?}"),
            name => write!(line, "{space}{name}={value:?}"),
        };
        self.bytes_left -= bytes_max - line.bytes_max;
    }
}

/// Escapes the control characters that JSON leaves as they are. Each write is one line.
struct JsonLines<W>(W);

impl<W: io::Write> io::Write for JsonLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line.trim_ascii_end());
        let shown = if text.len() > JSON_BYTES_MAX {
            serde_json::json!({ "cut_from_bytes": text.len(), "line": text::cut(&text, JSON_BYTES_MAX) }).to_string()
        } else {
            text.into_owned()
        };
        self.0.write_all((text::json(&shown).into_owned() + "\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    const BAD: &str = "a\r\nERROR forged\x1b]0;t\x07\u{9b}2J\u{7f}\u{202e}";

    fn log_all() {
        let span = tracing::info_span!("request", id = BAD);
        span.in_scope(|| {
            tracing::warn!(text = BAD, shown = %BAD, debug = ?BAD, number = 1, "message {BAD}");
            let long = "x".repeat(1 << 20);
            tracing::error!(error = %io::Error::other(BAD), a = %long, transform = "t/a", b = %long, "second {long}");
        });
    }

    #[track_caller]
    fn check(lines: &Lines) -> Vec<String> {
        let text = String::from_utf8(lines.0.lock().expect("unpoisoned").clone()).expect("text");
        assert_eq!(text.lines().count(), 2, "{text}");
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(bad) && text.contains("forged"), "{text:?}");
        assert!(text.len() < 3 * JSON_BYTES_MAX, "{} bytes", text.len());
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_text_event_is_one_line_whatever_its_fields_hold() {
        let lines = Lines::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone()).with_ansi(false).fmt_fields(OneLineFields);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log_all);
        let all = check(&lines);
        assert!(all[0].contains(": message a\\r\\nERROR forged\\u{1b}]0;t") && all[0].contains(" number=1"), "{}", all[0]);
        assert!(all[1].contains("xxx... error=") && all[1].contains("xxx... transform=\"t/a\" b=xxx"));
        assert!(all[1].ends_with("xxx...") && all[1].len() < FIELDS_BYTES_MAX + 200, "{}", all[1].len());
    }

    #[test]
    fn a_json_event_is_one_line_whatever_its_fields_hold() {
        let lines = Lines::default();
        let out = lines.clone();
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
        let layer = layer.with_writer(move || JsonLines(out.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log_all);
        let parsed = |line: &String| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        let all: Vec<_> = check(&lines).iter().map(parsed).collect();
        assert_eq!((&all[0]["shown"], &all[0]["span"]["id"]), (&BAD.into(), &BAD.into()));
        assert!(all[1]["cut_from_bytes"].as_u64() > Some(1 << 20), "{}", all[1]["cut_from_bytes"]);
    }
}
