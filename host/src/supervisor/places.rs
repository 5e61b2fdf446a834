//! The places of this host: which transforms it runs, by their placement over the live hosts. Looked at whenever the catalog
//! changes, and every second.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Cluster, Members, SILENT_MAX};
use crate::model::clock::{Monotonic, Now};
use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Desired};
use crate::model::status::HostStatus;
use crate::placement::{self, LevelMeter, Load, Placement};
use crate::telemetry::metrics::PresenceCounts;

use super::presence::{LEAVE_AFTER, LEAVE_SPREAD, Presence, PresenceFacts};

/// The workers of a transform on this host, as far as its place depends on them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    pub has_workers: bool,
    pub partitions: usize,
    pub busy_percent: u8,
}

/// The place of one transform.
#[derive(Debug, Default)]
pub struct Place {
    presence: Presence,
    meter: LevelMeter,
    /// The number of hosts that the workers here ask for.
    pub hosts_wanted: Option<u32>,
}

/// The places of this host. Without a cluster every transform has its place here.
pub struct Places {
    cluster: Option<Arc<Cluster>>,
    host: HostStatus,
    /// The last members among which this host was found.
    members: Members,
    /// True if this host's own record was seen in the status topic for long enough.
    was_seen: bool,
    /// The time since which it has been seen without a break.
    seen_since: Option<Monotonic>,
    places: BTreeMap<TransformId, Place>,
}

impl Places {
    pub fn new(cluster: Option<Arc<Cluster>>, host: &str) -> Self {
        let host = HostStatus::new(host, Now::read().wall);
        Self { cluster, host, members: Members::default(), was_seen: false, seen_since: None, places: BTreeMap::new() }
    }

    /// Looks at the live hosts. A host that does not see its own signs of life sees those of others no better: then it keeps
    /// to the hosts that it knew, and takes no places of hosts that may be well. After an outage of the status topic it is one
    /// of the first to be seen again, so it believes the silence of others once it has heard for as long as a silence takes.
    pub fn look(&mut self, now: Monotonic) {
        let Some(cluster) = &self.cluster else { return };
        let members = cluster.members();
        self.seen_since = members.has(&self.host.host).then(|| self.seen_since.unwrap_or(now));
        let hears = self.seen_since.is_some_and(|since| now.since(since) >= SILENT_MAX);
        if hears || !self.was_seen {
            self.members = members.with(self.host.clone());
        }
        self.was_seen |= hears;
    }

    /// Decides whether a transform has its place here.
    pub fn is_here(&mut self, deployment: &Deployment, work: Work, now: Monotonic) -> bool {
        if self.cluster.is_none() {
            return true;
        }
        if deployment.desired == Desired::Deleted {
            self.places.remove(&deployment.id);
            return false;
        }
        let place = self.places.entry(deployment.id.clone()).or_default();
        let placement = Placement::of(deployment, &self.members);
        let facts = PresenceFacts {
            is_placed: placement.has(&self.host.host),
            has_workers: work.has_workers,
            is_taken_up: placement.is_taken_up(&deployment.id, &self.members),
            leave_after: LEAVE_AFTER + LEAVE_SPREAD.mul_f64(placement::spread(&deployment.id, &self.host.host)),
        };
        place.presence = place.presence.next(facts, now);
        place.hosts_wanted = if work.has_workers {
            let load = Load { busy_percent: work.busy_percent, partitions: work.partitions };
            place.meter.take(load, u32::try_from(placement.hosts.len()).unwrap_or(u32::MAX), now)
        } else {
            place.meter = LevelMeter::default();
            None
        };
        place.presence.is_here()
    }

    pub fn hosts_wanted(&self, id: &TransformId) -> Option<u32> {
        self.places.get(id)?.hosts_wanted
    }

    pub fn counts(&self) -> PresenceCounts {
        let mut counts = PresenceCounts::default();
        for place in self.places.values() {
            match place.presence {
                Presence::Here => counts.here += 1,
                Presence::Leaving { .. } => counts.leaving += 1,
                Presence::Away => counts.away += 1,
            }
        }
        counts
    }
}
