//! A change event in each of the shapes that Debezium gives it: with and without `{"schema": .., "payload": ..}` around
//! it, as an envelope or flattened by `ExtractNewRecordState`. Everything else is refused by its name.

mod parts;

use crate::json::{JsonError, Kind, Value};
use parts::Parts;
use serde::Deserialize;

/// A change of one row, or another event that stands among the changes.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The kind of change; [`Op::Flat`] for a flat row that is there.
    pub op: Op,
    /// The kind of change that the row itself tells: for a flat row its `__op` (`add.fields=op`), or an update without one;
    /// for others the op.
    pub row_op: Op,
    /// The row before the change: whole under REPLICA IDENTITY FULL. Under another one it is absent, or its columns outside of
    /// the replica identity are null; those that are `NOT NULL` hold zero, an empty value or their default.
    /// [`Event::known_before`] leaves these out.
    pub before: Option<Value<'a>>,
    /// The row after the change. Creates, reads, updates and flat rows have one.
    pub after: Option<Value<'a>>,
    /// The schema of the event, where it came with one.
    pub(crate) schema: Option<Value<'a>>,
    /// True for a row without an envelope, whose schema is that of the row.
    pub(crate) is_flat: bool,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `c`: the row is new.
    Create,
    /// `r`: a snapshot has read the row. It may be known already.
    Read,
    /// `u`: the row has changed.
    Update,
    /// `d`: the row is gone.
    Delete,
    /// `t`: all rows of the table are gone.
    Truncate,
    /// `m`: a message that a program wrote to PostgreSQL's log.
    Message,
    /// A row without an envelope, which is there: [`Event::row_op`] is its own op. One that `ExtractNewRecordState` marks as
    /// deleted is a [`Op::Delete`], and its row `before`.
    Flat,
}

/// The form of a topic's events, as a configuration says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    /// Both forms. A value that could be an envelope which lost a part is refused: it is no flat row for certain.
    #[default]
    Auto,
    /// Debezium's envelopes only.
    Debezium,
    /// Flat rows only, whatever the names of their columns are.
    Flat,
}

/// The reason why something is not a change event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The reason is the source of the error.
    #[error("the value is not JSON")]
    Malformed(#[from] JsonError),
    /// JSON, but no event and no row.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// A wrapper with something else in it.
    #[error("the value's `payload` is {0}, where an event or a row is expected")]
    Payload(&'static str),
    /// An op of a later version, say.
    #[error("the event's op is {0:?}, which Debezium does not have")]
    UnknownOp(String),
    /// An op that is no text.
    #[error("the event's op is {0}, where Debezium has one of c, r, u, d, t, m")]
    OpIs(&'static str),
    /// Another mark in a flat row than `ExtractNewRecordState` writes.
    #[error("the row's `__deleted` is {0}, where it is true or false")]
    Deleted(String),
    /// A row of an envelope that is no object.
    #[error("the event's `{0}` is {1}, and no JSON object{hint}", hint = document_hint(.1))]
    RowIs(&'static str, &'static str),
    /// A change without its row.
    #[error("the event's op is {0:?}, but it has no row `{1}`{hint}", hint = changes_hint(*.2))]
    NoRow(Op, &'static str, bool),
    /// An envelope, as far as it is there.
    #[error("the value has no `op`, and is no row for certain: {0}. If it is a flat row, set `envelope: flat`")]
    NoOp(&'static str),
    /// A row of an audit table, say, whose columns have the names of an envelope's members.
    #[error(
        "the value has an `op` and columns beside it, but neither a row nor a `source`, and is no envelope for certain. If it \
         is a flat row, set `envelope: flat`"
    )]
    NoSource,
    /// A row whose columns have the names of an envelope's members, too, but no envelope of Debezium: that has its rows, at
    /// least as null, or no members but its own.
    #[error(
        "the value has an `op`, a `source` and columns beside them, but neither `before` nor `after`, and is no envelope for \
         certain. If it is a flat row, set `envelope: flat`; if it is an event of Debezium, `envelope: debezium`"
    )]
    OtherMembers,
    /// A flat row where the configuration expects an envelope.
    #[error("the value has no `op`, but the configuration says `envelope: debezium`")]
    NotAnEnvelope,
    /// An event about something else than a row.
    #[error("the value is {0}, and no change of a row")]
    Foreign(&'static str),
}

/// The text that JSON's kinds have in an error.
pub(crate) const TEXT: &str = "a JSON text";

fn document_hint(found: &str) -> &'static str {
    if found == TEXT {
        " (the MongoDB connector writes documents as texts: flatten them with its ExtractNewDocumentState)"
    } else {
        ""
    }
}

fn changes_hint(has_update_description: bool) -> &'static str {
    if has_update_description {
        " (the MongoDB connector has sent the changed fields only: set capture.mode=change_streams_update_full)"
    } else {
        ""
    }
}

// === impl Event ===

impl<'a> Event<'a> {
    /// Reads an event of either form. `None`: a tombstone in a wrapper.
    ///
    /// # Errors
    /// Fails if the value is neither an event nor a flat row for certain.
    pub fn read(root: Value<'a>) -> Result<Option<Self>, EventError> {
        Event::read_as(root, Envelope::Auto)
    }

