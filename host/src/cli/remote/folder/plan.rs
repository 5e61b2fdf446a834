//! The plan: a pure function from the folder's specs and the deployed transforms to the changes that would make them equal.

use crate::model::names::{Digest, FolderName, TransformId};
use crate::model::spec::labels::APPLIED;

use super::content::Desired;
use super::deployed::{Cluster, Deployed, Labelled, PastRevision};
use super::difference::{Difference, differences, set_fields};
use super::fingerprint::fingerprint;

/// All changes, in the order of the names; those of transforms that left the folder come last.
#[derive(Debug)]
pub struct Plan<'a> {
    pub folder: &'a FolderName,
    pub changes: Vec<Change<'a>>,
}

/// The change of one transform.
#[derive(Debug)]
pub enum Change<'a> {
    Create {
        to: &'a Desired,
        fields: Vec<Difference>,
    },
    Update(Update<'a>),
    Unchanged {
        id: &'a TransformId,
        revision: u64,
    },
    /// Another folder has it. It is changed only if that is asked for.
    Foreign {
        id: &'a TransformId,
        revision: u64,
        folder: &'a str,
    },
    /// The transform carries the folder's label, and the folder has no spec for it.
    Prune {
        id: &'a TransformId,
        revision: u64,
    },
}

/// A transform that is deployed with other content.
#[derive(Debug)]
pub struct Update<'a> {
    pub to: &'a Desired,
    /// The deployed revision.
    pub revision: u64,
    pub fields: Vec<Difference>,
    /// The module that is replaced.
    pub module_from: Option<String>,
    pub origin: Origin<'a>,
}

/// The way in which the deployed content came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin<'a> {
    /// The folder's last apply: the folder has changed since.
    Applied,
    /// Somebody changed by hand the content that was applied. `None`: its revision is no longer kept.
    Drifted(Option<&'a PastRevision>),
    /// No folder ever had it, and this one takes it in.
    Unlabelled,
    /// Another folder has it, and this one takes it over.
    TakenOver(&'a str),
}

/// The number of changes of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    pub create: usize,
    pub update: usize,
    /// Updates that undo a change by hand; they are no part of `update`.
    pub drift: usize,
    pub foreign: usize,
    pub prune: usize,
    pub unchanged: usize,
}

/// Plans. Transforms of other folders are updated only with `takes_over`.
pub fn plan<'a>(folder: &'a FolderName, desired: &'a [Desired], cluster: &'a Cluster, takes_over: bool) -> Plan<'a> {
    let change = |to: &'a Desired| match cluster.deployed.get(&to.id) {
        None => Change::Create { to, fields: set_fields(&to.spec) },
        Some(found) => compare(folder, to, found, takes_over),
    };
    let is_gone = |labelled: &&Labelled| desired.iter().all(|want| want.id != labelled.id);
    let gone = cluster.labelled.iter().filter(is_gone);
    let prunes = gone.map(|Labelled { id, revision }| Change::Prune { id, revision: *revision });
    Plan { folder, changes: desired.iter().map(change).chain(prunes).collect() }
}

fn compare<'a>(folder: &FolderName, to: &'a Desired, found: &'a Deployed, takes_over: bool) -> Change<'a> {
    let own = folder.as_str();
    let revision = found.revision;
    if found.spec.is_same(&to.spec) {
        return Change::Unchanged { id: &to.id, revision };
    }
    let origin = match found.folder() {
        Some(other) if other != own && !takes_over => return Change::Foreign { id: &to.id, revision, folder: other },
        Some(other) if other != own => Origin::TakenOver(other),
        _ => origin(own, found),
    };
    let fields = differences(&found.spec, &to.spec);
    let digest = to.module.digest.to_string();
    let module_from = found.spec.module.clone().filter(|module| *module != digest);
    // Only the labels differ: the change by hand made what the folder has by now.
    let is_equal = fields.is_empty() && module_from.is_none();
    let origin = if is_equal && matches!(origin, Origin::Drifted(_)) { Origin::Applied } else { origin };
    Change::Update(Update { to, revision, fields, module_from, origin })
}

/// Tells a change of the folder from one by hand. The label of the last apply fits the content that was applied, so it fits
/// no other; a change that leaves the labels out is told by the revisions before it.
fn origin<'a>(own: &str, found: &'a Deployed) -> Origin<'a> {
    let head = found.history.iter().find(|past| past.revision == found.revision);
    let is_ours = found.folder() == Some(own);
    let was_ours = found.history.iter().any(|past| past.folder.as_deref() == Some(own));
    let applied = found.spec.labels.get(APPLIED).and_then(|label| label.parse::<Digest>().ok());
    let fits = applied == Some(fingerprint(&found.spec)) && !head.is_some_and(|head| head.is_rollback);
    match (is_ours, was_ours) {
        (true, _) if fits => Origin::Applied,
        (true, _) | (false, true) => Origin::Drifted(head),
        (false, false) => Origin::Unlabelled,
    }
}

// === impl Plan ===

impl Plan<'_> {
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for change in &self.changes {
            let count = match change {
                Change::Create { .. } => &mut summary.create,
                Change::Update(Update { origin: Origin::Drifted(_), .. }) => &mut summary.drift,
                Change::Update(_) => &mut summary.update,
                Change::Unchanged { .. } => &mut summary.unchanged,
                Change::Foreign { .. } => &mut summary.foreign,
                Change::Prune { .. } => &mut summary.prune,
            };
            *count += 1;
        }
        summary
    }
}

// === impl Summary ===

impl Summary {
    /// Returns true if the cluster is as the folder says.
    pub fn is_empty(&self) -> bool {
        Self { unchanged: 0, ..*self } == Self::default()
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
