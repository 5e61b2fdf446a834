//! The places of a document that do not fit the schema of a spec, all at once. A reader of typed data ends at the first.
//!
//! The typed reader decides if a document is a spec; this only completes its error. So it knows the part of JSON Schema that
//! the schema of a spec is made of (a test compares), and leaves the rest, such as patterns and ranges, to the checks that
//! follow.

use std::fmt;

use serde_json::{Map, Value};

use super::spec_schema::spec_schema;
use crate::model::spec::Problem;
use crate::model::text::{brief, cut};

/// Most problems that are listed.
const PROBLEMS_MAX: usize = 100;
/// Longest path of a field: the document has the names.
const FIELD_BYTES_MAX: usize = 256;
/// Longest value in a message.
const VALUE_BYTES_MAX: usize = 80;

/// Lists unknown fields and values of other types. A place has one problem: nothing is looked for below it.
pub fn misfits(document: &Value) -> Vec<Problem> {
    let schema = spec_schema();
    let mut found = Misfits { types: &schema["$defs"], problems: Vec::new() };
    found.walk("", &schema, document);
    found.problems
}

struct Misfits<'a> {
    types: &'a Value,
    problems: Vec<Problem>,
}

// === impl Misfits ===

impl<'a> Misfits<'a> {
    fn walk(&mut self, field: &str, schema: &'a Value, value: &Value) {
        let schema = self.resolve(schema);
        if alternatives(schema).is_some() {
            self.walk_any(field, schema, value);
            return;
        }
        if !is_of_type(schema, value) || !is_word(schema, value) {
            let problem = format!("must be {}, and is {}", expected(schema), brief(value, VALUE_BYTES_MAX));
            self.add(field, problem);
            return;
        }
        match value {
            Value::Object(fields) => self.walk_fields(field, schema, fields),
            Value::Array(values) => {
                for (i, value) in values.iter().enumerate() {
                    self.walk(&below(field, format_args!("[{i}]")), &schema["items"], value);
                }
            }
            _ => {}
        }
    }

    fn walk_fields(&mut self, field: &str, schema: &'a Value, fields: &Map<String, Value>) {
        let no_fields = Map::new();
        let known = schema["properties"].as_object().unwrap_or(&no_fields);
        for (name, value) in fields {
            let dot = if field.is_empty() { "" } else { "." };
            let below = below(field, format_args!("{dot}{}", cut(name, FIELD_BYTES_MAX)));
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => self.walk(&below, schema, value),
                (None, Value::Bool(false)) => {
                    let known: Vec<String> = known.keys().map(|name| format!("`{name}`")).collect();
                    let name = cut(name, VALUE_BYTES_MAX);
                    self.add(&below, format!("unknown field `{name}`, known are {}", known.join(", ")));
                }
                (None, others @ Value::Object(_)) => self.walk(&below, others, value),
                (None, _) => {}
            }
        }
    }

    /// A value that fits no alternative: the only one of its type tells where, or else all are named.
    fn walk_any(&mut self, field: &str, schema: &'a Value, value: &Value) {
        let schemas = alternatives(schema).unwrap_or_default();
        // A value that fits two is as wrong for a validator as one that fits none.
        if schemas.iter().filter(|schema| self.fits(schema, value)).count() == 1 {
            return;
        }
        let resolved = schemas.iter().map(|schema| self.resolve(schema));
        let near: Vec<&Value> = resolved.filter(|schema| !value.is_string() && is_of_type(schema, value)).collect();
        let before = self.problems.len();
        if let [schema] = near[..]
            && (schema["properties"].is_object() || alternatives(schema).is_some())
        {
            self.walk(field, schema, value);
        }
        if self.problems.len() == before {
            let forms = self.forms(schema).join(", or ");
            self.add(field, format!("must be {forms}, and is {}", brief(value, VALUE_BYTES_MAX)));
        }
    }

    /// The forms that a value may have.
    fn forms(&self, schema: &'a Value) -> Vec<String> {
        let schema = self.resolve(schema);
        let forms = match alternatives(schema) {
            Some(alternatives) => alternatives.iter().flat_map(|schema| self.forms(schema)).collect(),
            None => vec![expected(schema)],
        };
        forms.into_iter().filter(|form| !form.is_empty()).collect()
    }

    fn fits(&self, schema: &'a Value, value: &Value) -> bool {
        let mut found = Misfits { types: self.types, problems: Vec::new() };
        found.walk("", schema, value);
        let lacks = |name: &Value| value.get(name.as_str().unwrap_or_default()).is_none();
        let is_whole = !self.resolve(schema)["required"].as_array().is_some_and(|names| names.iter().any(lacks));
        found.problems.is_empty() && is_whole
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let name = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next());
        name.map_or(schema, |name| &self.types[name])
    }

    fn add(&mut self, field: &str, message: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { field: field.to_owned(), message });
        }
    }
}

