use serde_json::json;

use super::*;

fn config(json: Value) -> Map<String, Value> {
    serde_json::from_value(json).expect("an object")
}

/// The secrets of a config, the fields with problems, and the fields that are passed as they stand.
#[track_caller]
fn check(json: Value, secrets: &[&str], problems: &[&str], literals: &[&str]) {
    let found = References::of(&config(json.clone()));
    let names: Vec<String> = found.secrets.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fields: Vec<&str> = found.problems.iter().map(|(field, _)| field.as_str()).collect();
    let literals: Vec<String> = literals.iter().map(ToString::to_string).collect();
    assert_eq!((names, fields, &found.literals), (secrets.to_vec(), problems.to_vec(), &literals), "{json}");
}

#[test]
fn references_are_found_in_every_place() {
    check(json!({"a": 1, "b": [true, null, "file:x"]}), &[], &[], &[]);
    check(json!({"key": {"secret": "file:db-password"}}), &["file:db-password"], &[], &[]);
    let nested = json!({"a": {"b": [{"secret": "env:KEY_2"}, {"secret": "file:x"}]}, "c": {"secret": "file:x"}});
    check(nested, &["file:x", "env:KEY_2"], &[], &[]);
    // An object with more fields, or with another value, is no reference.
    check(json!({"a": {"secret": "file:x", "n": 1}}), &[], &[], &[]);
    check(json!({"a": {"secret": {"secret": "file:x"}}, "secret": "file:y"}), &["file:x"], &[], &[]);
    check(json!({"a": {"secret": 1}, "b": {"Secret": "file:x"}}), &[], &[], &[]);
    check(json!({"a": [{"secret": "plain"}]}), &[], &[], &["config.a.0"]);
    check(json!({"a": {"secret": "file:.."}, "b": {"secret": "env:x"}}), &[], &["config.a.secret", "config.b.secret"], &[]);
}

#[test]
fn the_number_of_secrets_is_limited_and_a_repeated_one_counts_once() {
    let many = |count: usize| -> Value { (0..count).map(|n| json!({"secret": format!("file:s{n:03}")})).collect() };
    let same: Value = (0..=REFERENCES_MAX).map(|_| json!({"secret": "file:same"})).collect();
    let problems = |list: Value| References::of(&config(json!({ "list": list }))).problems.len();
    assert_eq!([problems(many(REFERENCES_MAX)), problems(many(REFERENCES_MAX + 1)), problems(same)], [0, 1, 0]);
}

#[test]
fn names_hold_no_path() {
    let long = "n".repeat(NAME_BYTES_MAX);
    for valid in ["file:a", "file:db.password", "file:9_a-B", "env:A", "env:DB_PASSWORD", "env:9", &format!("file:{long}")] {
        let read: SecretRef = valid.parse().expect(valid);
        assert_eq!(read.to_string(), valid);
    }
    let refused = [
        "",
        "file",
        "file:",
        "env:",
        "vault:x",
        "File:x",
        " file:x",
        "file:.",
        "file:..",
        "file:../x",
        "file:a/b",
        "file:/a",
        "file:..data",
        "file:-a",
        "file:a b",
        "file:a\0",
        "file:ä",
        "file:a:b",
        "env:a",
        "env:A__B",
        "env:_A",
        "env:A_",
        "env:A-B",
        "env:A=B",
        "env:A.B",
    ];
    for wrong in refused.into_iter().chain([format!("file:{long}n").as_str()]) {
        assert!(wrong.parse::<SecretRef>().is_err(), "{wrong:?}");
    }
}

#[test]
fn no_variable_belongs_to_two_teams() {
    let teams = ["a", "a-b", "a--b", "a-b-c", "b", "b-c"];
    let names = ["A", "B", "C", "B_C", "A_B", "A_B_C"];
    let mut seen = std::collections::BTreeMap::new();
    for team in teams {
        for name in names {
            let secret = SecretRef { source: SecretSource::Env, name: name.to_owned() };
            let variable = secret.variable(&team.parse().expect("valid"));
            assert!(seen.insert(variable.clone(), (team, name)).is_none(), "{variable}");
        }
    }
    let secret: SecretRef = "env:DB_PASSWORD".parse().expect("valid");
    assert_eq!(secret.variable(&"data-team".parse().expect("valid")), "SANDBAR_SECRET_DATA_TEAM__DB_PASSWORD");
}

#[test]
fn values_take_the_place_of_references() {
    let mut filled = json!({
        "plain": {"secret": "plain"},
        "db": {"password": {"secret": "file:p"}, "user": "u"},
        "keys": [{"secret": "env:K"}, {"secret": "env:K", "also": 1}],
    });
    // A value that looks like a reference is not filled again.
    fill(&mut filled, &|secret| format!("<{secret}> {{\"secret\": \"file:q\"}}"));
    let value = |name: &str| format!("<{name}> {{\"secret\": \"file:q\"}}");
    let expected = json!({
        "plain": {"secret": "plain"},
        "db": {"password": value("file:p"), "user": "u"},
        "keys": [value("env:K"), {"secret": "env:K", "also": 1}],
    });
    assert_eq!(filled, expected);
}
