//! The processing of a traced record, for the service that keeps traces.

use std::sync::Arc;
use std::time::Duration;

use crate::model::codes::Code;
use crate::model::names::{TopicName, TransformId};
use crate::model::trace_context::TraceSpan;
use crate::model::units::Timestamp;

/// A finished span: one record of a sampled trace, in a committed transaction.
#[derive(Debug, Clone)]
pub struct RecordSpan {
    pub ids: TraceSpan,
    pub origin: Arc<RecordOrigin>,
    pub offset: i64,
    /// Begin and time of the guest's call, which it may share with other records.
    pub started: Timestamp,
    pub time: Duration,
    /// The code of its failure: it went the way of the error policy.
    pub failed: Option<Code>,
}

/// The partition from which records came, and the revision that processed them.
#[derive(Debug, PartialEq, Eq)]
pub struct RecordOrigin {
    pub transform: TransformId,
    pub revision: u64,
    pub topic: TopicName,
    pub partition: i32,
}
