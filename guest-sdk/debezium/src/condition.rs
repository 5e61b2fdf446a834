//! A condition on one column, as a configuration says it.

use crate::columns::Columns;
use crate::json::text::unescape;
use crate::json::{Kind, Value};
use serde::Deserialize;

/// A condition: a column has one of some values. The [`Columns`] that it was made with number its column.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The number of the column.
    pub column: usize,
    /// Texts without quotes and escapes.
    texts: Vec<Vec<u8>>,
    /// Numbers, true, false and null, as JSON writes them.
    words: Vec<Vec<u8>>,
}

/// A condition as a user writes it: `{ field: status, in: [cancelled] }`. Texts, numbers (compared as they are
/// written), true, false and null.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionSpec {
    /// The name of the column.
    pub field: String,
    /// The values for which it holds.
    pub r#in: Vec<serde_json::Value>,
}

// === impl Condition ===

impl Condition {
    /// Checks a condition, and adds its column. `name` is its name in the configuration, for the error.
    pub fn new(name: &str, spec: ConditionSpec, columns: &mut Columns) -> Result<Self, String> {
        if spec.r#in.is_empty() {
            return Err(format!("`{name}.in` is empty, so that it would never hold"));
        }
        let mut texts = Vec::new();
        let mut words = Vec::new();
        for value in spec.r#in {
            match value {
                serde_json::Value::String(text) => texts.push(text.into_bytes()),
                serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                    return Err(format!("`{name}.in` takes texts, numbers, true, false and null"));
                }
                // It would be compared as it is written, and is not kept as it is written.
                serde_json::Value::Number(number) if number.is_f64() => {
                    return Err(format!("`{name}.in` has {number}, but takes whole numbers of 64 bits alone"));
                }
                word => words.push(word.to_string().into_bytes()),
            }
        }
        // Whether a value is there can be seen of any.
        let only_null = texts.is_empty() && words.iter().all(|word| word == b"null");
        let column = if only_null { columns.add(&spec.field) } else { columns.add_compared(&spec.field) };
        Ok(Condition { column, texts, words })
    }

    /// Returns true if the condition holds for this value of its column. Numbers are compared as they are written: 1.0
    /// is not 1. It holds for no object and no array: take the value from
    /// [`CompleteRow::need`](crate::CompleteRow::need), which refuses them, unless the condition asks for null alone.
    pub fn holds(&self, value: Value<'_>) -> bool {
        match value.kind() {
            Kind::Text(text) if text.contains(&b'\\') => {
                let mut plain = Vec::new();
                unescape(text, &mut plain).is_ok() && self.texts.contains(&plain)
            }
            Kind::Text(text) => self.texts.iter().any(|candidate| candidate == text),
            _ => self.words.iter().any(|candidate| candidate == value.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::json::scan::Index;
    use crate::{CompleteRow, Event};

    #[track_caller]
    fn check(status: &str, expected: Result<bool, &str>) {
        check_of(serde_json::json!([4, "gone", null]), status, expected);
    }

    #[track_caller]
    fn check_of(values: serde_json::Value, status: &str, expected: Result<bool, &str>) {
        let values = values.as_array().expect("an array").clone();
        let spec = ConditionSpec { field: "status".to_owned(), r#in: values };
        let mut columns = Columns::default();
        let condition = Condition::new("drop_when", spec, &mut columns).expect("it has values");
        let text = format!(r#"{{"before":null,"after":{{"status":{status}}},"op":"c"}}"#);
        let mut index = Index::default();
        let root = json::read(text.as_bytes(), &mut index).expect("the case is JSON");
        let event = Event::read(root).expect("it is an event").expect("it is no tombstone");
        let row = CompleteRow::of_event(&columns, &event).expect("it has a row");
        match (row.need(condition.column).map(|value| condition.holds(value)), expected) {
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{status}: {error}"),
            (found, expected) => {
                assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{status}");
            }
        }
    }

    #[test]
    fn a_condition_looks_at_single_values_alone() {
        check("4", Ok(true));
        check("\"gone\"", Ok(true));
        check(r#""\u0067one""#, Ok(true));
        check("null", Ok(true));
        check("5", Ok(false));
        check("\"4\"", Ok(false));
        // Oracle's NUMBER 4, without a schema.
        check(r#"{"scale":0,"value":"BA=="}"#, Err("cannot look at `status`: it is a decimal, which comes encoded"));
        check(r#"{"a":4}"#, Err("it is a JSON object"));
        check("[4]", Err("it is a JSON array"));
        check(r#"["__debezium_unavailable_value"]"#, Err("was not sent"));
        // Whether there is a value can be seen of any.
        check_of(serde_json::json!([null]), "[4]", Ok(false));
        check_of(serde_json::json!([null]), "null", Ok(true));
    }
}
