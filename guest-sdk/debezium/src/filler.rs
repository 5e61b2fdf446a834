//! Fillers: the values that a row `before` has in the place of values that nobody knows.
//!
//! PostgreSQL logs the columns of a table's replica identity alone, unless that is FULL. The connector writes null into the
//! other columns, and into those that are `NOT NULL` their default, or else the zero or the empty value of their type:
//!
//! | column | filler without a default |
//! |---|---|
//! | numbers, dates and times as numbers | `0` |
//! | decimals | zero, in the form that `decimal.handling.mode` gives it |
//! | booleans | `false` |
//! | text, UUID, `bytea` | the empty text |
//! | JSON, `hstore`, arrays | `{}`, `[]`, as values or in a text |
//! | times as texts | the beginning of 1970, midnight, an interval of nothing |
//!
//! `replace.null.with.default` of Kafka Connect's JSON converter (true by default) writes the default of a column for null, too.
//! Nothing in an event tells a filler from a value. So both are taken for a filler, and without a schema a default
//! that is none of the above is taken for a value.

use crate::decimal::{Decimal, is_variable_scale};
use crate::json::text::unescape;
use crate::json::{Kind, Value};

/// The way out where a key is not known for certain, for the end of an error's message.
pub const FILLER_HINT: &str = "before the change the row has none, or what Debezium writes into columns outside of the \
                               replica identity (zero, an empty value, the column's default): set REPLICA IDENTITY FULL on \
                               the table; a column that may be zero or empty must be in the record's key";

/// Texts of times that are fillers.
const TIMES: [&[u8]; 4] = [b"1970-01-01T00:00:00Z", b"1970-01-01Z", b"00:00:00Z", b"P0Y0M0DT0H0M0S"];
/// The base64 of a decimal zero.
const ZERO_BASE64: &[u8] = b"AA==";

/// Returns true if a row `before` may have this value because the right one is not known. `default` is the column's, by the
/// schema of the event.
pub(crate) fn may_be_filler(value: Value<'_>, default: Option<Value<'_>>) -> bool {
    let is_empty = match value.kind() {
        Kind::Null | Kind::Bool(false) => true,
        Kind::Bool(true) => false,
        Kind::Number(digits) => is_zero(digits),
        Kind::Text(text) => is_empty_text(text),
        Kind::Array => value.elements().is_some_and(|mut elements| matches!(elements.next(), Ok(None))),
        Kind::Object if is_variable_scale(value) => Decimal::from_variable_scale(value).is_ok_and(Decimal::is_zero),
        Kind::Object => value.members().is_some_and(|mut members| matches!(members.next(), Ok(None))),
    };
    is_empty || default.is_some_and(|default| is_same(value, default))
}

fn is_zero(digits: &[u8]) -> bool {
    Decimal::parse(digits).is_ok_and(Decimal::is_zero)
}

/// Returns true for a text that says nothing: also the JSON of an empty array or object, and zero.
fn is_empty_text(text: &[u8]) -> bool {
    let is_blank = |inside: &[u8]| inside.iter().all(u8::is_ascii_whitespace);
    match text {
        [] | [b'[', b']'] | [b'{', b'}'] => true,
        [b'[', inside @ .., b']'] | [b'{', inside @ .., b'}'] => is_blank(inside),
        text => text == ZERO_BASE64 || TIMES.contains(&text) || is_zero(text),
    }
}

