//! Reads the status topic's records, also those of a newer host: it is there, whatever it says of itself, and its transforms
//! are told as far as this host understands them.

use serde_json::Value;

use crate::model::codes::Code;
use crate::model::format::{Format, Head, Unreadable, decode};
use crate::model::json;
use crate::model::names::TransformId;
use crate::model::revision::COUNT_MAX;
use crate::model::status::{HostStatus, LastError, PartitionStatus, Rollout, RolloutState, State, TransformStatus};
use crate::model::units::Timestamp;

/// A host, by its record.
pub fn read_host(key: &str, value: &[u8]) -> Result<HostStatus, String> {
    let newer = match decode(Format::Host, value) {
        Ok(status) => return Ok(status),
        Err(Unreadable::Unknown(reason) | Unreadable::Foreign(reason)) => return Err(reason),
        Err(Unreadable::Newer(newer)) => newer,
    };
    let head = Head::of(value);
    let known = HostStatus::new(key, head.get("started_at").unwrap_or(Timestamp(0)));
    Ok(HostStatus {
        host: head.get("host").ok_or_else(|| newer.to_string())?,
        url: head.get("url"),
        version: head.get("version").unwrap_or_default(),
        seen_at: head.get("seen_at").unwrap_or(Timestamp(0)),
        transforms: head.get("transforms").unwrap_or(0),
        partitions: head.get("partitions").unwrap_or(0),
        // Hosts read what earlier ones wrote: it understands what this one does, at least.
        formats: head.get("formats").unwrap_or(known.formats),
        started_at: known.started_at,
    })
}

/// A transform on a host, by its record.
pub fn read_status(id: &TransformId, host: &str, value: &[u8]) -> Result<TransformStatus, String> {
    let error = match decode(Format::Status, value) {
        Ok(status) => return Ok(status),
        Err(error) => error,
    };
    let head = Head::of(value);
    let named: Option<TransformId> = head.get("team").zip(head.get("name")).map(|(team, name)| TransformId { team, name });
    let is_other = named.is_some_and(|named| named != *id) || head.get::<String>("host").is_none_or(|named| named != host);
    let revision: Option<u64> = head.get("revision").filter(|revision| *revision <= COUNT_MAX);
    // A code of an error that is unknown here is as much a newer host's as a version.
    let is_newer = !matches!(error, Unreadable::Foreign(_));
    if is_other || !is_newer {
        return Err(error.to_string());
    }
    let revision = revision.ok_or_else(|| error.to_string())?;
    let unheard = Rollout { revision: 0, state: RolloutState::InProgress, error: None };
    let message = format!("host {host} tells what this host does not understand: {error}");
    Ok(TransformStatus {
        id: id.clone(),
        state: head.get("state").unwrap_or(State::Unknown),
        revision,
        rollout: head.get("rollout").unwrap_or(unheard),
        host: host.to_owned(),
        error: Some(LastError { code: Code::NewerFormat, message, offset: None, at: Timestamp(0) }),
        partitions: head.get::<Vec<Value>>("partitions").unwrap_or_default().into_iter().filter_map(partition).collect(),
        truncated: head.get("truncated").unwrap_or(false),
        omitted: head.get("omitted"),
        hosts_wanted: head.get("hosts_wanted"),
        activity: head.get("activity"),
    })
}

/// A partition, without an error or a state that this host does not know.
fn partition(mut value: Value) -> Option<PartitionStatus> {
    let fields = value.as_object_mut()?;
    if fields.get("error").is_some_and(|error| json::of_value::<LastError>(error).is_err()) {
        fields.remove("error");
    }
    if fields.get("state").is_some_and(|state| state.is_string() && json::of_value::<State>(state).is_err()) {
        fields.insert("state".into(), State::Unknown.as_str().into());
    }
    json::of_value(&value).ok()
}

#[cfg(test)]
#[path = "newer_tests.rs"]
mod tests;
