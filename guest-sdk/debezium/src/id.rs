//! The name of a row: the value of its key column.

use crate::decimal::{Decimal, is_variable_scale};
use crate::json::text::unescape;
use crate::json::{Kind, Value};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The value of a key column: a whole number or a text. Numbers come before texts, in their own order.
///
/// In a typed row, a decimal that is whole is read as its number, in each form that [`Decimal`] is read in by a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

struct IdVisitor;

/// A number of Oracle, and a `NUMERIC` of no scale: `{"scale":0,"value":"Bw=="}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariableScale {
    scale: i32,
    value: String,
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
            Kind::Object if is_variable_scale(value) => Id::of_decimal(Decimal::from_variable_scale(value).ok()?),
            _ => None,
        }
    }

    fn of_decimal(decimal: Decimal) -> Option<Self> {
        i64::try_from(decimal.whole()?).ok().map(Id::Number)
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

// === impl IdVisitor ===

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

impl<'de> Visitor<'de> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of 64 bits or a text")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Id, E> {
        Ok(Id::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
        match i64::try_from(number) {
            Ok(number) => Ok(Id::Number(number)),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
        Ok(Id::Text(text.to_owned()))
    }

    /// Takes the digits of a decimal, as a row has read them by the schema.
    fn visit_bytes<E: Error>(self, digits: &[u8]) -> Result<Id, E> {
        let id = Decimal::parse(digits).ok().and_then(Id::of_decimal);
        id.ok_or_else(|| E::invalid_value(Unexpected::Other(&String::from_utf8_lossy(digits)), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Id, A::Error> {
        let VariableScale { scale, value } = VariableScale::deserialize(MapAccessDeserializer::new(map))?;
        let id = Decimal::from_base64(value.as_bytes(), scale).ok().and_then(Id::of_decimal);
        id.ok_or_else(|| A::Error::invalid_value(Unexpected::Str(&value), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::json::scan::Index;

    #[test]
    fn an_id_is_a_whole_number_or_a_text() {
        #[track_caller]
        fn check(value: &str, expected: Option<Id>) {
            let text = format!("[{value}]");
            let mut index = Index::default();
            let root = json::read(text.as_bytes(), &mut index).expect("the case is JSON");
            let value = root.elements().expect("an array").next().expect("JSON").expect("one");
            assert_eq!(Id::read(value), expected, "{text}");
            // serde reads the same.
            assert_eq!(serde_json::from_slice::<Id>(value.text()).ok(), expected, "{text}");
        }
        let text = |text: &str| Some(Id::Text(text.to_owned()));
        check("7", Some(Id::Number(7)));
        check("-7", Some(Id::Number(-7)));
        check("9223372036854775807", Some(Id::Number(i64::MAX)));
        check(r#""7""#, text("7"));
        check(r#""a \"b\" \u00e9""#, text("a \"b\" é"));
        check(r#"{"scale":0,"value":"Bw=="}"#, Some(Id::Number(7)));
        check(r#"{"scale":2,"value":"Arw="}"#, Some(Id::Number(7)));
        check(r#"{"value":"Bw==","scale":-1}"#, Some(Id::Number(70)));
        for other in [
            "9223372036854775808",
            "1.5",
            "null",
            "true",
            "[7]",
            "{}",
            r#"{"x":1}"#,
            r#"{"scale":1,"value":"Bw=="}"#,
            r#"{"scale":0,"value":"7"}"#,
            r#"{"scale":0,"value":"Bw==","x":1}"#,
        ] {
            check(other, None);
        }
    }

    #[test]
    fn keys_are_the_connectors() {
        assert_eq!(Id::Number(7).key("product_id"), r#"{"product_id":7}"#);
        assert_eq!(Id::Text("a\"b".to_owned()).key("sku"), r#"{"sku":"a\"b"}"#);
        assert_eq!(Id::Text("a\"b".to_owned()).to_string(), "a\"b");
        assert!(Id::Number(10) > Id::Number(9) && Id::Text(String::new()) > Id::Number(i64::MAX));
    }
}
