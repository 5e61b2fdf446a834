//! A change event in each of the shapes that Debezium gives it: with and without `{"schema": .., "payload": ..}` around
//! it, as an envelope or flattened by `ExtractNewRecordState`.

use crate::json::{JsonError, Kind, Value};

/// A change of one row, or another event that stands among the changes.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The kind of change.
    pub op: Op,
    /// The row before the change: whole under REPLICA IDENTITY FULL, otherwise mostly absent.
    pub before: Option<Value<'a>>,
    /// The row after the change.
    pub after: Option<Value<'a>>,
    /// The schema of the event, where it came with one.
    pub(crate) schema: Option<Value<'a>>,
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
    /// A row without an envelope. The row itself may have an op.
    Flat,
}

/// Why something is not a change event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The reason is the source of the error.
    #[error("the value is not JSON")]
    Malformed(#[from] JsonError),
    /// JSON, but no event and no row.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// An op of a later version, say.
    #[error("the event's op is {0:?}, which Debezium does not have")]
    UnknownOp(String),
}

/// The members that tell an envelope from a row.
#[derive(Default)]
struct Parts<'a> {
    before: Option<Value<'a>>,
    after: Option<Value<'a>>,
    op: Option<Value<'a>>,
    source: Option<Value<'a>>,
    schema: Option<Value<'a>>,
    payload: Option<Value<'a>>,
    count: usize,
}

// === impl Event ===

impl<'a> Event<'a> {
    /// Reads an event; `None` is a tombstone that wears a wrapper.
    pub fn read(root: Value<'a>) -> Result<Option<Self>, EventError> {
        let parts = Parts::of(root)?;
        match (parts.schema, parts.payload) {
            (Some(schema), Some(payload)) if parts.count == 2 => {
                if payload.is_null() {
                    return Ok(None);
                }
                let schema = (!schema.is_null()).then_some(schema);
                Event::unwrapped(payload, Parts::of(payload)?, schema).map(Some)
            }
            _ => Event::unwrapped(root, parts, None).map(Some),
        }
    }

    fn unwrapped(root: Value<'a>, parts: Parts<'a>, schema: Option<Value<'a>>) -> Result<Self, EventError> {
        let Some(op) = parts.envelope_op() else {
            return Ok(Event { op: Op::Flat, before: None, after: Some(root), schema });
        };
        let row = |value: Option<Value<'a>>| value.filter(|value| !value.is_null());
        let op = Op::parse(op).ok_or_else(|| EventError::UnknownOp(String::from_utf8_lossy(op).into_owned()))?;
        Ok(Event { op, before: row(parts.before), after: row(parts.after), schema })
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
}

// === impl Parts ===

impl<'a> Parts<'a> {
    fn of(root: Value<'a>) -> Result<Self, EventError> {
        let mut members = root.members().ok_or(EventError::NotAnObject)?;
        let mut parts = Parts::default();
        while let Some((name, value)) = members.next()? {
            parts.count += 1;
            let part = match name {
                b"before" => &mut parts.before,
                b"after" => &mut parts.after,
                b"op" => &mut parts.op,
                b"source" => &mut parts.source,
                b"schema" => &mut parts.schema,
                b"payload" => &mut parts.payload,
                // An envelope begins with `before` or `op`, a wrapper with `schema`: this is a row, perhaps a wide one.
                _ if parts.count == 1 => return Ok(parts),
                _ => continue,
            };
            *part = Some(value);
        }
        Ok(parts)
    }

    /// The op, if this is an envelope. A row may have columns of these names, but hardly with an object in them.
    fn envelope_op(&self) -> Option<&'a [u8]> {
        let is_object = |part: Option<Value<'_>>| part.is_some_and(|value| value.kind() == Kind::Object);
        match self.op?.kind() {
            Kind::Text(op) if is_object(self.source) || is_object(self.after) || is_object(self.before) => Some(op),
            _ => None,
        }
    }
}
