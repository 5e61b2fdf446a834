//! A small blocking client of the host's HTTP API. It checks nothing: tests do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

const BOUNDARY: &str = "sandbar-tests-boundary";

/// The API of one host.
#[derive(Debug, Clone)]
pub struct Api {
    address: SocketAddr,
    agent: Agent,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

// === impl Api ===

impl Api {
    pub fn new(address: SocketAddr) -> Self {
        Self::waiting(address, Duration::from_secs(60))
    }

    /// One that waits so long for an answer.
    pub fn waiting(address: SocketAddr, most: Duration) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(most));
        Api { address, agent: config.build().into() }
    }

    /// Uploads a module; its digest.
    #[track_caller]
    pub fn upload(&self, module: &[u8]) -> String {
        let answer = self.try_upload(module);
        let digest = answer.success().json()["digest"].as_str().map(str::to_owned);
        digest.unwrap_or_else(|| panic!("no digest in {answer:?}"))
    }

    pub fn try_upload(&self, module: &[u8]) -> Response {
        self.send("POST", "/v1/modules", "application/wasm", module)
    }

    /// Deploys `spec` as `team/name`, whose module was uploaded before.
    #[track_caller]
    pub fn deploy(&self, transform: &str, spec: &Value) -> Value {
        self.try_deploy(transform, spec).success().json()
    }

    pub fn try_deploy(&self, transform: &str, spec: &Value) -> Response {
        self.send("PUT", &route(transform, ""), "application/json", spec.to_string().as_bytes())
    }

    /// Deploys a spec and its module in one request.
    pub fn try_deploy_with(&self, transform: &str, spec: &Value, module: &[u8]) -> Response {
        self.try_deploy_files(transform, ("application/json", &spec.to_string()), module)
    }

    /// Deploys a `transform.yaml` with its module, as a team does with curl.
    #[track_caller]
    pub fn deploy_manifest(&self, transform: &str, manifest: &str, module: &[u8]) {
        self.try_deploy_files(transform, ("application/yaml", manifest), module).success();
    }

    fn try_deploy_files(&self, transform: &str, spec: (&str, &str), module: &[u8]) -> Response {
        let path = route(transform, "");
        self.send_form("PUT", &path, spec, module, None).unwrap_or_else(|error| panic!("PUT {path}: {error}"))
    }

    /// Deploys a spec and its module through a host that may not answer.
    pub fn try_deploy_json(&self, transform: &str, spec: &str, module: &[u8]) -> Result<Response, String> {
        self.send_form("PUT", &route(transform, ""), ("application/json", spec), module, None)
    }

    /// Has a deployment checked, and nothing changed.
    pub fn try_dry_run(&self, transform: &str, spec: &Value, module: &[u8]) -> Result<Response, String> {
        let path = route(transform, "?dry_run=true");
        self.send_form("PUT", &path, ("application/json", &spec.to_string()), module, None)
    }

    /// Runs a module over records, a JSON object a line, and deploys nothing.
    pub fn try_trial(&self, transform: &str, spec: &Value, module: &[u8], records: &[u8]) -> Result<Response, String> {
        let path = route(transform, "/test");
        self.send_form("POST", &path, ("application/json", &spec.to_string()), module, Some(records))
    }

    fn send_form(
        &self,
        method: &str,
        path: &str,
        (content_type, spec): (&str, &str),
        module: &[u8],
        records: Option<&[u8]>,
    ) -> Result<Response, String> {
        let mut body = Vec::new();
        let mut part = |name: &str, file: &str, content_type: &str, content: &[u8]| {
            let disposition = format!("Content-Disposition: form-data; name=\"{name}\"{file}");
            body.extend_from_slice(
                format!("--{BOUNDARY}\r\n{disposition}\r\nContent-Type: {content_type}\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        };
        part("spec", "", content_type, spec.as_bytes());
        part("module", "; filename=\"module.wasm\"", "application/wasm", module);
        if let Some(records) = records {
            part("records", "", "application/x-ndjson", records);
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.send_bytes(method, path, &format!("multipart/form-data; boundary={BOUNDARY}"), &body)
    }

    #[track_caller]
    pub fn status(&self, transform: &str) -> Value {
        self.get(&route(transform, "/status")).success().json()
    }

    pub fn get(&self, path: &str) -> Response {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    pub fn try_get(&self, path: &str) -> Result<Response, String> {
        self.answer(self.agent.get(self.url(path)).call())
    }

    /// Gets a page as the holder of a token.
    #[track_caller]
    pub fn get_as(&self, token: &str, path: &str) -> Response {
        let request = self.agent.get(self.url(path)).header("authorization", format!("Bearer {token}"));
        self.answer(request.call()).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Opens a stream as the holder of a token. It is read to its end, which the host decides about.
    #[track_caller]
    pub fn stream_as(&self, token: &str, path: &str) -> impl Read + use<> {
        let request = self.agent.get(self.url(path)).header("authorization", format!("Bearer {token}"));
        let answer = request.call().unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(answer.status().as_u16(), 200, "GET {path}");
        answer.into_body().into_reader()
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.answer(self.agent.delete(self.url(path)).call()).unwrap_or_else(|error| panic!("DELETE {path}: {error}"))
    }

    /// Sends a body; any method that has one.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Response {
        self.send_bytes(method, path, content_type, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Sends a body to a host that may not answer.
    pub fn send_bytes(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<Response, String> {
        let request = Request::builder().method(method).uri(self.url(path)).header("content-type", content_type);
        // No web page can send it: the host takes the request for a program's.
        let request = request.header("sandbar-request", "1");
        self.answer(self.agent.run(request.body(body).expect("a valid request")))
    }

    /// Sends JSON with headers of its own to a host that may not answer.
    pub fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Result<Response, String> {
        let request = Request::builder().method(method).uri(self.url(path)).header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.answer(self.agent.run(request.body(body.to_string()).expect("a valid request")))
    }

    /// Announces a body of `announced` bytes, sends `body`, then hangs up our side. Returns the host's answer, if there
    /// was one.
    pub fn send_cut_off(&self, method: &str, path: &str, announced: usize, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).expect("the host listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/wasm\r\nContent-Length: {announced}\r\n\r\n",
            self.address
        );
        // A host that has seen enough answers and hangs up while this is still sending, or hangs up without an answer.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn answer(&self, result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Response, String> {
        let mut answer = result.map_err(|error| error.to_string())?;
        let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        Ok(Response {
            status: answer.status().as_u16(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: answer.body_mut().read_to_string().map_err(|error| error.to_string())?,
        })
    }
}

// === impl Response ===

impl Response {
    /// Itself, if it is a 2xx.
    #[track_caller]
    pub fn success(&self) -> &Self {
        assert!((200..300).contains(&self.status), "the host answered {}: {}", self.status, self.body);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }
}

fn route(transform: &str, rest: &str) -> String {
    let (team, name) = transform.split_once('/').expect("team/name");
    format!("/v1/teams/{team}/transforms/{name}{rest}")
}
