//! Requests to the places that tokens and keys come from: within bounds of time and size, and without redirects or proxies.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Request;
use ureq::tls::TlsConfig;

use crate::model::authority::{Authority, HostName};
use crate::model::text::{OneLine, brief};
use crate::trust;

/// Largest answer that is read: tokens have a few KiB.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Most of a foreign text that goes into a message.
const FOREIGN_BYTES_MAX: usize = 300;

/// The authorities that certificates of these places come from.
#[derive(Debug, Clone)]
pub enum Authorities {
    System,
    File(PathBuf),
    Pem(String),
}

/// The bounds of requests for tokens and keys.
#[derive(Debug, Clone)]
pub struct Https {
    pub authorities: Authorities,
    /// The time for all requests that lead to one token.
    pub time: Duration,
}

/// An answer of any status.
pub struct Answer {
    pub status: u16,
    pub text: String,
}

// === impl Https ===

impl Https {
    /// Sends a request; an error names the place, and has no secret in it.
    pub fn send(&self, request: Request<String>, deadline: Instant) -> Result<Answer, String> {
        let url = request.uri().to_string();
        let place = Authority::of_url(&url).map(|(authority, _)| authority.to_string()).unwrap_or_default();
        let here = |why: String| format!("{place}: {why}");
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(here("there is no time left".to_owned()));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("sandbar/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(left));
        let config = if url.starts_with("https:") { config.tls_config(self.tls().map_err(here)?) } else { config };
        let agent: Agent = config.build().into();
        let failed = |error: ureq::Error| here(brief(OneLine(error), FOREIGN_BYTES_MAX));
        // It starts a thread to look names up, and panics if the system has none left; C code may be its caller.
        let run = catch_unwind(AssertUnwindSafe(|| agent.run(request)));
        let run = run.map_err(|_| here("the request could not be made on this machine".to_owned()))?;
        let mut answer = run.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        Ok(Answer { status, text: body.read_to_string().map_err(failed)? })
    }

    /// The files are read for each token, so a change of them needs no restart.
    fn tls(&self) -> Result<TlsConfig, String> {
        let roots = match &self.authorities {
            Authorities::System => rustls_native_certs::load_native_certs().certs,
            Authorities::Pem(text) => trust::authorities(text.as_bytes())?,
            Authorities::File(path) => trust::authorities_of(path).map_err(|error| error.to_string())?,
        };
        Ok(trust::tls_config(&roots))
    }
}

/// Refuses a URL to which a secret would go in plain text: plain HTTP is for this machine, and for `links`, the addresses of
/// services that answer for this machine alone.
pub fn check_url(url: &str, links: &[&str]) -> Result<(), String> {
    let parsed = Authority::of_url(url).filter(|_| url.parse::<ureq::http::Uri>().is_ok());
    let (authority, default_port) = parsed.ok_or("it is no URL of http or https")?;
    let is_local = match &authority.host {
        HostName::Name(name) => name == "localhost",
        HostName::Address(address) => {
            address.to_canonical().is_loopback() || links.iter().any(|link| link.parse() == Ok(*address))
        }
    };
    if default_port == 443 || is_local {
        Ok(())
    } else {
        Err("it is not https, so everybody on the way could read it".into())
    }
}

/// Encodes every byte that RFC 3986 does not leave unreserved.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Writes names and values as a form or a query.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    pairs.join("&")
}

/// Text of somebody else, made fit for a message: it may repeat a secret that it was sent.
pub fn foreign(text: &str, secrets: &[&str]) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    let without = secrets.fold(text.to_owned(), |text, secret| text.replace(*secret, "***"));
    brief(OneLine(without), FOREIGN_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, links: &[&str], allowed: bool) {
        let found = check_url(url, links);
        assert_eq!(found.is_ok(), allowed, "{url}: {found:?}");
    }

    #[test]
    fn secrets_go_in_plain_text_to_this_machine_alone() {
        check("https://id.example/token", &[], true);
        check("http://id.example/token", &[], false);
        check("http://127.0.0.1:8080/token", &[], true);
        check("http://localhost/token", &[], true);
        check("http://[::1]:1/token", &[], true);
        check("http://169.254.170.23/v1", &[], false);
        check("http://169.254.170.23/v1", &["169.254.170.23"], true);
        check("http://127.0.0.1.example/token", &[], false);
        check("http://user@127.0.0.1/token", &[], false);
        check("ftp://id.example/token", &[], false);
    }

    #[test]
    fn a_message_has_no_secret_and_no_line_of_its_own() {
        assert_eq!(foreign("bad hush\nnext", &["hush", ""]), "bad ***\\nnext");
        assert!(foreign(&"x".repeat(10_000), &[]).len() <= FOREIGN_BYTES_MAX);
    }
}
