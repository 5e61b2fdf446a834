//! The revisions that stay beside the current state of a transform.

use std::sync::Arc;

use crate::model::names::TransformId;
use crate::model::revision::{Deployment, REVISIONS_MAX, Revision};
use crate::ports::LogRecord;

use super::deployments::Deployments;
use super::encoding::{drop_revision, encode_revision};
use super::error::CatalogError;

/// The revision that a rollback goes back to.
pub fn rollback_target(all: &Deployments, id: &TransformId, to: Option<u64>) -> Result<Arc<Revision>, CatalogError> {
    let live = all.live(id).ok_or_else(|| CatalogError::NoTransform(id.clone()))?;
    CatalogError::unless_understood(live)?;
    let to = to.or_else(|| {
        let understood = all.revisions(id).into_iter().map(|revision| revision.revision);
        let all = understood.chain(all.unread(id).map(|(revision, _)| revision));
        all.filter(|revision| *revision < live.revision).max()
    });
    to.and_then(|to| all.revision(id, to)).ok_or_else(|| no_revision(all, id, to))
}

/// The error of a revision that cannot be had: a newer host's, or none.
pub fn no_revision(all: &Deployments, id: &TransformId, revision: Option<u64>) -> CatalogError {
    let unread = all.unread(id).find(|(unread, _)| Some(*unread) == revision);
    match unread {
        Some((number, reason)) => CatalogError::Newer { what: format!("{id}@{number}"), reason: reason.to_owned() },
        None => CatalogError::NoRevision { id: id.clone(), revision },
    }
}

/// The change of a transform's history by a new revision.
pub struct HistoryChange {
    pub records: Vec<LogRecord>,
    /// The bytes of the revisions that end.
    dropped_bytes: u64,
}

impl HistoryChange {
    /// Writes a new revision beside the current state, with the one before it where nobody has written it yet, and ends
    /// those that are too old to be kept. The revisions of a newer host stay: it ends them itself.
    pub fn of(all: &Deployments, id: &TransformId, latest: Option<&Deployment>, next: &Revision) -> Self {
        let kept = all.kept(id);
        let old = kept.range(..=next.revision.saturating_sub(REVISIONS_MAX)).filter(|(_, old)| old.content.is_ok());
        let dropped_bytes = old.clone().map(|(_, old)| old.bytes).fold(0, u64::saturating_add);
        let ends = old.map(|(&number, _)| drop_revision(id, number, next));
        let unwritten = latest.filter(|latest| latest.is_whole() && !kept.contains_key(&latest.revision));
        let unwritten = unwritten.map(Deployment::to_revision);
        let written = unwritten.iter().chain([next]).map(|revision| encode_revision(revision, next.changed_at));
        Self { records: ends.chain(written).collect(), dropped_bytes }
    }

    /// The bytes of all kept revisions of the team after this change, from those before it.
    pub fn revision_bytes(&self, before: u64) -> u64 {
        let written = self.records.iter().filter_map(|record| record.value.as_ref()).map(|value| value.len() as u64);
        written.fold(before.saturating_sub(self.dropped_bytes), u64::saturating_add)
    }
}
