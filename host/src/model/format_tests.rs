use serde_json::json;

use super::*;

#[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
struct Plain {
    number: u64,
}

/// Decodes a record: `Ok`, or whether it is a newer host's.
#[track_caller]
fn check(format: Format, json: &str, expected: Result<u64, bool>) {
    let found = decode::<Plain>(format, json.as_bytes()).map(|plain| plain.number);
    assert_eq!(found.map_err(|error| matches!(error, Unreadable::Newer(_))), expected, "{json}");
}

#[test]
fn a_version_is_read_before_the_rest() {
    let newer = Err(true);
    let foreign = Err(false);
    for (json, expected) in [
        (r#"{"number":7}"#, Ok(7)),
        (r#"{"version":1,"number":7}"#, Ok(7)),
        (r#"{"version":1,"number":7,"more":{"a":[1]}}"#, Ok(7)),
        (r#"{"version":2,"number":7}"#, newer),
        (r#"{"version":2}"#, newer),
        (r#"{"version":1000,"number":"seven"}"#, newer),
        (r#"{"version":1001,"number":7}"#, foreign),
        (r#"{"version":18446744073709551615,"number":7}"#, foreign),
        (r#"{"version":1e300,"number":7}"#, foreign),
        (r#"{"version":2.0,"number":7}"#, foreign),
        (r#"{"version":0,"number":7}"#, foreign),
        (r#"{"version":-1,"number":7}"#, foreign),
        (r#"{"version":"2","number":7}"#, foreign),
        (r#"{"version":"x","number":7}"#, foreign),
        (r#"{"version":null,"number":7}"#, foreign),
        (r#"{"version":{},"number":7}"#, foreign),
        (r#"{"number":"seven"}"#, foreign),
        ("{}", foreign),
        ("[2]", foreign),
        ("[7]", foreign),
        ("null", foreign),
        ("", foreign),
        ("hello", foreign),
    ] {
        check(Format::Deployment, json, expected);
    }
    // A host's record has something else in `version`.
    check(Format::Host, r#"{"version":"0.1.0","number":7}"#, Ok(7));
    check(Format::Host, r#"{"version":"9.0.0","format":2,"number":7}"#, newer);
}

#[test]
fn written_records_have_a_version() {
    for format in Format::SHARED {
        let json = encode(format, &Plain { number: 7 });
        assert_eq!(decode(format, &json), Ok(Plain { number: 7 }), "{format:?}");
        let fields: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(fields[format.field()], json!(format.version()), "{format:?}");
    }
    assert_eq!(understood().len(), Format::SHARED.len());
}

#[test]
fn younger_fields_of_a_spec_are_found_where_they_are() {
    const TABLE: [SpecField; 4] = [
        SpecField { path: "tick", since: 2 },
        SpecField { path: "limits.memory", since: 2 },
        SpecField { path: "state.*.ttl", since: 3 },
        SpecField { path: "steps.*.name", since: 4 },
    ];
    for (spec, expected) in [
        (json!({}), &[][..]),
        (json!({"tick": "1s"}), &["tick"]),
        (json!({"limits": {}, "state": {"a": {}, "b": {"bytes": 1}}}), &[]),
        (json!({"limits": {"memory": "1MiB"}, "state": {"a": {}, "b": {"ttl": "1h"}}}), &["limits.memory", "state.*.ttl"]),
        (json!({"config": {"tick": "1s", "limits": {"memory": 1}}}), &[]),
        (json!({"steps": [{}, {"name": "x"}]}), &["steps.*.name"]),
        (json!({"state": "ttl", "limits": [{"memory": 1}], "tick": null}), &["tick"]),
    ] {
        let found: Vec<&str> = younger_fields(&spec, &TABLE).iter().map(|field| field.path).collect();
        assert_eq!(found, expected, "{spec}");
    }
}
