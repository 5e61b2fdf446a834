//! Topics over HTTP, with the embedded log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Line;
use super::record::RecordOut;

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicList {
    pub topics: Vec<TopicView>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicView {
    #[schema(value_type = String)]
    pub name: Line,
    pub partitions: i32,
    /// The limit for one record.
    pub record_bytes_max: usize,
    /// First and end offset of each partition. Only in answers about one topic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<OffsetRange>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Offsets)]
pub struct OffsetRange {
    pub partition: i32,
    pub first: i64,
    pub end: i64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// 1 to 1024.
    #[serde(default = "one")]
    #[schema(default = 1)]
    pub partitions: i32,
    /// Keep the last value of each key, instead of deleting by age.
    #[serde(default)]
    pub compacted: bool,
}

fn one() -> i32 {
    1
}

/// Dead letters of a transform. The host writes each record by itself (`R`).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DeadLetters, bound = "")]
pub struct DeadLetterList<R = RecordOut> {
    #[schema(value_type = String)]
    pub topic: Line,
    /// The newest last.
    #[schema(value_type = Vec<RecordOut>)]
    pub records: Vec<R>,
    /// True if a part of the records is masked: the owner of a topic has rules of redaction, and the caller lacks the role
    /// `data` in the owner's team.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// The answer to a write of records.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Written)]
pub struct WriteResult {
    pub records: usize,
}

/// A page of records. The host writes each record by itself (`R`), since the answer has a limit of bytes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(bound = "")]
pub struct RecordPage<R = RecordOut> {
    #[schema(value_type = Vec<RecordOut>)]
    pub records: Vec<R>,
    /// The offset at which the next page begins. Absent if several partitions were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_offset: Option<i64>,
    /// Each partition that was read, by number. The next page begins at these offsets.
    #[serde(default)]
    #[schema(required)]
    pub partitions: Vec<PartitionPosition>,
}

/// The place of a reader in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartitionPosition {
    pub partition: i32,
    pub next_offset: i64,
    pub end_offset: i64,
}
