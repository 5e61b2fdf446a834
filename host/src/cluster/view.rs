//! The cluster as this host sees it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::{CatalogError, MaterializedTopic, ensure_topic};
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::model::status::{Activity, HostStatus, TransformStatus};
use crate::ports::{Log, NewTopic};

use super::cluster_status::ClusterStatus;
use super::members::Members;
use super::times::SILENT_MAX;

/// The log drops older records; each host writes its own again before.
const RETENTION: Duration = Duration::from_secs(3600);

/// The status topic, and its records as far as this host has read them.
pub struct Cluster {
    topic: TopicName,
    status: MaterializedTopic<ClusterStatus>,
}

impl Cluster {
    /// Creates the status topic where it is missing, reads it and follows it from there on.
    pub fn open(log: &Arc<dyn Log>, cluster: &ClusterName) -> Result<Self, CatalogError> {
        let topic = cluster.control_topic("status");
        ensure_status(&**log, &topic)?;
        let status = MaterializedTopic::start(log.clone(), topic.clone(), 0, ClusterStatus::default())?;
        Ok(Self { topic, status })
    }

    /// The reason why the status topic cannot be read now, if there is one.
    pub fn trouble(&self) -> Option<String> {
        self.status.trouble()
    }

    /// The status topic.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The transforms whose samples somebody looks at, through whichever host.
    pub fn sampled(&self, now: Instant) -> BTreeSet<TransformId> {
        let view = self.status.current();
        let asked = view.tails.iter().filter(|(_, at)| now.saturating_duration_since(**at) < SILENT_MAX);
        asked.map(|((id, _), _)| id.clone()).collect()
    }

    /// The transforms of which a host has told a status: in an earlier life, perhaps.
    pub fn told_by(&self, host: &str) -> BTreeSet<TransformId> {
        self.status.current().told_by(host).cloned().collect()
    }

    /// The transforms whose samples a host has asked for: in an earlier life, perhaps.
    pub fn asked_by(&self, host: &str) -> BTreeSet<TransformId> {
        self.status.current().asked_by(host).cloned().collect()
    }

    /// The keys of hosts that have been silent for so long, if it is up to `this` host to clear them.
    pub fn forgotten(&self, this: &str, for_long: Duration, now: Instant) -> Vec<String> {
        let view = self.status.current();
        if view.first_alive(now) == Some(this) { view.keys_of_silent(for_long, now) } else { Vec::new() }
    }

    /// The hosts and their statuses, as transforms are placed by them.
    pub fn members(&self) -> Members {
        self.status.current().members(Instant::now())
    }

    /// The hosts that are there, by name.
    pub fn hosts(&self) -> Vec<HostStatus> {
        let view = self.status.current();
        view.hosts.values().filter(|host| host.is_alive(Instant::now())).map(|host| host.status.clone()).collect()
    }

    /// The activity that a host has told of one of its transforms.
    pub fn activity(&self, id: &TransformId, host: &str) -> Option<Activity> {
        self.status.current().transforms.get(id)?.get(host)?.activity.clone()
    }

    /// The statuses of a transform on other hosts than `this`, in the order of their names.
    pub fn elsewhere(&self, id: &TransformId, this: &str) -> Vec<TransformStatus> {
        let view = self.status.current();
        let Some(statuses) = view.transforms.get(id) else { return Vec::new() };
        let now = Instant::now();
        let is_alive = |host: &str| view.hosts.get(host).is_some_and(|host| host.is_alive(now));
        let others = statuses.iter().filter(|(host, _)| *host != this && is_alive(host));
        others.map(|(_, status)| TransformStatus::clone(status)).collect()
    }
}

/// Creates the status topic where it is missing.
pub fn ensure_status(log: &dyn Log, topic: &TopicName) -> Result<(), CatalogError> {
    let wanted = NewTopic { name: topic.clone(), partitions: 1, compacted: true, retention: Some(RETENTION) };
    ensure_topic(log, wanted).map(drop)
}
