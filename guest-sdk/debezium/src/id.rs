//! The name of a row: the value of its key column.

use crate::columns::Columns;
use crate::decimal::{Decimal, is_variable_scale};
use crate::json::scan::Index;
use crate::json::text::unescape;
use crate::json::{self, JsonError, Kind, Value};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The value of a key column: a whole number or a text. Numbers come before texts, in their own order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

/// The value of a column in a record's key, which is JSON with or without a schema around it. `None`: the key does not
/// have that column. The key may have other columns too, so that two rows have the same one: [`KeyColumns`] keeps the
/// key whole.
///
/// [`KeyColumns`]: crate::KeyColumns
pub fn key_id<'a>(
    columns: &Columns,
    column: usize,
    key: &'a [u8],
    index: &'a mut Index,
) -> Result<Option<Value<'a>>, JsonError> {
    let root = match json::read(key, index) {
        Ok(root) => root,
        // A key of one number or text, say: JSON, but no struct of columns.
        Err(_) if serde_json::from_slice::<serde::de::IgnoredAny>(key).is_ok() => return Ok(None),
        Err(error) => return Err(error),
    };
    let members = match (root.member(b"schema"), root.member(b"payload")) {
        (Ok(Some(_)), Ok(Some(payload))) => payload,
        _ => root,
    };
    let Some(members) = members.members() else { return Ok(None) };
    Ok(columns.pick(members)?.get(column))
}

// === impl Id ===

impl Id {
    /// The id that a value is; `None` where it is neither a whole number of 64 bits nor a text.
    pub fn read(value: Value<'_>) -> Option<Self> {
        match value.kind() {
            Kind::Number(digits) => str::from_utf8(digits).ok()?.parse().ok().map(Id::Number),
            Kind::Text(escaped) => {
                let mut plain = Vec::new();
                unescape(escaped, &mut plain).ok()?;
                String::from_utf8(plain).ok().map(Id::Text)
            }
            // Oracle's NUMBER.
            Kind::Object if is_variable_scale(value) => {
                let whole = Decimal::from_variable_scale(value).ok()?.whole()?;
                i64::try_from(whole).ok().map(Id::Number)
            }
            _ => None,
        }
    }

    /// The key of a record about it, as Kafka Connect's JSON converter writes one without a schema, for example
    /// `{"product_id":7}`: byte for byte, so that records of the connector and of transforms go to the same partition.
    pub fn key(&self, column: &str) -> String {
        let column = serde_json::Value::from(column);
        let id = self.json();
        format!("{{{column}:{id}}}")
    }

    /// Its JSON.
    pub fn json(&self) -> String {
        match self {
            Id::Number(number) => number.to_string(),
            Id::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        }
    }
}

/// The number or the text alone, as in a store's key.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Number(number) => number.fmt(f),
            Id::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_says_which_row_it_is() {
        let mut columns = Columns::default();
        let column = columns.add("product_id");
        let check = |key: &str, expected: Result<Option<Id>, JsonError>| {
            let mut index = Index::default();
            let found = key_id(&columns, column, key.as_bytes(), &mut index);
            assert_eq!(found.map(|value| value.and_then(Id::read)), expected, "{key}");
        };
        let number = |number| Ok(Some(Id::Number(number)));
        check(r#"{"product_id":7}"#, number(7));
        check(r#"{"schema":{"type":"struct"},"payload":{"product_id":-7}}"#, number(-7));
        check(r#"{"line":1, "product_id" : 9223372036854775807}"#, number(i64::MAX));
        check(r#"{"product_id":"a \"b\""}"#, Ok(Some(Id::Text("a \"b\"".to_owned()))));
        check(r#"{"order_id":7}"#, Ok(None));
        check(r#"{"product_id":1.5}"#, Ok(None));
        check(r#"{"product_id":null}"#, Ok(None));
        check("7", Ok(None));
        check("[7]", Ok(None));
        check("{", Err(JsonError::Ends));
    }

    #[test]
    fn keys_are_the_connectors() {
        assert_eq!(Id::Number(7).key("product_id"), r#"{"product_id":7}"#);
        assert_eq!(Id::Text("a\"b".to_owned()).key("sku"), r#"{"sku":"a\"b"}"#);
        assert_eq!(Id::Text("a\"b".to_owned()).to_string(), "a\"b");
        assert!(Id::Number(10) > Id::Number(9) && Id::Text(String::new()) > Id::Number(i64::MAX));
    }
}
