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

/// The records of a new revision beside the current state: itself, the one before it where nobody has written it yet,
/// and tombstones for those that are too old to be kept.
pub fn history(all: &Deployments, id: &TransformId, latest: Option<&Deployment>, next: &Revision) -> Vec<LogRecord> {
    let kept = all.kept(id);
    let too_old = kept.range(..=next.revision.saturating_sub(REVISIONS_MAX)).map(|(&old, _)| drop_revision(id, old, next));
    let is_written = |latest: &Deployment| {
        kept.contains_key(&latest.revision) || all.unread(id).any(|(revision, _)| revision == latest.revision)
    };
    let unwritten = latest.filter(|latest| latest.is_whole() && !is_written(latest)).map(Deployment::to_revision);
    let written = unwritten.iter().chain([next]).map(|revision| encode_revision(revision, next.changed_at));
    too_old.chain(written).collect()
}
