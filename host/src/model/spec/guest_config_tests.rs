use serde_json::{Value, json};

use super::super::checker::{CONFIG_BYTES_MAX, CONFIG_OBJECTS_MAX};
use super::super::{Problem, RawSpec, Spec};
use super::*;
use crate::model::json as reader;
use crate::model::names::Digest;
use crate::model::revision::Deployment;

fn of_json(config: &str) -> RawSpec {
    reader::read(format!(r#"{{"config": {config}}}"#).as_bytes()).expect(config)
}

/// Checks the text for the guest, from JSON and from YAML, and after a record.
#[track_caller]
fn check(config: &str, expected: &str) {
    for spec in [of_json(config), RawSpec::of_yaml(format!("config: {config}\n").as_bytes()).expect(config)] {
        assert_eq!(spec.config.to_json(), expected, "{config}");
        let written = serde_json::to_vec(&spec).expect("plain data");
        let read: RawSpec = reader::read(&written).expect("a spec");
        assert_eq!(read, spec, "{config}");
        assert_eq!(read.config.to_json(), expected, "{config}");
    }
}

#[test]
fn numbers_are_as_they_were_written() {
    check(r#"{"b": 1.10, "a": 0.12345678901234567890}"#, r#"{"a":0.12345678901234567890,"b":1.10}"#);
    check(r#"{"a": [1, [2.50, {"b": 1.0e3}]]}"#, r#"{"a":[1,[2.50,{"b":1.0e3}]]}"#);
    check(r#"{"a": 1.10, "b": {"secret": "file:x"}}"#, r#"{"a":1.10,"b":{"secret":"file:x"}}"#);
    check(r#"{"1.10": "1.10", "a": 2.5, "n": -7}"#, r#"{"1.10":"1.10","a":2.5,"n":-7}"#);
    check("{}", "{}");
}

#[test]
fn numbers_beyond_64_bits_of_json_are_kept() {
    let digits = "9".repeat(300);
    assert_eq!(of_json(&format!(r#"{{"a": {digits}}}"#)).config.to_json(), format!(r#"{{"a":{digits}}}"#));
    assert_eq!(of_json(r#"{"a": -0}"#).config.to_json(), r#"{"a":-0}"#);
    assert_eq!(of_json(r#"{"a": 1.10, "a": 2.20}"#).config.to_json(), r#"{"a":2.20}"#);
}

#[test]
fn a_plain_config_has_no_text_of_its_own() {
    assert_eq!(of_json(r#"{"a": 1.5, "b": [1, 2.25]}"#).config.exact(), None);
    assert_ne!(of_json(r#"{"a": 1.10}"#), of_json(r#"{"a": 1.1}"#));
    assert_eq!(of_json(r#"{"a": 1.10, "b": 1}"#), of_json(r#"{"b": 1, "a": 1.10}"#));
    let config = of_json(r#"{"a": 1.10}"#).config;
    assert_eq!(Value::Object((*config).clone()), json!({"a": 1.1}));
}

#[test]
fn specs_of_several_documents_keep_their_own() {
    let specs = RawSpec::all_of_yaml(b"---\n---\nconfig: {a: 1.10}\n---\nname: x\n---\n# none\n---\nconfig: {a: 2.20}\n");
    let configs: Vec<String> = specs.expect("specs").iter().map(|spec| spec.config.to_json()).collect();
    assert_eq!(configs, [r#"{"a":1.10}"#, "{}", r#"{"a":2.20}"#]);
    assert_eq!(GuestConfig::of_yaml(b"a: 1.10").expect("a config").to_json(), r#"{"a":1.10}"#);
}

#[test]
fn other_values_are_refused_as_before() {
    #[track_caller]
    fn check_refused(config: &str, expected: &str) {
        let text = format!(r#"{{"config": {config}}}"#);
        let mut json = serde_json::Deserializer::from_str(&text);
        let error = serde_path_to_error::deserialize::<_, RawSpec>(&mut json).expect_err(config);
        assert_eq!(error.path().to_string(), "config", "{config}");
        assert!(error.to_string().contains(expected), "{config}: {error}");
    }
    check_refused("[1]", "invalid type: sequence, expected a map");
    check_refused("7", "invalid type: integer `7`, expected a map");
    check_refused("null", "invalid type: null, expected a map");
    check_refused(r#"{"a": 1e999999999}"#, "number out of range");
    check_refused(&format!(r#"{{"a": {}{}}}"#, "[".repeat(1000), "]".repeat(1000)), "recursion limit exceeded");
}

/// Parses a spec that is valid but for its config.
fn parse(config: &str) -> Result<Spec, Vec<Problem>> {
    let mut raw = of_json(config);
    (raw.inputs, raw.outputs) = (vec!["a".to_owned()], [("o".to_owned(), "b".to_owned())].into());
    Spec::parse(&raw, &"a/b".parse().expect("valid"), Some(Digest::of(b"")))
}

#[test]
fn objects_at_every_depth_count_against_the_limit() {
    let check = |objects: usize| {
        let inner = vec![r#"{"":[{"":0}]}"#; objects / 2].join(",");
        parse(&format!(r#"{{"a": [{inner}], "b": [{}]}}"#, vec!["0"; 20_000].join(",")))
    };
    assert!(check(CONFIG_OBJECTS_MAX).is_ok(), "numbers are no objects");
    let problems = check(CONFIG_OBJECTS_MAX + 2).expect_err("too many");
    let message = "has 10002 objects, but must have at most 10000".to_owned();
    assert_eq!(problems, [Problem { field: "config".to_owned(), message }]);
}

#[test]
fn the_text_counts_against_the_limit() {
    let check = |digits: usize| parse(&format!(r#"{{"a": 1.{}}}"#, "0".repeat(digits)));
    assert!(check(CONFIG_BYTES_MAX - 8).is_ok());
    let problems = check(CONFIG_BYTES_MAX - 7).expect_err("too long");
    assert_eq!(problems[0].field, "config");
}

#[test]
fn records_of_deployments_keep_them() {
    let record = |number: &str| {
        let module = Digest::of(b"");
        format!(
            r#"{{"id":{{"team":"a","name":"b"}},"revision":1,"module":"{module}","spec":{{"config":{{"n":{number}}}}},"desired":"running",
                "changed_at":0,"later":1}}"#
        )
    };
    let deployment: Deployment = reader::read(record("1.10").as_bytes()).expect("a record");
    let written = serde_json::to_string(&deployment).expect("plain data");
    assert!(written.contains(r#""config":{"n":1.10}"#), "{written}");
}
