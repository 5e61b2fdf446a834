//! Lines of a transform's log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Line, Lines, Word};
use crate::model::log_entry;

/// A line of a transform's log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The line's offset in the log: `Last-Event-ID` takes it.
    #[serde(default)]
    #[schema(required)]
    pub offset: i64,
    #[serde(flatten)]
    pub entry: LogEntry,
}

/// A line that a guest logged, or an event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// In ms since the Unix epoch, by the host's clock.
    pub at: i64,
    #[schema(value_type = String)]
    pub host: Line,
    pub revision: u64,
    #[schema(value_type = Level)]
    pub level: Word<Level>,
    /// The event; absent: the guest logged the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Event>)]
    pub event: Option<Word<Event>>,
    #[schema(value_type = String)]
    pub message: Lines,
}

/// The importance of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// An event of a transform on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The host has heard of a revision, and prepares it.
    Deployed,
    /// The workers run again, or for the first time.
    Started,
    /// Another revision runs.
    Swapped,
    /// A revision could not be prepared, or trapped before its first commit.
    Refused,
    /// The transform, or one of its partitions, is paused.
    Paused,
    /// The transform works with a problem.
    Degraded,
    /// The transform does not work, and the host tries again.
    Failed,
    /// The transform works again without a problem.
    Recovered,
    /// The host owns other partitions.
    Rebalanced,
    /// Records were dead-lettered.
    DeadLettered,
    /// Failed records were dropped (`on_error: skip`).
    Skipped,
    /// Log lines of the guest were dropped: too many, or too long.
    LinesDropped,
    Stopped,
}

impl From<log_entry::LogEntry> for LogEntry {
    fn from(entry: log_entry::LogEntry) -> Self {
        let log_entry::LogEntry { at, host, revision, level, event, message } = entry;
        Self {
            at: at.0,
            host: host.into(),
            revision,
            level: Level::from(level).into(),
            event: event.map(|event| Event::from(event).into()),
            message: message.into(),
        }
    }
}

impl From<log_entry::Level> for Level {
    fn from(level: log_entry::Level) -> Self {
        match level {
            log_entry::Level::Debug => Self::Debug,
            log_entry::Level::Info => Self::Info,
            log_entry::Level::Warn => Self::Warn,
            log_entry::Level::Error => Self::Error,
        }
    }
}

impl From<log_entry::Event> for Event {
    fn from(event: log_entry::Event) -> Self {
        match event {
            log_entry::Event::Deployed => Self::Deployed,
            log_entry::Event::Started => Self::Started,
            log_entry::Event::Swapped => Self::Swapped,
            log_entry::Event::Refused => Self::Refused,
            log_entry::Event::Paused => Self::Paused,
            log_entry::Event::Degraded => Self::Degraded,
            log_entry::Event::Failed => Self::Failed,
            log_entry::Event::Recovered => Self::Recovered,
            log_entry::Event::Rebalanced => Self::Rebalanced,
            log_entry::Event::DeadLettered => Self::DeadLettered,
            log_entry::Event::Skipped => Self::Skipped,
            log_entry::Event::LinesDropped => Self::LinesDropped,
            log_entry::Event::Stopped => Self::Stopped,
        }
    }
}
