//! A change event with typed rows.

use crate::envelope::{Event, Op};
use crate::json;
use crate::json::Value;
use crate::json::scan::Index;
use sandbar_sdk::{Error, FromValue, Result};
use serde::de::DeserializeOwned;

/// A change event whose rows are `T`: envelopes and flat rows, with and without a schema.
///
/// A flat row (`ExtractNewRecordState`) is `after`, its op [`Op::Flat`]. Rows that are not there, or null, are `None`.
/// Under REPLICA IDENTITY DEFAULT `before` has little more than the key, so that its type needs options or defaults.
#[derive(Clone, Debug)]
pub struct Change<T> {
    /// The kind of change.
    pub op: Op,
    /// The row before the change.
    pub before: Option<T>,
    /// The row after the change.
    pub after: Option<T>,
}

impl<'a, T: DeserializeOwned> FromValue<'a> for Change<T> {
    fn from_value(bytes: Option<&'a [u8]>) -> Result<Self> {
        let bytes = bytes.ok_or_else(|| Error::new("null, where the transform expects a change event"))?;
        let mut index = Index::default();
        let event = Event::read(json::read(bytes, &mut index)?)?;
        let event = event.ok_or_else(|| Error::new("null, where the transform expects a change event"))?;
        let row = |name: &str, row: Option<Value<'_>>| {
            let row = row.map(|row| serde_json::from_slice::<T>(row.text())).transpose();
            row.map_err(|error| Error::from(error).context(name))
        };
        Ok(Change { op: event.op, before: row("before", event.before)?, after: row("after", event.after)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Deserialize)]
    struct Row {
        n: u32,
    }

    #[test]
    fn rows_are_typed_in_every_shape() {
        #[track_caller]
        fn check(text: &str, expected: Result<(Op, Option<u32>, Option<u32>), &str>) {
            let change = Change::<Row>::from_value(Some(text.as_bytes()));
            let rows = change.map(|change| (change.op, change.before.map(|row| row.n), change.after.map(|row| row.n)));
            assert_eq!(rows.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{text}");
        }
        check(r#"{"before":null,"after":{"n":1,"m":2},"op":"c"}"#, Ok((Op::Create, None, Some(1))));
        check(r#"{"before":{"n":1},"after":{"n":2},"op":"u"}"#, Ok((Op::Update, Some(1), Some(2))));
        check(r#"{"before":{"n":1},"after":null,"op":"d"}"#, Ok((Op::Delete, Some(1), None)));
        check(r#"{"schema":{},"payload":{"before":null,"after":{"n":1},"op":"r"}}"#, Ok((Op::Read, None, Some(1))));
        check(r#"{"n":1}"#, Ok((Op::Flat, None, Some(1))));
        check(r#"{"schema":{},"payload":null}"#, Err("null, where the transform expects a change event"));
        check(
            r#"{"before":null,"after":{"n":-1},"op":"c"}"#,
            Err("after: invalid value: integer `-1`, expected u32 at line 1 column 7"),
        );
        check("1", Err("a comma, a colon, a quote or a bracket is missing or out of place"));
    }
}
