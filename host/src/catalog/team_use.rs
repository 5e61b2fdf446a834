//! The use of a team: sums over its transforms, as far as they can be known when one is deployed.
//!
//! A paused transform counts like one that runs, as it may be resumed at any time; a deleted one does not count. All
//! numbers may be forged, so no sum wraps.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::names::{Digest, TeamName, TransformId};
use crate::model::revision::{Deployment, Desired, REVISIONS_MAX};
use crate::model::spec::{RawSpec, StoreKind, StoreSpec};
use crate::model::team::{Ceiling, millis};

use super::deployments::Deployments;
use super::encoding::encode_revision;

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

// === impl TeamUse ===

impl TeamUse {
    /// Sums up the use of a team; `next` takes the place of its transform's current revision.
    pub fn of(all: &Deployments, team: &TeamName, next: Option<&Deployment>, measure: &Measure<'_>) -> Self {
        let is_replaced = |deployment: &Deployment| next.is_some_and(|next| next.id == deployment.id);
        let own = all.range(TransformId::first_of(team)..).map(|(_, deployment)| deployment);
        let own = own.take_while(|deployment| deployment.id.team == *team);
        let live = own.filter(|deployment| deployment.desired != Desired::Deleted && !is_replaced(deployment));
        let mut used = Self::default();
        let mut modules = BTreeSet::new();
        for deployment in live.chain(next) {
            used.add(deployment, measure.hot_bytes_max);
            modules.extend(kept_modules(all, deployment));
        }
        used.revision_bytes = revision_bytes(all, team, next);
        used.stored_modules = modules.len() as u64;
        used.stored_module_bytes = modules.iter().map(measure.module_bytes).fold(0, u64::saturating_add);
        used
    }

    fn add(&mut self, deployment: &Deployment, hot_bytes_max: u64) {
        let spec = &deployment.spec;
        let workers = u64::from(spec.workers);
        let partitions = partitions(deployment);
        self.transforms += 1;
        self.workers = self.workers.saturating_add(workers);
        self.partition_workers = self.partition_workers.saturating_add(partitions.saturating_mul(workers));
        self.memory_bytes = self.memory_bytes.saturating_add(memory_bytes(spec, partitions, hot_bytes_max));
        self.transaction_time = self.transaction_time.max(transaction_time(spec));
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
            Ceiling::UploadBytes | Ceiling::LogLines | Ceiling::LogBytes | Ceiling::Follows => None,
        }
    }
}

/// The longest time that a transaction of the transform is meant to take.
pub fn transaction_time(spec: &RawSpec) -> Duration {
    spec.commit_interval.max.0.saturating_add(spec.limits.batch_time.0)
}

/// The partitions of all inputs together. A deployment of a host of 0.1 has no count: each input has one at least.
fn partitions(deployment: &Deployment) -> u64 {
    deployment.partitions.map_or(deployment.spec.inputs.len() as u64, u64::from)
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

/// The newest revision that is dropped once this one is the newest.
fn dropped(newest: &Deployment) -> u64 {
    newest.revision.saturating_sub(REVISIONS_MAX)
}

/// The bytes of the revisions of a team that are kept once `next` is the newest of its transform.
fn revision_bytes(all: &Deployments, team: &TeamName, next: Option<&Deployment>) -> u64 {
    let is_dropped = |id: &TransformId, revision| next.is_some_and(|next| next.id == *id && revision <= dropped(next));
    let kept = all.revision_bytes(team).filter(|&(id, revision, _)| !is_dropped(id, revision)).map(|(_, _, bytes)| bytes);
    let unwritten = next.filter(|next| !all.kept(&next.id).contains_key(&next.revision));
    let record = unwritten.map(|next| encode_revision(&next.to_revision(), next.changed_at));
    let added = record.and_then(|record| record.value).map(|value| value.len() as u64);
    kept.chain(added).fold(0, u64::saturating_add)
}

/// The modules of the revisions that are kept once this one is the newest.
fn kept_modules(all: &Deployments, newest: &Deployment) -> BTreeSet<Digest> {
    let dropped = dropped(newest);
    let kept = all.kept(&newest.id).values().filter(|revision| revision.revision > dropped);
    // The current revision may not be written as such yet.
    let current = all.get(&newest.id).filter(|current| current.revision > dropped).map(|current| current.module);
    kept.map(|revision| revision.module).chain(current).chain([newest.module]).collect()
}

#[cfg(test)]
#[path = "team_use_tests.rs"]
mod tests;