/// Returns true if both are one value of JSON, however it is written.
fn is_same(value: Value<'_>, default: Value<'_>) -> bool {
    if value.text() == default.text() {
        return true;
    }
    match (value.kind(), default.kind()) {
        (Kind::Text(value), Kind::Text(default)) => {
            let plain = |text: &[u8]| {
                let mut plain = Vec::new();
                unescape(text, &mut plain).ok().map(|()| plain)
            };
            plain(value).is_some_and(|value| plain(default) == Some(value))
        }
        (Kind::Number(value), Kind::Number(default)) => {
            Decimal::parse(value).is_ok_and(|value| Decimal::parse(default) == Ok(value))
        }
        (Kind::Array, Kind::Array) | (Kind::Object, Kind::Object) => {
            let read = |value: Value<'_>| serde_json::from_slice::<serde_json::Value>(value.text()).ok();
            read(value).is_some_and(|value| read(default) == Some(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Columns;
    use crate::envelope::Event;
    use crate::json;
    use crate::json::scan::Index;

    #[track_caller]
    fn check(value: &str, default: Option<&str>, expected: bool) {
        let text = format!("[{value},{}]", default.unwrap_or("0"));
        let mut index = Index::default();
        let root = json::read(text.as_bytes(), &mut index).expect("the case is JSON");
        let mut elements = root.elements().expect("an array");
        let mut next = || elements.next().expect("JSON").expect("two");
        let value = next();
        assert_eq!(may_be_filler(value, default.map(|_| next())), expected, "{text}");
    }

    #[test]
    fn zero_and_empty_values_are_fillers() {
        for filler in [
            "null",
            "false",
            "0",
            "0.0",
            "-0",
            "0E-10",
            r#""""#,
            r#""0""#,
            r#""0.00""#,
            r#""AA==""#,
            r#"{"scale":2,"value":"AA=="}"#,
            "[]",
            "[ ]",
            "{}",
            r#""[]""#,
            r#""{}""#,
            r#""{ }""#,
            r#""1970-01-01T00:00:00Z""#,
            r#""1970-01-01Z""#,
            r#""00:00:00Z""#,
        ] {
            check(filler, None, true);
        }
        for value in [
            "7",
            "-0.01",
            "true",
            r#""a""#,
            r#"" ""#,
            r#""7""#,
            r#""[0]""#,
            r#""[""#,
            r#""1970-01-01T00:00:01Z""#,
            r#"{"scale":2,"value":"AQ=="}"#,
            r#"{"scale":2}"#,
            "[0]",
            "[null]",
        ] {
            check(value, None, false);
        }
    }

    #[test]
    fn the_default_of_the_schema_is_a_filler() {
        for (value, default, expected) in [
            (r#""n/a""#, r#""n/a""#, true),
            (r#""n\/a""#, r#""n/a""#, true),
            (r#""n/a ""#, r#""n/a""#, false),
            ("7", "7", true),
            ("7.0", "7", true),
            ("7", r#""7""#, false),
            ("true", "true", true),
            ("[1, 2]", "[1,2]", true),
            ("[1]", "[1,2]", false),
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, true),
            (r#""""#, r#""n/a""#, true),
        ] {
            check(value, Some(default), expected);
        }
    }

    #[test]
    fn a_row_before_is_known_but_for_its_fillers() {
        let fields = r#"[{"type":"string","default":"new","field":"status"},{"type":"int32","field":"n"}]"#;
        let rows = r#"{"id":7,"status":"new","n":0,"note":"n"}"#;
        for (schema, op, payload) in [
            (
                format!(r#"{{"fields":[{{"field":"before","fields":{fields}}}]}}"#),
                "d",
                format!(r#"{{"before":{rows},"op":"d"}}"#),
            ),
            (
                format!(r#"{{"fields":[{{"field":"after","fields":{fields}}}]}}"#),
                "d",
                format!(r#"{{"before":{rows},"op":"d"}}"#),
            ),
            (format!(r#"{{"fields":{fields}}}"#), "flat", rows.replace(r#""n":0"#, r#""n":0,"__deleted":"true""#)),
            ("null".to_owned(), "d", format!(r#"{{"before":{rows},"op":"d"}}"#)),
        ] {
            let has_default = schema != "null";
            let text = format!(r#"{{"schema":{schema},"payload":{payload}}}"#);
            let mut columns = Columns::default();
            let numbers = ["id", "status", "n", "note"].map(|name| columns.add(name));
            let mut index = Index::default();
            let event = Event::read(json::read(text.as_bytes(), &mut index).expect("JSON")).expect(op).expect(op);
            let row = event.known_before(&columns).expect(op).expect("it has one");
            let known = numbers.map(|column| row.get(column).map(|value| format!("{value:?}")));
            let status = if has_default { None } else { Some(r#""new""#.to_owned()) };
            assert_eq!(known, [Some("7".to_owned()), status, None, Some(r#""n""#.to_owned())], "{text}");
        }
    }
}
