//! The members of a value that tell an envelope from a row, and from what is neither.

use super::EventError;
use crate::json::{Kind, Value};

/// The members of a value by which it is recognised.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub before: Option<Value<'a>>,
    pub after: Option<Value<'a>>,
    pub op: Option<Value<'a>>,
    /// True for the `updateDescription` of the MongoDB connector.
    pub has_update_description: bool,
    source: Option<Value<'a>>,
    schema: Option<Value<'a>>,
    payload: Option<Value<'a>>,
    has_time: bool,
    /// The members that `ExtractNewRecordState` adds: the value is a flat row for certain.
    pub flat_op: Option<Value<'a>>,
    pub flat_deleted: Option<Value<'a>>,
    count: usize,
    /// The number of members that an envelope has too.
    known_count: usize,
    /// One bit for each member in [`MARKS`].
    marks: u16,
}

/// Members of other events, each with its bit.
const MARKS: [(&[u8], u16); 8] = [
    (b"event_count", 1),
    (b"data_collections", 2),
    (b"ddl", 4),
    (b"tableChanges", 8),
    (b"databaseName", 16),
    (b"specversion", 32),
    (b"status", 64),
    (b"datacontenttype", 128),
];

// === impl Parts ===

impl<'a> Parts<'a> {
    pub(super) fn of(root: Value<'a>) -> Result<Self, EventError> {
        let mut members = root.members().ok_or(EventError::NotAnObject)?;
        let mut parts = Parts::default();
        while let Some((name, value)) = members.next()? {
            parts.count += 1;
            parts.add(name, value);
        }
        Ok(parts)
    }

    #[inline]
    fn add(&mut self, name: &[u8], value: Value<'a>) {
        // Most columns are told apart by the length and the first byte of their names.
        match (name.len(), name.first()) {
            (2, Some(b'o')) if name == b"op" => self.op = Some(value),
            (5, Some(b'a')) if name == b"after" => self.after = Some(value),
            (6, Some(b'b')) if name == b"before" => self.before = Some(value),
            (6, Some(b's')) if name == b"source" => self.source = Some(value),
            (5, Some(b't')) if matches!(name, b"ts_ms" | b"ts_us" | b"ts_ns") => self.has_time = true,
            (11, Some(b't')) if name == b"transaction" => {}
            (7, Some(b'm')) if name == b"message" => {}
            (17, Some(b'u')) if name == b"updateDescription" => self.has_update_description = true,
            (6, Some(b's')) if name == b"schema" => return self.schema = Some(value),
            (7, Some(b'p')) if name == b"payload" => return self.payload = Some(value),
            (4, Some(b'_')) if name == b"__op" => return self.flat_op = Some(value),
            (9, Some(b'_')) if name == b"__deleted" => return self.flat_deleted = Some(value),
            (3 | 6 | 11 | 12 | 15 | 16, Some(b'd' | b'e' | b's' | b't')) => return self.mark(name),
            _ => return,
        }
        self.known_count += 1;
    }

    fn mark(&mut self, name: &[u8]) {
        if let Some((_, mark)) = MARKS.iter().find(|(marked, _)| *marked == name) {
            self.marks |= mark;
        }
    }

    /// The schema and the payload, where that is all. Columns of a row with these names hold texts, say.
    pub(super) fn wrapped(&self) -> Option<(Value<'a>, Value<'a>)> {
        let schema = self.schema.filter(|schema| matches!(schema.kind(), Kind::Object | Kind::Null))?;
        self.payload.filter(|_| self.count == 2).map(|payload| (schema, payload))
    }

    /// Tells an envelope (true) from a flat row (false).
    ///
    /// # Errors
    /// Fails if the value is neither for certain.
    pub(super) fn is_envelope(&self) -> Result<bool, EventError> {
        let is_object = |part: Option<Value<'_>>| part.is_some_and(|value| value.kind() == Kind::Object);
        let is_text = self.op.is_some_and(|op| matches!(op.kind(), Kind::Text(_)));
        // A flat row has no objects but decimals, maps and points.
        let has_row = is_object(self.before) || is_object(self.after);
        let is_flattened = self.flat_op.is_some() || self.flat_deleted.is_some();
        if is_flattened && !has_row {
            return Ok(false);
        }
        let is_whole = self.known_count == self.count;
        let has_row_member = self.before.is_some() || self.after.is_some();
        if is_text && is_object(self.source) && !has_row_member && !is_whole {
            return Err(EventError::OtherMembers);
        }
        if is_text && (has_row || is_object(self.source)) {
            return Ok(true);
        }
        if self.op.is_some() && (has_row || is_whole) {
            return Ok(true);
        }
        // An audit table may have columns of these names. Taken for an envelope, a row whose `op` is d would be a delete.
        if self.op.is_some() && has_row_member {
            return Err(EventError::NoSource);
        }
        if let Some(foreign) = self.foreign_event() {
            return Err(EventError::Foreign(foreign));
        }
        match (self.before.is_some(), self.after.is_some()) {
            (true, true) => Err(EventError::NoOp("it has `before` and `after`, as an envelope")),
            (true, false) => Err(EventError::NoOp("it has `before`, as an envelope")),
            (false, true) => Err(EventError::NoOp("it has `after`, as an envelope")),
            (false, false) if is_object(self.payload) => Err(EventError::NoOp("it has a `payload` that is an object")),
            (false, false) if is_object(self.source) => Err(EventError::NoOp("it has a `source` that is an object")),
            (false, false) => Ok(false),
        }
    }

    /// The name of an event that is about something else than a row.
    pub(super) fn foreign_event(&self) -> Option<&'static str> {
        let has = |marks: u16| self.marks & marks == marks;
        if self.count == 0 {
            Some("an empty object")
        } else if self.count == 1 && self.has_time {
            Some("a heartbeat")
        } else if has(1 | 2 | 64) {
            Some("the begin or the end of a transaction (provide.transaction.metadata)")
        } else if has(4 | 16) || has(8 | 16) || has(4 | 8) {
            Some("a change of a schema")
        } else if has(32 | 128) || (has(32) && self.source.is_some()) {
            Some("a CloudEvent, which is not read: use the JSON converter")
        } else {
            None
        }
    }
}
