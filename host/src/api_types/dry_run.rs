//! The dry run of a candidate: its records, and its outputs, failures and costs.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Line;
use super::record::{FlatRecord, RecordContent, RecordOut};
use super::spec::RawSpec;

/// A dry run that is sent as JSON: either `records` or `live`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TrialRequest)]
pub struct DryRunRequest {
    /// The spec; by default that of the current revision.
    #[serde(default)]
    #[schema(value_type = Option<RawSpec>)]
    pub spec: Option<Box<RawValue>>,
    /// Each with `key`, `value`, `headers`, `timestamp`, `partition`, `offset`, all optional; `topic` names the input, by
    /// default the first.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub records: Option<Box<RawValue>>,
    #[serde(default)]
    pub live: Option<LiveRecords>,
}

/// The newest records of the real inputs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Live)]
pub struct LiveRecords {
    /// The number of records, over all partitions: 1 to `trial_records_max`.
    pub records: usize,
    /// True if the answer has the records themselves, as the caller may see them. They count as its bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(default = false)]
    pub inputs: bool,
}

/// The form of a dry run with its module.
#[derive(ToSchema)]
#[schema(as = TrialForm)]
#[expect(dead_code, reason = "it describes the form for OpenAPI; the form itself is read part by part")]
pub struct DryRunForm {
    /// JSON or YAML; by default the spec of the current revision.
    spec: Option<String>,
    /// The component's bytes; by default the module that the spec names, or the current one.
    #[schema(value_type = Option<String>, format = Binary)]
    module: Option<Vec<u8>>,
    /// The signature of the module: a DSSE envelope, as `sandbar sign` makes it.
    signature: Option<String>,
    /// One JSON object a line.
    records: Option<String>,
    /// Instead of `records`, as JSON.
    live: Option<LiveRecords>,
}

/// The results of a dry run. The host writes each output and input by itself (`O`, `I`), since the answer has a limit of bytes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = TrialView, bound = "")]
pub struct DryRunReport<O = OutputView, I = RecordOut> {
    #[schema(value_type = Vec<OutputView>)]
    pub outputs: Vec<O>,
    pub failures: Vec<FailureView>,
    /// One entry for each record, in order: `input` of outputs and failures counts them, from 0.
    pub records: Vec<RecordRun>,
    /// The live records, in order, if the request asks for them.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<RecordOut>)]
    pub inputs: Vec<I>,
    /// Memory of the largest instance.
    pub memory_bytes: u64,
    /// The sum of the records' times.
    pub micros_total: u64,
    /// True if outputs and messages of failures are masked: the run read topics whose owners have rules of redaction, and
    /// the caller lacks the role `data` in their teams.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// An output of a record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(from = "FlatRecord")]
pub struct OutputView {
    /// The record, counted from 0.
    pub input: usize,
    /// Alias of the output.
    #[schema(value_type = String)]
    pub target: Line,
    #[schema(value_type = String)]
    pub topic: Line,
    /// In ms since the Unix epoch.
    pub timestamp: i64,
    #[serde(flatten)]
    pub content: RecordContent,
}

/// The failure of a record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// The record, counted from 0.
    pub input: usize,
    #[schema(value_type = String, example = "E102")]
    pub code: Line,
    #[schema(value_type = String)]
    pub message: Line,
}

/// The cost of one record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = TriedView)]
pub struct RecordRun {
    #[serde(default)]
    #[schema(value_type = String, required)]
    pub topic: Line,
    #[serde(default)]
    #[schema(required)]
    pub partition: i32,
    #[serde(default)]
    #[schema(required)]
    pub offset: i64,
    /// Time of the guest's call. Each record crosses alone; in batches it takes less.
    pub micros: u64,
    /// Memory of the instance after the record: it only grows.
    #[serde(default)]
    #[schema(required)]
    pub memory_bytes: u64,
}

impl From<FlatRecord> for OutputView {
    fn from(flat: FlatRecord) -> Self {
        let FlatRecord { input, timestamp, .. } = flat;
        let target = flat.target.clone();
        let topic = flat.topic.clone();
        Self { input, target, topic, timestamp, content: flat.into_content() }
    }
}
