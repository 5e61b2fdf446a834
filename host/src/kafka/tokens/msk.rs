//! Tokens for Amazon MSK with IAM: a signed URL, which a broker has AWS verify. No request is needed beside those for keys.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::aws_keys::{FoundKeys, KeyChain};
use super::sigv4::{Keys, Scope, Target, hash, signed_query};
use crate::kafka::token::{Token, TokenSource};
use crate::model::units::Timestamp;

/// Lifetime of a token: the most that brokers take.
const VALID: Duration = Duration::from_secs(900);
/// Shown by AWS's logs as the program that made the token.
const USER_AGENT: &str = concat!("sandbar%2F", env!("CARGO_PKG_VERSION"));

/// The source of tokens for Amazon MSK with IAM.
pub struct MskIam {
    pub region: String,
    pub keys: KeyChain,
}

impl TokenSource for MskIam {
    fn fetch(&self) -> Result<Token, String> {
        let FoundKeys { keys, lifetime } = self.keys.find(Instant::now)?;
        let value = token(&self.region, &keys, Timestamp::now());
        // Brokers refuse a token whose keys have ended.
        let lifetime = lifetime.map_or(VALID, |left| left.min(VALID));
        if lifetime.is_zero() {
            return Err("the keys of AWS have ended".to_owned());
        }
        Ok(Token { value, principal: "aws-msk-iam".to_owned(), lifetime })
    }
}

fn token(region: &str, keys: &Keys, at: Timestamp) -> String {
    let host = format!("kafka.{region}.amazonaws.com");
    let parameters = [("Action", "kafka-cluster:Connect")];
    let target = Target { host: &host, path: "/", parameters: &parameters, body_hash: &hash(b"") };
    let scope = Scope { region, service: "kafka-cluster", at, valid_s: VALID.as_secs() };
    let query = signed_query(&target, keys, &scope);
    URL_SAFE_NO_PAD.encode(format!("https://{host}/?{query}&User-Agent={USER_AGENT}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::Rfc3339;

    /// The form that AWS's own signers give a token (aws-msk-iam-sasl-signer): base64 without padding, these parameters, and
    /// the agent behind the signature.
    #[test]
    fn a_token_has_the_form_of_those_of_awss_signers() {
        let keys = Keys { id: "AKID".into(), secret: "hush".into(), session: Some("sess/ion".into()) };
        let at = "2026-03-04T05:06:07Z".parse::<Rfc3339>().expect("valid").0;
        let bytes = URL_SAFE_NO_PAD.decode(token("eu-west-1", &keys, at)).expect("base64");
        let url = String::from_utf8(bytes).expect("UTF-8");
        let (place, query) = url.split_once('?').expect("a query");
        assert_eq!(place, "https://kafka.eu-west-1.amazonaws.com/");
        let pairs: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let names: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
        let expected = [
            "Action",
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-Security-Token",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
            "User-Agent",
        ];
        assert_eq!(names, expected);
        let value = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        assert_eq!(value("Action"), Some("kafka-cluster%3AConnect"));
        assert_eq!(value("X-Amz-Credential"), Some("AKID%2F20260304%2Feu-west-1%2Fkafka-cluster%2Faws4_request"));
        assert_eq!(value("X-Amz-Date"), Some("20260304T050607Z"));
        assert_eq!(value("X-Amz-Expires"), Some("900"));
        assert_eq!(value("X-Amz-Security-Token"), Some("sess%2Fion"));
        assert!(!url.contains("hush"), "{url}");
    }
}
