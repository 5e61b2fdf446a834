//! The parts of a JWT that a client looks at: it is signed, whom it is for, and for how long. Brokers verify it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::model::json;

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    alg: String,
}

/// The claims that are used.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Claims {
    pub sub: Option<String>,
    exp: Option<f64>,
    iat: Option<f64>,
}

// === impl Claims ===

impl Claims {
    /// Reads the claims of a JWT; any other token has none that a client could read. A JWT without a signature is refused:
    /// anybody can write one.
    pub fn of(token: &str) -> Result<Self, String> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else { return Ok(Self::default()) };
        let Some(header) = decoded::<Header>(header) else { return Ok(Self::default()) };
        if signature.is_empty() || header.alg.is_empty() || header.alg.eq_ignore_ascii_case("none") {
            return Err("the token has no signature".to_owned());
        }
        Ok(decoded(claims).unwrap_or_default())
    }

    /// The span between issue and end. Both are times of the issuer's clock, so this machine's does not matter.
    pub fn lifetime(&self) -> Option<Duration> {
        let span_s = self.exp? - self.iat?;
        Duration::try_from_secs_f64(span_s).ok()
    }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Option<T> {
    json::read(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    /// `claims`: subject and seconds of the lifetime. None: the token is refused.
    #[track_caller]
    fn check(header: &str, claims: &str, signature: &str, expected: Option<(Option<&str>, Option<u64>)>) {
        let token = format!("{}.{}.{signature}", part(header), part(claims));
        let found = Claims::of(&token).ok();
        let found = found.as_ref().map(|claims| (claims.sub.as_deref(), claims.lifetime().map(|span| span.as_secs())));
        assert_eq!(found, expected, "{header} {claims} {signature}");
    }

    #[test]
    fn a_token_without_a_signature_is_refused() {
        let claims = r#"{"sub": "a", "iat": 1000, "exp": 1300.5}"#;
        check(r#"{"alg": "RS256"}"#, claims, "s", Some((Some("a"), Some(300))));
        check(r#"{"alg": "none"}"#, claims, "s", None);
        check(r#"{"alg": "nOnE"}"#, claims, "s", None);
        check(r#"{"typ": "JWT"}"#, claims, "s", None);
        check(r#"{"alg": "RS256"}"#, claims, "", None);
    }

    #[test]
    fn a_token_of_another_form_has_no_claims() {
        check("not JSON", "{}", "s", Some((None, None)));
        check(r#"{"alg": "RS256"}"#, r#"{"exp": 5, "iat": 6}"#, "s", Some((None, None)));
        check(r#"{"alg": "RS256"}"#, r#"{"exp": 1e300, "iat": 6}"#, "s", Some((None, None)));
        assert_eq!(Claims::of("opaque").expect("taken"), Claims::default());
    }
}