/// The path of a place in a field. It is cut at once, since a long name may have many places below it.
fn below(field: &str, place: fmt::Arguments<'_>) -> String {
    cut(&format!("{field}{place}"), FIELD_BYTES_MAX).to_owned()
}

fn alternatives(schema: &Value) -> Option<&[Value]> {
    schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()).map(Vec::as_slice)
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A plain scalar of YAML is text where text is wanted.
fn is_of_type(schema: &Value, value: &Value) -> bool {
    let types = types(schema);
    types.is_empty()
        || types.into_iter().any(|name| match name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => !value.is_object() && !value.is_array() && !value.is_null(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            _ => true,
        })
}

fn is_word(schema: &Value, value: &Value) -> bool {
    schema["enum"].as_array().is_none_or(|words| words.contains(value))
}

/// Names the values that a schema takes.
fn expected(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
    }
    if let Some(fields) = schema["properties"].as_object() {
        return format!("a mapping of {}", fields.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
    }
    let types = types(schema).into_iter().filter(|name| *name != "null");
    let named: Vec<&str> = types
        .map(|name| match name {
            "object" => "a mapping",
            "array" => "a list",
            "string" => "text",
            "integer" => "a whole number",
            "boolean" => "true or false",
            other => other,
        })
        .collect();
    named.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{json, yaml};

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let document: Value = yaml::one(text.as_bytes()).expect(text);
        let found = misfits(&document);
        assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
        for (field, message) in expected {
            let is_told = |it: &&Problem| it.field == *field && it.message.contains(message);
            assert!(found.iter().find(is_told).is_some(), "{text}: {field}: {message}: {found:?}");
        }
    }

    #[test]
    fn all_misfits_are_told_at_once() {
        check("inputs: [a, 7]\noutputs: {o: b}\nlimits: {memory: 1024, batch_records: 5}\nhosts: all\ntick: 1s", &[]);
        check("start: {offsets: {t: {0: 17}}}\ncommit_interval: {min: 1s, max: 2s}\ntick: ~\nconfig: {a: {b: [1]}}", &[]);
        check(
            "inputz: [a]\nlimits: {memroy: 1, batch_records: many}\nworkers: two\ntables: [x]\nstate: {s: {tll: 1s}}",
            &[
                ("inputz", "unknown field `inputz`, known are `allow_cycle`"),
                ("limits.memroy", "unknown field `memroy`, known are `batch_bytes`"),
                ("limits.batch_records", "must be a whole number, and is \"many\""),
                ("workers", "must be a whole number"),
                ("tables", "must be a mapping, and is [\"x\"]"),
                ("state.s.tll", "known are `max_bytes`"),
            ],
        );
        check(
            "delivery: twice\non_error: {then: explode, retry: [1]}\nallow_cycle: 1",
            &[
                ("delivery", "must be \"exactly-once\" or \"at-least-once\", and is \"twice\""),
                ("on_error.then", "\"dead-letter\" or \"skip\" or \"pause\""),
                ("on_error.retry", "must be a mapping of attempts, backoff"),
                ("allow_cycle", "must be true or false"),
            ],
        );
        check(
            "inputs: a\nhosts: some\nstart: now\ncommit_interval: {max: 1s}",
            &[
                ("inputs", "must be a list, and is \"a\""),
                ("hosts", "or \"all\""),
                ("start", "\"latest\", or \"earliest\", or a mapping of timestamp"),
                ("commit_interval", "must be text, or a mapping of max, min"),
            ],
        );
        check("commit_interval: {min: 1s, max: 2s, x: 1}", &[("commit_interval.x", "known are `max`, `min`")]);
        check("start: {ago: 1h, agoo: 1h}", &[("start", "or a mapping of ago")]);
        check("[1]", &[("", "must be a mapping of allow_cycle")]);
    }

    #[test]
    fn hostile_documents_make_no_long_answer() {
        let many: String = (0..5000).map(|n| format!("{}{n}: 1\n", "x".repeat(1000))).collect();
        let document: Value = yaml::one(many.as_bytes()).expect("a document");
        let found = misfits(&document);
        assert_eq!(found.len(), PROBLEMS_MAX);
        assert!(found.iter().all(|problem| problem.field.len() <= FIELD_BYTES_MAX));
        let long: Value = json::read(format!(r#"{{"inputs": [{}1]}}"#, "{}, ".repeat(5000)).as_bytes()).expect("a document");
        assert_eq!(misfits(&long).len(), PROBLEMS_MAX);
    }
}
