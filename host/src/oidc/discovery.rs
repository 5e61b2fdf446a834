//! The document in which a provider describes itself.

use serde::Deserialize;

use super::http::{FetchError, Http};
use super::keys::KeySet;
use super::url::{Issuer, ProviderUrl};
use crate::model::json;

/// The endpoints of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    pub keys: ProviderUrl,
    pub token: Option<ProviderUrl>,
    pub device: Option<ProviderUrl>,
    pub revocation: Option<ProviderUrl>,
}

#[derive(Deserialize)]
struct JsonForm {
    issuer: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint: Option<String>,
    #[serde(default)]
    device_authorization_endpoint: Option<String>,
    #[serde(default)]
    revocation_endpoint: Option<String>,
}

// === impl Discovery ===

impl Discovery {
    /// Asks the issuer. Blocks.
    pub fn fetch(http: &Http, issuer: &Issuer) -> Result<Self, FetchError> {
        let url = issuer.document();
        Self::parse(&http.get(&url)?, issuer).map_err(|reason| FetchError::new(&url, reason))
    }

    /// Asks for the keys. Blocks.
    pub fn fetch_keys(&self, http: &Http) -> Result<KeySet, FetchError> {
        KeySet::parse(&http.get(&self.keys)?).map_err(|reason| FetchError::new(&self.keys, reason))
    }

    fn parse(text: &[u8], issuer: &Issuer) -> Result<Self, String> {
        let form: JsonForm = json::read(text).map_err(|error| format!("it is no document of a provider: {error}"))?;
        // A document of another issuer would bring that one's keys.
        if form.issuer != issuer.as_str() {
            return Err(format!("the document is of the issuer {:?}", form.issuer));
        }
        let url = |name: &str, raw: &str| raw.parse().map_err(|why| format!("its {name} {why}"));
        let optional = |name: &str, raw: Option<String>| raw.map(|raw| url(name, &raw)).transpose();
        Ok(Self {
            keys: url("jwks_uri", &form.jwks_uri)?,
            token: optional("token_endpoint", form.token_endpoint)?,
            device: optional("device_authorization_endpoint", form.device_authorization_endpoint)?,
            revocation: optional("revocation_endpoint", form.revocation_endpoint)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, refused: Option<&str>) {
        let issuer = "https://a.example".parse().expect("an issuer");
        match (Discovery::parse(text.as_bytes(), &issuer), refused) {
            (Ok(_), None) => {}
            (Err(error), Some(part)) => assert!(error.contains(part), "{error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn a_document_is_that_of_the_issuer() {
        check(r#"{"issuer":"https://a.example","jwks_uri":"https://keys.example/"}"#, None);
        check(r#"{"issuer":"https://a.example/","jwks_uri":"https://a.example/keys"}"#, Some("of the issuer"));
        check(r#"{"issuer":"https://b.example","jwks_uri":"https://a.example/keys"}"#, Some("of the issuer"));
        check(r#"{"issuer":"https://a.example","jwks_uri":"http://a.example/keys"}"#, Some("jwks_uri is not https"));
        check(r#"{"issuer":"https://a.example","jwks_uri":"file:///etc/passwd"}"#, Some("jwks_uri"));
        check(
            r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/k","token_endpoint":"http://a.example/t"}"#,
            Some("token_endpoint is not https"),
        );
        for wrong in ["", "[]", "{}", "<html>", r#"["https://a.example","https://a.example/keys"]"#] {
            check(wrong, Some("no document"));
        }
    }
}
