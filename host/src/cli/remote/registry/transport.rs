//! Requests to a registry, its sign-in, and its redirects.
//!
//! The password goes to the registry and to the server of its tokens, over TLS (or on this machine, for a registry that is
//! called without TLS). A redirect's target gets neither password nor token. The token is asked for with the one right that
//! a pull needs, whatever the registry demands.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;
use ureq::http::header::{ACCEPT, AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use ureq::http::{HeaderMap, HeaderValue, Request, StatusCode};
use ureq::tls::TlsConfig;

use super::super::super::error::{Error, Result};
use super::super::access::{self, Access};
use super::super::url_part::encoded;
use super::challenge::Challenge;
use super::credentials::Credentials;
use super::image::IMAGE_TYPE;
use super::reference::Reference;
use super::refused;
use crate::model::authority::Authority;
use crate::model::json;
use crate::model::text::OneLine;

const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Time for a manifest or a token.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Time for the bytes of a module.
const BLOB_TIME: Duration = Duration::from_secs(600);
const TLS_HINT: &str =
    "name the registry's authority with --registry-ca FILE, if you trust it; docs/errors/E073.md has other reasons";
const REDIRECTS_MAX: usize = 5;
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// The bounds of an answer, and its type.
pub struct Limit {
    accept: &'static str,
    bytes_max: u64,
    time: Duration,
}

/// The requests to the registry of one artifact, with its sign-in.
pub struct Transport<'a> {
    reference: &'a Reference,
    /// None for a registry that is called without TLS.
    tls: Option<TlsConfig>,
    credentials: Option<Credentials>,
    /// The header for the registry, once it has asked for one.
    authorization: Option<HeaderValue>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Servers give the token by one name, by the other, or by both.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

// === impl Limit ===

impl Limit {
    pub fn of_manifest(bytes_max: u64) -> Self {
        Self { accept: IMAGE_TYPE, bytes_max, time: ANSWER_TIME }
    }

    pub fn of_blob(bytes_max: u64) -> Self {
        Self { accept: "*/*", bytes_max, time: BLOB_TIME }
    }

    fn of_token() -> Self {
        Self { accept: "application/json", bytes_max: TOKEN_BYTES_MAX, time: ANSWER_TIME }
    }
}

// === impl Transport ===

impl<'a> Transport<'a> {
    pub fn new(reference: &'a Reference, ca: Option<&Path>, credentials: Option<Credentials>) -> Result<Self> {
        let access = Access { ca: ca.map(Path::to_owned), ..Access::default() };
        let tls = if reference.is_plain { None } else { Some(access.tls()?) };
        Ok(Self { reference, tls, credentials, authorization: None })
    }

    /// Gets a path of the repository.
    pub fn get(&mut self, path: &str, limit: &Limit) -> Result<Vec<u8>> {
        let scheme = if self.reference.is_plain { "http" } else { "https" };
        let Reference { registry, repository, .. } = self.reference;
        let url = format!("{scheme}://{registry}/v2/{repository}{path}");
        let (mut answer, last) = self.follow(&url, limit)?;
        if answer.status == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            // Else the target of a redirect would choose who gets the password.
            if Authority::of_url(&last) != Authority::of_url(&url) {
                let target = OneLine(without_query(&last));
                return Err(self.refused(format_args!("the registry redirects to {target}, which asks for a sign-in")));
            }
            self.authorization = Some(self.sign_in(&answer.headers)?);
            (answer, _) = self.follow(&url, limit)?;
        }
        match answer.status {
            status if status.is_success() => Ok(answer.body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let how = if self.credentials.is_some() { "with these credentials" } else { "without credentials" };
                Err(self.refused(format_args!("the registry does not permit it {how} ({})", answer.status)))
            }
            StatusCode::NOT_FOUND => Err(self.refused("the registry has no such artifact")),
            status => Err(self.refused(format_args!("the registry answers with {status}"))),
        }
    }

    fn refused(&self, reason: impl std::fmt::Display) -> Error {
        refused(self.reference, reason)
    }

    /// Sends a request, and follows redirects to other servers without the header for this one. Returns the URL, too, that
    /// the answer is from.
    fn follow(&self, url: &str, limit: &Limit) -> Result<(Answer, String)> {
        let mut url = url.to_owned();
        let mut authorization = self.authorization.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send(&url, authorization.clone(), limit)?;
            let location = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection());
            let Some(location) = location else { return Ok((answer, url)) };
            let target = self.target(&url, location)?;
            if Authority::of_url(&target) != Authority::of_url(&url) {
                authorization = None;
            }
            url = target;
        }
        Err(self.refused(format_args!("the registry redirects more than {REDIRECTS_MAX} times")))
    }

    fn target(&self, from: &str, location: &HeaderValue) -> Result<String> {
        let location = location.to_str().unwrap_or_default();
        let start = from.find("://").map_or(0, |at| at + 3);
        let end = from[start..].find('/').map_or(from.len(), |at| start + at);
        let is_path = location.starts_with('/') && !location.starts_with("//");
        let target = if is_path { format!("{}{location}", &from[..end]) } else { location.to_owned() };
        if !may_call(&target, self.reference.is_plain) {
            return Err(self.refused(format_args!("the registry redirects to {}, out of TLS", OneLine(location))));
        }
        Ok(target)
    }

    fn send(&self, url: &str, authorization: Option<HeaderValue>, limit: &Limit) -> Result<Answer> {
        let mut request = Request::get(url).header(ACCEPT, limit.accept);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(()).map_err(|error| self.refused(error))?;
        let mut answer = self.agent(limit.time).run(request).map_err(|error| self.failed(&error, url))?;
        let bytes_max = if answer.status().is_success() { limit.bytes_max } else { TOKEN_BYTES_MAX };
        let body = answer.body_mut().with_config().limit(bytes_max).read_to_vec();
        let body = body.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                self.refused(format_args!("the registry sends more than the {bytes_max} bytes that are taken"))
            }
            error => self.failed(&error, url),
        })?;
        let (head, _) = answer.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn agent(&self, time: Duration) -> Agent {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("sandbar/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_global(Some(time));
        match &self.tls {
            Some(tls) => config.tls_config(tls.clone()).build().into(),
            // A proxy would read the password.
            None => config.proxy(None).build().into(),
        }
    }

    fn failed(&self, error: &ureq::Error, url: &str) -> Error {
        let url = without_query(url);
        let explained = access::explained(error, url).map(|error| error.with_hint(TLS_HINT));
        explained.unwrap_or_else(|| self.refused(format_args!("{url}: {error}")))
    }

    /// Answers the demand of the registry: the value of the header `Authorization`.
    fn sign_in(&self, headers: &HeaderMap) -> Result<HeaderValue> {
        let demands = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenge = demands.filter_map(|value| Challenge::read(value.to_str().ok()?)).next();
        match challenge {
            Some(Challenge::Basic) => {
                let none = || self.refused("the registry asks for a user and a password");
                self.secret("Basic", &self.credentials.as_ref().ok_or_else(none)?.basic())
            }
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref()),
            None => Err(self.refused("the registry asks for a kind of sign-in that is not supported")),
        }
    }

    /// Asks for a token. Whoever answers as the registry chooses the server.
    fn token(&self, realm: &str, service: Option<&str>) -> Result<HeaderValue> {
        if !may_call(realm, self.reference.is_plain) {
            let reason = format!("it sends callers to {} for a token, out of TLS", OneLine(realm));
            return Err(self.refused(reason));
        }
        let separator = if realm.contains('?') { '&' } else { '?' };
        let scope = format!("repository:{}:pull", self.reference.repository);
        let mut url = format!("{realm}{separator}scope={}", encoded(&scope));
        if let Some(service) = service {
            url.push_str(&format!("&service={}", encoded(service)));
        }
        let basic = self.credentials.as_ref().map(|credentials| self.secret("Basic", &credentials.basic())).transpose()?;
        let answer = self.send(&url, basic, &Limit::of_token())?;
        if !answer.status.is_success() {
            return Err(self.refused(format_args!("{} gives no token ({})", OneLine(realm), answer.status)));
        }
        let token = json::read(&answer.body).ok().and_then(TokenAnswer::token);
        self.secret("Bearer", &token.ok_or_else(|| self.refused("the answer has no token"))?)
    }

    fn secret(&self, scheme: &str, secret: &str) -> Result<HeaderValue> {
        let value = HeaderValue::from_str(&format!("{scheme} {secret}"));
        let mut value = value.map_err(|_| self.refused("a token or password has characters that no header may have"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

// === impl TokenAnswer ===

impl TokenAnswer {
    fn token(self) -> Option<String> {
        [self.token, self.access_token].into_iter().flatten().find(|token| !token.is_empty())
    }
}

/// The URL as it may be shown: the query of a redirect's target may be a secret.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

/// True for https; for a registry that is called without TLS, for this machine without TLS.
fn may_call(url: &str, is_plain: bool) -> bool {
    let Some((authority, port)) = Authority::of_url(url) else { return false };
    let is_https = port == 443;
    if is_plain { !is_https && authority.host.is_loopback() } else { is_https }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_with_tls_leads_nobody_out_of_it() {
        for (url, from_tls, from_plain) in [
            ("https://auth.example/token", true, false),
            ("HTTPS://auth.example:8443/token?x=1", true, false),
            ("http://auth.example/token", false, false),
            ("http://127.0.0.1:5000/token", false, true),
            ("http://localhost/token", false, true),
            ("http://[::1]:5000/token", false, true),
            ("http://localhost.example/token", false, false),
            ("http://localhost@auth.example/token", false, false),
            ("https://me:word@auth.example/token", false, false),
            ("ftp://auth.example", false, false),
            ("//auth.example/token", false, false),
            ("/token", false, false),
            ("", false, false),
        ] {
            assert_eq!((may_call(url, false), may_call(url, true)), (from_tls, from_plain), "{url}");
        }
    }

    #[test]
    fn a_token_has_two_names() {
        for (answer, expected) in [
            (r#"{"token":"a","access_token":"a","expires_in":300}"#, Some("a")),
            (r#"{"token":"a"}"#, Some("a")),
            (r#"{"access_token":"a","token":null}"#, Some("a")),
            (r#"{"access_token":"a","token":""}"#, Some("a")),
            (r#"{"token":"","access_token":""}"#, None),
            ("{}", None),
        ] {
            let answer: TokenAnswer = json::read(answer.as_bytes()).expect(answer);
            assert_eq!(answer.token().as_deref(), expected);
        }
    }
}
