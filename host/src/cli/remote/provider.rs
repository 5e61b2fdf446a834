//! The sign-in of a person at the identity provider of a host, and the tokens of a context that come from there.
//!
//! The host names the provider. The command line talks to the provider itself, by the device grant: the person enters a
//! code in a browser on any machine. The refresh token stays in the context, and goes to nobody but the provider.

use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::super::error::{Error, Kind, Result};
use super::super::text;
use super::client::Client;
use super::context::{Certificates, Context, Contexts};
use super::provider_login::ProviderLogin;
use crate::api_types::{ProviderView, SignInView};
use crate::model::codes::Code;
use crate::model::json;
use crate::model::text::OneLine;
use crate::model::units::{Rfc3339, Timestamp};
use crate::oidc::{self, DeviceCode, Discovery, FetchError, Http, Issuer, Poll, ProviderUrl, TokenSet};
use crate::trust::Trust;

/// The addition to the time between polls, when the provider asks for one (RFC 8628).
const SLOWER: Duration = Duration::from_secs(5);

/// A provider with its endpoints.
struct Provider {
    http: Http,
    endpoints: Discovery,
}

/// Signs a person in for the host. Returns the context with its token.
pub fn sign_in(client: &Client, context: Context) -> Result<Context> {
    let view: SignInView = client.get("/v1/sign-in")?.parse()?;
    let ProviderView { issuer, audience, client_id, scopes, resource } =
        view.oidc.ok_or_else(|| failed("the host has no identity provider (--oidc-issuer)"))?;
    let client_id = client_id.ok_or_else(|| failed("the host names no client for people (--oidc-client-id)"))?;
    let provider = Provider::open(&issuer, &context.certificates)?;
    let login = ProviderLogin {
        id_token: audience == client_id,
        issuer: issuer.into(),
        client_id: client_id.into(),
        resource: resource.map(String::from),
        refresh_token: None,
        expires_at: String::new(),
    };
    let tokens = provider.person(&login, &scopes)?;
    login.with(context, tokens)
}

/// Renews the token of a context that will expire soon.
pub fn renewed(name: &str, context: Context) -> Result<Context> {
    if !context.provider.as_ref().is_some_and(ProviderLogin::is_due) {
        return Ok(context);
    }
    // Another command may be renewing it: a provider may take each refresh token once.
    let _lock = Contexts::lock()?;
    let mut contexts = Contexts::load()?;
    let newest = contexts.get(name)?.clone();
    let Some(login) = newest.provider.clone().filter(ProviderLogin::is_due) else { return Ok(newest) };
    match login.refreshed(&newest) {
        Ok(next) => {
            contexts.put(name.to_owned(), next.clone());
            contexts.save()?;
            Ok(next)
        }
        // The provider may be back before the token ends.
        Err(error) if error.may_pass() && !login.has_expired() => Ok(newest),
        Err(error) => Err(error),
    }
}

/// Ends the refresh token at the provider, if it can be reached.
pub fn signed_out(context: &Context) -> Result<()> {
    let Some(login) = &context.provider else { return Ok(()) };
    let Some(token) = &login.refresh_token else { return Ok(()) };
    let provider = Provider::open(&login.issuer, &context.certificates)?;
    let Some(url) = &provider.endpoints.revocation else { return Ok(()) };
    oidc::revoke(&provider.http, url, token, &login.client_id).map_err(unreachable)
}

// === impl ProviderLogin ===

impl ProviderLogin {
    fn refreshed(&self, context: &Context) -> Result<Context> {
        let again = || failed("the token of the context has expired, and the provider gives no new one");
        let token = self.refresh_token.as_deref().ok_or_else(again)?;
        let provider = Provider::open(&self.issuer, &context.certificates)?;
        let url = provider.token_url()?;
        let tokens = oidc::refresh(&provider.http, url, token, &self.fields()).map_err(unreachable)?;
        self.clone().with(context.clone(), tokens.ok_or_else(again)?)
    }

    /// Puts tokens into a context. A provider may keep the refresh token as it is.
    fn with(mut self, context: Context, tokens: TokenSet) -> Result<Context> {
        let TokenSet { access_token, id_token, refresh_token, .. } = tokens;
        let token = if self.id_token { id_token } else { access_token };
        let token = token.ok_or_else(|| failed("the provider gave no token of the kind that the host takes"))?;
        let ends_at = expiry(&token).ok_or_else(|| {
            failed("the provider's access token is no JWT")
                .with_hint("the host may need --oidc-resource or other --oidc-scopes")
        })?;
        self.expires_at = Rfc3339(ends_at).to_string();
        self.refresh_token = refresh_token.or(self.refresh_token);
        Ok(Context { token: Some(token), provider: Some(self), ..context })
    }
}

/// The time that a JWT names. Nobody has checked it: it only says when to ask for the next.
fn expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Expiry {
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Expiry { exp } = json::read(&claims).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float ends at the type's limits")]
    Some(Timestamp((exp * 1000.0) as i64))
}

// === impl Provider ===

