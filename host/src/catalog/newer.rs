//! Reads the deployments topic's records, also those of a newer host as far as this one understands them.
//!
//! A record is a newer host's if its version is, or if it names the transform and the revision that its key does, and some
//! part of it is unknown here: a field of the spec, say. Such a record is kept by its outline, and never written over. All
//! else that cannot be read is nobody's, and is skipped.

use crate::model::format::{Format, Head, Unreadable, decode};
use crate::model::names::{Digest, TransformId};
use crate::model::revision::{COUNT_MAX, Deployment, Desired, Generations, Revision};
use crate::model::units::Timestamp;

/// A record that was read: whole, or as far as this host understands it.
#[derive(Debug, PartialEq)]
pub enum ReadResult<W, O> {
    Whole(W),
    Outline(O),
}

/// The fields of a deployment that this host does understand, and why not the rest.
#[derive(Debug, PartialEq)]
pub struct Outline {
    pub revision: Option<u64>,
    pub module: Option<Digest>,
    pub desired: Option<Desired>,
    pub resets: Option<u64>,
    pub changed_at: Option<Timestamp>,
    pub changes: Option<u64>,
    pub reason: String,
}

/// Reads a record under the key of a transform; an error says why it is nobody's.
pub fn read_deployment(id: &TransformId, value: &[u8]) -> Result<ReadResult<Deployment, Outline>, String> {
    let error = match decode::<Deployment>(Format::Deployment, value) {
        Ok(mut deployment) => {
            if deployment.id != *id {
                return Err(format!("its key says {id}, its value {}", deployment.id));
            }
            if !deployment.is_plausible() {
                return Err(format!("a number in it is above {COUNT_MAX}, so far nobody has counted"));
            }
            deployment.rest.remove("version");
            return Ok(ReadResult::Whole(deployment));
        }
        Err(error) => error,
    };
    let head = Head::of(value);
    let revision = head.get("revision");
    let reason = newer(error, &head, id, revision)?;
    Ok(ReadResult::Outline(Outline {
        revision,
        module: head.get("module"),
        desired: head.get("desired"),
        resets: head.get("asked").map(|asked: Generations| asked.resets).filter(|resets| *resets <= COUNT_MAX),
        changed_at: head.get("changed_at"),
        changes: head.get("changes").filter(|changes| *changes <= COUNT_MAX),
        reason,
    }))
}

/// Reads a record under the key of a revision. An outline is only why this host does not understand it.
pub fn read_revision(id: &TransformId, number: u64, value: &[u8]) -> Result<ReadResult<Revision, String>, String> {
    let error = match decode::<Revision>(Format::Revision, value) {
        Ok(revision) if (&revision.id, revision.revision) == (id, number) => return Ok(ReadResult::Whole(revision)),
        Ok(revision) => return Err(format!("its key says {id}@{number}, its value {}@{}", revision.id, revision.revision)),
        Err(error) => error,
    };
    let head = Head::of(value);
    let revision: Option<u64> = head.get("revision");
    if let Some(revision) = revision.filter(|revision| *revision != number) {
        return Err(format!("its key says {id}@{number}, its value {revision}"));
    }
    newer(error, &head, id, revision).map(ReadResult::Outline)
}

/// Tells why a newer host's record is not understood; an error if no host wrote it.
fn newer(error: Unreadable, head: &Head, id: &TransformId, revision: Option<u64>) -> Result<String, String> {
    let named: Option<TransformId> = head.get("id");
    let is_other = named.as_ref().is_some_and(|named| named != id) || revision.is_some_and(|revision| revision > COUNT_MAX);
    let has_spec = head.get::<serde_json::Map<String, serde_json::Value>>("spec").is_some();
    match error {
        Unreadable::Newer(newer) if !is_other => Ok(newer.to_string()),
        Unreadable::Unknown(reason) if !is_other && named.is_some() && revision.is_some() && has_spec => Ok(reason),
        error => Err(error.to_string()),
    }
}

#[cfg(test)]
#[path = "newer_tests.rs"]
mod tests;
