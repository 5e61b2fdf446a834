//! The canonical form of a key. Converters write one key in several ways: with a schema around it, with spaces, with the
//! columns in another order, with other escapes. Two keys that say the same have one canonical form.

use std::borrow::Cow;

use crate::decimal;
use crate::json::{self, Value};

/// Longest key that is read as JSON, in bytes; longer ones are compared as they are.
pub const KEY_BYTES_MAX: usize = 64 * 1024;

/// The form in which two keys are compared.
///
/// A JSON object, list or text is written without spaces, its fields in the order of their names; the payload of Kafka
/// Connect's `{"schema":..,"payload":..}` stands for the whole, and numbers of one value are one number (`7`, `7.0`), also
/// a decimal that comes encoded with its scale. Every other key stays as it is: a bare number may be four bytes of something
/// else. So does a key that could be read in two ways, with a repeated field or half of a surrogate pair.
pub fn canonical(key: &[u8]) -> Cow<'_, [u8]> {
    read(key).map_or(Cow::Borrowed(key), |value| Cow::Owned(value.written().into_bytes()))
}

fn read(key: &[u8]) -> Option<Value> {
    if key.len() > KEY_BYTES_MAX || !matches!(key.trim_ascii_start().first()?, b'{' | b'[' | b'"') {
        return None;
    }
    json::parse(std::str::from_utf8(key).ok()?).map(unwrapped)
}

/// Takes the payload out of an object that has a schema beside it, and nothing else, and reads its decimals.
fn unwrapped(value: Value) -> Value {
    let (mut key, schema) = match value {
        Value::Object(mut fields)
            if fields.len() == 2
                && fields.contains_key("payload")
                && matches!(fields.get("schema"), Some(Value::Object(_) | Value::Null)) =>
        {
            let schema = fields.remove("schema").unwrap_or(Value::Null);
            (fields.remove("payload").unwrap_or(Value::Null), schema)
        }
        whole => (whole, Value::Null),
    };
    decimal::decode(&mut key, &schema);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of these keys say the same, and the first is their canonical form.
    #[track_caller]
    fn check(keys: &[&str]) {
        for key in keys {
            assert_eq!(String::from_utf8_lossy(&canonical(key.as_bytes())), keys[0], "{key}");
        }
    }

    #[track_caller]
    fn check_differ(one: &[u8], other: &[u8]) {
        let shown = String::from_utf8_lossy;
        assert_ne!(canonical(one), canonical(other), "{} and {}", shown(one), shown(other));
    }

    #[track_caller]
    fn check_stays(key: &[u8]) {
        assert_eq!(*canonical(key), *key, "{}", String::from_utf8_lossy(key));
    }

    #[test]
    fn keys_that_say_the_same_have_one_form() {
        let with_schema = r#"{"schema":{"type":"struct","fields":[{"type":"int32","field":"id"}]},"payload":{"id":7}}"#;
        let other_order = r#" {"payload": {"id": 7}, "schema": {}} "#;
        check(&[r#"{"id":7}"#, r#"{"id": 7}"#, " { \"id\" :\t7 }\n", with_schema, other_order]);
        check(&[r#"{"id":7}"#, r#"{"schema":null,"payload":{"id":7}}"#, r#"{"\u0069d":7}"#, r#"{"id":7.0}"#]);
        check(&[r#"{"line":2,"order":1}"#, r#"{"order":1,"line":2}"#, r#"{"order": 1, "line": 2}"#]);
        check(&[r#"{"a":{"b":[1,{"x":null,"y":true}],"c":false}}"#, r#"{"a":{"c":false,"b":[1, {"y":true,"x":null}]}}"#]);
        check(&[r#"{"n":"é/\"\\"}"#, r#"{"n":"\u00e9\/\"\\"}"#, r#"{"n":"\u00E9\u002f\u0022\u005c"}"#]);
        check(&[r#"{"n":"😀"}"#, r#"{"n":"\ud83d\ude00"}"#]);
        check(&[r#"{"n":"\u000a"}"#, r#"{"n":"\n"}"#]);
    }

    #[test]
    fn a_payload_that_is_no_object_stands_as_the_bare_key_would() {
        check(&["7", r#"{"schema":{"type":"int32","optional":false},"payload":7}"#]);
        check(&[r#""tea""#, r#"{"schema":{"type":"string"},"payload":"tea"}"#, r#" "t\u0065a""#]);
        check(&["null", r#"{"schema":null,"payload":null}"#]);
    }

    #[test]
    fn keys_that_say_something_else_stay_apart() {
        let pairs = [
            (r#"{"id":7}"#, r#"{"id":"7"}"#),
            (r#"{"id":7}"#, r#"{"id":7.5}"#),
            (r#"{"id":null}"#, "{}"),
            (r#"{"id":7}"#, r#"{"ID":7}"#),
            // A router adds the name of the table, since ids of two tables may be equal.
            (r#"{"id":7}"#, r#"{"id":7,"__dbz__physicalTableIdentifier":"a.orders_1"}"#),
            ("[1,2]", "[2,1]"),
            // Columns of these names, and no schema.
            (r#"{"schema":"public","payload":7}"#, "7"),
            (r#"{"schema":{},"payload":7,"more":1}"#, "7"),
            (r#"{"payload":7}"#, "7"),
            // A text that has JSON in it.
            (r#"{"id":7}"#, r#""{\"id\":7}""#),
        ];
        for (one, other) in pairs {
            check_differ(one.as_bytes(), other.as_bytes());
        }
        check_differ(b"7", b"7.0");
        check_differ(b"7", b" 7");
    }

    #[test]
    fn other_keys_stay_bytes() {
        let texts = [
            "",
            "7",
            "7.0",
            " 7",
            "0012",
            "tea",
            "null",
            " true",
            "{",
            "{\"id\":7",
            "{\"id\":07}",
            "{'id':7}",
            "{\"id\":7,}",
            "{\"id\": 7} x",
            "{\"id\": 7, \"id\": 8}",
            "{\"n\": \"\\ud83d\"}",
            "{\"n\": \"\\ude00\"}",
            "{\"n\": \"\\x\"}",
            "{\"n\": \"a\nb\"}",
            "{\"n\": +1}",
            "{\"n\": 1.}",
            "{\"n\": .5}",
            "{\"n\": 1e}",
            "{\"n\": NaN}",
            "[1, ]",
        ];
        for text in texts {
            check_stays(text.as_bytes());
        }
        check_stays(b"\x00\x00\x00\x00\x05\x0e");
        check_stays(b"{\"n\": \"\xff\"}");
        check_stays(format!("{}1{}", "[ ".repeat(100), "]".repeat(100)).as_bytes());
        check_stays(format!("{{\"n\": \"{}\"}}", "x".repeat(KEY_BYTES_MAX)).as_bytes());
    }
}
