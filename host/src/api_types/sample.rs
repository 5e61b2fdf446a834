//! A sampled record with its outputs or its failure. Hosts write samples to a topic (`cluster`), and the API passes them on as
//! they are, so the types here only describe them and read them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Line;
use super::record::{FlatRecord, RecordContent};

/// A record that a transform read, with its outputs or its failure.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Sampled)]
pub struct Sample {
    /// In ms since the Unix epoch, by the host's clock.
    pub at: i64,
    #[schema(value_type = String)]
    pub host: Line,
    pub revision: u64,
    /// The input's topic.
    #[schema(value_type = String)]
    pub topic: Line,
    pub partition: i32,
    pub offset: i64,
    pub input: SampleRecord,
    pub outputs: Vec<SampleOutput>,
    /// The number of outputs that are not shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outputs_more: usize,
    /// The reason why the record has no outputs: it was dead-lettered or skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<SampleFailure>,
    /// True if a part of the sample is masked: the owner of a topic has rules of redaction, and the caller lacks the role
    /// `data` in the owner's team.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(from = "FlatRecord")]
#[schema(as = SampledRecord)]
pub struct SampleRecord {
    /// In ms since the Unix epoch.
    pub timestamp: i64,
    #[serde(flatten)]
    pub content: RecordContent,
    /// True if a part of the record is left out: keys, values and headers are shown up to 4 KiB each.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(from = "FlatRecord")]
#[schema(as = SampledOutput)]
pub struct SampleOutput {
    #[schema(value_type = String)]
    pub topic: Line,
    #[serde(flatten)]
    pub record: SampleRecord,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SampledFailure)]
pub struct SampleFailure {
    #[schema(value_type = String, example = "E101")]
    pub code: Line,
    #[schema(value_type = String)]
    pub message: Line,
}

impl From<FlatRecord> for SampleRecord {
    fn from(flat: FlatRecord) -> Self {
        Self { timestamp: flat.timestamp, cut: flat.cut, content: flat.into_content() }
    }
}

impl From<FlatRecord> for SampleOutput {
    fn from(flat: FlatRecord) -> Self {
        Self { topic: flat.topic.clone(), record: flat.into() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
