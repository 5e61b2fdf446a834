//! The collector: its URL, and the HTTP client of the exporters.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::Agent;
use ureq::http::Uri;

use crate::model::authority::Authority;
use crate::model::text::without_user;
use crate::trust::{Trust, TrustError};

/// Largest answer: a collector says how much of a request it took.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// The base URL of a collector, without a slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(String);

/// Sends requests and waits for their answers, on the exporter's own thread.
#[derive(Debug, Clone)]
pub(super) struct Client(Agent);

// === impl Endpoint ===

impl Endpoint {
    /// The URL of `traces` or `logs`.
    pub fn of_signal(&self, signal: &str) -> String {
        format!("{}/v1/{signal}", self.0)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = text.trim_end_matches('/');
        let is_url = Authority::of_url(url).is_some() && url.parse::<Uri>().is_ok_and(|uri| uri.query().is_none());
        is_url
            .then(|| Self(url.to_owned()))
            .ok_or_else(|| format!("{:?} is not a URL such as http://localhost:4318", without_user(text)))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Client ===

impl Client {
    /// Reads the authorities. It follows no redirect.
    pub fn new(trust: Trust, time: Duration) -> Result<Self, TrustError> {
        let config = Agent::config_builder()
            .tls_config(trust.tls_config()?)
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("sandbar/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_global(Some(time));
        Ok(Self(config.build().into()))
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, body) = request.into_parts();
        let mut answer = self.0.run(Request::from_parts(parts, &body[..]))?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(answer.map(|_| Bytes::from(body)))
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    /// Blocks: each exporter has a thread of its own.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        Ok(self.send(request)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_url_of_a_collector() {
        let of = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.of_signal("logs"));
        assert_eq!(of("http://localhost:4318").as_deref(), Ok("http://localhost:4318/v1/logs"));
        assert_eq!(of("https://otel.example/in/").as_deref(), Ok("https://otel.example/in/v1/logs"));
        for wrong in ["", "localhost:4318", "grpc://a:1", "http://", "http://user:secret@a", "http://a/?b=c"] {
            assert!(of(wrong).is_err_and(|error| error.contains("is not a URL")), "{wrong}");
        }
    }
}
