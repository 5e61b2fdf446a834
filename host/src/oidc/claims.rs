//! The claims of a JWT whose signature is right: if it is meant for this host, if it is valid now, and whom it names.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::jws::JwtError;
use super::url::Issuer;
use crate::model::json;
use crate::model::text::brief;
use crate::model::units::Timestamp;

/// Longest `sub`: the limit of OpenID Connect.
const SUBJECT_BYTES_MAX: usize = 255;
const NAME_BYTES_MAX: usize = 100;
/// 9999-12-31, in seconds.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// The demands on a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRules {
    pub issuer: Issuer,
    pub audience: String,
    /// The client that people sign in with, if there is one.
    pub client_id: Option<String>,
    /// The claim that has the groups: its name, or a JSON pointer that begins with a slash.
    pub groups: String,
    /// The claim with a name for people. None: `preferred_username`, then `email`.
    pub name: Option<String>,
    pub clock_skew: Duration,
    /// Longest time between issue and expiry.
    pub lifetime_max: Duration,
}

/// The holder of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The identity, unique within the issuer.
    pub id: String,
    /// A name for people. Its owner may have chosen it: no right hangs on it.
    pub name: String,
    pub groups: BTreeSet<String>,
    /// The first moment at which the token admits nobody, the clocks' skew included.
    pub ends_at: Timestamp,
}

// === impl ClaimRules ===

impl ClaimRules {
    /// Checks the claims, as JSON.
    pub fn check(&self, claims: &[u8], now: Timestamp) -> Result<Subject, JwtError> {
        let claims: Map<String, Value> =
            json::read(claims).map_err(|_| JwtError::Malformed("its claims are not an object"))?;
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(JwtError::Issuer);
        }
        self.check_audience(&claims)?;
        // It belongs to the holder of a key, who would have to prove it.
        if claims.contains_key("cnf") {
            return Err(JwtError::Claim("it is bound to a key (`cnf`), and is no bearer token"));
        }
        let ends_at = self.check_times(&claims, now)?;
        let id = claims.get("sub").and_then(Value::as_str).ok_or(JwtError::Claim("it has no `sub`"))?;
        if id.is_empty() || id.len() > SUBJECT_BYTES_MAX || id.chars().any(char::is_control) {
            return Err(JwtError::Claim("its `sub` is empty, too long, or has control characters"));
        }
        Ok(Subject { id: id.to_owned(), name: self.name_of(&claims, id), groups: self.groups_of(claims), ends_at })
    }

    /// A token for several audiences names the party that it was issued to: that must be ours too.
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), JwtError> {
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(JwtError::Audience);
        let audiences = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().map(text).collect::<Result<BTreeSet<_>, _>>()?,
            Some(one) => BTreeSet::from([text(one)?]),
            None => return Err(JwtError::Audience),
        };
        if !audiences.contains(&self.audience) {
            return Err(JwtError::Audience);
        }
        let party = claims.get("azp").or_else(|| claims.get("client_id")).and_then(Value::as_str);
        let is_ours = |party: &str| party == self.audience || self.client_id.as_deref() == Some(party);
        if audiences.len() == 1 || party.is_some_and(is_ours) { Ok(()) } else { Err(JwtError::Audience) }
    }

    fn check_times(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, JwtError> {
        let issued_at = time(claims, "iat")?.ok_or(JwtError::Claim("it has no `iat`"))?;
        let expires_at = time(claims, "exp")?.ok_or(JwtError::Claim("it has no `exp`"))?;
        let begins_at = time(claims, "nbf")?.unwrap_or(issued_at).max(issued_at);
        if expires_at <= issued_at {
            return Err(JwtError::Claim("it expires before it was issued"));
        }
        if expires_at > issued_at.after(self.lifetime_max) {
            return Err(JwtError::Claim("it is valid for too long (--oidc-token-lifetime-max)"));
        }
        if now.after(self.clock_skew) < begins_at {
            return Err(JwtError::NotYet);
        }
        let ends_at = expires_at.after(self.clock_skew);
        if now >= ends_at { Err(JwtError::Expired) } else { Ok(ends_at) }
    }

    fn name_of(&self, claims: &Map<String, Value>, id: &str) -> String {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let name = match &self.name {
            Some(claim) => text(claim),
            None => text("preferred_username").or_else(|| text("email")),
        };
        brief(name.unwrap_or(id), NAME_BYTES_MAX)
    }

    fn groups_of(&self, claims: Map<String, Value>) -> BTreeSet<String> {
        let found = if self.groups.starts_with('/') {
            Value::Object(claims).pointer(&self.groups).cloned()
        } else {
            claims.get(&self.groups).cloned()
        };
        match found {
            Some(Value::String(one)) => BTreeSet::from([one]),
            Some(Value::Array(all)) => all.into_iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => BTreeSet::new(),
        }
    }
}

