//! The flow of records, which the host writes and the console reads: all transforms with their topics, and their work of the last minutes.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::desired::Desired;
use super::{Activity, Line, RolloutState, State, TransformRef, Word};

/// The transforms that a caller may see, with their topics. In a stream, each view but the first has only those that have
/// changed. The host writes each transform by itself (`T`), once for all readers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Flow, bound = "")]
pub struct FlowView<T = FlowTransform> {
    /// In ms since the Unix epoch, by the clock of the answering host.
    pub at: i64,
    #[schema(value_type = Vec<FlowTransform>)]
    pub transforms: Vec<T>,
    /// Transforms that an earlier view of the stream had, and that are no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<TransformRef>,
    /// The last minutes of each transform: in the first view of a stream, and in an answer that is no stream.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<FlowRecent>,
}

/// A transform with its topics and its work of the last 5 s, over all hosts.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowTransform {
    #[schema(value_type = String)]
    pub team: Line,
    #[schema(value_type = String)]
    pub name: Line,
    /// The deployed revision.
    pub revision: u64,
    /// The revisions that process records now, in ascending order.
    pub running_revisions: Vec<u64>,
    /// The progress of `revision`, over all hosts.
    #[schema(value_type = RolloutState)]
    pub rollout: Word<RolloutState>,
    #[schema(value_type = Desired)]
    pub desired: Word<Desired>,
    #[schema(value_type = State)]
    pub state: Word<State>,
    /// The code of the last error, while there is one. The status has its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "E102")]
    pub error: Option<Line>,
    /// RFC 3339, in UTC.
    #[schema(value_type = String)]
    pub changed_at: Line,
    #[schema(value_type = Vec<String>)]
    pub inputs: Vec<Line>,
    #[schema(value_type = Vec<String>)]
    pub outputs: Vec<Line>,
    #[schema(value_type = Vec<String>)]
    pub tables: Vec<Line>,
    /// The topic of its dead letters, if its error policy has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dead_letters: Option<Line>,
    /// The number of hosts that run it.
    pub hosts: usize,
    /// The hosts that run it, each with the number of partitions that it owns.
    #[schema(value_type = BTreeMap<String, usize>)]
    pub running_on: BTreeMap<Line, usize>,
    /// The number of its partitions in each state.
    #[schema(value_type = BTreeMap<String, usize>)]
    pub partitions: BTreeMap<&'static str, usize>,
    /// Records behind, over all partitions that are known.
    pub lag: Option<u64>,
    /// Absent while no host tells any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
}

/// Input records a minute over the last 10 minutes, one value each 10 s, the newest last.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowRecent {
    #[serde(flatten)]
    pub id: TransformRef,
    pub interval_ms: u64,
    pub in_per_minute: Vec<Option<u32>>,
}

/// The last 10 minutes of a transform, as columns of equal length, the newest value last; null where it is not known. A
/// value above 4294967295 is shown as that.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = History)]
pub struct HistoryView {
    /// The time of the last value, in ms since the Unix epoch.
    pub until: i64,
    /// Time between two values.
    pub interval_ms: u64,
    pub in_per_minute: Vec<Option<u32>>,
    pub out_per_minute: Vec<Option<u32>>,
    pub failed_per_minute: Vec<Option<u32>>,
    pub lag: Vec<Option<u32>>,
    pub latency_p50_ms: Vec<Option<u32>>,
    pub latency_p99_ms: Vec<Option<u32>>,
    pub guest_nanos_per_record: Vec<Option<u32>>,
    pub memory_bytes: Vec<Option<u32>>,
}