impl Provider {
    /// Asks the issuer for its endpoints. A provider of the company's own may have the authority of the host.
    fn open(issuer: &str, certificates: &Certificates) -> Result<Self> {
        let issuer: Issuer = issuer.parse().map_err(|why| failed(format_args!("the issuer {} {why}", OneLine(issuer))))?;
        let http = Http::new(&Trust::SystemAnd(certificates.ca.clone())).map_err(unreachable)?;
        let endpoints = Discovery::fetch(&http, &issuer).map_err(unreachable)?;
        Ok(Self { http, endpoints })
    }

    fn token_url(&self) -> Result<&ProviderUrl> {
        self.endpoints.token.as_ref().ok_or_else(|| failed("the provider has no endpoint for tokens"))
    }

    /// Waits until the person has entered the code.
    fn person(&self, login: &ProviderLogin, scopes: &str) -> Result<TokenSet> {
        let no_device = "the provider has no device grant: use SANDBAR_TOKEN, or a token of the cluster";
        let device = self.endpoints.device.as_ref().ok_or_else(|| failed(no_device))?;
        let token_url = self.token_url()?;
        let fields = [login.fields(), vec![("scope", scopes)]].concat();
        let code = oidc::device_code(&self.http, device, &fields).map_err(failed)?;
        announce(login, &code);
        let deadline = Instant::now() + code.expires_in;
        let mut interval = code.interval;
        while Instant::now() < deadline {
            sleep(interval);
            match oidc::poll(&self.http, token_url, &code, &login.fields()).map_err(failed)? {
                Poll::Done(tokens) => return Ok(*tokens),
                Poll::Pending => {}
                Poll::SlowDown => interval += SLOWER,
            }
        }
        Err(failed("the code has expired before somebody entered it"))
    }
}

fn announce(login: &ProviderLogin, code: &DeviceCode) {
    text::tell(format_args!("Sign in at {}:", OneLine(&login.issuer)));
    text::tell(format_args!("  open   {}", OneLine(&code.url)));
    text::tell(format_args!("  enter  {}", OneLine(&code.user_code)));
    if let Some(url) = &code.url_with_code {
        text::tell(format_args!("  or open {}", OneLine(url)));
    }
}

fn failed(reason: impl std::fmt::Display) -> Error {
    Error::new(Kind::Failed, reason).with(Code::OidcLogin)
}

fn unreachable(error: FetchError) -> Error {
    Error::new(Kind::Unreachable, error).with_code(Code::OidcLogin.as_str()).with_hint("try again when the provider answers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_when_to_ask_for_the_next() {
        let jwt = |claims: &str| format!("e30.{}.AA", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(expiry(&jwt(r#"{"exp":1800000000}"#)), Some(Timestamp(1_800_000_000_000)));
        for opaque in ["", "abc", "a.b.c", &jwt("{}"), &jwt("[1]"), &jwt(r#"{"exp":"soon"}"#)] {
            assert_eq!(expiry(opaque), None, "{opaque}");
        }
    }

    fn login() -> ProviderLogin {
        ProviderLogin {
            issuer: "https://login.example".into(),
            client_id: "sandbar-cli".into(),
            id_token: false,
            resource: Some("urn:sandbar".into()),
            refresh_token: Some("before".into()),
            expires_at: String::new(),
        }
    }

    #[test]
    fn a_context_takes_the_token_that_the_host_takes() {
        let jwt = format!("e30.{}.AA", URL_SAFE_NO_PAD.encode(r#"{"exp":4000000000}"#));
        let context = Context { url: "https://host.example".into(), ..Context::default() };
        let tokens = |access: Option<&str>, id: Option<&str>, refresh: Option<&str>| TokenSet {
            access_token: access.map(str::to_owned),
            id_token: id.map(str::to_owned),
            refresh_token: refresh.map(str::to_owned),
        };
        let kept = login().with(context.clone(), tokens(Some(&jwt), None, None)).expect("a JWT");
        let provider = kept.provider.expect("a login");
        assert_eq!((kept.token.as_deref(), provider.refresh_token.as_deref()), (Some(&*jwt), Some("before")));
        assert!(!provider.is_due() && !provider.has_expired());
        let rotated = login().with(context.clone(), tokens(Some(&jwt), None, Some("next"))).expect("a JWT");
        assert_eq!(rotated.provider.expect("a login").refresh_token.as_deref(), Some("next"));
        let opaque = login().with(context.clone(), tokens(Some("opaque"), Some(&jwt), None)).expect_err("no JWT");
        assert!(opaque.has_code(Code::OidcLogin) && !opaque.to_string().contains("opaque"));
        let of_id = ProviderLogin { id_token: true, ..login() };
        assert!(of_id.clone().with(context.clone(), tokens(Some(&jwt), None, None)).is_err());
        assert_eq!(of_id.with(context, tokens(Some("opaque"), Some(&jwt), None)).expect("a JWT").token, Some(jwt));
        assert!(login().is_due() && login().has_expired());
    }
}
