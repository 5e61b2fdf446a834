//! A small blocking client of the host's HTTP API.
//!
//! Every request that changes something carries an `Idempotency-Key`. A host knows a change of a transform again by it, and
//! carries it out once, so the client sends it again when its connection breaks ([`Client::send`]). A host knows no other
//! request again: those are sent once ([`Client::send_once`]), or their end tells if they were carried out
//! ([`Client::remove`]). Every request is made in one place, which adds the token ([`Client::request`]).

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::http::request::Builder;
use ureq::http::{Request, StatusCode};
use ureq::tls::TlsConfig;
use ureq::typestate::AgentScope;

use crate::api_types::ProblemDetails;
use crate::model::authority::Authority;
use crate::model::codes::Code;
use crate::model::json;
use crate::model::random::{random_id, random_u64};
use crate::model::text::without_user;
use crate::model::units::Backoff;

use super::super::error::{Error, Kind, Result};
use super::access::{self, Access};
use super::body::{Body, Expected};
use super::event_stream::EventStream;
use super::redirect::RedirectTarget;

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
/// Bytes above which a body may be too large for a host: it takes no larger module, unless its operator has raised the limit.
const LARGE_BODY_BYTES: usize = 32 << 20;

/// The API of a host, which answers for its cluster.
#[derive(Debug)]
pub struct Client {
    /// `http://host:port` or `https://host:port`, without a slash at the end.
    url: String,
    access: Access,
    connecting: Connecting,
    agent: Agent,
    /// The agent for streaming answers.
    streams: Agent,
}

/// The way to connect, which all agents of a client share.
#[derive(Debug, Clone)]
struct Connecting {
    /// `None`: plain HTTP.
    tls: Option<TlsConfig>,
    /// True if a proxy of the environment is not used: it would read the token.
    is_direct: bool,
}

