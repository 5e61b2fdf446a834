//! Which hosts there are, and how each transform is doing on each of them: through the status topic, so that any
//! host's API answers for the whole cluster, and hosts never call each other.
//!
//! | `_sandbar.<cluster>.status` | key | value |
//! |---|---|---|
//! | a host, every 5 s | `<host>` | [`HostStatus`] as JSON |
//! | a transform on a host, when it changed | `<team>/<name>@<host>` | [`TransformStatus`] as JSON |
//!
//! A host that ends clears its keys; one that died is dropped when its own record is too old. Nothing depends on this
//! topic but what people see: a host that cannot write it goes on with its work, and one that cannot read it answers
//! for itself alone.

mod fold;
mod publisher;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::{CatalogError, Follower, ensure_topic};
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::model::status::{HostStatus, TransformStatus};
use crate::ports::{Log, NewTopic};

use fold::Statuses;
pub use publisher::Publisher;

/// How often a host says that it is there.
const BEAT: Duration = Duration::from_secs(5);
/// A host that was silent for so long is not there.
const SILENT_MAX: Duration = Duration::from_secs(16);
/// Older records are dropped by the log; each host writes its own anew before.
const RETENTION: Duration = Duration::from_secs(3600);

/// What this host knows of the cluster.
pub struct Cluster {
    topic: TopicName,
    follower: Follower<Statuses>,
}

impl Cluster {
    /// Creates the status topic where it is missing, reads it and follows it from there on.
    pub fn open(log: &Arc<dyn Log>, cluster: &ClusterName) -> Result<Self, CatalogError> {
        let name = format!("_sandbar.{cluster}.status").parse().expect("a cluster's name fits into a topic's");
        let topic = ensure_topic(&**log, NewTopic { name, partitions: 1, compacted: true, retention: Some(RETENTION) })?;
        let follower = Follower::start(log.clone(), topic.clone(), 0, Statuses::default())?;
        Ok(Self { topic, follower })
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