/// A moment, in seconds since 1970.
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<Timestamp>, JwtError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    let seconds = seconds.ok_or(JwtError::Claim("one of `iat`, `nbf` and `exp` is no time"))?;
    #[expect(clippy::cast_possible_truncation, reason = "checked against a maximum")]
    Ok(Some(Timestamp((seconds * 1000.0) as i64)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn rules() -> ClaimRules {
        ClaimRules {
            issuer: "https://login.example".parse().expect("an issuer"),
            audience: "sandbar".to_owned(),
            client_id: Some("sandbar-cli".to_owned()),
            groups: "groups".to_owned(),
            name: None,
            clock_skew: Duration::from_secs(60),
            lifetime_max: Duration::from_secs(3600),
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://login.example", "aud": "sandbar", "sub": "7", "iat": NOW - 10, "exp": NOW + 600,
            "groups": ["stock-devs"], "preferred_username": "anna", "email": "anna@example.com",
        })
    }

    fn checked(claims: &Value) -> Result<Subject, JwtError> {
        rules().check(claims.to_string().as_bytes(), Timestamp(NOW * 1000))
    }

    /// Checks the claims with some of them changed; `null` removes one.
    #[track_caller]
    fn check(changes: Value, expected: Result<(), JwtError>) {
        let mut claims = claims();
        let all = claims.as_object_mut().expect("an object");
        for (claim, value) in changes.as_object().expect("an object") {
            match value {
                Value::Null => all.remove(claim),
                value => all.insert(claim.clone(), value.clone()),
            };
        }
        assert_eq!(checked(&claims).map(drop), expected, "{changes}");
    }

    #[test]
    fn a_token_is_of_the_issuer_and_for_this_host() {
        check(json!({}), Ok(()));
        for iss in
            [json!(null), json!("https://login.example/"), json!("https://LOGIN.example"), json!(["https://login.example"])]
        {
            check(json!({ "iss": iss }), Err(JwtError::Issuer));
        }
        for aud in [
            json!(null),
            json!("sandbar-cli"),
            json!("Sandbar"),
            json!([]),
            json!(["other"]),
            json!({}),
            json!(["sandbar", 7]),
        ] {
            check(json!({ "aud": aud }), Err(JwtError::Audience));
        }
        check(json!({"aud": ["sandbar"]}), Ok(()));
        check(json!({"aud": ["sandbar"], "azp": "other"}), Ok(()));
        let both = json!(["sandbar", "account"]);
        check(json!({ "aud": both }), Err(JwtError::Audience));
        check(json!({"aud": both, "azp": "other"}), Err(JwtError::Audience));
        check(json!({"aud": both, "azp": "other", "client_id": "sandbar"}), Err(JwtError::Audience));
        check(json!({"aud": both, "azp": "sandbar"}), Ok(()));
        check(json!({"aud": both, "azp": "sandbar-cli"}), Ok(()));
        check(json!({"aud": both, "client_id": "sandbar-cli"}), Ok(()));
        check(json!({"cnf": {"jkt": "x"}}), Err(JwtError::Claim("it is bound to a key (`cnf`), and is no bearer token")));
    }

    #[test]
    fn a_token_is_valid_between_its_times() {
        check(json!({"exp": NOW - 59}), Err(JwtError::Claim("it expires before it was issued")));
        check(json!({"iat": NOW - 100, "exp": NOW - 59}), Ok(()));
        check(json!({"iat": NOW - 100, "exp": NOW - 60}), Err(JwtError::Expired));
        check(json!({"iat": NOW - 100, "exp": NOW as f64 - 59.5}), Ok(()));
        check(json!({"nbf": NOW + 60}), Ok(()));
        check(json!({"nbf": NOW + 61}), Err(JwtError::NotYet));
        check(json!({"iat": NOW + 60}), Ok(()));
        check(json!({"iat": NOW + 61}), Err(JwtError::NotYet));
        check(json!({"iat": NOW + 61, "nbf": NOW - 5}), Err(JwtError::NotYet));
        check(json!({"iat": NOW, "exp": NOW + 3600}), Ok(()));
        let too_long = Err(JwtError::Claim("it is valid for too long (--oidc-token-lifetime-max)"));
        check(json!({"iat": NOW, "exp": NOW + 3601}), too_long);
        check(json!({"exp": null}), Err(JwtError::Claim("it has no `exp`")));
        check(json!({"iat": null}), Err(JwtError::Claim("it has no `iat`")));
        let no_time = Err(JwtError::Claim("one of `iat`, `nbf` and `exp` is no time"));
        for wrong in [json!("1800000600"), json!(-1), json!(1e300), json!([NOW]), json!(true), json!({})] {
            for claim in ["exp", "nbf", "iat"] {
                check(json!({ claim: wrong }), no_time);
            }
        }
    }

    #[test]
    fn a_holder_is_its_subject() {
        let found = checked(&claims()).expect("valid");
        let expected = Subject {
            id: "7".to_owned(),
            name: "anna".to_owned(),
            groups: BTreeSet::from(["stock-devs".to_owned()]),
            ends_at: Timestamp((NOW + 660) * 1000),
        };
        assert_eq!(found, expected);
        let wrong = Err(JwtError::Claim("its `sub` is empty, too long, or has control characters"));
        check(json!({"sub": ""}), wrong);
        check(json!({"sub": "a\nb"}), wrong);
        check(json!({"sub": "a".repeat(256)}), wrong);
        check(json!({"sub": "a".repeat(255)}), Ok(()));
        check(json!({"sub": null}), Err(JwtError::Claim("it has no `sub`")));
        check(json!({"sub": 7}), Err(JwtError::Claim("it has no `sub`")));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        for text in ["", "[]", "7", "\"x\"", "null", &deep] {
            let refused = rules().check(text.as_bytes(), Timestamp(NOW * 1000));
            assert_eq!(refused, Err(JwtError::Malformed("its claims are not an object")), "{text}");
        }
    }

    #[track_caller]
    fn check_groups(claim: &str, changes: Value, expected: &[&str]) {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let rules = ClaimRules { groups: claim.to_owned(), ..rules() };
        let found = rules.check(claims.to_string().as_bytes(), Timestamp(NOW * 1000)).expect("valid").groups;
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{claim} {changes}");
    }

    #[test]
    fn groups_are_texts_of_the_named_claim() {
        check_groups("groups", json!({}), &["stock-devs"]);
        check_groups("roles", json!({}), &[]);
        check_groups("groups", json!({"groups": "a"}), &["a"]);
        check_groups("groups", json!({"groups": ["b", 7, null, ["c"], {"d": 1}, "a"]}), &["a", "b"]);
        check_groups("groups", json!({"groups": {"a": true}}), &[]);
        check_groups("https://a.example/groups", json!({"https://a.example/groups": ["a"]}), &["a"]);
        check_groups("/realm_access/roles", json!({"realm_access": {"roles": ["a"]}}), &["a"]);
        check_groups("/realm_access/roles", json!({"realm_access": ["a"]}), &[]);
    }

    #[track_caller]
    fn check_name(claim: Option<&str>, changes: Value, expected: &str) {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let rules = ClaimRules { name: claim.map(str::to_owned), ..rules() };
        let found = rules.check(claims.to_string().as_bytes(), Timestamp(NOW * 1000)).expect("valid").name;
        assert_eq!(found, expected, "{claim:?} {changes}");
    }

    #[test]
    fn a_name_is_made_fit_to_be_shown() {
        check_name(None, json!({}), "anna");
        check_name(None, json!({"preferred_username": " "}), "anna@example.com");
        check_name(None, json!({"preferred_username": 7, "email": null}), "7");
        check_name(Some("upn"), json!({"upn": "anna@corp"}), "anna@corp");
        check_name(Some("upn"), json!({}), "7");
        check_name(None, json!({"preferred_username": "a\u{1b}[2Jb"}), "a\\u{1b}[2Jb");
        check_name(None, json!({"preferred_username": "a".repeat(5000)}), &format!("{}...", "a".repeat(97)));
    }
}
