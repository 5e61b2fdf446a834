//! The API's answers, as far as text output needs them. Fields that are not read here are ignored, so that hosts may be
//! newer than the command line; `--output json` shows an answer as it came.
//!
//! Text is a [`Line`], and never a `String`: whoever wrote it, it is safe to show.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::{Line, Lines};

/// A transform, one of its revisions, or the answer to a change.
#[derive(Debug, Deserialize)]
pub struct Transform {
    pub team: Line,
    pub name: Line,
    pub revision: u64,
    pub module: Line,
    pub spec: serde_norway::Value,
    pub changed_at: Line,
    #[serde(default)]
    pub desired: Line,
    /// Of a change: created, updated or unchanged.
    #[serde(default)]
    pub outcome: Line,
    /// Of a change: topics that it made, or would.
    #[serde(default)]
    pub creates: Vec<Line>,
    /// The reasons why a change may behave otherwise than its author means.
    #[serde(default)]
    pub warnings: Vec<Line>,
}

#[derive(Debug, Deserialize)]
pub struct TransformList {
    pub transforms: Vec<Summary>,
}

#[derive(Debug, Deserialize)]
pub struct Summary {
    pub team: Line,
    pub name: Line,
    pub revision: u64,
    pub module: Line,
    pub state: Line,
    pub lag: Option<u64>,
    pub changed_at: Line,
}

#[derive(Debug, Deserialize)]
pub struct Status {
    pub team: Line,
    pub name: Line,
    pub revision: u64,
    pub desired: Line,
    pub state: Line,
    pub lag: Option<u64>,
    pub rollout: Rollout,
    pub hosts: Vec<HostStatus>,
}

#[derive(Debug, Deserialize)]
pub struct Rollout {
    pub revision: u64,
    /// in-progress, ready, complete or failed.
    pub state: Line,
    #[serde(default)]
    pub reason: Option<Line>,
    #[serde(default)]
    pub error: Option<LastError>,
}

#[derive(Debug, Deserialize)]
pub struct LastError {
    pub code: Line,
    pub message: Line,
    #[serde(default)]
    pub offset: Option<i64>,
}

/// A transform on one host.
#[derive(Debug, Deserialize)]
pub struct HostStatus {
    pub host: Line,
    pub state: Line,
    pub revision: u64,
    #[serde(default)]
    pub error: Option<LastError>,
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
pub struct Partition {
    pub topic: Line,
    pub partition: i32,
    pub revision: u64,
    pub revision_since: i64,
    pub state: Line,
    pub committed_offset: Option<i64>,
    pub lag: Option<u64>,
    #[serde(default)]
    pub error: Option<LastError>,
}

#[derive(Debug, Deserialize)]
pub struct HostList {
    pub hosts: Vec<Host>,
}

#[derive(Debug, Deserialize)]
pub struct Host {
    pub host: Line,
    pub version: Line,
    pub started_at: Line,
    pub seen_at: Line,
    pub transforms: u64,
    pub partitions: u64,
}

#[derive(Debug, Deserialize)]
pub struct RevisionList {
    /// Newest first.
    pub revisions: Vec<Revision>,
}

#[derive(Debug, Deserialize)]
pub struct Revision {
    pub revision: u64,
    pub module: Line,
    pub changed_at: Line,
    /// deploy or rollback.
    pub cause: Line,
    #[serde(default)]
    pub rolled_back_to: Option<u64>,
    pub current: bool,
    #[serde(default = "yes")]
    pub module_stored: bool,
}

fn yes() -> bool {
    true
}

/// An entry of a store.
#[derive(Debug, Deserialize)]
pub struct EntryView {
    pub value: Option<serde_json::Value>,
    pub value_base64: Option<Line>,
}

#[derive(Debug, Deserialize)]
pub struct OffsetList {
    pub offsets: Vec<Offset>,
}

#[derive(Debug, Deserialize)]
pub struct Offset {
    pub topic: Line,
    pub partition: i32,
    pub offset: Option<i64>,
    #[serde(default)]
    pub forgotten: bool,
    pub end_offset: Option<i64>,
    pub lag: Option<u64>,
}

/// What a change of offsets does, or would do.
#[derive(Debug, Deserialize)]
pub struct OffsetChanges {
    pub dry_run: bool,
    /// Over all partitions: processed again, or (negative) skipped.
    pub records: i64,
    pub offsets: Vec<OffsetChange>,
}

#[derive(Debug, Deserialize)]
pub struct OffsetChange {
    pub topic: Line,
    pub partition: i32,
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub records: i64,
}

/// What a candidate made of records.
#[derive(Debug, Deserialize)]
pub struct Trial {
    pub outputs: Vec<Output>,
    pub failures: Vec<Failure>,
    pub records: Vec<Tried>,
    pub memory_bytes: u64,
    pub micros_total: u64,
}

#[derive(Debug, Deserialize)]
pub struct Output {
    pub input: usize,
    pub target: Line,
    pub topic: Line,
    #[serde(default)]
    pub key: serde_json::Value,
    #[serde(default)]
    pub value: serde_json::Value,
}

#[derive(Debug, Deserialize)]
pub struct Failure {
    pub input: usize,
    pub code: Line,
    pub message: Line,
}

#[derive(Debug, Deserialize)]
pub struct Tried {
    pub micros: u64,
    #[serde(default)]
    pub memory_bytes: u64,
}

impl std::fmt::Display for LastError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        self.offset.map_or(Ok(()), |offset| write!(f, " (at offset {offset})"))
    }
}

/// A line of a transform's log.
#[derive(Debug, Deserialize)]
pub struct LogLine {
    pub at: i64,
    pub host: Line,
    pub revision: u64,
    pub level: Line,
    #[serde(default)]
    pub event: Option<Line>,
    pub message: Lines,
}

/// A record that went in, and what came of it.
#[derive(Debug, Deserialize)]
pub struct Sample {
    pub at: i64,
    pub host: Line,
    pub revision: u64,
    pub topic: Line,
    pub partition: i32,
    pub offset: i64,
    pub input: SampledRecord,
    pub outputs: Vec<SampledRecord>,
    #[serde(default)]
    pub outputs_more: usize,
    #[serde(default)]
    pub failed: Option<LastError>,
}

/// Keys and values that are JSON come as such: they are shown as they came.
#[derive(Debug, Deserialize)]
pub struct SampledRecord {
    /// Of an output: the topic that it went to.
    #[serde(default)]
    pub topic: Option<Line>,
    #[serde(default)]
    pub key: Option<Box<RawValue>>,
    #[serde(default)]
    pub key_base64: Option<Line>,
    #[serde(default)]
    pub value: Option<Box<RawValue>>,
    #[serde(default)]
    pub value_base64: Option<Line>,
    #[serde(default)]
    pub cut: bool,
}
