//! A small blocking client of the host's HTTP API.
//!
//! Every request that changes something carries an `Idempotency-Key`, so that it is sent again when its connection
//! breaks: the host carries it out once. It speaks plain HTTP; TLS is for a proxy in front of the host.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::request::Builder;
use ureq::http::{Request, StatusCode};

use crate::api_types::ProblemDetails;
use crate::model::codes::Code;
use crate::model::random::{random_id, random_u64};
use crate::model::units::Backoff;

use super::super::error::{Error, Kind, Result};
use super::body::Body;
use super::event_stream::EventStream;

/// The header by which a host knows that no web page sent the request: a browser would ask for permission first, and get
/// none.
const SANDBAR_REQUEST: &str = "sandbar-request";
/// Most attempts for one request: a host that restarts is back within them.
const ATTEMPTS_MAX: u32 = 4;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Time for one request and its answer: a host may compile a large module meanwhile.
const ANSWER_TIME: Duration = Duration::from_secs(180);
/// Time of silence after which a streaming answer has a broken connection. Hosts send a sign of life every 10 s, and look
/// through older lines for at most 20 s before they begin.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Largest answer that is taken: the report of a dry run is the largest.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// The API of a host, which answers for its cluster.
#[derive(Debug)]
pub struct Client {
    /// `http://host:port`, without a slash at the end.
    url: String,
    agent: Agent,
    /// The agent for streaming answers.
    streams: Agent,
}

/// An answer of success.
#[derive(Debug)]
pub struct Response {
    url: String,
    /// The body as the host sent it.
    pub text: String,
}

// === impl Client ===

impl Client {
    pub fn new(url: &str) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let host = url.strip_prefix("http://").filter(|host| !host.is_empty());
        if host.is_none() || url.parse::<ureq::http::Uri>().is_err() {
            let hint = "it looks like http://localhost:8080; https is not spoken, use a proxy on this machine";
            return Err(Error::usage(format_args!("{url:?} is not the URL of a host")).with_hint(hint));
        }
        Ok(Self { url: url.to_owned(), agent: agent(ANSWER_TIME), streams: streaming_agent(SILENCE_MAX) })
    }

    /// A client of the same host with another time for one request and its answer.
    pub fn within(&self, time: Duration) -> Self {
        Self { url: self.url.clone(), agent: agent(time), streams: self.streams.clone() }
    }

    /// The URL of a page or route: `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn get(&self, path: &str) -> Result<Response> {
        self.once(path, Request::get(self.url(path)).header(SANDBAR_REQUEST, "1").body(()))
    }

    /// Opens a stream of events; after the event with the id `last`, if there was one.
    pub fn stream(&self, path: &str, last: Option<i64>) -> Result<EventStream> {
        let url = self.url(path);
        let mut request = Request::get(&url).header("accept", "text/event-stream").header(SANDBAR_REQUEST, "1");
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let request = request.body(()).map_err(|error| Error::usage(format_args!("{url}: {error}")))?;
        let mut answer = self.streams.run(request).map_err(|error| self.failed(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(EventStream::new(url, answer.into_body().into_reader()));
        }
        let text = answer.body_mut().read_to_string().map_err(|error| self.failed(&error))?;
        Err(refused(&url, status, &text))
    }

    /// Makes a change, under a key of its own.
    pub fn send(&self, method: &str, path: &str, body: &Body) -> Result<Response> {
        let key = random_id();
        let mut failures = 0;
        loop {
            let request = self.change(method, path, body, &key);
            let done = match body.bytes.as_slice() {
                [] => self.once(path, request.body(())),
                bytes => self.once(path, request.body(bytes)),
            };
            match done {
                // No request was sent before: another attempt would find out nothing.
                Err(error) if error.kind == Kind::Unreachable && failures == 0 => return Err(error),
                Err(error) if matches!(error.kind, Kind::Unreachable | Kind::Broken) && failures + 1 < ATTEMPTS_MAX => {
                    std::thread::sleep(BACKOFF.spread(failures, random_u64()));
                    failures += 1;
                }
                done => return done,
            }
        }
    }

    fn change(&self, method: &str, path: &str, body: &Body, key: &str) -> Builder {
        let request = Request::builder().method(method).uri(self.url(path));
        let mut request = request.header("idempotency-key", key).header(SANDBAR_REQUEST, "1");
        if let Some(revision) = body.if_revision {
            request = request.header("if-match", format!("\"{revision}\""));
        }
        if !body.content_type.is_empty() {
            request = request.header("content-type", &body.content_type);
        }
        request
    }

    fn once<B: ureq::AsSendBody>(&self, path: &str, request: ureq::http::Result<Request<B>>) -> Result<Response> {
        let url = self.url(path);
        let request = request.map_err(|error| Error::usage(format_args!("{url}: {error}")))?;
        let mut answer = self.agent.run(request).map_err(|error| self.failed(&error))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let text = body.read_to_string().map_err(|error| self.failed(&error))?;
        if status.is_success() {
            return Ok(Response { url, text });
        }
        Err(refused(&url, status, &text))
    }

    fn failed(&self, error: &ureq::Error) -> Error {
        let never_sent = match error {
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => true,
            ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
            _ => false,
        };
        let url = &self.url;
        if never_sent {
            Error::new(Kind::Unreachable, format_args!("no host answers at {url}: {error}"))
                .with_hint("name the host with --url, SANDBAR_URL or a context (`sandbar context set`), or start one")
        } else {
            Error::new(Kind::Broken, format_args!("the connection to {url} broke: {error}"))
                .with_hint("`sandbar status` shows if the change was made; the same command may be given again")
        }
    }
}

fn refused(url: &str, status: StatusCode, text: &str) -> Error {
    let mut error = match serde_json::from_str::<ProblemDetails>(text) {
        Ok(problem) => problem.into(),
        Err(_) => Error::not_a_host(url, format_args!("the answer is {status}")),
    };
    // A search that took too long will take as long again.
    if status == StatusCode::SERVICE_UNAVAILABLE && !error.has_code(Code::LogsTime) {
        error.kind = Kind::Unavailable;
    }
    error
}

/// A streaming answer has no limit of time as a whole, but each read has one.
fn streaming_agent(silence_max: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("sandbar/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIME))
        .timeout_per_read(Some(silence_max));
    config.build().into()
}

fn agent(answer_time: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("sandbar/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIME))
        .timeout_global(Some(answer_time));
    config.build().into()
}

// === impl Response ===

impl Response {
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.text).map_err(|error| Error::not_a_host(&self.url, error))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_stream_that_says_nothing_for_too_long_is_broken() {
        const SILENCE: Duration = Duration::from_millis(400);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let host = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("the client");
            let mut say = |text: &str| connection.write_all(text.as_bytes()).expect("it is read");
            say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            // The signs of life together take longer than the silence that is allowed.
            for _ in 0..6 {
                std::thread::sleep(SILENCE / 4);
                say(":\n\n");
            }
            say("id: 7\ndata: {}\n\n");
            connection
        });
        let client = Client { streams: streaming_agent(SILENCE), ..Client::new(&url).expect("a URL") };
        let mut stream = client.stream("/", None).expect("an answer");
        assert_eq!(stream.next().expect("a comment says that it stands"), Some((Some(7), "{}".to_owned())));
        let _open = host.join().expect("no panic");
        assert_eq!(stream.next().expect_err("nothing more is said").kind, Kind::Broken);
    }
}
