//! URLs of a provider: https, or http to this machine alone.

use std::fmt;
use std::str::FromStr;

use crate::model::authority::Authority;

const BYTES_MAX: usize = 2048;

/// A URL that may be asked: nobody on the way reads or changes the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUrl(String);

/// The identity of a provider. Two issuers are the same only if their texts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(ProviderUrl);

// === impl ProviderUrl ===

impl ProviderUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for ProviderUrl {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, &'static str> {
        if raw.len() > BYTES_MAX || !raw.bytes().all(|byte| byte.is_ascii_graphic()) || raw.contains(['#', '\\', '"']) {
            return Err("is no URL: it is too long, or has other characters");
        }
        let (authority, _) = Authority::of_url(raw).ok_or("is no URL of https")?;
        let is_local = raw.starts_with("http://") && authority.host.is_loopback();
        if raw.starts_with("https://") || is_local { Ok(Self(raw.to_owned())) } else { Err("is not https") }
    }
}

impl fmt::Display for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Issuer ===

impl Issuer {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL of the provider's document.
    pub fn document(&self) -> ProviderUrl {
        ProviderUrl(format!("{}/.well-known/openid-configuration", self.as_str().trim_end_matches('/')))
    }
}

impl FromStr for Issuer {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, &'static str> {
        if raw.contains('?') { Err("has a query, which an issuer has not") } else { Ok(Self(raw.parse()?)) }
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, is_url: bool, is_issuer: bool) {
        assert_eq!((raw.parse::<ProviderUrl>().is_ok(), raw.parse::<Issuer>().is_ok()), (is_url, is_issuer), "{raw}");
    }

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        check("https://login.example", true, true);
        check("https://login.example:8443/realms/shop", true, true);
        check("https://login.example/keys?p=flow", true, false);
        check("http://localhost:3000", true, true);
        check("http://127.0.0.1:3000/a", true, true);
        check("http://[::1]:3000", true, true);
        for wrong in [
            "",
            "login.example",
            "http://login.example",
            "http://localhost.example",
            "http://127.0.0.1@login.example",
            "http://127.0.0.1.login.example",
            "HTTP://login.example",
            "ftp://localhost",
            "file:///etc/passwd",
            "https://",
            "https://user@login.example",
            "https://login.example/#a",
            "https://login.example/a b",
            "https://login.example/\r\nHost: x",
            "https://löss.example",
        ] {
            check(wrong, false, false);
        }
        check(&format!("https://{}", "a".repeat(3000)), false, false);
    }

    #[test]
    fn the_document_is_below_the_issuer() {
        let document = |raw: &str| raw.parse::<Issuer>().expect("an issuer").document().to_string();
        assert_eq!(document("https://a.example"), "https://a.example/.well-known/openid-configuration");
        assert_eq!(document("https://a.example/b/"), "https://a.example/b/.well-known/openid-configuration");
    }
}
