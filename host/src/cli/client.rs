//! A small blocking client of the host's HTTP API.
//!
//! Every request that changes something carries an `Idempotency-Key`, so that it is sent again when its connection
//! breaks: the host carries it out once. It speaks plain HTTP; TLS is for a proxy in front of the host.

use std::io::{BufRead, BufReader, Lines};
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::request::Builder;
use ureq::http::{Request, StatusCode};
use ureq::{Agent, BodyReader};

use crate::model::codes::Code;
use crate::model::random::random_id;
use crate::model::units::Backoff;

use super::error::{Error, Kind, ProblemDetails, Result};

/// Tells a host that no web page sent the request: a browser would ask for a permission first, and get none.
const SANDBAR_REQUEST: &str = "sandbar-request";
/// How often a request is sent at most.
const ATTEMPTS_MAX: u32 = 4;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Time for one request and its answer: compiling a large module takes its while.
const ANSWER_TIME: Duration = Duration::from_secs(180);
/// An answer that goes on and says nothing for so long has a broken connection. Hosts say every 10 s that it stands, and
/// look through older lines for 20 s at most before they begin.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Largest answer that is taken: a test of many records is the largest there is.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// The API of a host, which answers for its cluster.
#[derive(Debug)]
pub struct Client {
    /// `http://host:port`, without a slash at the end.
    url: String,
    agent: Agent,
    /// For answers that go on.
    streams: Agent,
}

/// What is sent along with a request.
#[derive(Debug, Default)]
pub struct Body {
    pub content_type: String,
    pub bytes: Vec<u8>,
    /// The revision that the transform must be at.
    pub if_revision: Option<u64>,
}

/// One part of a form.
pub struct Part<'a> {
    pub name: &'a str,
    pub content_type: &'a str,
    pub content: &'a [u8],
}

/// An answer that does not refuse.
#[derive(Debug)]
pub struct Answer {
    url: String,
    /// As it came.
    pub text: String,
}

/// Lines of an answer that goes on.
pub struct Stream {
    url: String,
    lines: Lines<BufReader<BodyReader<'static>>>,
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

    /// The same host, with another time for one request and its answer.
    pub fn within(&self, time: Duration) -> Self {
        Self { url: self.url.clone(), agent: agent(time), streams: self.streams.clone() }
    }

