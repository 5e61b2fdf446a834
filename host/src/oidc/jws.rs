//! The compact form of a signed JWT: three parts of base64url. Nothing in it is believed before its signature is checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::algorithm::Algorithm;
use crate::model::json;

/// Longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
const HEADER_BYTES_MAX: usize = 4 * 1024;

/// The reason why a JWT admits nobody. None of them repeats a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("the JWT is malformed: {0}")]
    Malformed(&'static str),
    #[error("the JWT is not signed with one of the algorithms that this host takes (--oidc-algorithms)")]
    Algorithm,
    #[error("the JWT names a key that the provider does not have")]
    UnknownKey,
    #[error("the signature of the JWT is wrong")]
    Signature,
    #[error("the JWT is of another issuer")]
    Issuer,
    #[error("the JWT is not meant for this host (--oidc-audience)")]
    Audience,
    #[error("the JWT has expired")]
    Expired,
    #[error("the JWT is not valid yet")]
    NotYet,
    #[error("the JWT is refused: {0}")]
    Claim(&'static str),
}

/// A JWT whose signature nobody has checked.
#[derive(Debug)]
pub struct SignedToken<'a> {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    /// The bytes that are signed: header and claims, as they were sent.
    pub message: &'a [u8],
    pub claims: Vec<u8>,
    pub signature: Vec<u8>,
}

/// The fields that decide. Others, such as `jwk`, `jku` and `x5u`, would name a key of the sender's: nobody reads them.
#[derive(Deserialize)]
struct Header<'a> {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    cty: Option<String>,
    #[serde(borrow, default)]
    crit: Option<&'a RawValue>,
}

// === impl JwtError ===

impl JwtError {
    /// The label of the metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown-key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not-yet",
            Self::Claim(_) => "claim",
        }
    }
}

// === impl SignedToken ===

impl<'a> SignedToken<'a> {
    pub fn parse(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(JwtError::Malformed("it is too long"));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwtError::Malformed("it does not have three parts"));
        };
        let message = &text.as_bytes()[..header.len() + 1 + claims.len()];
        let header = decoded(header)?;
        if header.len() > HEADER_BYTES_MAX {
            return Err(JwtError::Malformed("its header is too long"));
        }
        let header: Header<'_> = json::read(&header).map_err(|_| JwtError::Malformed("its header is not one"))?;
        // An extension that must be understood, and this host understands none.
        if header.crit.is_some() {
            return Err(JwtError::Claim("its header has `crit`"));
        }
        // Tokens for other purposes, such as logout, are of the same issuer.
        if header.typ.is_some_and(|typ| !is_bearer(&typ)) || header.cty.is_some() {
            return Err(JwtError::Claim("its `typ` or `cty` is of another kind of token"));
        }
        let algorithm = header.alg.parse().map_err(|_| JwtError::Algorithm)?;
        Ok(Self { algorithm, key_id: header.kid, message, claims: decoded(claims)?, signature: decoded(signature)? })
    }
}

/// Returns true for ID tokens and for access tokens (RFC 9068).
fn is_bearer(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

fn decoded(part: &str) -> Result<Vec<u8>, JwtError> {
    if part.is_empty() {
        return Err(JwtError::Malformed("a part of it is empty"));
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed("a part of it is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Result<(), JwtError>) {
        let text = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
        assert_eq!(SignedToken::parse(&text).map(drop), expected, "{header}");
    }

    #[test]
    fn a_header_decides_before_a_signature_is_looked_at() {
        check(r#"{"alg":"RS256"}"#, Ok(()));
        check(r#"{"alg":"ES256","typ":"at+jwt","kid":"1"}"#, Ok(()));
        check(r#"{"alg":"ES256","typ":"application/AT+JWT","jku":"https://evil.example","jwk":{"kty":"oct"}}"#, Ok(()));
        for alg in ["none", "None", "", "HS256", "HS512", "rs256", "RSA1_5", "ES256K", "dir"] {
            check(&format!(r#"{{"alg":"{alg}"}}"#), Err(JwtError::Algorithm));
        }
        let crit = Err(JwtError::Claim("its header has `crit`"));
        check(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, crit);
        check(r#"{"alg":"RS256","crit":[]}"#, crit);
        let kind = Err(JwtError::Claim("its `typ` or `cty` is of another kind of token"));
        for typ in ["logout+jwt", "dpop+jwt", "JOSE", ""] {
            check(&format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#), kind);
        }
        check(r#"{"alg":"RS256","cty":"JWT"}"#, kind);
        let malformed = Err(JwtError::Malformed("its header is not one"));
        for wrong in
            ["", "{}", "[\"RS256\"]", "{\"alg\":1}", r#"{"alg":"none","alg":"RS256"}"#, r#"{"alg":"RS256","kid":7}"#]
        {
            let expected = if wrong.is_empty() { Err(JwtError::Malformed("a part of it is empty")) } else { malformed };
            check(wrong, expected);
        }
        check(
            &format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "a".repeat(5000)),
            Err(JwtError::Malformed("its header is too long")),
        );
        let deep = format!(r#"{{"alg":"RS256","x":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
        // An unknown field is passed over, however deep it is.
        check(&deep, Ok(()));
    }

    #[test]
    fn a_token_has_three_parts_of_base64url() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        for wrong in ["", "a", "a.b", "a.b.c.d", "..", &format!("{header}.e30."), &format!("{header}..AA")] {
            assert!(matches!(SignedToken::parse(wrong), Err(JwtError::Malformed(_))), "{wrong}");
        }
        for signature in ["AA==", "A+/A", "A", "AB"] {
            let text = format!("{header}.e30.{signature}");
            assert!(matches!(SignedToken::parse(&text), Err(JwtError::Malformed(_))), "{signature}");
        }
        let long = format!("{header}.{}.AA", "e".repeat(TOKEN_BYTES_MAX));
        assert!(matches!(SignedToken::parse(&long), Err(JwtError::Malformed("it is too long"))));
    }
}
