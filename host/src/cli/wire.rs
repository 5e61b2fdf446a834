//! The API's answers, as far as text output needs them. Fields that are not read here are ignored, so that hosts may be
//! newer than the command line; `--output json` shows an answer as it came.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A transform, one of its revisions, or the answer to a change.
#[derive(Debug, Deserialize)]
pub struct Transform {
    pub team: String,
    pub name: String,
    pub revision: u64,
    pub module: String,
    pub spec: serde_norway::Value,
    pub changed_at: String,
    #[serde(default)]
    pub desired: String,
    /// Of a change: created, updated or unchanged.
    #[serde(default)]
    pub outcome: String,
    /// Of a change: topics that it made, or would.
    #[serde(default)]
    pub creates: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct TransformList {
    pub transforms: Vec<Summary>,
}

#[derive(Debug, Deserialize)]
pub struct Summary {
    pub team: String,
    pub name: String,
    pub revision: u64,
    pub module: String,
    pub state: String,
    pub lag: Option<u64>,
    pub changed_at: String,
}

#[derive(Debug, Deserialize)]
pub struct Status {
    pub team: String,
    pub name: String,
    pub revision: u64,
    pub desired: String,
    pub state: String,
    pub lag: Option<u64>,
    pub rollout: Rollout,
    pub hosts: Vec<HostStatus>,
}

#[derive(Debug, Deserialize)]
pub struct Rollout {
    pub revision: u64,
    /// in-progress, ready, complete or failed.
    pub state: String,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub error: Option<LastError>,
}

#[derive(Debug, Deserialize)]
pub struct LastError {
    pub code: String,
    pub message: String,
    #[serde(default)]
    pub offset: Option<i64>,
}

/// A transform on one host.
#[derive(Debug, Deserialize)]
pub struct HostStatus {
    pub host: String,
    pub state: String,
    pub revision: u64,
    #[serde(default)]
    pub error: Option<LastError>,
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
pub struct Partition {
    pub topic: String,
    pub partition: i32,
    pub revision: u64,
    pub revision_since: i64,
    pub state: String,
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
    pub host: String,
    pub version: String,
    pub started_at: String,
    pub seen_at: String,
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
    pub module: String,
    pub changed_at: String,
    /// deploy or rollback.
    pub cause: String,
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
    pub value_base64: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct OffsetList {
    pub offsets: Vec<Offset>,
}

#[derive(Debug, Deserialize)]
pub struct Offset {
    pub topic: String,
    pub partition: i32,
    pub offset: Option<i64>,
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
    pub topic: String,
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
    pub target: String,
    pub topic: String,
    #[serde(default)]
    pub key: serde_json::Value,
    #[serde(default)]
    pub value: serde_json::Value,
}

#[derive(Debug, Deserialize)]
pub struct Failure {
    pub input: usize,
    pub code: String,
    pub message: String,
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
    pub host: String,
    pub revision: u64,
    pub level: String,
    #[serde(default)]
    pub event: Option<String>,
    pub message: String,
}

/// A record that went in, and what came of it.
#[derive(Debug, Deserialize)]
pub struct Sample {
    pub at: i64,
    pub host: String,
    pub revision: u64,
    pub topic: String,
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
    pub topic: Option<String>,
    #[serde(default)]
    pub key: Option<Box<RawValue>>,
    #[serde(default)]
    pub key_base64: Option<String>,
    #[serde(default)]
    pub value: Option<Box<RawValue>>,
    #[serde(default)]
    pub value_base64: Option<String>,
    #[serde(default)]
    pub cut: bool,
}
