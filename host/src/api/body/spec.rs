//! Specs in JSON or YAML: within a number of values, and with every place of a document that is no spec named at once.

use super::super::problem::Refusal;
use super::json::{json_of, of_place};
use super::media::Media;
use crate::api_types::misfits;
use crate::model::codes::Code;
use crate::model::json;
use crate::model::numbers::string_end;
use crate::model::spec::{Problem, RawSpec};
use crate::model::yaml;

/// Reads a spec that is a part of a body, within the limit of a body that is a spec.
pub fn spec_within(media: &Media, bytes: &[u8], bytes_max: usize) -> Result<RawSpec, Refusal> {
    if bytes.len() > bytes_max {
        return Err(Refusal::new(Code::BodyTooLarge, format!("the spec has more than {bytes_max} bytes (spec_bytes_max)")));
    }
    spec_of(media, bytes)
}

/// Reads a spec: JSON or YAML. Without a content type, a spec that begins with `{` is JSON. Blocks: a spec of a megabyte
/// takes some time.
pub fn spec_of(media: &Media, bytes: &[u8]) -> Result<RawSpec, Refusal> {
    let json = match media {
        Media::Json => true,
        Media::Yaml => false,
        _ => bytes.trim_ascii_start().starts_with(b"{"),
    };
    if json {
        check_nodes(bytes)?;
        return json_of(bytes, Code::Spec).map_err(|refusal| completed(refusal, || json::read(bytes).ok()));
    }
    RawSpec::of_yaml(bytes).map_err(|error| match error {
        yaml::Error::Unfit { field, message } => completed(of_place(Code::Spec, &field, &message), || yaml::one(bytes).ok()),
        yaml::Error::Malformed(message) => Refusal::new(Code::Malformed, format!("not YAML that is taken: {message}")),
    })
}

/// Refuses a JSON text of more values than YAML may have: the tree of many small ones takes far more memory than their text.
fn check_nodes(json: &[u8]) -> Result<(), Refusal> {
    if nodes(json) <= yaml::NODES_MAX {
        return Ok(());
    }
    let message = format!("not JSON that is taken: there are more than {} values", yaml::NODES_MAX);
    Err(Refusal::new(Code::Malformed, message))
}

/// Counts the values of a JSON text, and the names of fields, without a tree of them. No depth ends the count, and a text that
/// is no JSON is counted as its reader sees it up to the place where it ends.
fn nodes(json: &[u8]) -> usize {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || b",:]}".contains(byte);
    let mut count = 0;
    let mut rest = json;
    while let Some(start) = rest.iter().position(|byte| !is_between(byte)) {
        let node = &rest[start..];
        let end = match node[0] {
            b'[' | b'{' => 1,
            b'"' => string_end(node),
            _ => node.iter().position(|byte| is_between(byte) || b"[{\"".contains(byte)).unwrap_or(node.len()),
        };
        count += 1;
        rest = &node[end..];
    }
    count
}

