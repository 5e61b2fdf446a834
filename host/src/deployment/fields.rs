//! The rule on younger fields: a host that does not understand a field of the spec would not run the transform.

use crate::model::codes::Code;
use crate::model::format::{Format, SECRETS, SPEC_FIELDS, SpecField, younger_fields};
use crate::model::secret::References;
use crate::model::spec::{Problem, RawSpec};
use crate::model::status::HostStatus;

use super::rejection::Violation;

/// Refuses fields that not every host of the cluster understands.
pub fn check(raw: &RawSpec, hosts: &[HostStatus]) -> Option<Violation> {
    let json = serde_json::to_value(raw).expect("a spec is plain data");
    let mut problems = unsupported(&json, SPEC_FIELDS, hosts);
    // A host that does not know references would hand them to the module as they stand.
    if !References::of(&raw.config).secrets.is_empty() {
        problems.extend(unsupported(&json, &[SECRETS], hosts));
    }
    Violation::of_fields(Code::FieldUnsupported, problems)
}

/// Each field of the spec that some of the hosts do not understand, with the names of these hosts.
fn unsupported(spec: &serde_json::Value, table: &[SpecField], hosts: &[HostStatus]) -> Vec<Problem> {
    let problem = |field: &SpecField| {
        let lacking = hosts.iter().filter(|host| !host.understands(Format::Spec, field.since));
        let named: Vec<String> = lacking.map(|host| format!("{} ({})", host.host, host.version)).collect();
        let message = format!("hosts that do not understand it: {}", named.join(", "));
        (!named.is_empty()).then(|| Problem { field: field.path.to_owned(), message })
    };
    younger_fields(spec, table).into_iter().filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::units::Timestamp;

    /// The refused fields among hosts of these names. Each host has the version of specs that it understands: none for a
    /// host of 0.1.
    #[track_caller]
    fn check(spec: &serde_json::Value, hosts: &[(&str, Option<u32>)], expected: &[(&str, &str)]) {
        const TABLE: [SpecField; 2] =
            [SpecField { path: "limits.files", since: 2 }, SpecField { path: "state.*.replicas", since: 3 }];
        let host = |(name, version): &(&str, Option<u32>)| HostStatus {
            version: "0.1.0".into(),
            formats: version.map(|version| ("spec".to_owned(), version)).into_iter().collect(),
            ..HostStatus::new(name, Timestamp(0))
        };
        let hosts: Vec<HostStatus> = hosts.iter().map(host).collect();
        let found = unsupported(spec, &TABLE, &hosts);
        let found: Vec<_> = found.iter().map(|problem| (problem.field.as_str(), problem.message.as_str())).collect();
        assert_eq!(found, expected, "{spec}");
    }

    #[test]
    fn a_field_waits_for_the_last_host() {
        let plain = json!({"limits": {"memory": "1MiB"}, "state": {"s": {}}});
        let both = json!({"limits": {"files": 1}, "state": {"s": {}, "t": {"replicas": 2}}});
        let of_a = "hosts that do not understand it: a (0.1.0)";
        let of_both = "hosts that do not understand it: a (0.1.0), b (0.1.0)";
        check(&plain, &[("a", None)], &[]);
        check(&both, &[], &[]);
        check(&both, &[("a", Some(3)), ("b", Some(4))], &[]);
        check(&both, &[("a", None), ("b", Some(2))], &[("limits.files", of_a), ("state.*.replicas", of_both)]);
        check(&both, &[("a", Some(2)), ("b", Some(3))], &[("state.*.replicas", of_a)]);
    }
}
