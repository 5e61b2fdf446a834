//! An entry of a transform's log: a line of its guest, or an event that the host noticed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::units::Timestamp;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
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

/// What happened to a transform on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The host has heard of a revision, and prepares it.
    Deployed,
    /// Its workers run, after they did not.
    Started,
    /// Another revision runs.
    Swapped,
    /// A revision could not be prepared, or trapped before its first commit.
    Refused,
    /// It, or one of its partitions, is paused.
    Paused,
    /// It works, but not as it should.
    Degraded,
    /// It does not work, and is tried again.
    Failed,
    /// It works again as it should.
    Recovered,
    /// Other partitions are this host's now.
    Rebalanced,
    /// Records were dead-lettered.
    DeadLettered,
    /// Failed records were dropped (`on_error: skip`).
    Skipped,
    /// Log lines of its guest were dropped: too many, or too long.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// In ms since the Unix epoch, by the host's clock.
    #[schema(value_type = i64)]
    pub at: Timestamp,
    pub host: String,
    pub revision: u64,
    pub level: Level,
    /// What happened; absent: the guest logged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    pub message: String,
}
