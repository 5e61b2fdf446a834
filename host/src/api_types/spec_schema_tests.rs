use std::collections::BTreeSet;
use std::path::Path;

use super::super::spec_misfits::misfits;
use super::*;
use crate::model::names::Digest;
use crate::model::spec::{self, Spec};
use crate::model::yaml;

/// The keywords that an editor and `misfits` know the meaning of.
const KEYWORDS: [&str; 22] = [
    "$defs",
    "$ref",
    "$schema",
    "title",
    "description",
    "default",
    "example",
    "examples",
    "type",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "required",
    "properties",
    "additionalProperties",
    "propertyNames",
    "items",
    "oneOf",
];

/// Fields in the place of a schema's keywords have names of the spec.
fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
    let Some(fields) = schema.as_object() else { return };
    for (keyword, value) in fields {
        found.insert(keyword.clone());
        match keyword.as_str() {
            "properties" | "$defs" => value.as_object().expect("schemas").values().for_each(|it| keywords(it, found)),
            "additionalProperties" | "items" | "propertyNames" => keywords(value, found),
            "oneOf" => value.as_array().expect("schemas").iter().for_each(|it| keywords(it, found)),
            _ => {}
        }
    }
}

#[test]
fn the_schema_has_known_keywords_and_no_open_reference() {
    let schema = spec_schema();
    let mut found = BTreeSet::new();
    keywords(&schema, &mut found);
    let unknown: Vec<&String> = found.iter().filter(|it| !KEYWORDS.contains(&it.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let text = schema.to_string();
    assert!(!text.contains("#/components"));
    for (_, rest) in text.match_indices("#/$defs/").map(|(at, place)| text.split_at(at + place.len())) {
        let name = rest.split('"').next().expect("a name");
        assert!(schema["$defs"][name].is_object(), "{name}");
    }
    assert_eq!(schema["additionalProperties"], json!(false), "an editor tells of an unknown field");
}

/// The YAML files of the repository that are specs.
fn specs(folder: &Path, found: &mut Vec<(String, Value)>) {
    for entry in std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()) {
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if entry.is_dir() {
            if !name.starts_with('.') && name != "target" {
                specs(&entry, found);
            }
        } else if matches!(name, "transform.yaml" | "transforms.yaml") {
            let text = std::fs::read_to_string(&entry).expect("readable");
            // Names of templates stand between these.
            let text = text.replace('@', "");
            let documents: Vec<Value> = yaml::all(text.as_bytes()).expect("YAML");
            found.extend(documents.into_iter().map(|document| (entry.display().to_string(), document)));
        }
    }
}

#[test]
fn every_spec_of_the_repository_fits() {
    let mut found = Vec::new();
    specs(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut found);
    assert!(found.len() >= 10, "{} specs were found", found.len());
    for (place, document) in found {
        assert_eq!(misfits(&document), [], "{place}");
        for name in REQUIRED {
            assert!(document.get(name).is_some(), "{place}: {name}");
        }
    }
}

/// Ranges of the schema are those of the checks: both ends are taken, and the numbers next to them are not.
#[test]
fn ranges_are_those_of_the_checks() {
    let schema = spec_schema();
    let mut checked = 0;
    #[track_caller]
    fn check(field: &str, number: i64, fits: bool) {
        let text = match field.split_once('.') {
            Some((group, name)) => format!("inputs: [a]\noutputs: {{o: b}}\n{group}: {{{name}: {number}}}"),
            None => format!("inputs: [a]\noutputs: {{o: b}}\n{field}: {number}"),
        };
        let read = yaml::one::<spec::RawSpec>(text.as_bytes()).map_err(|_| ());
        let id = "a/b".parse().expect("valid");
        let valid = read.and_then(|raw| Spec::parse(&raw, &id, Some(Digest::of(b""))).map_err(|_| ()));
        assert_eq!(valid.is_ok(), fits, "{text}");
    }
    for (group, fields) in [("", &schema["properties"]), ("limits.", &schema["$defs"]["Limits"]["properties"])] {
        for (name, field) in fields.as_object().expect("properties") {
            let (Some(least), Some(most)) = (field["minimum"].as_i64(), field["maximum"].as_i64()) else { continue };
            let field = format!("{group}{name}");
            check(&field, least, true);
            check(&field, most, true);
            check(&field, least - 1, false);
            check(&field, most + 1, false);
            checked += 1;
        }
    }
    assert_eq!(checked, 4, "workers and the numbers of limits");
}
