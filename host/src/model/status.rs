//! The status of a transform: workers report it, the API shows it, and the status topic holds it for each host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::codes::Code;
use super::format::{Format, understood};
use super::names::{TopicName, TransformId};
use super::units::Timestamp;

/// The state of a transform, or of one of its partitions.
///
/// The edges are those of a partition, and its task holds itself to them. A transform's state is that of its parts
/// ([`State::over`]) or of a request.
///
/// ```text
///   starting <----> running <----> degraded        each of these three may become each of the others
///       ^              |               |
///       |              v               v
///       |            paused <----------+            a bad record, which only a partition that works can meet
///       |              |
///       v              v
///     failed <---------+                            failed, paused -> any of the first three
///
///   any --> stopped --> starting                    stopped by request; deployed again
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// A newer host tells a state that this host does not know.
    Unknown,
}

impl State {
    /// Every state of this host's own transforms, in the order of the diagram.
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
            Self::Unknown => "unknown",
        }
    }

    /// Returns the state of a whole from those of its parts (workers, hosts), so that a part that needs attention shows.
    pub fn over(parts: impl Iterator<Item = State>) -> Option<State> {
        let parts: Vec<State> = parts.collect();
        let first = *parts.first()?;
        let any = |state| parts.contains(&state);
        Some(match () {
            () if parts.iter().all(|&part| part == first) => first,
            () if any(Self::Failed) || any(Self::Degraded) || any(Self::Paused) => Self::Degraded,
            () if any(Self::Unknown) => Self::Unknown,
            () if any(Self::Running) => Self::Running,
            () => Self::Starting,
        })
    }

    /// Returns true if nothing is meant to run.
    pub fn is_at_rest(self) -> bool {
        matches!(self, Self::Paused | Self::Stopped)
    }

    /// Returns true if the diagram has this edge, or `next` is the same state.
    pub fn can_become(self, next: State) -> bool {
        use State::*;
        match (self, next) {
            (Unknown, _) | (_, Unknown) => false,
            (_, Stopped) => true,
            (Stopped, to) => to == Stopped || to == Starting,
            (Starting | Failed, Paused) => false,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    pub code: Code,
    pub message: String,
    /// The record that it happened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// In ms since the Unix epoch.
    pub at: Timestamp,
}

/// A revision that trapped before its first commit. The one before goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub revision: u64,
    pub error: LastError,
}

/// One input partition, as the worker that owns it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
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
    /// The first offset that this revision processed, or will.
    pub revision_since: i64,
    /// The restore of its stores, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restoring: Option<Restoring>,
    /// The content of its stores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<StoreStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LastError>,
}

/// The progress of a restore. Both counts are of places in changelogs, some of which hold no record any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoring {
    pub records_read: u64,
    pub records_total: u64,
}

/// One store of one partition, as of the last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    pub name: String,
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl PartitionStatus {
    /// Records that are still to be processed.
    pub fn lag(committed_offset: Option<i64>, end_offset: Option<i64>) -> Option<u64> {
        let (committed, end) = committed_offset.zip(end_offset)?;
        Some(u64::try_from(end.saturating_sub(committed)).unwrap_or(0))
    }
}

/// The progress of the deployed revision, from the worst state to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// The revision could not be prepared, or trapped before its first commit: the one before goes on, if there is one.
    Failed,
    /// The module is fetched, compiled and instantiated, while the revision before goes on.
    InProgress,
    /// The revision is prepared everywhere; workers take it over at the end of their transactions.
    Ready,
    /// Every worker runs it.
    Complete,
}

/// The progress of a revision over its workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub revision: u64,
    pub state: RolloutState,
    /// The reason of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LastError>,
}

impl Rollout {
    /// Returns the progress of `revision` over the known hosts.
    pub fn over<'a>(revision: u64, hosts: impl Iterator<Item = &'a Rollout>) -> Self {
        let of_host = |host: &'a Rollout| {
            let knows_revision = host.revision >= revision;
            if knows_revision { (host.state, host.error.as_ref()) } else { (RolloutState::InProgress, None) }
        };
        let least = hosts.map(of_host).min_by_key(|(state, _)| *state);
        let (state, error) = least.unwrap_or((RolloutState::InProgress, None));
        Self { revision, state, error: error.cloned() }
    }
}

/// One transform on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformStatus {
    #[serde(flatten)]
    pub id: TransformId,
    pub state: State,
    /// The revision that runs here.
    pub revision: u64,
    /// The progress of the deployed revision on this host.
    pub rollout: Rollout,
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LastError>,
    /// The partitions that this host's workers own, by topic and number.
    pub partitions: Vec<PartitionStatus>,
    /// True if there are more partitions than a record holds: `omitted` sums up the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<OmittedPartitions>,
    /// The number of hosts that the busy workers of this one ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts_wanted: Option<u32>,
    /// The work of the last seconds. Hosts of earlier versions tell none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
}

/// The work of one transform on one host over the last seconds. All numbers are whole, so that equal activity is equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    pub in_per_minute: u64,
    pub out_per_minute: u64,
    pub failed_per_minute: u64,
    /// The inputs that records came from, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<TopicRate>,
    /// The topics that records went to, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<TopicRate>,
    /// Time from a record's timestamp to its commit: half of the batches took less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50_ms: Option<u64>,
    /// 99 of 100 batches took less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms: Option<u64>,
    /// Time of the guest for one record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_nanos_per_record: Option<u64>,
    /// CPU time, in thousandths of a CPU, counted when a transaction commits. Hosts of earlier versions tell none.
    #[serde(default)]
    pub cpu_millicores: u64,
    /// Memory of the largest instance.
    pub memory_bytes: u64,
}

