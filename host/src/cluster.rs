//! Which hosts there are, and how each transform is doing on each of them: through the status topic, so that any
//! host's API answers for the whole cluster, and hosts never call each other. What transforms say, and samples of their
//! records, go the same way, through topics of their own (`feed`).
//!
//! | `_sandbar.<cluster>.status` | key | value |
//! |---|---|---|
//! | a host, every 5 s | `<host>` | [`HostStatus`] as JSON |
//! | a transform on a host, when it changed | `<team>/<name>@<host>` | [`TransformStatus`] as JSON |
//! | somebody looks at samples of a transform through a host, every 5 s | `tail:<team>/<name>@<host>` | `{}` |
//!
//! A host that ends clears its keys; one that died is dropped when its own record is too old. Nothing depends on this
//! topic but what people see: a host that cannot write it goes on with its work, and one that cannot read it answers
//! for itself alone.

mod event_recorder;
pub(crate) mod fold;
mod log_topic;
mod newer;
mod publisher;
mod recorder;
mod sampled;
mod tail_subscriptions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::{CatalogError, MaterializedTopic, ensure_topic};
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::model::status::{HostStatus, TransformStatus};
use crate::ports::{Log, NewTopic};

pub use event_recorder::EventRecorder;
use fold::Statuses;
pub use log_topic::{LOGS_RETENTION, LogTopic, LogTopics, Position};
pub use publisher::Publisher;
pub use recorder::Recorder;
pub use sampled::Sampled;
pub use tail_subscriptions::{TailSubscription, TailSubscriptions};

/// How often a host says that it is there.
const BEAT: Duration = Duration::from_secs(5);
/// A host that was silent for so long is not there.
const SILENT_MAX: Duration = Duration::from_secs(16);
/// Older records are dropped by the log; each host writes its own anew before.
const RETENTION: Duration = Duration::from_secs(3600);

/// What this host knows of the cluster.
pub struct Cluster {
    topic: TopicName,
    follower: MaterializedTopic<Statuses>,
}

impl Cluster {
    /// Creates the status topic where it is missing, reads it and follows it from there on.
    pub fn open(log: &Arc<dyn Log>, cluster: &ClusterName) -> Result<Self, CatalogError> {
        let topic = format!("_sandbar.{cluster}.status").parse().expect("a cluster's name fits into a topic's");
        ensure_status(&**log, &topic)?;
        let follower = MaterializedTopic::start(log.clone(), topic.clone(), 0, Statuses::default())?;
        Ok(Self { topic, follower })
    }

    /// Why the status topic cannot be read now, if so.
    pub fn trouble(&self) -> Option<String> {
        self.follower.trouble()
    }

    /// The transforms whose samples somebody looks at, through whichever host.
    pub fn sampled(&self, now: Instant) -> BTreeSet<TransformId> {
        let view = self.follower.current();
        let asked = view.tails.iter().filter(|(_, at)| now.saturating_duration_since(**at) < SILENT_MAX);
        asked.map(|((id, _), _)| id.clone()).collect()
    }

    /// The hosts that are there, by name.
    pub fn hosts(&self) -> Vec<HostStatus> {
        let view = self.follower.current();
        view.hosts.values().filter(|host| host.is_alive(Instant::now())).map(|host| host.status.clone()).collect()
    }

    /// How a transform is doing on other hosts than `this`, by their names.
    pub fn elsewhere(&self, id: &TransformId, this: &str) -> Vec<TransformStatus> {
        let view = self.follower.current();
        let Some(statuses) = view.transforms.get(id) else { return Vec::new() };
        let now = Instant::now();
        let is_alive = |host: &str| view.hosts.get(host).is_some_and(|host| host.is_alive(now));
        let others = statuses.iter().filter(|(host, _)| *host != this && is_alive(host));
        others.map(|(_, status)| TransformStatus::clone(status)).collect()
    }
}

/// Creates the status topic where it is missing.
fn ensure_status(log: &dyn Log, topic: &TopicName) -> Result<(), CatalogError> {
    let (name, retention) = (topic.clone(), Some(RETENTION));
    ensure_topic(log, NewTopic { name, partitions: 1, compacted: true, retention }).map(drop)
}
