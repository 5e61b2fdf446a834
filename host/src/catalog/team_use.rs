//! The use of a team: sums over its transforms, as far as they can be known when one is deployed.
//!
//! A paused transform counts like one that runs, as it may be resumed at any time; a deleted one does not count. All
//! numbers may be forged, so no sum wraps.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::names::{Digest, TeamName};
use crate::model::revision::{Deployment, REVISIONS_MAX};
use crate::model::spec::{RawSpec, StoreKind, StoreSpec};
use crate::model::team::{Ceiling, millis};

use super::deployments::Deployments;
use super::history::HistoryChange;

/// The use of one team.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TeamUse {
    pub transforms: u64,
    pub workers: u64,
    pub partition_workers: u64,
    pub memory_bytes: u64,
    pub stored_modules: u64,
    pub stored_module_bytes: u64,
    /// The records of all kept revisions, also those of deleted transforms: hosts hold them in memory.
    pub revision_bytes: u64,
    /// The longest transaction that one of its specs asks for.
    pub transaction_time: Duration,
}

/// The measures that deployments do not have.
#[derive(Clone, Copy)]
pub struct Measure<'a> {
    /// The size of a stored module.
    pub module_bytes: &'a dyn Fn(&Digest) -> u64,
    /// The memory for the hot entries of one partition of a store on disk.
    pub hot_bytes_max: u64,
}

/// A sum over some of a team's transforms.
#[derive(Clone, Default)]
struct PartialSum {
    used: TeamUse,
    /// Their modules, each of which counts once.
    modules: BTreeSet<Digest>,
}

// === impl TeamUse ===

impl TeamUse {
    /// Sums up the use of a team.
    pub fn of(all: &Deployments, team: &TeamName, measure: &Measure<'_>) -> Self {
        let mut sum = PartialSum::default();
        all.live_of(team).for_each(|live| sum.add(all, live, partitions(live, None), measure));
        sum.complete(all.revision_bytes(team), measure)
    }

    /// Sums up the use of a team now, and once `next` has the place of its transform's current revision.
    pub fn now_and_with(all: &Deployments, next: &Deployment, history: &HistoryChange, measure: &Measure<'_>) -> [Self; 2] {
        let team = &next.id.team;
        let mut now = PartialSum::default();
        let others = all.live_of(team).filter(|other| other.id != next.id);
        others.for_each(|other| now.add(all, other, partitions(other, None), measure));
        let mut then = now.clone();
        if let Some(live) = all.live(&next.id) {
            // A revision that was deployed without a count has the same partitions: nothing grows by being counted.
            now.add(all, live, partitions(live, next.partitions), measure);
        }
        then.add(all, next, partitions(next, None), measure);
        let revision_bytes = all.revision_bytes(team);
        [now.complete(revision_bytes, measure), then.complete(history.revision_bytes(revision_bytes), measure)]
    }

    /// The use under a ceiling, in its unit; None for a ceiling over a host.
    pub fn under(&self, ceiling: Ceiling) -> Option<u64> {
        match ceiling {
            Ceiling::Transforms => Some(self.transforms),
            Ceiling::Workers => Some(self.workers),
            Ceiling::PartitionWorkers => Some(self.partition_workers),
            Ceiling::Memory => Some(self.memory_bytes),
            Ceiling::StoredModules => Some(self.stored_modules),
            Ceiling::StoredModuleBytes => Some(self.stored_module_bytes),
            Ceiling::RevisionBytes => Some(self.revision_bytes),
            Ceiling::TransactionTime => Some(millis(self.transaction_time)),
            Ceiling::Uploads
            | Ceiling::UploadBytes
            | Ceiling::CreatedPartitions
            | Ceiling::LogLines
            | Ceiling::LogBytes
            | Ceiling::Follows => None,
        }
    }
}

// === impl PartialSum ===

impl PartialSum {
    fn add(&mut self, all: &Deployments, deployment: &Deployment, partitions: u64, measure: &Measure<'_>) {
        let Self { used, modules } = self;
        let spec = &deployment.spec;
        let workers = u64::from(spec.workers);
        used.transforms += 1;
        used.workers = used.workers.saturating_add(workers);
        used.partition_workers = used.partition_workers.saturating_add(partitions.saturating_mul(workers));
        used.memory_bytes = used.memory_bytes.saturating_add(memory_bytes(spec, partitions, measure.hot_bytes_max));
        used.transaction_time = used.transaction_time.max(transaction_time(spec));
        modules.extend(kept_modules(all, deployment));
    }

    fn complete(self, revision_bytes: u64, measure: &Measure<'_>) -> TeamUse {
        let Self { used, modules } = self;
        let stored_module_bytes = modules.iter().map(measure.module_bytes).fold(0, u64::saturating_add);
        TeamUse { stored_modules: modules.len() as u64, stored_module_bytes, revision_bytes, ..used }
    }
}

/// The longest time that a transaction of the transform is meant to take.
pub fn transaction_time(spec: &RawSpec) -> Duration {
    spec.commit_interval.max.0.saturating_add(spec.limits.batch_time.0)
}

/// The partitions of all inputs together. A deployment of a host of 0.1 has no count: it has that of `otherwise`, or each
/// input has one at least.
fn partitions(deployment: &Deployment, otherwise: Option<u32>) -> u64 {
    deployment.partitions.or(otherwise).map_or(deployment.spec.inputs.len() as u64, u64::from)
}

/// The memory of one instance for each partition, and of the stores of each partition number.
fn memory_bytes(spec: &RawSpec, partitions: u64, hot_bytes_max: u64) -> u64 {
    let inputs = spec.inputs.len().max(1) as u64;
    // Inputs that share stores have equal numbers of partitions.
    let numbers = partitions.div_ceil(inputs);
    let in_memory = |store: &StoreSpec| match store.store {
        StoreKind::Memory => store.max_bytes.0,
        StoreKind::Disk => store.max_bytes.0.min(hot_bytes_max),
    };
    let stores = spec.state.values().map(in_memory).fold(0, u64::saturating_add);
    spec.limits.memory.0.saturating_mul(partitions).saturating_add(stores.saturating_mul(numbers))
}

/// The modules of the revisions that are kept once this one is the newest.
fn kept_modules(all: &Deployments, newest: &Deployment) -> impl Iterator<Item = Digest> {
    let dropped = newest.revision.saturating_sub(REVISIONS_MAX);
    let kept = all.understood(&newest.id).filter(move |revision| revision.revision > dropped);
    // The current revision may not be written as such yet.
    let current = all.get(&newest.id).filter(|current| current.revision > dropped).map(|current| current.module);
    kept.map(|revision| revision.module).chain(current).chain([newest.module])
}

#[cfg(test)]
#[path = "team_use_tests.rs"]
mod tests;