/// Committed records of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRate {
    pub topic: TopicName,
    pub per_minute: u64,
}

/// The partitions of a status that are not listed in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OmittedPartitions {
    pub partitions: usize,
    /// The sum of the lags that are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// The state over all of them.
    pub state: State,
}

impl OmittedPartitions {
    /// Sums partitions up; `None` if there are none.
    pub fn of(partitions: &[PartitionStatus]) -> Option<Self> {
        let state = State::over(partitions.iter().map(|partition| partition.state))?;
        let lag = partitions.iter().filter_map(|partition| partition.lag).reduce(u64::saturating_add);
        Some(Self { partitions: partitions.len(), lag, state })
    }
}

impl TransformStatus {
    /// Returns true if `other` differs in offsets and lag at most.
    pub fn is_alike(&self, other: &Self) -> bool {
        let alike = |a: &PartitionStatus, b: &PartitionStatus| {
            (&a.topic, a.partition, a.state, a.revision, &a.error) == (&b.topic, b.partition, b.state, b.revision, &b.error)
        };
        (self.state, self.revision, &self.rollout, &self.error, self.hosts_wanted)
            == (other.state, other.revision, &other.rollout, &other.error, other.hosts_wanted)
            && self.partitions.len() == other.partitions.len()
            && self.partitions.iter().zip(&other.partitions).all(|(a, b)| alike(a, b))
    }
}

/// A host of the cluster, as the status topic holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    pub host: String,
    /// URL of the host's API for other hosts and their users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub version: String,
    pub started_at: Timestamp,
    /// Time of this status, by the host's own clock.
    pub seen_at: Timestamp,
    /// Transforms that it runs.
    pub transforms: usize,
    /// Input partitions that it owns.
    pub partitions: usize,
    /// The formats that it understands, by name, with the highest version of each: see `model::format`. Hosts of 0.1 say
    /// none, and understand version 1 of each.
    #[serde(default)]
    pub formats: BTreeMap<String, u32>,
}

impl HostStatus {
    /// Returns true if the host understands this version of a format.
    pub fn understands(&self, format: Format, version: u32) -> bool {
        self.formats.get(format.name()).copied().unwrap_or(1) >= version
    }

    pub fn new(host: &str, now: Timestamp) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            host: host.to_owned(),
            url: None,
            version,
            started_at: now,
            seen_at: now,
            transforms: 0,
            partitions: 0,
            formats: understood(),
        }
    }

    /// Updates the counts of transforms and partitions.
    pub fn count(&mut self, statuses: &[TransformStatus], now: Timestamp) {
        self.seen_at = now;
        self.transforms = statuses.iter().filter(|status| !status.state.is_at_rest()).count();
        self.partitions = statuses.iter().map(|status| status.partitions.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_number_of_records_to_go() {
        #[track_caller]
        fn check(committed: Option<i64>, end: Option<i64>, lag: Option<u64>) {
            assert_eq!(PartitionStatus::lag(committed, end), lag);
        }
        check(Some(3), Some(10), Some(7));
        check(Some(10), Some(3), Some(0));
        check(None, Some(3), None);
    }

    #[test]
    fn a_rollout_is_as_far_as_its_slowest_host() {
        use RolloutState::*;
        #[track_caller]
        fn check(hosts: Vec<(u64, RolloutState)>, expected: RolloutState) {
            let hosts: Vec<Rollout> =
                hosts.into_iter().map(|(revision, state)| Rollout { revision, state, error: None }).collect();
            assert_eq!(Rollout::over(2, hosts.iter()).state, expected, "{hosts:?}");
        }
        check(vec![], InProgress);
        check(vec![(2, Complete)], Complete);
        check(vec![(2, Complete), (2, Ready)], Ready);
        check(vec![(2, Ready), (2, InProgress)], InProgress);
        check(vec![(2, Complete), (1, Complete)], InProgress);
        check(vec![(2, Complete), (2, Failed), (2, InProgress)], Failed);
        check(vec![(1, Failed), (2, Complete)], InProgress);
    }

    #[test]
    fn a_part_that_needs_attention_shows() {
        use State::*;
        #[track_caller]
        fn check(parts: Vec<State>, expected: Option<State>) {
            assert_eq!(State::over(parts.iter().copied()), expected, "{parts:?}");
        }
        check(vec![], None);
        check(vec![Paused, Paused], Some(Paused));
        check(vec![Running, Paused], Some(Degraded));
        check(vec![Starting, Running], Some(Running));
        check(vec![Failed, Running], Some(Degraded));
        check(vec![Failed], Some(Failed));
        check(vec![Stopped, Starting], Some(Starting));
        check(vec![Running, Unknown], Some(Unknown));
        check(vec![Failed, Unknown], Some(Degraded));
    }

    #[test]
    fn states_follow_the_diagram() {
        assert!(State::Starting.can_become(State::Running));
        assert!(State::Failed.can_become(State::Starting));
        assert!(!State::Stopped.can_become(State::Running));
        assert!(State::Failed.can_become(State::Running), "an instance could be made at last");
        assert!(!State::Failed.can_become(State::Paused) && !State::Starting.can_become(State::Paused));
        assert!(State::ALL.iter().all(|state| state.can_become(State::Stopped) && state.can_become(*state)));
    }
}
