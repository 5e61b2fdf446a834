//! The signing rule of a team as the file writes it.

use serde::Deserialize;

use crate::model::signing_key::PublicKey;
use crate::model::signing_rules::{KEYS_MAX, SigningRule};
use crate::model::spec::Problem;

/// The value of `signing`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSigning {
    required: Option<bool>,
    keys: Option<Vec<String>>,
}

// === impl RawSigning ===

impl RawSigning {
    /// Completes the rule from the defaults.
    pub fn over(&self, below: &SigningRule, place: &str, problems: &mut Vec<Problem>) -> SigningRule {
        let keys = self.keys.as_ref().map(|raw| parsed(raw, place, problems));
        SigningRule { required: self.required.unwrap_or(below.required), keys: keys.unwrap_or_else(|| below.keys.clone()) }
    }
}

fn parsed(raw: &[String], place: &str, problems: &mut Vec<Problem>) -> Vec<PublicKey> {
    if raw.len() > KEYS_MAX {
        let message = format!("has {} keys, the limit is {KEYS_MAX}", raw.len());
        problems.push(Problem { field: format!("{place}.keys"), message });
    }
    let mut keys = Vec::new();
    for (index, raw) in raw.iter().take(KEYS_MAX).enumerate() {
        match raw.parse() {
            Ok(key) => keys.push(key),
            Err(message) => problems.push(Problem { field: format!("{place}.keys[{index}]"), message }),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use crate::model::team::TeamLimits;
    use crate::teams::TeamTable;

    const ONE: &str = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    const TWO: &str = "ed25519:PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";

    #[track_caller]
    fn check(text: &str, team: &str, required: bool, keys: &[&str]) {
        let table = TeamTable::parse(text.as_bytes(), &TeamLimits::default());
        let rules = table.unwrap_or_else(|error| panic!("{text}: {error}")).signing;
        let rule = rules.of(&team.parse().expect("valid"));
        let found: Vec<String> = rule.keys.iter().map(ToString::to_string).collect();
        assert_eq!(
            (rule.required, found.iter().map(String::as_str).collect::<Vec<_>>()),
            (required, keys.to_vec()),
            "{text}"
        );
    }

    #[test]
    fn a_team_completes_its_rule_from_the_defaults() {
        check("{}", "a", false, &[]);
        check(&format!("teams: {{a: {{signing: {{required: true, keys: ['{ONE}', '{TWO}']}}}}}}"), "a", true, &[ONE, TWO]);
        let text = format!(
            "{{defaults: {{signing: {{required: true, keys: ['{ONE}']}}}}, \
              teams: {{b: , c: {{signing: {{keys: ['{TWO}']}}}}, d: {{signing: {{required: false}}}}, e: {{signing: {{keys: []}}}}}}}}"
        );
        for (team, required, keys) in
            [("a", true, &[ONE][..]), ("b", true, &[ONE]), ("c", true, &[TWO]), ("d", false, &[ONE]), ("e", true, &[])]
        {
            check(&text, team, required, keys);
        }
    }

    #[test]
    fn a_key_that_is_not_valid_has_its_place() {
        let many = format!("teams: {{a: {{signing: {{keys: [{}]}}}}}}", [ONE; 17].join(", "));
        for (text, part) in [
            ("teams: {a: {signing: {keys: [x]}}}", "teams.a.signing.keys[0]"),
            ("teams: {a: {signing: {keys: [ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=]}}}", "no key of anybody"),
            ("teams: {a: {signing: {require: true}}}", "unknown field"),
            ("defaults: {signing: {keys: ed25519}}", "defaults.signing.keys"),
            (many.as_str(), "has 17 keys, the limit is 16"),
        ] {
            let refused = TeamTable::parse(text.as_bytes(), &TeamLimits::default()).expect_err(text).to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
