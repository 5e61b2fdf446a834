//! The state of the deployments topic: the fold of its records.
//!
//! Records that cannot be read are logged with their place and skipped: a topic is open to the world, and a host that
//! stopped at an unreadable record would stop for good.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use crate::model::json;
use crate::model::names::{Digest, TeamName, TransformId};
use crate::model::revision::{COUNT_MAX, Deployment, Desired, Generations, Revision};
use crate::model::signature::Envelope;
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

use super::encoding::key;
use super::materialized_topic::Fold;
use super::newer::{Outline, ReadResult, read_deployment, read_revision};

/// The current deployment of every transform, deleted ones too, and the revisions that are kept.
#[derive(Debug, Clone, Default)]
pub struct Deployments {
    current: BTreeMap<TransformId, Deployment>,
    history: BTreeMap<TransformId, BTreeMap<u64, Arc<Revision>>>,
    /// The bytes of the records of all revisions that are kept, understood or not.
    revision_bytes: BTreeMap<TransformId, BTreeMap<u64, u64>>,
    /// Revisions that this host does not understand, and why not.
    unread: BTreeMap<(TransformId, u64), String>,
}

impl Deref for Deployments {
    type Target = BTreeMap<TransformId, Deployment>;

    fn deref(&self) -> &Self::Target {
        &self.current
    }
}

impl Deployments {
    /// A deployment that is not deleted.
    pub fn live(&self, id: &TransformId) -> Option<&Deployment> {
        self.current.get(id).filter(|deployment| deployment.desired != Desired::Deleted)
    }

    /// All deployments that are not deleted, by id.
    pub fn all_live(&self) -> impl Iterator<Item = &Deployment> {
        self.current.values().filter(|deployment| deployment.desired != Desired::Deleted)
    }

    /// The bytes of a team's revisions that were written as such, by transform and revision; those of deleted ones, too.
    pub fn revision_bytes(&self, team: &TeamName) -> impl Iterator<Item = (&TransformId, u64, u64)> {
        let own = self.revision_bytes.range(TransformId::first_of(team)..).take_while(move |(id, _)| id.team == *team);
        own.flat_map(|(id, revisions)| revisions.iter().map(move |(&revision, &bytes)| (id, revision, bytes)))
    }

    /// The revisions that were written as such, oldest first.
    pub fn kept(&self, id: &TransformId) -> &BTreeMap<u64, Arc<Revision>> {
        static NONE: BTreeMap<u64, Arc<Revision>> = BTreeMap::new();
        self.history.get(id).unwrap_or(&NONE)
    }

    /// Every revision that there still is, newest first.
    pub fn revisions(&self, id: &TransformId) -> Vec<Arc<Revision>> {
        let kept = self.kept(id);
        let unwritten = self.whole(id).filter(|current| !kept.contains_key(&current.revision));
        unwritten.map(|current| Arc::new(current.to_revision())).into_iter().chain(kept.values().rev().cloned()).collect()
    }

    pub fn revision(&self, id: &TransformId, revision: u64) -> Option<Arc<Revision>> {
        let current = || self.whole(id).filter(|current| current.revision == revision);
        self.kept(id).get(&revision).cloned().or_else(|| Some(Arc::new(current()?.to_revision())))
    }

    fn whole(&self, id: &TransformId) -> Option<&Deployment> {
        self.current
            .get(id)
            .filter(|current| current.is_whole() && !self.unread.contains_key(&(id.clone(), current.revision)))
    }

    /// Returns true if a transform of the team has the module, or had it in a revision that is kept.
    pub fn uses(&self, team: &TeamName, module: &Digest) -> bool {
        let current = self.current.values().map(|it| (&it.id, &it.module));
        let kept = self.history.values().flat_map(BTreeMap::values).map(|it| (&it.id, &it.module));
        current.chain(kept).any(|(id, of)| id.team == *team && of == module)
    }