/// An answer of any status.
struct Answer {
    status: StatusCode,
    location: Option<String>,
    text: String,
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
    pub fn new(url: &str, access: Access) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let authority = Authority::of_url(url).filter(|_| url.parse::<ureq::http::Uri>().is_ok());
        let Some((authority, port)) = authority else {
            let hint = "it looks like http://localhost:8080 or https://sandbar.example";
            return Err(Error::usage(format_args!("{:?} is not the URL of a host", without_user(url))).with_hint(hint));
        };
        let is_https = port == 443;
        if access.token.is_some() && !is_https && !access.token_over_http && !authority.host.is_loopback() {
            let message = format!("the token is not sent to {url}: everybody on the way could read it");
            let hint = "use https://, or --insecure-token-over-http if a tunnel protects the connection";
            return Err(Error::usage(message).with_code(Code::Unprotected.as_str()).with_hint(hint));
        }
        let tls = is_https.then(|| access.tls()).transpose()?;
        let connecting = Connecting { tls, is_direct: !is_https && access.token.is_some() };
        let agent = connecting.agent(ANSWER_TIME);
        let streams = connecting.streaming_agent(SILENCE_MAX);
        Ok(Self { url: url.to_owned(), access, connecting, agent, streams })
    }

    /// A client of the same host with another time for one request and its answer.
    pub fn within(&self, time: Duration) -> Self {
        let agent = self.connecting.agent(time);
        let access = self.access.clone();
        let connecting = self.connecting.clone();
        Self { url: self.url.clone(), access, connecting, agent, streams: self.streams.clone() }
    }

    /// The URL of a page or route: `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Gets a page or route; another host of the cluster may have it.
    pub fn get(&self, path: &str) -> Result<Response> {
        let answer = self.exchange(path, self.request("GET", path).body(()))?;
        let location = answer.location.as_deref().filter(|_| answer.status.is_redirection());
        let Some(location) = location else { return answer.success(self.url(path)) };
        let hosts = || {
            let asked = self.exchange("/v1/hosts", self.request("GET", "/v1/hosts").body(()))?;
            asked.success(self.url("/v1/hosts"))?.parse()
        };
        let RedirectTarget { url, path } = RedirectTarget::of(&self.url, location, hosts)?;
        let other = Self::new(&url, self.access.clone())?;
        other.exchange(&path, other.request("GET", &path).body(()))?.success(other.url(&path))
    }

    /// Gets the form for programs of a route that has several.
    pub fn get_json(&self, path: &str) -> Result<Response> {
        self.once(path, self.request("GET", path).header("accept", "application/json").body(()))
    }

    /// Begins a request. Nothing else adds the token to one.
    fn request(&self, method: &str, path: &str) -> Builder {
        let request = Request::builder().method(method).uri(self.url(path)).header(SANDBAR_REQUEST, "1");
        match &self.access.token {
            Some(token) => request.header(AUTHORIZATION, token.header()),
            None => request,
        }
    }

    /// Opens a stream of events; after the event with the id `last`, if there was one.
    pub fn stream(&self, path: &str, last: Option<i64>) -> Result<EventStream> {
        let url = self.url(path);
        let mut request = self.request("GET", path).header("accept", "text/event-stream");
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

    /// Makes a change that a host knows again, under a key of its own.
    pub fn send(&self, method: &str, path: &str, body: &Body) -> Result<Response> {
        self.repeat(method, path, body).0
    }

    /// Makes a request that a host does not know again: once, whatever becomes of it.
    pub fn send_once(&self, method: &str, path: &str, body: &Body) -> Result<Response> {
        self.attempt(method, path, body, &random_id())
    }

    /// Removes a thing that a host may not know again. Returns false if an attempt whose connection broke may have removed it:
    /// the next one was refused with `missing`.
    pub fn remove(&self, path: &str, missing: Code) -> Result<bool> {
        match self.repeat("DELETE", path, &Body::default()) {
            (Err(error), 1..) if error.has_code(missing) => Ok(false),
            (done, _) => done.map(|_| true),
        }
    }

    /// Sends a request until it has an answer. Returns the number of the attempts before, too, which broke.
    fn repeat(&self, method: &str, path: &str, body: &Body) -> (Result<Response>, u32) {
        let key = random_id();
        let mut failures = 0;
        loop {
            match self.attempt(method, path, body, &key) {
                // No request was sent before: another attempt would find out nothing.
                Err(error) if error.kind == Kind::Unreachable && failures == 0 => return (Err(error), failures),
                Err(error) if matches!(error.kind, Kind::Unreachable | Kind::Broken) && failures + 1 < ATTEMPTS_MAX => {
                    std::thread::sleep(BACKOFF.spread(failures, random_u64()));
                    failures += 1;
                }
                done => return (done, failures),
            }
        }
    }

    fn attempt(&self, method: &str, path: &str, body: &Body, key: &str) -> Result<Response> {
        let request = self.change(method, path, body, key);
        match body.bytes.as_slice() {
            [] => self.once(path, request.body(())),
            bytes => {
                let request = request.body(bytes).map_err(|error| self.malformed(path, &error))?;
                let answer = self.answer(request).map_err(|error| cut_off(&error, bytes.len(), self.failed(&error)))?;
                answer.success(self.url(path))
            }
        }
    }

    fn change(&self, method: &str, path: &str, body: &Body, key: &str) -> Builder {
        let mut request = self.request(method, path).header("idempotency-key", key);
        request = match body.expected {
            Expected::Any => request,
            Expected::Revision(revision) => request.header("if-match", format!("\"{revision}\"")),
            Expected::Absent => request.header("if-none-match", "*"),
        };
        if !body.content_type.is_empty() {
            request = request.header("content-type", &body.content_type);
        }
        request
    }

    fn once<B: ureq::AsSendBody>(&self, path: &str, request: ureq::http::Result<Request<B>>) -> Result<Response> {
        self.exchange(path, request)?.success(self.url(path))
    }

    fn exchange<B: ureq::AsSendBody>(&self, path: &str, request: ureq::http::Result<Request<B>>) -> Result<Answer> {
        let request = request.map_err(|error| self.malformed(path, &error))?;
        self.answer(request).map_err(|error| self.failed(&error))
    }

    /// Sends a request, and reads its answer to the end.
    fn answer<B: ureq::AsSendBody>(&self, request: Request<B>) -> Result<Answer, ureq::Error> {
        let mut answer = self.agent.run(request)?;
        let status = answer.status();
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        Ok(Answer { status, location, text })
    }

    fn malformed(&self, path: &str, error: &ureq::http::Error) -> Error {
        Error::usage(format_args!("{}: {error}", self.url(path)))
    }

    fn failed(&self, error: &ureq::Error) -> Error {
        if let Some(error) = access::explained(error, &self.url) {
            return error;
        }
        let url = &self.url;
        if is_never_sent(error) {
            Error::new(Kind::Unreachable, format_args!("no host answers at {url}: {error}"))
                .with_hint("name the host with --url, SANDBAR_URL or a context (`sandbar context set`), or start one")
        } else {
            Error::new(Kind::Broken, format_args!("the connection to {url} broke: {error}"))
                .with_hint("`sandbar status` shows if the change was made; the same command may be given again")
        }
    }
}

