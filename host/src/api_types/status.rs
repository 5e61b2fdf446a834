//! The status of a transform, per host and partition.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::desired::Desired;
use super::{Line, Word};
use crate::model::status;

/// The state of a transform, or of one of its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Compiling, joining the group, or waiting for partitions.
    Starting,
    Running,
    /// Working, with a problem: the guest traps again and again, or a partition is paused or failed.
    Degraded,
    /// Stopped by request, or before a bad record (`on_error: then: pause`), until it is resumed.
    Paused,
    /// Not working; the host tries again after a backoff.
    Failed,
    Stopped,
    /// A newer host reports a state that the answering host does not know.
    Unknown,
}

/// The last error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastError {
    #[schema(value_type = String, example = "E102")]
    pub code: Line,
    #[schema(value_type = String)]
    pub message: Line,
    /// The record on which the error happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// In ms since the Unix epoch.
    #[serde(default)]
    #[schema(required)]
    pub at: i64,
}

/// One input partition, as the worker that owns it sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PartitionStatus {
    #[schema(value_type = String)]
    pub topic: Line,
    pub partition: i32,
    /// The next offset, as committed.
    pub committed_offset: Option<i64>,
    /// The offset after the last committed record of the partition.
    pub end_offset: Option<i64>,
    /// Records between the two offsets.
    pub lag: Option<u64>,
    #[schema(value_type = State)]
    pub state: Word<State>,
    /// The revision that processes the partition.
    pub revision: u64,
    /// The first offset that this revision processes.
    pub revision_since: i64,
    /// The progress of the restore, while the stores are brought up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restoring: Option<RestoreProgress>,
    /// The content of the stores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<StoreStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LastError>,
}

/// The progress of a restore. Both numbers count offsets of changelogs: some hold no record any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Restoring)]
pub struct RestoreProgress {
    pub records_read: u64,
    pub records_total: u64,
}

/// One store of one partition, as of the last commit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StoreStatus {
    #[schema(value_type = String)]
    pub name: Line,
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// The progress of the deployed revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// The revision could not be prepared, or trapped before its first commit: the revision before goes on, if there is
    /// one.
    Failed,
    /// The revision is fetched, compiled and instantiated, while the revision before goes on.
    InProgress,
    /// The revision is prepared everywhere; workers take it over at the end of their transactions.
    Ready,
    /// Every worker runs the revision.
    Complete,
}

/// The progress of a revision over its workers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    pub revision: u64,
    #[schema(value_type = RolloutState)]
    pub state: Word<RolloutState>,
    /// The cause of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LastError>,
}

/// The name of a transform.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TransformRef {
    #[serde(default)]
    #[schema(value_type = String, required)]
    pub team: Line,
    #[serde(default)]
    #[schema(value_type = String, required)]
    pub name: Line,
}

/// One transform on one host.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TransformStatus {
    #[serde(flatten)]
    pub id: TransformRef,
    #[schema(value_type = State)]
    pub state: Word<State>,
    /// The revision that runs here.
    pub revision: u64,
    /// The progress of the deployed revision on this host.
    #[serde(default)]
    #[schema(value_type = Rollout, required)]
    pub rollout: Option<Rollout>,
    #[schema(value_type = String)]
    pub host: Line,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LastError>,
    /// The partitions that this host's workers own, by topic and number.
    pub partitions: Vec<PartitionStatus>,
    /// True if the host owns more partitions than its status can list: `omitted` sums up the others. A status has 512 KiB at
    /// most.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<OmittedPartitions>,
    /// The number of hosts that the busy workers of this host ask for. Absent while they ask for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts_wanted: Option<u32>,
    /// The work of the last 5 s on this host. Hosts of earlier versions tell none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
}

/// The work of the last 5 s: of one host, or of all.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// Committed input records.
    pub in_per_minute: u64,
    /// Committed output records, dead letters included.
    pub out_per_minute: u64,
    /// Records that were dead-lettered or skipped.
    pub failed_per_minute: u64,
    /// The inputs that records came from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<TopicRate>,
    /// The topics that records went to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<TopicRate>,
    /// Time from a record's timestamp to its commit: half of the batches took less. Over all hosts, that of the slowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<u64>,
    /// 99 of 100 batches took less. Over all hosts, that of the slowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms: Option<u64>,
    /// Time of the guest for one record. Over all hosts, that of the slowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_nanos_per_record: Option<u64>,
    /// CPU time that was spent for it, in thousandths of a CPU (millicores): calls, batches, stores and the clients of Kafka.
    /// It is counted when a transaction commits.
    #[serde(default)]
    pub cpu_millicores: u64,
    /// Memory of the largest instance, in bytes.
    pub memory_bytes: u64,
}

/// Committed records of one topic.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicRate {
    #[schema(value_type = String)]
    pub topic: Line,
    /// Records a minute.
    pub per_minute: u64,
}

/// The partitions of a status that are not listed in it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OmittedPartitions {
    pub partitions: usize,
    /// Records behind, over those that are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    #[schema(value_type = State)]
    pub state: Word<State>,
}