    /// The signatures of a module that transforms of the team have, or had in a revision that is kept.
    pub fn signatures<'a>(&'a self, team: &'a TeamName, module: &'a Digest) -> impl Iterator<Item = &'a Envelope> {
        let current = self.current.values().map(|it| (&it.id, &it.module, &it.signature));
        let kept = self.history.values().flat_map(BTreeMap::values).map(|it| (&it.id, &it.module, &it.signature));
        let all = current.chain(kept).filter(move |(id, of, _)| id.team == *team && *of == module);
        all.filter_map(|(_, _, signature)| signature.as_ref())
    }

    /// The revisions that this host does not understand, newest first, and why not.
    pub fn unread(&self, id: &TransformId) -> impl Iterator<Item = (u64, &str)> {
        let all = self.unread.range((id.clone(), 0)..=(id.clone(), u64::MAX)).rev();
        all.map(|((_, revision), reason)| (*revision, reason.as_str()))
    }

    /// Returns true if this host understands every record of the topic.
    pub fn is_understood(&self) -> bool {
        self.unread.is_empty() && self.current.values().all(|current| current.unread.is_none())
    }

    /// Takes one record; an error says why it was skipped.
    pub fn take(&mut self, record: &LogRecord) -> Result<(), String> {
        let key = key(record)?;
        let (name, revision) = match key.split_once('@') {
            None => (key, None),
            Some((name, revision)) => {
                (name, Some(revision.parse().map_err(|_| format!("{key:?} is not a revision's key"))?))
            }
        };
        let id: TransformId = name.parse().map_err(|error| format!("{error}"))?;
        match revision {
            None => self.take_current(id, record.value.as_deref()),
            Some(revision) => self.take_revision(id, revision, record.value.as_deref()),
        }
    }

    fn take_current(&mut self, id: TransformId, value: Option<&[u8]>) -> Result<(), String> {
        let Some(value) = value else {
            // Sandbar writes no tombstones here: somebody cleared the key by hand. The revision outlives that.
            if let Some(deployment) = self.current.get_mut(&id) {
                deployment.desired = Desired::Deleted;
                deployment.unread = None;
            }
            return Ok(());
        };
        let deployment = match read_deployment(&id, value)? {
            ReadResult::Whole(deployment) => deployment,
            ReadResult::Outline(outline) => self.unread_deployment(&id, outline),
        };
        self.current.insert(id, deployment);
        Ok(())
    }

    /// Completes the outline of a newer host's record with the content of the record before.
    fn unread_deployment(&self, id: &TransformId, outline: Outline) -> Deployment {
        let before = self.current.get(id).cloned();
        let asked = before.as_ref().map(|before| before.asked).unwrap_or_default();
        let Outline { revision, module, desired, resets, changed_at, changes, reason } = outline;
        let before = before.unwrap_or_else(|| Deployment {
            id: id.clone(),
            revision: 0,
            module: Digest::of(&[]),
            spec: json::read(b"{}").expect("every field of a spec has a default"),
            desired: Desired::Running,
            asked,
            changed_at: Timestamp(0),
            changes: 0,
            requests: Vec::new(),
            partitions: None,
            signature: None,
            rest: serde_json::Map::new(),
            unread: None,
        });
        Deployment {
            revision: revision.unwrap_or(0).max(before.revision),
            module: module.unwrap_or(before.module),
            desired: desired.unwrap_or(before.desired),
            // Stores that were reset are no longer written to. All else that is asked for is the newer host's.
            asked: Generations { resets: resets.unwrap_or(asked.resets), ..asked },
            changed_at: changed_at.unwrap_or(before.changed_at),
            changes: changes.unwrap_or(before.changes),
            unread: Some(reason),
            ..before
        }
    }

    fn take_revision(&mut self, id: TransformId, number: u64, value: Option<&[u8]>) -> Result<(), String> {
        let Some(value) = value else {
            if let Some(history) = self.history.get_mut(&id) {
                history.remove(&number);
            }
            if let Some(bytes) = self.revision_bytes.get_mut(&id) {
                bytes.remove(&number);
            }
            self.unread.remove(&(id, number));
            return Ok(());
        };
        if number > COUNT_MAX {
            return Err(format!("its number is above {COUNT_MAX}, so far nobody has counted"));
        }
        let bytes = value.len() as u64;
        match read_revision(&id, number, value)? {
            ReadResult::Whole(revision) => {
                self.unread.remove(&(id.clone(), number));
                self.revision_bytes.entry(id.clone()).or_default().insert(number, bytes);
                self.history.entry(id).or_default().insert(number, Arc::new(revision));
            }
            ReadResult::Outline(reason) => {
                self.history.get_mut(&id).and_then(|history| history.remove(&number));
                self.revision_bytes.entry(id.clone()).or_default().insert(number, bytes);
                self.unread.insert((id, number), reason);
            }
        }
        Ok(())
    }
}

impl Fold for Deployments {
    type Snapshot = Arc<Deployments>;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        self.take(record)
    }

    fn snapshot(&self) -> Self::Snapshot {
        Arc::new(self.clone())
    }
}

#[cfg(test)]
#[path = "deployments_tests.rs"]
mod tests;
