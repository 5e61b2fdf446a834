//! How a transform is doing: what a worker reports, the API answers and (per host) the status topic holds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::codes::Code;
use super::names::{TopicName, TransformId};
use super::units::Timestamp;

/// A transform, or one of its partitions.
///
/// ```text
///            +-----------------------------+
///            v                             |
///   starting --> running <--> degraded     |
///      |  ^        |  |          |         |
///      |  |        |  +--> paused <--------+   (a partition that stopped before a bad record, or by request)
///      |  |        v             |
///      +--+----> failed <--------+            failed -> starting: it is tried again, after a backoff
///   any --> stopped                           stopped -> starting: deployed again
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Compiling, joining the group, or waiting for partitions.
    Starting,
    Running,
    /// Working, but not as it should: the guest traps again and again, or a partition is paused or failed.
    Degraded,
    /// Stopped by request, or before a bad record (`on_error: then: pause`), until it is resumed.
    Paused,
    /// Not working; tried again after a backoff.
    Failed,
    Stopped,
}

impl State {
    /// Every state, in the order of the diagram.
    pub const ALL: [State; 6] =
        [State::Starting, State::Running, State::Degraded, State::Paused, State::Failed, State::Stopped];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the diagram has this edge (or `next` is the same state).
    pub fn can_become(self, next: State) -> bool {
        use State::*;
        match (self, next) {
            (_, Stopped) => true,
            (from, to) if from == to => true,
            (Stopped, to) => to == Starting || to == Paused,
            (Paused, Degraded) => false,
            (Failed, to) => to == Starting || to == Paused,
            _ => true,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastError {
    #[schema(value_type = String, example = "E102")]
    pub code: Code,
    pub message: String,
    /// The record that it happened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// In ms since the Unix epoch.
    #[schema(value_type = i64)]
    pub at: Timestamp,
}

/// One input partition, as the worker that owns it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartitionStatus {
    #[schema(value_type = String)]
    pub topic: TopicName,
    pub partition: i32,
    /// The next offset, as committed.
    pub committed_offset: Option<i64>,
    /// One past the last committed record of the partition.
    pub end_offset: Option<i64>,
    /// Records between the two.
    pub lag: Option<u64>,
    pub state: State,
    /// The revision that processes it.
    pub revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LastError>,
}

impl PartitionStatus {
    /// Records that are still to be processed.
    pub fn lag(committed_offset: Option<i64>, end_offset: Option<i64>) -> Option<u64> {
        let (committed, end) = committed_offset.zip(end_offset)?;
        Some(u64::try_from(end.saturating_sub(committed)).unwrap_or(0))
    }
}

/// One transform on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransformStatus {
    #[serde(flatten)]
    #[schema(value_type = TransformRef)]
    pub id: TransformId,
    pub state: State,
    /// The revision that runs here.
    pub revision: u64,
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LastError>,
    /// Those that this host's workers own, by topic and number.
    pub partitions: Vec<PartitionStatus>,
}

/// How a [`TransformId`] looks in JSON.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransformRef {
    pub team: String,
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_is_left() {
        for (committed, end, lag) in [(Some(3), Some(10), Some(7)), (Some(10), Some(3), Some(0)), (None, Some(3), None)] {
            assert_eq!(PartitionStatus::lag(committed, end), lag);
        }
    }

    #[test]
    fn states_follow_the_diagram() {
        assert!(State::Starting.can_become(State::Running));
        assert!(State::Failed.can_become(State::Starting));
        assert!(!State::Stopped.can_become(State::Running));
        assert!(!State::Failed.can_become(State::Running));
        assert!(State::ALL.iter().all(|state| state.can_become(State::Stopped) && state.can_become(*state)));
    }
}
