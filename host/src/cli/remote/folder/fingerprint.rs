//! The fingerprint of a spec's content, by which a change by hand is noticed: apply writes it into a label, and a change of
//! anything else no longer fits it.

use serde_json::Value;

use crate::model::names::Digest;
use crate::model::spec::RawSpec;
use crate::model::spec::labels::APPLIED;

/// Returns the fingerprint of a whole spec, in which the label of an earlier fingerprint does not count.
pub fn fingerprint(spec: &RawSpec) -> Digest {
    let mut content = spec.clone();
    content.labels.remove(APPLIED);
    // The keys of the value are sorted, and the first output is the default of a message that names none.
    let outputs: Vec<&String> = spec.outputs.keys().collect();
    let value: Value = serde_json::to_value(&content).expect("a spec is plain data");
    let text = match spec.config.exact() {
        // The value has doubles.
        Some(config) => serde_json::to_vec(&(value, outputs, config)),
        None => serde_json::to_vec(&(value, outputs)),
    };
    Digest::of(&text.expect("JSON is plain data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, is_same: bool) {
        let of = |text: &str| fingerprint(&RawSpec::of_yaml(text.as_bytes()).expect(text));
        assert_eq!(of(one) == of(other), is_same, "{one}, {other}");
    }

    #[test]
    fn equal_content_has_one_fingerprint() {
        check("inputs: [a]\nworkers: 2", "workers: 2\ninputs: [a]", true);
        check("inputs: [a]", "inputs: [a]\nworkers: 1\ndelivery: exactly-once\nlimits: {memory: 65536KiB}", true);
        check("labels: {a: b}", "labels: {a: b, sandbar.applied: c}", true);
        check("config: {a: 0.30, b: 1e2}", "config: {b: 1e2, a: 0.30}", true);
        check("config: {a: 0.30}", "config: {a: 0.3}", false);
        check("labels: {a: b}", "labels: {a: c}", false);
        check("config: {a: 1}", "config: {a: 1.0}", false);
        check("outputs: {a: x, b: y}", "outputs: {b: y, a: x}", false);
    }

    #[test]
    fn numbers_survive_the_way_to_a_host_and_back() {
        for number in
            ["0.1", "0.12345678901234567890", "1.7976931348623157e308", "5e-324", "2.2250738585072011e-308", "-0.0"]
        {
            let spec = RawSpec::of_yaml(format!("config: {{n: {number}}}").as_bytes()).expect(number);
            let mut there = spec.clone();
            for _ in 0..3 {
                there = serde_json::from_str(&serde_json::to_string(&there).expect("plain data")).expect("a spec");
            }
            assert_eq!(fingerprint(&spec), fingerprint(&there), "{number}");
        }
    }
}
