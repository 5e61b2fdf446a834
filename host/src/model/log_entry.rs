//! An entry of a transform's log: a line of its guest, or an event that the host noticed.

use serde::{Deserialize, Serialize};

use super::units::Timestamp;

/// The severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// An event of a transform on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The host has heard of a revision, and prepares it.
    Deployed,
    /// The workers run, after they did not.
    Started,
    /// Another revision runs.
    Swapped,
    /// A revision could not be prepared, or trapped before its first commit.
    Refused,
    /// The transform, or one of its partitions, is paused.
    Paused,
    /// The transform works, but not as it should.
    Degraded,
    /// The transform does not work, and is tried again.
    Failed,
    /// The transform works again as it should.
    Recovered,
    /// Other partitions are this host's now.
    Rebalanced,
    /// Records were dead-lettered.
    DeadLettered,
    /// Failed records were dropped (`on_error: skip`).
    Skipped,
    /// Log lines of the guest were dropped: too many, or too long.
    LinesDropped,
    Stopped,
}

impl Event {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Started => "started",
            Self::Swapped => "swapped",
            Self::Refused => "refused",
            Self::Paused => "paused",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Recovered => "recovered",
            Self::Rebalanced => "rebalanced",
            Self::DeadLettered => "dead-lettered",
            Self::Skipped => "skipped",
            Self::LinesDropped => "lines-dropped",
            Self::Stopped => "stopped",
        }
    }
}

/// One line of a transform's log, as the logs topic holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// In ms since the Unix epoch, by the host's clock.
    pub at: Timestamp,
    pub host: String,
    pub revision: u64,
    pub level: Level,
    /// The event; absent for a line that the guest logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    pub message: String,
}
