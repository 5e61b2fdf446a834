use std::time::Duration;

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
    assert_eq!(spec.commit_interval, Duration::from_millis(100));
}

#[test]
fn each_problem_names_its_field() {
    for (yaml, field) in [
        ("outputs: {o: b}", "inputs"),
        ("inputs: [a]", "outputs"),
        ("inputs: [a, a]\noutputs: {o: b}", "inputs[1]"),
        ("inputs: ['a b']\noutputs: {o: b}", "inputs[0]"),
        ("inputs: [a]\noutputs: {o: a}", "outputs.o"),
        ("inputs: [_sandbar.x.deployments]\noutputs: {o: b}", "inputs[0]"),
        ("inputs: [a]\noutputs: {'O o': b}", "outputs.O o"),
        ("inputs: [a]\noutputs: {o: b}\nlimits: {memory: 1KiB}", "limits.memory"),
        ("inputs: [a]\noutputs: {o: b}\nlimits: {batch_time: 1m}", "limits.batch_time"),
        ("inputs: [a]\noutputs: {o: b}\nworkers: 0", "workers"),
        ("inputs: [a]\noutputs: {o: b}\nteam: stock", "team"),
        ("inputs: [a]\noutputs: {o: b}\nstate: {'A b': {}}", "state.A b"),
        ("inputs: [a]\noutputs: {o: b}\nstate: {s: {ttl: 1ms}}", "state.s.ttl"),
        ("inputs: [a]\noutputs: {o: b}\nstate: {s: {max_bytes: 1}}", "state.s.max_bytes"),
        ("inputs: [a]\noutputs: {o: b}\nstate: {s: {}}\ndelivery: at-least-once", "delivery"),
        ("inputs: [a]\noutputs: {o: b}\ntables: {t: __consumer_offsets}", "tables.t"),
        ("inputs: [a]\noutputs: {o: b}\ntick: 1ms", "tick"),
        ("inputs: [a]\noutputs: {o: b}\non_error: {dead_letter_topic: a}", "on_error.dead_letter_topic"),
        ("inputs: [a]\noutputs: {o: b}\nstart: {offsets: {c: {0: 1}}}", "start.offsets.c"),
        ("inputs: [a]\noutputs: {o: b}\nstart: {offsets: {a: {-1: 1}}}", "start.offsets.a.-1"),
        ("inputs: [a]\noutputs: {o: b}\nstart: {offsets: {a: {0: -1}}}", "start.offsets.a.0"),
    ] {
        let problems = parse(yaml).expect_err(yaml);
        assert_eq!(problems[0].field, field, "{yaml}: {problems:?}");
    }
}

#[test]
fn a_config_is_as_deep_as_its_records_can_hold() {
    for (depth, fits) in [(CONFIG_DEPTH_MAX, true), (CONFIG_DEPTH_MAX + 1, false)] {
        let json = format!(
            r#"{{"inputs": ["a"], "outputs": {{"o": "b"}}, "config": {{"x": {}{}}}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        let raw: RawSpec = serde_json::from_str(&json).expect("well-formed");
        let problems = Spec::parse(&raw, &id(), Some(Digest::of(b""))).err().unwrap_or_default();
        assert_eq!(problems.is_empty(), fits, "{depth}: {problems:?}");
    }
}

#[test]
fn unknown_fields_are_refused() {
    for yaml in
        ["input: [a]", "limits: {memroy: 1MiB}", "on_error: {then: explode}", "state: {s: {tll: 1s}}", "delivery: twice"]
    {
        assert!(crate::model::yaml::one::<RawSpec>(yaml.as_bytes()).is_err(), "{yaml}");
    }
}
