//! Tokens of an OpenID or OAuth provider, by client credentials (RFC 6749, section 4.4).

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::Request;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};

use super::https::{Answer, Https, encoded, foreign, form};
use super::jwt::Claims;
use crate::kafka::token::{Token, TokenSource};
use crate::model::json;

/// A token that lives for less is of no use: it would end before a broker has it.
const LIFETIME_MIN: Duration = Duration::from_secs(1);
/// Longest lifetime that is believed.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// The source of tokens by client credentials.
pub struct ClientCredentials {
    pub https: Https,
    pub endpoint: String,
    pub id: String,
    pub secret: String,
    pub scope: Option<String>,
    /// True if name and secret are encoded as the RFC says, which some providers do not know.
    pub encodes: bool,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    /// Seconds. Some providers write a text.
    #[serde(default)]
    expires_in: Value,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    error_description: Option<String>,
}

impl TokenSource for ClientCredentials {
    fn fetch(&self) -> Result<Token, String> {
        let mut body = vec![("grant_type", "client_credentials")];
        body.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let request = Request::post(&self.endpoint)
            .header(AUTHORIZATION, self.authorization())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form(&body));
        let request = request.map_err(|error| format!("sasl.oauthbearer.token.endpoint.url: {error}"))?;
        let answer = self.https.send(request, Instant::now() + self.https.time)?;
        self.read(&answer).map_err(|why| format!("{}: {why}", self.endpoint))
    }
}

// === impl ClientCredentials ===

impl ClientCredentials {
    fn authorization(&self) -> String {
        let [id, secret] = [&self.id, &self.secret].map(|text| if self.encodes { encoded(text) } else { text.clone() });
        format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
    }

    fn read(&self, answer: &Answer) -> Result<Token, String> {
        let Answer { status, text } = answer;
        if *status != 200 {
            return Err(self.refusal(*status, text));
        }
        // The error would quote the token.
        let granted: Granted = json::read(text.as_bytes()).map_err(|_| "the answer has no token")?;
        let Granted { access_token: value, token_type, expires_in } = granted;
        if token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err("the token is of another type than Bearer".to_owned());
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if value.is_empty() || !value.bytes().all(is_plain) {
            return Err("the token has other characters than a bearer token".to_owned());
        }
        let claims = Claims::of(&value)?;
        let lifetime = seconds(&expires_in).into_iter().chain(claims.lifetime()).min();
        let lifetime = lifetime.ok_or("the answer does not say how long the token lives")?;
        if lifetime < LIFETIME_MIN {
            return Err("the token has ended already".to_owned());
        }
        let principal = claims.sub.unwrap_or_else(|| self.id.clone());
        Ok(Token { value, principal, lifetime: lifetime.min(LIFETIME_MAX) })
    }

    fn refusal(&self, status: u16, text: &str) -> String {
        let Ok(Refused { error, error_description }) = json::read(text.as_bytes()) else {
            return format!("the provider answers {status}");
        };
        let said = error_description.map_or(error.clone(), |more| format!("{error}: {more}"));
        format!("the provider answers {status}, {}", foreign(&said, &[&self.secret]))
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    Duration::try_from_secs_f64(number?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::https::Authorities;
    use super::*;

    fn client(id: &str, secret: &str, encodes: bool) -> ClientCredentials {
        let https = Https { authorities: Authorities::System, time: Duration::from_secs(1) };
        let endpoint = "https://id.example/token".to_owned();
        ClientCredentials { https, endpoint, id: id.into(), secret: secret.into(), scope: None, encodes }
    }

    /// `expected`: a part of the error, or the value, the principal and the seconds of the token.
    #[track_caller]
    fn check(status: u16, text: &str, expected: Result<(&str, &str, u64), &str>) {
        let answer = Answer { status, text: text.to_owned() };
        let found = client("id", "hush", true).read(&answer);
        match (&found, expected) {
            (Ok(token), Ok(expected)) => {
                let found = (token.value.as_str(), token.principal.as_str(), token.lifetime.as_secs());
                assert_eq!(found, expected, "{text}");
            }
            (Err(why), Err(part)) => assert!(why.contains(part) && !why.contains("hush"), "{text}: {why}"),
            _ => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn answers_are_read_or_refused_with_a_reason() {
        check(200, r#"{"access_token": "abc", "token_type": "bearer", "expires_in": 300}"#, Ok(("abc", "id", 300)));
        check(200, r#"{"access_token": "abc", "expires_in": "60"}"#, Ok(("abc", "id", 60)));
        check(200, r#"{"access_token": "abc", "expires_in": 1e9}"#, Ok(("abc", "id", 86_400)));
        // {"alg":"RS256"} and {"sub":"orders","iat":100,"exp":130}
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJvcmRlcnMiLCJpYXQiOjEwMCwiZXhwIjoxMzB9.c2ln";
        check(200, &format!(r#"{{"access_token": "{jwt}"}}"#), Ok((jwt, "orders", 30)));
        check(200, &format!(r#"{{"access_token": "{jwt}", "expires_in": 20}}"#), Ok((jwt, "orders", 20)));
        // {"alg":"none"}
        let open = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJvcmRlcnMiLCJpYXQiOjEwMCwiZXhwIjoxMzB9.";
        check(200, &format!(r#"{{"access_token": "{open}"}}"#), Err("no signature"));
        check(200, r#"{"access_token": "abc"}"#, Err("how long"));
        check(200, r#"{"access_token": "abc", "expires_in": 0}"#, Err("ended already"));
        check(200, r#"{"access_token": "abc", "expires_in": -5}"#, Err("how long"));
        check(200, r#"{"access_token": "a b", "expires_in": 9}"#, Err("other characters"));
        check(200, r#"{"access_token": "a\u0001auth=x", "expires_in": 9}"#, Err("other characters"));
        check(200, r#"{"access_token": "abc", "token_type": "mac", "expires_in": 9}"#, Err("another type"));
        check(200, "<html>hush", Err("no token"));
        check(302, "", Err("answers 302"));
        let refused = r#"{"error": "invalid_client", "error_description": "hush\nis wrong"}"#;
        check(401, refused, Err(r"answers 401, invalid_client: ***\nis wrong"));
    }

    #[test]
    fn name_and_secret_are_encoded_before_they_are_joined() {
        let decoded = |client: &ClientCredentials| {
            let text = client.authorization();
            let bytes = STANDARD.decode(text.strip_prefix("Basic ").expect("basic")).expect("base64");
            String::from_utf8(bytes).expect("UTF-8")
        };
        assert_eq!(decoded(&client("a:b", "c d%", true)), "a%3Ab:c%20d%25");
        assert_eq!(decoded(&client("ab", "c d%", false)), "ab:c d%");
    }
}
