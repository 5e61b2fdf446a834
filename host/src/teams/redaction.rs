//! The rules of redaction as the file writes them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::model::names::TeamName;
use crate::model::redaction::{PATHS_MAX, RULES_MAX, RedactionRule};
use crate::model::spec::Problem;
use crate::model::topic_rights::{TopicGrants, TopicPattern};

/// The value of `topics.redact`: a rule by topic or pattern.
pub(super) type RawRules = BTreeMap<String, RawRule>;

/// One rule.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRule {
    paths: Vec<String>,
    keys: bool,
    headers: Vec<String>,
    values: bool,
    viewers: bool,
    shown_to: BTreeSet<TeamName>,
}

/// The rules of a team that has these grants. A rule that would mask nothing is a problem: its author means something else.
pub(super) fn rules_of(
    raw: Option<&RawRules>,
    grants: &TopicGrants,
    place: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(TopicPattern, RedactionRule)> {
    let Some(raw) = raw else { return Vec::new() };
    let mut check = Check { place: format!("{place}.redact"), problems };
    if raw.len() > RULES_MAX {
        check.problem("", format!("has {} rules, the limit is {RULES_MAX}", raw.len()));
    }
    let rules = raw.iter().take(RULES_MAX).filter_map(|(topic, rule)| {
        let pattern = check.pattern(topic, grants)?;
        Some((pattern, check.rule(topic, rule)))
    });
    rules.collect()
}

/// The problems of the rules at one place of the file.
struct Check<'a> {
    place: String,
    problems: &'a mut Vec<Problem>,
}

// === impl Check ===

impl Check<'_> {
    fn problem(&mut self, key: &str, message: String) {
        self.problems.push(Problem { field: format!("{}{key}", self.place), message });
    }

    fn pattern(&mut self, topic: &str, grants: &TopicGrants) -> Option<TopicPattern> {
        let pattern = topic.parse::<TopicPattern>().and_then(|pattern| {
            let owned = grants.owns_all(&pattern);
            if owned { Ok(pattern) } else { Err("names topics that the team does not own (topics.owns)".to_owned()) }
        });
        pattern.map_err(|message| self.problem(&format!(".{topic}"), message)).ok()
    }

    fn rule(&mut self, topic: &str, raw: &RawRule) -> RedactionRule {
        for (key, count) in [("paths", raw.paths.len()), ("headers", raw.headers.len())] {
            if count > PATHS_MAX {
                self.problem(&format!(".{topic}.{key}"), format!("has {count} entries, the limit is {PATHS_MAX}"));
            }
        }
        let mut paths = Vec::new();
        for (index, path) in raw.paths.iter().enumerate() {
            match path.parse() {
                Ok(path) => paths.push(path),
                Err(message) => self.problem(&format!(".{topic}.paths[{index}]"), message),
            }
        }
        for (index, header) in raw.headers.iter().enumerate().filter(|(_, header)| header.is_empty()) {
            self.problem(&format!(".{topic}.headers[{index}]"), format!("{header:?} is no name"));
        }
        let RawRule { keys, values, viewers, .. } = *raw;
        let headers = raw.headers.clone();
        let shown_to = raw.shown_to.clone();
        let rule = RedactionRule { paths, keys, headers, values, viewers, shown_to };
        if rule.masks_nothing() && raw.paths.is_empty() {
            self.problem(&format!(".{topic}"), "masks nothing: it has no paths, keys, headers or values".to_owned());
        }
        rule
    }
}

#[cfg(test)]
mod tests {
    use crate::model::codes::Code;
    use crate::model::redaction::RedactionRule;
    use crate::model::team::TeamLimits;
    use crate::teams::{FileError, TeamTable};

    fn parse(text: &str) -> Result<TeamTable, FileError> {
        TeamTable::parse(text.as_bytes(), &TeamLimits::default())
    }

    /// Checks the owners whose rules a topic has, and the number of the paths of each.
    #[track_caller]
    fn check(text: &str, topic: &str, expected: &[(&str, usize)]) {
        let table = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let topic = topic.parse().expect("valid");
        let found = table.topics.redactions(&topic).map(|(team, rule)| (team.to_string(), rule.paths.len()));
        let expected = expected.iter().map(|(team, paths)| ((*team).to_owned(), *paths)).collect::<Vec<_>>();
        assert_eq!(found.collect::<Vec<_>>(), expected, "{topic} in {text}");
    }

    #[track_caller]
    fn check_refused(redact: &str, part: &str) {
        let text = format!("teams: {{shop: {{topics: {{owns: ['shop.*', _audit], redact: {redact}}}}}}}");
        let error = parse(&text).expect_err(redact);
        assert!(error.to_string().contains(part), "{redact}: {error}");
        assert_eq!(error.code(), Code::RedactionRule, "{redact}: {error}");
    }

    #[test]
    fn a_topic_has_the_rules_of_its_owners() {
        let text = "
teams:
  shop:
    topics:
      owns: ['shop.*', audit]
      redact:
        shop.orders: {paths: [$.a, $..b]}
        'shop.*': {keys: true}
        audit: {values: true, viewers: true}
  sales:
    topics: {owns: ['shop.orders'], redact: {shop.orders: {paths: ['$.c'], headers: [h]}}}
";
        check(text, "shop.orders", &[("sales", 1), ("shop", 0), ("shop", 2)]);
        check(text, "shop.customers", &[("shop", 0)]);
        check(text, "audit", &[("shop", 0)]);
        check(text, "audit2", &[]);
        check("{}", "audit", &[]);
        let table = parse(text).expect("valid");
        let rule = RedactionRule { values: true, viewers: true, ..RedactionRule::default() };
        assert!(table.topics.redactions(&"audit".parse().expect("valid")).all(|(_, found)| *found == rule));
    }

    #[test]
    fn a_rule_that_is_not_valid_has_its_place() {
        check_refused("{shop.a: {}}", "teams.shop.topics.redact.shop.a masks nothing");
        check_refused("{shop.a: {viewers: true}}", "masks nothing");
        check_refused("{shop.a: {paths: [$.a, '$[?@.b]']}}", "teams.shop.topics.redact.shop.a.paths[1]");
        check_refused("{shop.a: {paths: [email]}}", "begins with $");
        check_refused("{other.a: {keys: true}}", "redact.other.a names topics that the team does not own");
        check_refused("{'*': {keys: true}}", "does not own");
        check_refused("{'shop*': {keys: true}}", "does not own");
        check_refused("{'a b': {keys: true}}", "is no topic");
        check_refused("{shop.x-changelog: {keys: true}}", "does not own");
        check_refused("{shop.a: {headers: ['']}}", "headers[0]");
        check_refused(&format!("{{shop.a: {{headers: [{}]}}}}", vec!["x"; 65].join(", ")), "the limit is 64");
        let many: Vec<String> = (0..1001).map(|n| format!("shop.{n}: {{keys: true}}")).collect();
        check_refused(&format!("{{{}}}", many.join(", ")), "has 1001 rules, the limit is 1000");
        let text = "teams: {shop: {topics: {owns: [a], redact: {a: {path: [$.a]}}}}}";
        assert!(parse(text).expect_err("unknown").to_string().contains("unknown field"));
        let text = "defaults: {topics: {redact: {a: {keys: true}}}}";
        assert!(parse(text).expect_err("no owner").to_string().contains("redact is a team's own"));
        check("teams: {shop: {topics: {owns: [_audit], redact: {_audit: {keys: true}}}}}", "_audit", &[("shop", 0)]);
    }
}
