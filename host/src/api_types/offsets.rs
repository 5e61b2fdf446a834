//! Committed offsets of a transform, and moves of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Line;
use super::spec;
use crate::model::spec::StartSpec;

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OffsetList {
    pub offsets: Vec<OffsetView>,
}

/// The committed offset of an input partition, and the offsets that the partition holds.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OffsetView {
    #[schema(value_type = String)]
    pub topic: Line,
    pub partition: i32,
    /// The next offset, as committed. If there is none yet, the spec's `start` decides.
    pub offset: Option<i64>,
    /// True if the log has forgotten the offset that was committed: the partition stands still until one is set (E224).
    #[serde(default)]
    #[schema(required)]
    pub forgotten: bool,
    /// The first offset that the partition still holds.
    #[serde(default)]
    #[schema(value_type = i64, required)]
    pub first_offset: Option<i64>,
    /// The offset after the last committed record of the partition.
    #[schema(value_type = i64, required)]
    pub end_offset: Option<i64>,
    /// Offsets between the two; control records that a worker has passed and not committed yet do not count.
    pub lag: Option<u64>,
    /// The metadata that Sandbar committed with the offset: the revision.
    #[serde(default)]
    #[schema(value_type = String, required)]
    pub metadata: Line,
}

/// The new offsets: `offsets`, or `to` for all partitions.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offsets: Option<Vec<Target>>,
    /// `earliest`, `latest`, `{"timestamp": ..}` or `{"ago": ..}`, counted back from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<spec::StartSpec>)]
    pub to: Option<StartSpec>,
}

/// The next offset of a partition after a move.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MoveList {
    /// True if the request was a dry run, which changes nothing.
    pub dry_run: bool,
    /// Offsets that are processed again (above 0) or skipped (below 0), over all partitions. In a topic that is compacted
    /// or written in transactions, not every offset is a record.
    pub records: i64,
    pub offsets: Vec<MoveView>,
}

/// The move of one partition.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MoveView {
    #[schema(value_type = String)]
    pub topic: Line,
    pub partition: i32,
    /// Absent if no offset was committed.
    pub from: Option<i64>,
    #[schema(value_type = i64, required)]
    pub to: Option<i64>,
    /// Offsets that are processed again (above 0) or skipped (below 0).
    pub records: i64,
}
