//! Exchanges with a provider, within bounds.

use std::time::Duration;

use ureq::Agent;

use super::url::ProviderUrl;
use crate::model::text::brief;
use crate::trust::{Trust, TrustError};

/// Largest answer: a document or a set of keys has some kilobytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;
/// Time for one exchange as a whole.
pub const EXCHANGE_TIME: Duration = Duration::from_secs(10);
const CONNECT_TIME: Duration = Duration::from_secs(5);
const MESSAGE_BYTES_MAX: usize = 300;

/// An exchange that came to no answer, or to one that is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct FetchError {
    url: String,
    reason: String,
}

/// An answer of any status.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A client of providers. It follows no redirect and keeps no cookie.
pub struct Http {
    secured: Agent,
    /// An agent for plain HTTP to this machine, which goes through no proxy.
    local: Agent,
}

// === impl FetchError ===

impl FetchError {
    pub fn new(url: impl std::fmt::Display, reason: impl std::fmt::Display) -> Self {
        Self { url: brief(url, MESSAGE_BYTES_MAX), reason: brief(reason, MESSAGE_BYTES_MAX) }
    }
}

impl From<TrustError> for FetchError {
    fn from(error: TrustError) -> Self {
        Self::new(error.path.display(), error.reason)
    }
}

// === impl Http ===

impl Http {
    /// Reads the authorities. Blocks.
    pub fn new(trust: &Trust) -> Result<Self, FetchError> {
        let tls = trust.tls_config()?;
        let config = || {
            Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .user_agent(concat!("sandbar/", env!("CARGO_PKG_VERSION")))
                .timeout_connect(Some(CONNECT_TIME))
                .timeout_global(Some(EXCHANGE_TIME))
        };
        let secured = config().tls_config(tls).https_only(true).build().into();
        Ok(Self { secured, local: config().proxy(None).build().into() })
    }

    /// Gets a document. Anything but success is an error. Blocks.
    pub fn get(&self, url: &ProviderUrl) -> Result<Vec<u8>, FetchError> {
        let answer = self.agent(url).get(url.as_str()).header("accept", "application/json").call();
        let Answer { status, body } = taken(url, answer)?;
        if status == 200 { Ok(body) } else { Err(FetchError::new(url, format_args!("the answer has the status {status}"))) }
    }

    /// Sends the fields of a form. Blocks.
    pub fn post(&self, url: &ProviderUrl, fields: &[(&str, &str)]) -> Result<Answer, FetchError> {
        let request = self.agent(url).post(url.as_str()).header("accept", "application/json");
        taken(url, request.send_form(fields.iter().copied()))
    }

    fn agent(&self, url: &ProviderUrl) -> &Agent {
        if url.is_https() { &self.secured } else { &self.local }
    }
}

type Response = ureq::http::Response<ureq::Body>;

fn taken(url: &ProviderUrl, answer: Result<Response, ureq::Error>) -> Result<Answer, FetchError> {
    let failed = |error: ureq::Error| FetchError::new(url, error);
    let mut answer = answer.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(failed)?;
    Ok(Answer { status, body })
}
