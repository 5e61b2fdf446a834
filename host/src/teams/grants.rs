//! The topics of a team as the file writes them.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::model::names::TeamName;
use crate::model::spec::Problem;
use crate::model::topic_rights::{PATTERNS_MAX, TopicGrants, TopicPattern};

use super::redaction::RawRules;

/// The value of `topics`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGrants {
    owns: Option<Vec<String>>,
    read: Option<Vec<String>>,
    write: Option<Vec<String>>,
    accepts_from: Option<BTreeSet<TeamName>>,
    pub redact: Option<RawRules>,
}

// === impl RawGrants ===

impl RawGrants {
    /// The rights of teams that the file does not name. An owner has a name.
    pub fn of_defaults(&self, place: &str, problems: &mut Vec<Problem>) -> TopicGrants {
        let named = [
            ("owns", self.owns.is_some()),
            ("accepts_from", self.accepts_from.is_some()),
            ("redact", self.redact.is_some()),
        ];
        for (key, _) in named.into_iter().filter(|(_, is_there)| *is_there) {
            let message = "is a team's own: it has no default".to_owned();
            problems.push(Problem { field: format!("{place}.{key}"), message });
        }
        self.over(None, place, problems)
    }

    /// Completes the grants of a team from the defaults.
    pub fn over(&self, defaults: Option<&TopicGrants>, place: &str, problems: &mut Vec<Problem>) -> TopicGrants {
        let mut parse = |key: &str, raw: &Option<Vec<String>>| raw.as_ref().map(|raw| parsed(raw, place, key, problems));
        let owns = parse("owns", &self.owns);
        let read = parse("read", &self.read);
        let write = parse("write", &self.write);
        let below = defaults.cloned().unwrap_or_default();
        TopicGrants {
            owns: owns.unwrap_or_default(),
            read: read.unwrap_or(below.read),
            write: write.unwrap_or(below.write),
            accepts_from: self.accepts_from.clone().unwrap_or_default(),
            redact: Vec::new(),
        }
    }
}

fn parsed(raw: &[String], place: &str, key: &str, problems: &mut Vec<Problem>) -> Vec<TopicPattern> {
    if raw.len() > PATTERNS_MAX {
        let message = format!("has {} patterns, the limit is {PATTERNS_MAX}", raw.len());
        problems.push(Problem { field: format!("{place}.{key}"), message });
    }
    let mut patterns = Vec::new();
    for (index, raw) in raw.iter().take(PATTERNS_MAX).enumerate() {
        match raw.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(message) => problems.push(Problem { field: format!("{place}.{key}[{index}]"), message }),
        }
    }
    patterns
}

#[cfg(test)]
mod tests {
    use crate::model::team::TeamLimits;
    use crate::model::topic_rights::{TopicRights, TopicUse};
    use crate::teams::TeamTable;

    fn rights(text: &str) -> TopicRights {
        let table = TeamTable::parse(text.as_bytes(), &TeamLimits::default());
        table.unwrap_or_else(|error| panic!("{text}: {error}")).topics
    }

    /// Tells which of these topics a team may read, and which it may write.
    #[track_caller]
    fn check(text: &str, team: &str, read: &[&str], written: &[&str]) {
        let rights = rights(text);
        let id = format!("{team}/t").parse().expect("valid");
        let allowed = |usage| {
            let topics = ["a.x", "b.x", "c.x"].into_iter();
            topics.filter(|name| rights.check(&id, usage, &name.parse().expect("valid")).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!((allowed(TopicUse::Read), allowed(TopicUse::Write)), (read.to_vec(), written.to_vec()), "{team}: {text}");
    }

    #[test]
    fn a_team_completes_its_topics_from_the_defaults() {
        let all = ["a.x", "b.x", "c.x"];
        check("{}", "orders", &all, &all);
        check("teams: {orders: {cpu_weight: 2}}", "orders", &all, &all);
        check("teams: {orders: {topics: {}}}", "orders", &[], &[]);
        check("teams: {orders: {topics: {owns: ['a.*'], read: [b.x]}}}", "orders", &["a.x", "b.x"], &["a.x"]);
        let bounded = "{defaults: {topics: {read: ['*'], write: [c.x]}}, teams: {orders: {topics: {read: [b.x]}}, stock: }}";
        check(bounded, "orders", &["b.x"], &["c.x"]);
        check(bounded, "stock", &all, &["c.x"]);
        check(bounded, "other", &all, &["c.x"]);
        check("teams: {stock: {topics: {owns: ['*.x'], accepts_from: [orders]}}}", "orders", &all, &all);
        check("teams: {stock: {topics: {owns: [b.x]}}}", "orders", &all, &["a.x", "c.x"]);
    }

    #[test]
    fn a_pattern_that_is_not_valid_has_its_place() {
        let many = format!("teams: {{a: {{topics: {{read: [{}]}}}}}}", vec!["x"; 1001].join(", "));
        for (text, part) in [
            ("teams: {a: {topics: {read: [ok, 'a b']}}}", "teams.a.topics.read[1]"),
            ("teams: {a: {topics: {write: ['connect-*']}}}", "granted by their whole names alone"),
            ("teams: {a: {topics: {owns: ['_sandbar.*']}}}", "granted to nobody"),
            ("teams: {a: {topics: {reads: []}}}", "unknown field"),
            ("teams: {a: {topics: {accepts_from: [Orders]}}}", "accepts_from"),
            ("teams: {a: {topics: ['*']}}", "mapping"),
            ("defaults: {topics: {owns: ['*']}}", "defaults.topics.owns is a team's own"),
            (many.as_str(), "has 1001 patterns, the limit is 1000"),
        ] {
            let refused = TeamTable::parse(text.as_bytes(), &TeamLimits::default()).expect_err(text).to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