    /// Reads an event of this form. `None`: a tombstone in a wrapper.
    ///
    /// # Errors
    /// Fails if the value is no such event.
    pub fn read_as(root: Value<'a>, envelope: Envelope) -> Result<Option<Self>, EventError> {
        let parts = Parts::of(root)?;
        let Some((schema, payload)) = parts.wrapped() else {
            return Event::unwrapped(root, &parts, envelope, None).map(Some);
        };
        match payload.kind() {
            Kind::Null => Ok(None),
            Kind::Object => {
                let schema = (!schema.is_null()).then_some(schema);
                Event::unwrapped(payload, &Parts::of(payload)?, envelope, schema).map(Some)
            }
            _ => Err(EventError::Payload(name_of(payload))),
        }
    }

    fn unwrapped(
        root: Value<'a>,
        parts: &Parts<'a>,
        envelope: Envelope,
        schema: Option<Value<'a>>,
    ) -> Result<Self, EventError> {
        let is_envelope = match envelope {
            Envelope::Flat => false,
            Envelope::Debezium => {
                if parts.op.is_none() {
                    return Err(parts.foreign_event().map_or(EventError::NotAnEnvelope, EventError::Foreign));
                }
                true
            }
            Envelope::Auto => parts.is_envelope()?,
        };
        if !is_envelope {
            return Event::flat(root, parts, schema);
        }
        let op = match parts.op {
            Some(op) => Op::of(op)?,
            None => return Err(EventError::NotAnEnvelope),
        };
        let before = row("before", parts.before)?;
        let after = row("after", parts.after)?;
        if after.is_none() && matches!(op, Op::Create | Op::Read | Op::Update) {
            return Err(EventError::NoRow(op, "after", parts.has_update_description));
        }
        Ok(Event { op, row_op: op, before, after, schema, is_flat: false })
    }

    fn flat(root: Value<'a>, parts: &Parts<'a>, schema: Option<Value<'a>>) -> Result<Self, EventError> {
        let row_op = match parts.flat_op.filter(|op| !op.is_null()) {
            Some(op) => Op::of(op)?,
            // Nothing says that the row is new.
            None => Op::Update,
        };
        let is_deleted = match parts.flat_deleted.map(|deleted| (deleted, deleted.kind())) {
            Some((_, Kind::Text(b"true") | Kind::Bool(true))) => true,
            None | Some((_, Kind::Text(b"false") | Kind::Bool(false))) => false,
            Some((deleted, _)) => return Err(EventError::Deleted(format!("{deleted:?}"))),
        };
        let event = Event { op: row_op, row_op, before: None, after: None, schema, is_flat: true };
        Ok(match row_op {
            Op::Truncate | Op::Message => event,
            _ if is_deleted || row_op == Op::Delete => {
                Event { op: Op::Delete, row_op: Op::Delete, before: Some(root), ..event }
            }
            _ => Event { op: Op::Flat, after: Some(root), ..event },
        })
    }
}

/// A row of an envelope: an object, or nothing.
fn row<'a>(name: &'static str, value: Option<Value<'a>>) -> Result<Option<Value<'a>>, EventError> {
    match value.map(Value::kind) {
        None | Some(Kind::Null) => Ok(None),
        Some(Kind::Object) => Ok(value),
        Some(_) => Err(EventError::RowIs(name, value.map_or("nothing", name_of))),
    }
}

/// The schema and the payload of a value that comes with both; of another one, itself.
pub(crate) fn unwrap(root: Value<'_>) -> Result<(Option<Value<'_>>, Value<'_>), JsonError> {
    match Parts::of(root) {
        Ok(parts) => Ok(parts.wrapped().map_or((None, root), |(schema, payload)| (Some(schema), payload))),
        Err(EventError::Malformed(error)) => Err(error),
        Err(_) => Ok((None, root)),
    }
}

/// The kind of a value, for an error.
pub(crate) fn name_of(value: Value<'_>) -> &'static str {
    match value.kind() {
        Kind::Null => "null",
        Kind::Text(_) => TEXT,
        Kind::Number(_) => "a number",
        Kind::Bool(_) => "true or false",
        Kind::Array => "a JSON array",
        Kind::Object => "a JSON object",
    }
}

// === impl Op ===

impl Op {
    /// The op of this letter.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"c" => Op::Create,
            b"r" => Op::Read,
            b"u" => Op::Update,
            b"d" => Op::Delete,
            b"t" => Op::Truncate,
            b"m" => Op::Message,
            _ => return None,
        })
    }

    fn of(value: Value<'_>) -> Result<Self, EventError> {
        match value.kind() {
            Kind::Text(letter) => {
                Op::parse(letter).ok_or_else(|| EventError::UnknownOp(String::from_utf8_lossy(letter).into_owned()))
            }
            _ => Err(EventError::OpIs(name_of(value))),
        }
    }
}

#[cfg(test)]
mod tests;
