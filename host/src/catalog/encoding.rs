//! Writes the records of the deployments topic, and the keys of all control records.

use crate::model::format::{Format, encode};
use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Revision};
use crate::model::units::Timestamp;
use crate::ports::LogRecord;

/// Makes the record, as written now: the moment of the change may be a forged one, which a broker would refuse.
pub fn encode_deployment(deployment: &Deployment, now: Timestamp) -> LogRecord {
    let value = encode(Format::Deployment, deployment);
    record(deployment.id.to_string(), value, now)
}

/// A record to be written.
pub fn record(key: String, value: Vec<u8>, timestamp: Timestamp) -> LogRecord {
    LogRecord { offset: 0, timestamp: timestamp.0, key: Some(key.into_bytes()), value: Some(value), headers: Vec::new() }
}

/// A revision, which stays beside the current state under a key of its own: `team/name@3`.
pub fn encode_revision(revision: &Revision, now: Timestamp) -> LogRecord {
    let value = encode(Format::Revision, revision);
    record(revision_key(&revision.id, revision.revision), value, now)
}

/// The end of a revision that is too old to be kept.
pub fn drop_revision(id: &TransformId, old: u64, by: &Revision) -> LogRecord {
    LogRecord { value: None, ..record(revision_key(id, old), Vec::new(), by.changed_at) }
}

fn revision_key(id: &TransformId, revision: u64) -> String {
    format!("{id}@{revision}")
}

/// The key of a control record; an error says why it is nobody's.
pub fn key(record: &LogRecord) -> Result<&str, String> {
    let key = record.key.as_deref().ok_or("it has no key")?;
    std::str::from_utf8(key).map_err(|_| "its key is not text".to_owned())
}