    /// Where a page or route is: `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn get(&self, path: &str) -> Result<Answer> {
        self.once(path, Request::get(self.url(path)).header(SANDBAR_REQUEST, "1").body(()))
    }

    /// Lines as they come, as server-sent events have them; after the one with the id `last`, if one was seen.
    pub fn stream(&self, path: &str, last: Option<i64>) -> Result<Stream> {
        let url = self.url(path);
        let mut request = Request::get(&url).header("accept", "text/event-stream").header(SANDBAR_REQUEST, "1");
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let request = request.body(()).map_err(|error| Error::usage(format_args!("{url}: {error}")))?;
        let mut answer = self.streams.run(request).map_err(|error| self.failed(&error))?;
        let status = answer.status();
        if status.is_success() {
            let body = answer.into_body().into_reader();
            return Ok(Stream { url, lines: BufReader::new(body).lines() });
        }
        let text = answer.body_mut().read_to_string().map_err(|error| self.failed(&error))?;
        Err(refused(&url, status, &text))
    }

    /// Makes a change, under a key of its own.
    pub fn send(&self, method: &str, path: &str, body: &Body) -> Result<Answer> {
        let key = random_id();
        let mut failures = 0;
        loop {
            let request = self.change(method, path, body, &key);
            let done = match body.bytes.as_slice() {
                [] => self.once(path, request.body(())),
                bytes => self.once(path, request.body(bytes)),
            };
            match done {
                // Nothing was sent before: there is nothing to find out by sending it again.
                Err(error) if error.kind == Kind::Unreachable && failures == 0 => return Err(error),
                Err(error) if matches!(error.kind, Kind::Unreachable | Kind::Broken) && failures + 1 < ATTEMPTS_MAX => {
                    std::thread::sleep(BACKOFF.after(failures));
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

    fn once<B: ureq::AsSendBody>(&self, path: &str, request: ureq::http::Result<Request<B>>) -> Result<Answer> {
        let url = self.url(path);
        let request = request.map_err(|error| Error::usage(format_args!("{url}: {error}")))?;
        let mut answer = self.agent.run(request).map_err(|error| self.failed(&error))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let text = body.read_to_string().map_err(|error| self.failed(&error))?;
        if status.is_success() {
            return Ok(Answer { url, text });
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
        match never_sent {
            true => Error::new(Kind::Unreachable, format_args!("no host answers at {url}: {error}"))
                .with_hint("name the host with --url, SANDBAR_URL or a context (`sandbar context set`), or start one"),
            false => Error::new(Kind::Broken, format_args!("the connection to {url} broke: {error}"))
                .with_hint("look at what became of it with `sandbar status`; the same command may be given again"),
        }
    }
}

fn refused(url: &str, status: StatusCode, text: &str) -> Error {
    let mut error = match serde_json::from_str::<ProblemDetails>(text) {
        Ok(problem) => problem.into(),
        Err(_) => not_sandbar(url, &format!("the answer is {status}")),
    };
    // What takes too long to look through will take as long again.
    if status == StatusCode::SERVICE_UNAVAILABLE && !error.has_code(Code::LogsTime) {
        error.kind = Kind::Unavailable;
    }
    error
}

/// An answer that goes on has no time as a whole, but each read of it.
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

// === impl Body ===

impl Body {
    pub fn json(value: &serde_json::Value) -> Self {
        Self { content_type: "application/json".into(), bytes: value.to_string().into_bytes(), if_revision: None }
    }

    pub fn form(parts: &[Part<'_>]) -> Self {
        let boundary = format!("sandbar-{}", random_id());
        let mut bytes = Vec::new();
        for Part { name, content_type, content } in parts {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"");
            bytes.extend_from_slice(format!("--{boundary}\r\n{head}\r\nContent-Type: {content_type}\r\n\r\n").as_bytes());
            bytes.extend_from_slice(content);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Self { content_type: format!("multipart/form-data; boundary={boundary}"), bytes, if_revision: None }
    }
}

// === impl Stream ===

impl Stream {
    /// The next event: its id and its data. `None`: the answer has ended.
    pub fn next(&mut self) -> Result<Option<(Option<i64>, String)>> {
        let (mut id, mut data) = (None, None);
        for line in self.lines.by_ref() {
            let line = line
                .map_err(|error| Error::new(Kind::Broken, format_args!("the connection to {} broke: {error}", self.url)))?;
            match line.split_once(": ") {
                Some(("id", value)) => id = value.parse().ok(),
                Some(("data", value)) => data = Some(value.to_owned()),
                // An event's kind is in its data, too; a comment says that the connection stands.
                _ => {}
            }
            if let Some(data) = data.take_if(|_| line.is_empty()) {
                return Ok(Some((id, data)));
            }
        }
        Ok(None)
    }

    pub fn parse<T: DeserializeOwned>(&self, line: &str) -> Result<T> {
        serde_json::from_str(line).map_err(|error| not_sandbar(&self.url, &error.to_string()))
    }
}

// === impl Answer ===

impl Answer {
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.text).map_err(|error| not_sandbar(&self.url, &error.to_string()))
    }
}

fn not_sandbar(url: &str, why: &str) -> Error {
    Error::new(Kind::Failed, format_args!("{url} does not answer as a host does: {why}"))
        .with_hint("is it a Sandbar host, of this binary's version? `sandbar --version` and `sandbar hosts` tell")
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
            // Longer than the silence in all, but never silent for so long.
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
