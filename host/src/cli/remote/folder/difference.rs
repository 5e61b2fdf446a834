//! The differences of two specs, field by field.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::model::numbers::{self, Written};
use crate::model::spec::RawSpec;
use crate::model::spec::labels::{APPLIED, FOLDER};

/// Parts of a spec that a plan shows otherwise than as fields.
const NAMES: [&str; 3] = ["team", "name", "module"];

/// The field of the labels, which a spec without any leaves out.
const LABELS: &str = "labels";
/// The field whose numbers are kept as they were written.
const CONFIG: &str = "config";

/// One field with two values, as JSON; `None`: the field is not there.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The field, as a path: `limits.memory`.
    pub field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Box<RawValue>>,
}

/// An object with the numbers of its document as they were written.
#[derive(Clone, Copy)]
struct Object<'a>(&'a Map<String, Value>, Option<&'a Written>);

/// Lists the fields in which two specs differ. The module and the folder's own labels are no part of it.
pub fn differences(from: &RawSpec, to: &RawSpec) -> Vec<Difference> {
    let mut found = Vec::new();
    let all = [from, to].map(fields);
    let written = [from, to].map(|spec| spec.config.exact().and_then(|exact| Written::of_json(exact).ok()));
    let written = written.map(|config| config.map(|config| Written::Fields([(CONFIG.to_owned(), config)].into())));
    compare("", Object(&all[0], written[0].as_ref()), Object(&all[1], written[1].as_ref()), &mut found);
    let order = |spec: &RawSpec| spec.outputs.keys().cloned().collect::<Vec<_>>();
    // The first output is the default of a message that names none.
    if from.outputs == to.outputs && order(from) != order(to) {
        let field = "outputs, in order".to_owned();
        found.push(Difference { field, from: to_raw_value(&order(from)).ok(), to: to_raw_value(&order(to)).ok() });
    }
    found
}

/// Lists the fields of a spec that are not at their defaults.
pub fn set_fields(spec: &RawSpec) -> Vec<Difference> {
    let defaults = crate::model::json::read(b"{}").expect("every field of a spec has a default");
    differences(&defaults, spec)
}

fn fields(spec: &RawSpec) -> Map<String, Value> {
    let mut spec = spec.clone();
    spec.labels.remove(FOLDER);
    spec.labels.remove(APPLIED);
    spec.config = spec.config.rounded();
    let Ok(Value::Object(mut fields)) = serde_json::to_value(spec) else { return Map::new() };
    for name in NAMES {
        fields.remove(name);
    }
    // A spec without labels lists none of them, instead of all as one field that is not there.
    fields.entry(LABELS).or_insert_with(|| Value::Object(Map::new()));
    fields
}

/// Objects are compared field by field, as deep as a config can be; all other values as wholes.
fn compare(path: &str, from: Object<'_>, to: Object<'_>, found: &mut Vec<Difference>) {
    let names: BTreeSet<&String> = from.0.keys().chain(to.0.keys()).collect();
    for name in names {
        let field = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let (Some(from), Some(to)) = (from.object(name), to.object(name)) {
            compare(&field, from, to, found);
            continue;
        }
        let texts = [from, to].map(|object| object.text(name));
        if texts[0] != texts[1] {
            let [from, to] = texts.map(|text| text.and_then(|text| RawValue::from_string(text).ok()));
            found.push(Difference { field, from, to });
        }
    }
}

// === impl Object ===

impl<'a> Object<'a> {
    fn field(self, name: &str) -> Option<(&'a Value, Option<&'a Written>)> {
        let Self(fields, written) = self;
        Some((fields.get(name)?, written.and_then(|written| written.field(name))))
    }

    /// Returns a field that is an object itself.
    fn object(self, name: &str) -> Option<Self> {
        let (value, written) = self.field(name)?;
        Some(Self(value.as_object()?, written))
    }

    /// Returns a field as JSON.
    fn text(self, name: &str) -> Option<String> {
        let (value, written) = self.field(name)?;
        Some(numbers::text(value, written.unwrap_or(&Written::Other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> RawSpec {
        RawSpec::of_yaml(text.as_bytes()).expect(text)
    }

    #[track_caller]
    fn check(from: &str, to: &str, expected: &[&str]) {
        let found = differences(&spec(from), &spec(to));
        let shown = |value: &Option<Box<RawValue>>| value.as_ref().map_or("-".to_owned(), |value| value.get().to_owned());
        let found: Vec<String> =
            found.iter().map(|it| format!("{}: {} -> {}", it.field, shown(&it.from), shown(&it.to))).collect();
        assert_eq!(found, expected, "{from} to {to}");
        let is_named = expected.is_empty();
        assert_eq!(spec(from).is_same(&spec(to)), is_named, "{from} to {to}");
    }

    #[test]
    fn fields_that_differ_are_named_with_both_values() {
        check("inputs: [a]", "inputs: [a]\nworkers: 1\nlimits: {memory: 65536KiB}", &[]);
        check("workers: 1", "workers: 2", &["workers: 1 -> 2"]);
        check("config: {a: {b: 1, c: [1]}}", "config: {a: {b: 1, c: [1, 2]}}", &["config.a.c: [1] -> [1,2]"]);
        check("config: {a: 1}", "config: {b: 1}", &["config.a: 1 -> -", "config.b: - -> 1"]);
        check("config: {a: {}}", "config: {a: []}", &["config.a: {} -> []"]);
        check("config: {a: 1.10}", "config: {a: 1.1}", &["config.a: 1.10 -> 1.1"]);
        check("config: {a: 1.10}", "config: {a: '1.10'}", &[r#"config.a: 1.10 -> "1.10""#]);
        check("config: {a: 1, b: 1.10}", "config: {a: '1', b: 1.10}", &[r#"config.a: 1 -> "1""#]);
        check("config: {a: [{b: 1.10}]}", "config: {a: [{b: '1.10'}]}", &[r#"config.a: [{"b":1.10}] -> [{"b":"1.10"}]"#]);
        check("config: {a: 0.12345678901234567890}", "inputs: []", &["config.a: 0.12345678901234567890 -> -"]);
        check("config: {a: [1.10]}", "config: {a: [1.10]}", &[]);
        check("tick: 1s", "inputs: []", &[r#"tick: "1s" -> -"#]);
        check("start: latest", "start: {ago: 1h}", &[r#"start: "latest" -> {"ago":"1h"}"#]);
        check("outputs: {a: x, b: y}", "outputs: {b: y, a: x}", &[r#"outputs, in order: ["a","b"] -> ["b","a"]"#]);
        check("labels: {a: x}", "labels: {b: y}", &[r#"labels.a: "x" -> -"#, r#"labels.b: - -> "y""#]);
        check("inputs: []", "labels: {a: x}", &[r#"labels.a: - -> "x""#]);
        check("labels: {a: x}", "labels: {a: y}", &[r#"labels.a: "x" -> "y""#]);
    }

    #[test]
    fn names_and_the_labels_of_folders_are_no_fields() {
        let one = spec("team: a\nmodule: x\nlabels: {sandbar.folder: f, sandbar.applied: d}");
        assert!(differences(&one, &spec("name: b")).is_empty());
        let set: Vec<String> =
            set_fields(&spec("team: a\ninputs: [t]\nworkers: 1")).into_iter().map(|it| it.field).collect();
        assert_eq!(set, ["inputs"]);
    }
}
