//! Lines of a transform's log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Line, Lines, Word};
use crate::model::journal;

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

impl From<journal::LogEntry> for LogEntry {
    fn from(entry: journal::LogEntry) -> Self {
        let journal::LogEntry { at, host, revision, level, event, message } = entry;
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

impl From<journal::Level> for Level {
    fn from(level: journal::Level) -> Self {
        match level {
            journal::Level::Debug => Self::Debug,
            journal::Level::Info => Self::Info,
            journal::Level::Warn => Self::Warn,
            journal::Level::Error => Self::Error,
        }
    }
}

impl From<journal::Event> for Event {
    fn from(event: journal::Event) -> Self {
        match event {
            journal::Event::Deployed => Self::Deployed,
            journal::Event::Started => Self::Started,
            journal::Event::Swapped => Self::Swapped,
            journal::Event::Refused => Self::Refused,
            journal::Event::Paused => Self::Paused,
            journal::Event::Degraded => Self::Degraded,
            journal::Event::Failed => Self::Failed,
            journal::Event::Recovered => Self::Recovered,
            journal::Event::Rebalanced => Self::Rebalanced,
            journal::Event::DeadLettered => Self::DeadLettered,
            journal::Event::Skipped => Self::Skipped,
            journal::Event::LinesDropped => Self::LinesDropped,
            journal::Event::Stopped => Self::Stopped,
        }
    }
}