/// Names the size of a large body as the probable cause, if the host closed the connection. A host throws away a part of a body
/// that is too large, and then answers and closes: the client is still sending, and does not get to read the answer.
fn cut_off(error: &ureq::Error, bytes: usize, broken: Error) -> Error {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let is_closed = match error {
        ureq::Error::Io(error) => matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset),
        _ => false,
    };
    if !is_closed || bytes <= LARGE_BODY_BYTES {
        return broken;
    }
    let size = format!("the host closed it, and probably does not take a body of {bytes} bytes");
    let hint = "make the module smaller (`sandbar build` optimises), or raise the host's limit with --module-bytes-max; \
                if the host takes modules of this size, give the same command again";
    let error = broken.reworded(|message| Some(format!("{message}: {size}")));
    error.with_code(Code::BodyTooLarge.as_str()).with_hint(hint)
}

/// Returns true for an error of the way to a host: no connection came about, so the host has nothing of the request.
fn is_never_sent(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => true,
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => true,
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::InvalidInput => true,
            // The standard library has no kind for the resolver's errors.
            _ => error.to_string().starts_with("failed to lookup address information"),
        },
        _ => false,
    }
}

fn refused(url: &str, status: StatusCode, text: &str) -> Error {
    let mut error = match json::read::<ProblemDetails>(text.as_bytes()) {
        Ok(problem) => problem.into(),
        Err(_) => Error::not_a_host(url, format_args!("the answer is {status}")),
    };
    // A search that took too long will take as long again.
    if status == StatusCode::SERVICE_UNAVAILABLE && !error.has_code(Code::LogsTime) {
        error.kind = Kind::Unavailable;
    }
    error
}

// === impl Connecting ===

impl Connecting {
    fn agent(&self, answer_time: Duration) -> Agent {
        self.config().timeout_global(Some(answer_time)).build().into()
    }

    /// A streaming answer has no limit of time as a whole, but each read has one.
    fn streaming_agent(&self, silence_max: Duration) -> Agent {
        self.config().timeout_per_read(Some(silence_max)).build().into()
    }

    /// An agent follows no redirect: the client decides about each.
    fn config(&self) -> ConfigBuilder<AgentScope> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("sandbar/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIME));
        let config = if self.is_direct { config.proxy(None) } else { config };
        match &self.tls {
            Some(tls) => config.tls_config(tls.clone()),
            None => config,
        }
    }
}

// === impl Answer ===

impl Answer {
    fn success(self, url: String) -> Result<Response> {
        if self.status.is_success() {
            return Ok(Response { url, text: self.text });
        }
        Err(refused(&url, self.status, &self.text))
    }
}

// === impl Response ===

impl Response {
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        json::read(self.text.as_bytes()).map_err(|error| Error::not_a_host(&self.url, error))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_host_that_is_not_reached_has_nothing_of_the_request() {
        let io = |error: std::io::Error| is_never_sent(&ureq::Error::Io(error));
        for unreachable in [libc::ECONNREFUSED, libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EADDRNOTAVAIL] {
            assert!(io(std::io::Error::from_raw_os_error(unreachable)), "{unreachable}");
        }
        for broken in [libc::ECONNRESET, libc::EPIPE] {
            assert!(!io(std::io::Error::from_raw_os_error(broken)), "{broken}");
        }
        assert!(io(std::io::Error::other("failed to lookup address information: Name or service not known")));
        assert!(!io(std::io::Error::other("unexpected end of file")));
    }

    #[test]
    fn a_large_body_that_is_cut_off_names_its_size_as_the_cause() {
        for (bytes, is_large) in [(LARGE_BODY_BYTES, false), (LARGE_BODY_BYTES + 1, true)] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("bound"));
            // The connection is closed with most of the body unread, as by a host that has thrown away enough of it.
            let host = std::thread::spawn(move || {
                let (mut connection, _) = listener.accept().expect("the client");
                connection.read_exact(&mut [0; 1024]).expect("a part of the request");
            });
            let client = Client::new(&url, Access::default()).expect("a URL");
            let body = Body { bytes: vec![0; bytes], ..Body::default() };
            let error = client.send_once("PUT", "/", &body).expect_err("there is no answer");
            host.join().expect("no panic");
            assert_eq!((error.kind, error.has_code(Code::BodyTooLarge)), (Kind::Broken, is_large), "{error}");
            let shown = error.to_string();
            for part in ["a body of 33554433 bytes", "--module-bytes-max"] {
                assert_eq!(shown.contains(part), is_large, "{part}: {shown}");
            }
        }
    }

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
        let client = Client::new(&url, Access::default()).expect("a URL");
        let client = Client { streams: client.connecting.streaming_agent(SILENCE), ..client };
        let mut stream = client.stream("/", None).expect("an answer");
        assert_eq!(stream.next().expect("a comment says that it stands"), Some((Some(7), "{}".to_owned())));
        let _open = host.join().expect("no panic");
        assert_eq!(stream.next().expect_err("nothing more is said").kind, Kind::Broken);
    }
}