/// Adds the other places where a document is no spec: the typed reader ends at the first.
fn completed(first: Refusal, document: impl FnOnce() -> Option<serde_json::Value>) -> Refusal {
    if first.code() != Code::Spec {
        return first;
    }
    let found = document().map(|document| misfits(&document)).unwrap_or_default();
    let is_new = |problem: &Problem| first.errors().iter().all(|known| known.field != problem.field);
    let others: Vec<Problem> = found.into_iter().filter(is_new).collect();
    Refusal::of_fields(Code::Spec, first.errors().iter().cloned().chain(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        for (media, spec, code, field) in [
            (Media::Json, r#"{"inputz": ["a"]}"#, Code::Spec, "inputz"),
            (Media::Json, r#"{"limits": {"memroy": "1MiB"}}"#, Code::Spec, "limits.memroy"),
            (Media::Json, r#"{"limits": {"memory": "lots"}}"#, Code::Spec, "limits.memory"),
            (Media::Json, r#"{"inputs": ["a""#, Code::Malformed, ""),
            (Media::Json, "", Code::Malformed, ""),
            (Media::Yaml, "inputz: [a]", Code::Spec, "inputz"),
            (Media::Yaml, "limits: {memroy: 1MiB}", Code::Spec, "limits.memroy"),
            (Media::Yaml, "limits: {memory: lots}", Code::Spec, "limits.memory"),
            (Media::Yaml, "a: [", Code::Malformed, ""),
            (Media::Yaml, "inputs: &all [a]", Code::Malformed, ""),
            (Media::Yaml, "inputs: [a]\n---\ninputs: [b]", Code::Malformed, ""),
            (Media::Yaml, "outputs: {a: b, a: c}", Code::Spec, "outputs"),
            (Media::Absent, r#" {"inputz": []}"#, Code::Spec, "inputz"),
            (Media::Absent, "inputz: []", Code::Spec, "inputz"),
        ] {
            let problem = spec_of(&media, spec.as_bytes()).expect_err(spec);
            let json = serde_json::to_value(problem.details()).expect("plain data");
            assert_eq!(problem.code(), code, "{spec}: {problem:?}");
            assert_eq!(json["errors"][0]["field"].as_str().unwrap_or_default(), field, "{spec}: {problem:?}");
        }
    }

    #[test]
    fn every_place_that_is_no_spec_is_told_at_once() {
        let yaml = "inputz: [a]\nlimits: {memroy: 1MiB, batch_records: many}\nworkers: two\n";
        let json = r#"{"inputz": ["a"], "limits": {"memroy": "1MiB", "batch_records": "many"}, "workers": "two"}"#;
        for (media, spec) in [(Media::Yaml, yaml), (Media::Json, json)] {
            let refusal = spec_of(&media, spec.as_bytes()).expect_err(spec);
            let fields: Vec<&str> = refusal.errors().iter().map(|problem| problem.field.as_str()).collect();
            assert_eq!(fields, ["inputz", "limits.batch_records", "limits.memroy", "workers"], "{refusal:?}");
        }
    }

    #[test]
    fn values_and_names_are_counted() {
        for (json, count) in [
            ("", 0),
            (" \n", 0),
            ("7", 1),
            ("[]", 1),
            ("{}", 1),
            (r#"{"": 0}"#, 3),
            (r#" [ {"":0}, {"a" : [1, -2.5e3, true,null] } ] "#, 11),
            (r#"["a,b", "\"[{", "\\", "c"]"#, 5),
            // No JSON: the count goes up to its end all the same.
            (r#"[1, "a\"#, 3),
            (r#"[1"a"2]"#, 4),
            ("]:,}", 0),
        ] {
            assert_eq!(nodes(json.as_bytes()), count, "{json}");
        }
        assert_eq!(nodes("[".repeat(1000).as_bytes()), 1000);
    }

    #[test]
    fn json_and_yaml_of_too_many_values_are_refused_alike() {
        let spec = |zeros: usize| format!(r#"{{"config": {{"a": [{}]}}}}"#, vec!["0"; zeros].join(","));
        // Two objects, two names and a list stand around the zeros.
        let fitting = spec(yaml::NODES_MAX - 5);
        assert!(spec_of(&Media::Json, fitting.as_bytes()).is_ok());
        assert!(spec_of(&Media::Json, spec(yaml::NODES_MAX - 4).as_bytes()).is_err());
        for media in [Media::Json, Media::Yaml, Media::Absent] {
            let refusal = spec_of(&media, spec(yaml::NODES_MAX).as_bytes()).expect_err("too many");
            assert_eq!(refusal.code(), Code::Malformed, "{media:?}");
            assert!(refusal.detail().contains("there are more than 100000 values"), "{media:?}: {refusal:?}");
        }
        // A config is as deep as its reader goes, and a count that read the whole would have ended in it.
        let deep = format!("{}{}", "[".repeat(126), "]".repeat(126));
        let zeros = vec!["0"; yaml::NODES_MAX].join(",");
        let hidden = format!(r#"{{"config": {{"a": {deep}, "b": [{zeros}]}}}}"#);
        let refusal = spec_of(&Media::Json, hidden.as_bytes()).expect_err("too many");
        assert!(refusal.detail().contains("more than 100000 values"), "{refusal:?}");
    }

    #[test]
    fn a_spec_within_a_body_has_the_limit_of_one_alone() {
        let spec = r#"{"inputs": ["a"]}"#;
        for media in [Media::Json, Media::Yaml, Media::Absent] {
            assert!(spec_within(&media, spec.as_bytes(), spec.len()).is_ok(), "{media:?}");
            let refusal = spec_within(&media, spec.as_bytes(), spec.len() - 1).expect_err("too long");
            assert_eq!(refusal.code(), Code::BodyTooLarge, "{media:?}");
        }
    }
}
