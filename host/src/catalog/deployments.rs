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
    history: BTreeMap<TransformId, BTreeMap<u64, KeptRevision>>,
}

/// A revision that was written as such.
#[derive(Debug, Clone)]
pub struct KeptRevision {
    /// The bytes of its record.
    pub bytes: u64,
    /// The revision, or the reason why this host does not understand it.
    pub content: Result<Arc<Revision>, String>,
}

impl KeptRevision {
    /// Returns the revision, if this host understands it.
    pub fn understood(&self) -> Option<&Arc<Revision>> {
        self.content.as_ref().ok()
    }
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

    /// The deployments of a team that are not deleted, by name.
    pub fn live_of<'a>(&'a self, team: &'a TeamName) -> impl Iterator<Item = &'a Deployment> {
        of_team(&self.current, team).map(|(_, deployment)| deployment).filter(|it| it.desired != Desired::Deleted)
    }

    /// The bytes of all kept revisions of a team, understood or not, those of deleted transforms too.
    pub fn revision_bytes(&self, team: &TeamName) -> u64 {
        let kept = of_team(&self.history, team).flat_map(|(_, kept)| kept.values());
        kept.map(|revision| revision.bytes).fold(0, u64::saturating_add)
    }

    /// The revisions that were written as such, by their number.
    pub fn kept(&self, id: &TransformId) -> &BTreeMap<u64, KeptRevision> {
        static NONE: BTreeMap<u64, KeptRevision> = BTreeMap::new();
        self.history.get(id).unwrap_or(&NONE)
    }

    /// The kept revisions that this host understands, oldest first.
    pub fn understood(&self, id: &TransformId) -> impl DoubleEndedIterator<Item = &Arc<Revision>> {
        self.kept(id).values().filter_map(KeptRevision::understood)
    }

    /// Every revision that there still is, newest first.
    pub fn revisions(&self, id: &TransformId) -> Vec<Arc<Revision>> {
        let unwritten = self.whole(id).filter(|current| !self.kept(id).contains_key(&current.revision));
        let unwritten = unwritten.map(|current| Arc::new(current.to_revision()));
        unwritten.into_iter().chain(self.understood(id).rev().cloned()).collect()
    }

    pub fn revision(&self, id: &TransformId, revision: u64) -> Option<Arc<Revision>> {
        let current = || self.whole(id).filter(|current| current.revision == revision);
        let kept = self.kept(id).get(&revision).and_then(KeptRevision::understood);
        kept.cloned().or_else(|| Some(Arc::new(current()?.to_revision())))
    }

    fn whole(&self, id: &TransformId) -> Option<&Deployment> {
        let is_unread = |revision: u64| self.kept(id).get(&revision).is_some_and(|kept| kept.content.is_err());
        self.current.get(id).filter(|current| current.is_whole() && !is_unread(current.revision))
    }

    /// Returns true if a transform of the team has the module, or had it in a revision that is kept.
    pub fn uses(&self, team: &TeamName, module: &Digest) -> bool {
        self.modules_of(team).any(|(of, _)| of == module)
    }

    /// Returns true if nobody collects the module: a transform that is not deleted has it, or had it in a revision that is
    /// kept. Only transforms of the team count, if one is named.
    pub fn keeps(&self, team: Option<&TeamName>, module: &Digest) -> bool {
        let is_own = |live: &&Deployment| team.is_none_or(|team| live.id.team == *team);
        let has_it = |live: &Deployment| {
            live.module == *module || self.understood(&live.id).any(|revision| revision.module == *module)
        };
        self.all_live().filter(is_own).any(has_it)
    }

    /// The signatures of a module that transforms of the team have, or had in a revision that is kept.
    pub fn signatures<'a>(&'a self, team: &'a TeamName, module: &'a Digest) -> impl Iterator<Item = &'a Envelope> {
        self.modules_of(team).filter(move |(of, _)| *of == module).filter_map(|(_, signature)| signature)
    }

    /// The modules of a team's transforms and of their kept revisions, each with its signature.
    fn modules_of<'a>(&'a self, team: &'a TeamName) -> impl Iterator<Item = (&'a Digest, Option<&'a Envelope>)> {
        let current = of_team(&self.current, team).map(|(_, it)| (&it.module, it.signature.as_ref()));
        let kept = of_team(&self.history, team).flat_map(|(_, kept)| kept.values());
        let kept = kept.filter_map(KeptRevision::understood).map(|it| (&it.module, it.signature.as_ref()));
        current.chain(kept)
    }

    /// The revisions that this host does not understand, newest first, and why not.
    pub fn unread(&self, id: &TransformId) -> impl Iterator<Item = (u64, &str)> {
        let all = self.kept(id).iter().rev();
        all.filter_map(|(number, kept)| Some((*number, kept.content.as_ref().err()?.as_str())))
    }

    /// Returns true if this host understands every record of the topic.
    pub fn is_understood(&self) -> bool {
        let mut kept = self.history.values().flat_map(BTreeMap::values);
        kept.all(|revision| revision.content.is_ok()) && self.current.values().all(|current| current.unread.is_none())
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
            if let Some(kept) = self.history.get_mut(&id) {
                kept.remove(&number);
            }
            return Ok(());
        };
        if number > COUNT_MAX {
            return Err(format!("its number is above {COUNT_MAX}, so far nobody has counted"));
        }
        let content = match read_revision(&id, number, value)? {
            ReadResult::Whole(revision) => Ok(Arc::new(revision)),
            ReadResult::Outline(reason) => Err(reason),
        };
        let revision = KeptRevision { bytes: value.len() as u64, content };
        self.history.entry(id).or_default().insert(number, revision);
        Ok(())
    }
}

/// The part of a map that is a team's.
fn of_team<'a, V>(map: &'a BTreeMap<TransformId, V>, team: &'a TeamName) -> impl Iterator<Item = (&'a TransformId, &'a V)> {
    map.range(TransformId::first_of(team)..).take_while(move |(id, _)| id.team == *team)
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
