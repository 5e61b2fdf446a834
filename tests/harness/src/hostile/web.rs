//! Attacks that need no module: connections, requests, specs, and the requests of a web page.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Addresses from which the attackers come. The host has one address for itself alone: other clients are elsewhere.
const FROM: [Ipv4Addr; 3] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4)];
const IDLE: usize = 150;
const HALF_OPEN: usize = 12;
const SLOW_READERS: usize = 12;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Connections that are held open until this is dropped.
#[derive(Debug)]
pub struct OpenConnections {
    streams: Vec<TcpStream>,
}

// === impl OpenConnections ===

impl OpenConnections {
    /// Opens, from each of the attackers' addresses: connections that say nothing, requests whose head or body does not
    /// end, and clients that do not read their answers.
    pub fn open(host: SocketAddr) -> OpenConnections {
        let upload = format!(
            "POST /v1/modules HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/wasm\r\nContent-Length: 30000000\r\n\r\n\0asm"
        );
        let head = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nX-Slow: ");
        let greedy = format!("GET /openapi.json HTTP/1.1\r\nHost: {host}\r\n\r\n").repeat(200);
        let mut streams = Vec::new();
        for from in FROM {
            let mut open = |count: usize, text: &str| {
                // A host that has enough of this address refuses or closes: that is its right.
                streams.extend((0..count).filter_map(|_| connect(from, host)).map(|mut stream| {
                    let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
                    let _ = stream.write_all(text.as_bytes());
                    stream
                }));
            };
            open(IDLE, "");
            open(HALF_OPEN, &upload);
            open(HALF_OPEN, &head);
            open(SLOW_READERS, &greedy);
        }
        OpenConnections { streams }
    }

    /// The number of connections that the host took.
    pub fn count(&self) -> usize {
        self.streams.len()
    }

    /// Sends one byte more on each.
    pub fn drip(&mut self) {
        for stream in &mut self.streams {
            let _ = stream.write_all(b"x");
        }
    }
}

/// A raw request from this machine's own address; the answer's status and body, or why there is none.
pub fn ask(host: SocketAddr, request: &str) -> Result<(u16, String), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&host, CONNECT_WITHIN).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(failed)?;
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.map(|status| (status, answer)).ok_or_else(|| format!("no answer: {read:?}"))
}

/// Specs that are small and grow, or nest, without end: content type and text.
pub fn spec_bombs() -> Vec<(&'static str, &'static str, String)> {
    const YAML: &str = "application/yaml";
    const JSON: &str = "application/json";
    let laughs = |levels: usize, width: usize| {
        let level = |number: usize| match number {
            0 => "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(),
            number => {
                let inner = format!("*a{}", number - 1);
                format!("a{number}: &a{number} [{}]\n", vec![inner; width].join(", "))
            }
        };
        format!("config:\n{}", (0..levels).map(|number| format!("  {}", level(number))).collect::<String>())
    };
    let text = "x".repeat(20_000);
    vec![
        ("aliases of aliases", YAML, laughs(12, 10)),
        ("aliases of a long text", YAML, format!("config:\n  a: &a {text}\n  b: [{}]\n", vec!["*a"; 10_000].join(", "))),
        ("a merge of aliases", YAML, format!("config: &a\n  b: {{<<: *a, c: {text}}}\n")),
        ("open brackets in YAML", YAML, "[".repeat(35_000)),
        ("open braces in YAML", YAML, "{a: ".repeat(20_000)),
        ("nested lists in YAML", YAML, format!("config: {{a: {}{}}}", "[".repeat(10_000), "]".repeat(10_000))),
        ("nested dashes", YAML, "- ".repeat(30_000)),
        ("nested keys", YAML, (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()),
        ("questions", YAML, "? ".repeat(30_000)),
        ("open brackets in JSON", JSON, "[".repeat(200_000)),
        ("nested objects in JSON", JSON, format!("{}1{}", "{\"config\":".repeat(20_000), "}".repeat(20_000))),
        ("a long number", JSON, format!("{{\"workers\": 1{}}}", "0".repeat(200_000))),
    ]
}

/// Requests that a page of another site can have a browser send, or a name of the attacker's that leads here.
pub fn foreign_requests(host: SocketAddr, transform: &str) -> Vec<(&'static str, String)> {
    let (team, name) = transform.split_once('/').expect("team/name");
    let route = format!("/v1/teams/{team}/transforms/{name}");
    let request = |method: &str, path: &str, host: &str, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let own = host.to_string();
    let rebound = format!("rebound.example:{}", host.port());
    let page = "Origin: http://page.example\r\n";
    let fetched = "Origin: http://page.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n";
    let form = "Origin: null\r\nSec-Fetch-Site: cross-site\r\nContent-Type: text/plain\r\n";
    vec![
        ("a pause by a page", request("POST", &format!("{route}/pause"), &own, page, "")),
        ("a pause by a form", request("POST", &format!("{route}/pause"), &own, form, "a=b")),
        ("a restart by fetch", request("POST", &format!("{route}/restart"), &own, fetched, "")),
        ("a rollback by fetch", request("POST", &format!("{route}/rollback"), &own, fetched, "")),
        ("an upload by fetch", request("POST", "/v1/modules", &own, fetched, "\0asm")),
        (
            "a pause without a word about itself",
            request("POST", &format!("{route}/pause"), &own, "Content-Type: text/plain\r\n", ""),
        ),
        ("a look under a foreign name", request("GET", "/v1/transforms", &rebound, "", "")),
        (
            "a pause under a foreign name",
            request("POST", &format!("{route}/pause"), &rebound, "Content-Type: application/json\r\n", ""),
        ),
    ]
}

fn connect(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into()).expect("all of 127.0.0.0/8 is this machine");
    socket.connect_timeout(&to.into(), CONNECT_WITHIN).ok()?;
    Some(socket.into())
}
