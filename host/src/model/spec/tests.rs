use super::checker::CONFIG_DEPTH_MAX;
use super::*;
use crate::model::names::{Digest, TransformId};

fn id() -> TransformId {
    "orders/field-strip".parse().expect("valid")
}

fn parse(yaml: &str) -> Result<Spec, Vec<Problem>> {
    let raw: RawSpec = crate::model::yaml::one(yaml.as_bytes()).expect("well-formed");
    Spec::parse(&raw, &id(), Some(Digest::of(b"")))
}

#[test]
fn a_small_spec_takes_the_defaults() {
    let spec = parse("inputs: [a]\noutputs: {o: b}").expect("valid");
    assert_eq!(spec.limits, Limits::default());
    assert_eq!(spec.dead_letter_topic.as_str(), "orders.field-strip.dead-letter");
    assert_eq!(spec.group(&"shop".parse().expect("valid")), "sandbar.shop.orders.field-strip");
    assert_eq!(spec.commit_interval, CommitInterval::fixed(Span::ms(100)));
}

/// The names of an object's fields.
fn fields(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A host of 0.1 skips a record with any other field, and misses the change that it is.
#[test]
fn a_spec_without_younger_fields_is_written_with_those_of_0_1() {
    let yaml = "inputs: [a]\noutputs: {o: b}\nlimits: {memory: 2MiB}\nstate: {s: {}}";
    let raw: RawSpec = crate::model::yaml::one(yaml.as_bytes()).expect("well-formed");
    let written = serde_json::to_value(&raw).expect("plain data");
    let known =
        ["commit_interval", "config", "delivery", "inputs", "limits", "on_error", "outputs", "start", "state", "workers"];
    assert_eq!(fields(&written), known);
    let limits = [
        "batch_bytes",
        "batch_records",
        "batch_time",
        "log_lines_per_second",
        "memory",
        "output_bytes_per_record",
        "output_per_record",
        "state_bytes_per_call",
    ];
    assert_eq!(fields(&written["limits"]), limits);
    assert_eq!(fields(&written["on_error"]), ["retry", "then"]);
    assert_eq!(fields(&written["on_error"]["retry"]), ["attempts", "backoff"]);
    assert_eq!(fields(&written["state"]["s"]), ["max_bytes", "queryable", "store"]);
    assert_eq!(written["commit_interval"], "100ms");
}

#[test]
fn each_problem_names_its_field() {
    #[track_caller]
    fn check(yaml: &str, field: &str) {
        let problems = parse(yaml).expect_err(yaml);
        assert_eq!(problems[0].field, field, "{yaml}: {problems:?}");
    }
    check("outputs: {o: b}", "inputs");
    check("inputs: [a]", "outputs");
    check("inputs: [a, a]\noutputs: {o: b}", "inputs[1]");
    check("inputs: ['a b']\noutputs: {o: b}", "inputs[0]");
    check("inputs: [a]\noutputs: {o: a}", "outputs.o");
    check("inputs: [_sandbar.x.deployments]\noutputs: {o: b}", "inputs[0]");
    check("inputs: [a]\noutputs: {'O o': b}", "outputs.O o");
    check("inputs: [a]\noutputs: {o: b}\nlimits: {memory: 1KiB}", "limits.memory");
    check("inputs: [a]\noutputs: {o: b}\nlimits: {batch_time: 1m}", "limits.batch_time");
    check("inputs: [a]\noutputs: {o: b}\nworkers: 0", "workers");
    check("inputs: [a]\noutputs: {o: b}\nhosts: 0", "hosts");
    check("inputs: [a]\noutputs: {o: b}\nhosts: 1001", "hosts");
    check("inputs: [a]\noutputs: {o: b}\ncommit_interval: 9ms", "commit_interval");
    check("inputs: [a]\noutputs: {o: b}\ncommit_interval: {min: 9ms, max: 1s}", "commit_interval.min");
    check("inputs: [a]\noutputs: {o: b}\ncommit_interval: {min: 2s, max: 1s}", "commit_interval.min");
    check("inputs: [a]\noutputs: {o: b}\ncommit_interval: {min: 1s, max: 6s}", "commit_interval.max");
    check("inputs: [a]\noutputs: {o: b}\nteam: stock", "team");
    check("inputs: [a]\noutputs: {o: b}\nlabels: {Owner: x}", "labels.Owner");
    check("inputs: [a]\noutputs: {o: b}\nlabels: {sandbar.folder: '-'}", "labels.sandbar.folder");
    check("inputs: [a]\noutputs: {o: b}\nstate: {'A b': {}}", "state.A b");
    check("inputs: [a]\noutputs: {o: b}\nstate: {s: {ttl: 1ms}}", "state.s.ttl");
    check("inputs: [a]\noutputs: {o: b}\nstate: {s: {max_bytes: 1}}", "state.s.max_bytes");
    check("inputs: [a]\noutputs: {o: b}\nstate: {s: {}}\ndelivery: at-least-once", "delivery");
    check("inputs: [a]\noutputs: {o: b}\ntables: {t: __consumer_offsets}", "tables.t");
    check("inputs: [a]\noutputs: {o: b}\ntick: 1ms", "tick");
    check("inputs: [a]\noutputs: {o: b}\non_error: {dead_letter_topic: a}", "on_error.dead_letter_topic");
    check("inputs: [a]\noutputs: {o: b}\nstart: {offsets: {c: {0: 1}}}", "start.offsets.c");
    check("inputs: [a]\noutputs: {o: b}\nstart: {offsets: {a: {-1: 1}}}", "start.offsets.a.-1");
    check("inputs: [a]\noutputs: {o: b}\nstart: {offsets: {a: {0: -1}}}", "start.offsets.a.0");
    check("inputs: [a]\noutputs: {o: b}\nconfig: {x: [{secret: 'file:../y'}]}", "config.x.0.secret");
    check("inputs: [a]\noutputs: {o: b}\nconfig: {'$serde_json::private::RawValue': x}", "config");
}

#[test]
fn a_config_is_as_deep_as_its_records_can_hold() {
    #[track_caller]
    fn check(depth: usize, fits: bool) {
        let json = format!(
            r#"{{"inputs": ["a"], "outputs": {{"o": "b"}}, "config": {{"x": {}{}}}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        let raw: RawSpec = serde_json::from_str(&json).expect("well-formed");
        let problems = Spec::parse(&raw, &id(), Some(Digest::of(b""))).err().unwrap_or_default();
        assert_eq!(problems.is_empty(), fits, "{depth}: {problems:?}");
    }
    check(CONFIG_DEPTH_MAX, true);
    check(CONFIG_DEPTH_MAX + 1, false);
}

#[test]
fn unknown_fields_are_refused() {
    for yaml in
        ["input: [a]", "limits: {memroy: 1MiB}", "on_error: {then: explode}", "state: {s: {tll: 1s}}", "delivery: twice"]
    {
        assert!(crate::model::yaml::one::<RawSpec>(yaml.as_bytes()).is_err(), "{yaml}");
    }
}
