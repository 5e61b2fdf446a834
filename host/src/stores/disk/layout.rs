//! The bytes of a store in its keyspace.
//!
//! | key | value |
//! |---|---|
//! | `d` and an entry's key | when it was written (ms, little-endian), its value |
//! | `v` | the version of this layout (little-endian, 32 bits); without it, 1 |
//! | `m` | the mark: position, bytes, entries, time, and the changelog topic that it is of |
//! | `t` | the id of that topic, where the log knows one; a topic that is created again has another. Without it, unknown |
//! | `u` | the time (ms, little-endian) until which a worker had the store open, if that is long after the mark's |
//!
//! An older host knows no `t` and no `u`, and leaves them as they are. So a copy of a topic that it took for another one of
//! that name is told by a newer host.

use crate::model::units::Timestamp;
use crate::state::local::{Entry, LocalError, Mark};

pub(super) const MARK_KEY: &[u8] = b"m";
pub(super) const ENTRY_PREFIX: u8 = b'd';
pub(super) const LAYOUT_KEY: &[u8] = b"v";
pub(super) const TOPIC_ID_KEY: &[u8] = b"t";
pub(super) const USED_KEY: &[u8] = b"u";

pub(super) fn data_key(key: &[u8]) -> Vec<u8> {
    let mut own = Vec::with_capacity(key.len() + 1);
    own.push(ENTRY_PREFIX);
    own.extend_from_slice(key);
    own
}

pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let mut value = Vec::with_capacity(8 + entry.value.len());
    value.extend_from_slice(&entry.written_at.0.to_le_bytes());
    value.extend_from_slice(&entry.value);
    value
}

pub(super) fn decode(value: &[u8]) -> Result<Entry, LocalError> {
    let (at, value) = value.split_first_chunk().ok_or_else(|| LocalError("local store: an entry is cut off".into()))?;
    Ok(Entry { written_at: Timestamp(i64::from_le_bytes(*at)), value: value.to_vec() })
}

pub(super) fn encode_mark(mark: &Mark, topic: &str) -> Vec<u8> {
    let numbers = [mark.position, mark.bytes as i64, mark.entries as i64, mark.at];
    let mut value: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    value.extend_from_slice(topic.as_bytes());
    value
}

pub(super) fn decode_mark(value: &[u8], topic: &str) -> Result<Mark, LocalError> {
    let numbers: Vec<i64> =
        value.chunks_exact(8).take(4).map(|chunk| i64::from_le_bytes(chunk.try_into().expect("8 bytes"))).collect();
    match (numbers.as_slice(), value.get(32..)) {
        (&[position, bytes, entries, at], Some(of)) if of == topic.as_bytes() => {
            Ok(Mark { position, bytes: bytes as u64, entries: entries as u64, at })
        }
        _ => Err(LocalError(format!("local store: it is not of {topic}"))),
    }
}