/// The status of a transform in the whole cluster.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    #[schema(value_type = String)]
    pub team: Line,
    #[schema(value_type = String)]
    pub name: Line,
    /// The deployed revision; each host says which one it runs.
    pub revision: u64,
    #[schema(value_type = Desired)]
    pub desired: Word<Desired>,
    #[schema(value_type = State)]
    pub state: Word<State>,
    /// Records behind, over all partitions that are known.
    pub lag: Option<u64>,
    /// The revisions that process records now, in ascending order: none while nothing runs, several during a rollout.
    #[serde(default)]
    #[schema(required)]
    pub running_revisions: Vec<u64>,
    /// The progress of `revision`, over all hosts.
    pub rollout: Rollout,
    /// One entry for each host that runs the transform.
    pub hosts: Vec<TransformStatus>,
    /// The hosts that are to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementView>,
}

/// The hosts that are to run a transform, as the answering host sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Placement)]
pub struct PlacementView {
    /// The number of hosts that are to run it, and the reason.
    #[schema(value_type = String, example = "2, by its partitions")]
    pub count: Line,
    /// The placed hosts, the first choice first.
    #[schema(value_type = Vec<String>)]
    pub hosts: Vec<Line>,
    /// The other live hosts, and the reason why each is not placed.
    pub others: Vec<OtherHost>,
}

/// A host that a transform is not placed on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OtherHost {
    #[schema(value_type = String)]
    pub host: Line,
    #[schema(value_type = String)]
    pub reason: Line,
}

impl std::fmt::Display for LastError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        self.offset.map_or(Ok(()), |offset| write!(f, " (at offset {offset})"))
    }
}

impl From<status::State> for State {
    fn from(state: status::State) -> Self {
        match state {
            status::State::Starting => Self::Starting,
            status::State::Running => Self::Running,
            status::State::Degraded => Self::Degraded,
            status::State::Paused => Self::Paused,
            status::State::Failed => Self::Failed,
            status::State::Stopped => Self::Stopped,
            status::State::Unknown => Self::Unknown,
        }
    }
}

impl From<status::LastError> for LastError {
    fn from(error: status::LastError) -> Self {
        let status::LastError { code, message, offset, at } = error;
        Self { code: Line::of(code), message: message.into(), offset, at: at.0 }
    }
}

impl From<status::PartitionStatus> for PartitionStatus {
    fn from(partition: status::PartitionStatus) -> Self {
        let restoring = |status::Restoring { records_read, records_total }| RestoreProgress { records_read, records_total };
        let store = |status::StoreStatus { name, entries, bytes }| StoreStatus { name: name.into(), entries, bytes };
        Self {
            topic: Line::of(partition.topic),
            partition: partition.partition,
            committed_offset: partition.committed_offset,
            end_offset: partition.end_offset,
            lag: partition.lag,
            state: State::from(partition.state).into(),
            revision: partition.revision,
            revision_since: partition.revision_since,
            restoring: partition.restoring.map(restoring),
            stores: partition.stores.into_iter().map(store).collect(),
            error: partition.error.map(LastError::from),
        }
    }
}

impl From<status::RolloutState> for RolloutState {
    fn from(state: status::RolloutState) -> Self {
        match state {
            status::RolloutState::Failed => Self::Failed,
            status::RolloutState::InProgress => Self::InProgress,
            status::RolloutState::Ready => Self::Ready,
            status::RolloutState::Complete => Self::Complete,
        }
    }
}

impl From<status::Rollout> for Rollout {
    fn from(rollout: status::Rollout) -> Self {
        let status::Rollout { revision, state, error } = rollout;
        Self { revision, state: RolloutState::from(state).into(), error: error.map(LastError::from) }
    }
}

impl From<status::TransformStatus> for TransformStatus {
    fn from(status: status::TransformStatus) -> Self {
        Self {
            id: TransformRef { team: Line::of(&status.id.team), name: Line::of(&status.id.name) },
            state: State::from(status.state).into(),
            revision: status.revision,
            rollout: Some(status.rollout.into()),
            host: status.host.into(),
            error: status.error.map(LastError::from),
            partitions: status.partitions.into_iter().map(PartitionStatus::from).collect(),
            truncated: status.truncated,
            omitted: status.omitted.map(OmittedPartitions::from),
            hosts_wanted: status.hosts_wanted,
            activity: status.activity.map(Activity::from),
        }
    }
}

impl From<status::OmittedPartitions> for OmittedPartitions {
    fn from(omitted: status::OmittedPartitions) -> Self {
        let status::OmittedPartitions { partitions, lag, state } = omitted;
        Self { partitions, lag, state: State::from(state).into() }
    }
}

impl From<status::Activity> for Activity {
    fn from(activity: status::Activity) -> Self {
        Self {
            in_per_minute: activity.in_per_minute,
            out_per_minute: activity.out_per_minute,
            failed_per_minute: activity.failed_per_minute,
            inputs: activity.inputs.into_iter().map(TopicRate::from).collect(),
            outputs: activity.outputs.into_iter().map(TopicRate::from).collect(),
            latency_p50_ms: activity.latency_p50_ms,
            latency_p99_ms: activity.latency_p99_ms,
            guest_nanos_per_record: activity.guest_nanos_per_record,
            cpu_millicores: activity.cpu_millicores,
            memory_bytes: activity.memory_bytes,
        }
    }
}

impl From<status::TopicRate> for TopicRate {
    fn from(rate: status::TopicRate) -> Self {
        Self { topic: Line::of(rate.topic), per_minute: rate.per_minute }
    }
}
