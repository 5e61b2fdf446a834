//! Attacks over raw sockets: whatever connections do, the host answers others, within seconds where it is about health.

use std::time::{Duration, Instant};

use sandbar::api::{ApiLimits, ServerLimits};
use sandbar::ports::{Log, LogRecord};
use sandbar::teams::TeamsOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::host::{Answer, GOOD, Host, shop_log};

const STRIP: &str = "/v1/teams/orders/transforms/strip";
/// Time for health to answer in, during all attacks.
const SOON: Duration = Duration::from_secs(5);

fn address(host: &Host) -> String {
    host.base.strip_prefix("http://").expect("a URL").to_owned()
}

async fn connect(host: &Host) -> TcpStream {
    TcpStream::connect(address(host)).await.expect("the host listens")
}

/// Opens a connection and says this.
async fn say(host: &Host, text: &str) -> TcpStream {
    let mut stream = connect(host).await;
    stream.write_all(text.as_bytes()).await.expect("it is taken");
    stream
}

/// Reads until the host hangs up, or for 20 seconds.
async fn heard(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
    }
}

/// Health answers, and soon.
#[track_caller]
fn is_well(host: &Host) -> impl Future<Output = ()> + '_ {
    let caller = std::panic::Location::caller();
    async move {
        for path in ["/healthz", "/readyz"] {
            let started = Instant::now();
            // A connection of its own: one that is kept open may be closed for another.
            let client = reqwest::Client::new();
            let answer = client.get(format!("{}{path}", host.base)).timeout(SOON * 5).send().await;
            let status = answer.unwrap_or_else(|error| panic!("{path} ({caller}): {error:?}")).status();
            assert_eq!(status, 200, "{path} ({caller})");
            assert!(started.elapsed() < SOON, "{path} took {:?} ({caller})", started.elapsed());
        }
    }
}

/// A team deploys and rolls back, and another tries something.
async fn is_open(host: &Host) {
    let digest = host.upload(GOOD).await;
    let digest = digest.json()["digest"].clone();
    let spec =
        |n: usize| json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "config": {"n": n}});
    for n in 0..2 {
        let put = host.put(STRIP, &spec(n)).await;
        assert!(put.status.is_success(), "{put:?}");
    }
    host.post(&format!("{STRIP}/rollback")).await.expect(202);
    let trial = json!({"records": [{"value": 1}]});
    Answer::of(host.request("POST", &format!("{STRIP}/test")).json(&trial)).await.expect(200);
}

async fn metric(host: &Host, line: &str) -> u64 {
    let all = host.metrics.render();
    let found = all.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or(0)
}

fn small(connections: usize) -> ServerLimits {
    ServerLimits { connections_max: connections, connections_per_address_max: connections, ..ServerLimits::default() }
}

/// The connections that this process can have both ends of.
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to its own maximum");
    let available = usize::try_from(maximum.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    // The host keeps about a thousand of them, and the other tests theirs.
    available.saturating_sub(2500)
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_uploads_close_nothing() {
    let patient = |limits: ApiLimits| ApiLimits { body_time: Duration::from_secs(60), ..limits };
    let host = Host::start_within(shop_log(), ServerLimits::default(), patient).await;
    let mut held = Vec::new();
    for (method, path, media) in [
        ("POST", "/v1/modules", "application/wasm"),
        ("PUT", STRIP, "application/json"),
        ("PUT", STRIP, "multipart/form-data; boundary=b"),
        ("POST", "/v1/teams/orders/transforms/strip/test", "application/json"),
        ("POST", "/v1/teams/orders/transforms/strip/rollback", "application/json"),
        ("PATCH", "/v1/teams/orders/transforms/strip/offsets", "application/json"),
        ("POST", "/v1/topics/shop.orders/records", "application/json"),
    ] {
        for _ in 0..20 {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n");
            held.push(say(&host, &format!("{head}Content-Length: 1000\r\n\r\n{{")).await);
            held.push(say(&host, &format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{")).await);
        }
    }
    is_well(&host).await;
    is_open(&host).await;
    is_well(&host).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_stop_half_way_give_their_bytes_back() {
    let patient = |limits: ApiLimits| ApiLimits {
        module_bytes_max: 1 << 20,
        upload_bytes_in_flight_max: 2 << 20,
        body_time: Duration::from_secs(300),
        ..limits
    };
    let host = Host::start_within(shop_log(), ServerLimits::default(), patient).await;
    let mut held = Vec::new();
    let head =
        "POST /v1/modules HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/wasm\r\nContent-Length: 1000000\r\n\r\n";
    for _ in 0..6 {
        let mut stream = say(&host, head).await;
        // Some of them are not even taken: there is no room.
        let _ = tokio::time::timeout(Duration::from_millis(300), stream.write_all(&vec![0; 900_000])).await;
        held.push(stream);
    }
    is_well(&host).await;
    let started = Instant::now();
    let module: Vec<u8> = GOOD.iter().copied().chain(std::iter::repeat_n(b' ', 900_000)).collect();
    loop {
        let upload = host.request("POST", "/v1/modules").header("content-type", "application/wasm").body(module.clone());
        let answer = Answer::of(upload).await;
        match answer.status.as_u16() {
            201 => break,
            // A client that is told to come again does so.
            _ => answer.refused(503, "E032"),
        };
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    is_open(&host).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_connections_keep_nobody_out() {
    let host = Host::start().await;
    let mut held = Vec::new();
    for n in 0..descriptors().min(2000) {
        let text = match n % 5 {
            0 => "",
            1 => "GET /healthz HTTP/1.1\r\nHost: loc",
            2 => "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            3 => {
                "POST /v1/modules HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/wasm\r\nContent-Length: 4000\r\n\r\n\0asm"
            }
            _ => "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
        };
        held.push(say(&host, text).await);
        if n % 500 == 499 {
            is_well(&host).await;
        }
    }
    is_open(&host).await;
    assert!(metric(&host, "sandbar_http_connections ").await <= 1024);
    assert!(metric(&host, "sandbar_http_connections_closed_total{reason=\"evicted\"}").await > 500);
    drop(held);
    while metric(&host, "sandbar_http_connections ").await > 20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Answers of which nobody takes anything: their connections are closed, and a stream without anything to say is not.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_is_closed_and_who_waits_is_not() {
    let limits = ServerLimits {
        write_time: Duration::from_millis(1500),
        head_time: Duration::from_secs(3),
        answer_bytes_in_flight_max: 8 << 20,
        ..ServerLimits::default()
    };
    let host = Host::start_within(shop_log(), limits, |limits| limits).await;
    is_open(&host).await;
    let value = |_| LogRecord { offset: 0, timestamp: 0, key: None, value: Some(vec![b'x'; 100_000]), headers: vec![] };
    host.log.append(&"shop.orders".parse().expect("valid"), Some(0), (0..60).map(value).collect()).expect("appended");
    // It goes on for longer than every time-out, and says something every 10 s at most.
    let mut stream = say(&host, &format!("GET {STRIP}/logs?follow HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    let read = "GET /v1/topics/shop.orders/records?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(say(&host, read).await);
    }
    is_well(&host).await;
    let closed = async {
        for stream in &mut held {
            assert!(is_closed(stream).await);
        }
    };
    let took = Instant::now();
    let reading = async {
        // One that takes its answer gets it whole, at any time.
        loop {
            let answer = host.get("/v1/topics/shop.orders/records?limit=1000").await;
            match answer.status.as_u16() {
                200 => return assert_eq!(answer.text.lines().count(), 60),
                _ => answer.refused(503, "E032"),
            };
        }
    };
    reading.await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    closed.await;
    assert!(took.elapsed() < Duration::from_secs(120), "{:?}", took.elapsed());
    let mut begun = vec![0; 4096];
    let count = stream.read(&mut begun).await.expect("it stands");
    assert!(String::from_utf8_lossy(&begun[..count]).starts_with("HTTP/1.1 200"));
    let more = tokio::time::timeout(Duration::from_secs(4), is_closed(&mut stream)).await;
    assert!(more.is_err(), "a stream without anything to say was closed");
    let closed =
        ["write_time", "answer_bytes"].map(|reason| format!("sandbar_http_connections_closed_total{{reason=\"{reason}\"}}"));
    assert!(metric(&host, &closed[0]).await + metric(&host, &closed[1]).await >= 1);
    assert_eq!(metric(&host, "sandbar_http_bytes_in_flight{kind=\"answer\"}").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_idle_connections_are_closed() {
    let limits = ServerLimits { head_time: Duration::from_secs(1), ..ServerLimits::default() };
    let host = Host::start_within(shop_log(), limits, |limits| limits).await;
    let mut idle = connect(&host).await;
    let mut kept = say(&host, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut slow = say(&host, "GET / HTTP/1.1\r\n").await;
    let started = Instant::now();
    let drip = async {
        loop {
            if slow.write_all(b"a: b\r\n").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let closed = async { assert!(is_closed(&mut idle).await && is_closed(&mut kept).await) };
    tokio::join!(drip, closed);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(metric(&host, "sandbar_http_connections_closed_total{reason=\"head_time\"}").await >= 2);
}

/// Health still answers while the host works for every connection, and other requests are refused with a reason.
#[tokio::test(flavor = "multi_thread")]
async fn health_answers_beside_connections_that_are_worked_for() {
    let follows = |limits| ApiLimits { follows_max: 8, ..limits };
    let host = Host::start_with_options(shop_log(), small(8), follows, TeamsOptions::default()).await;
    is_open(&host).await;
    let mut following = Vec::new();
    for _ in 0..8 {
        let mut stream = say(&host, &format!("GET {STRIP}/logs?follow HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let mut begun = [0; 64];
        let count = stream.read(&mut begun).await.expect("an answer");
        assert!(begun[..count].starts_with(b"HTTP/1.1 200"));
        following.push(stream);
    }
    for _ in 0..50 {
        is_well(&host).await;
    }
    let client = reqwest::Client::new();
    let answer = Answer::of(client.get(format!("{}/v1/transforms", host.base))).await;
    let problem = answer.refused(503, "E032");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("connections_max")), "{problem}");
    drop(following);
    while !Answer::of(client.get(format!("{}/v1/transforms", host.base))).await.status.is_success() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_requests_are_refused_and_harm_nobody() {
    let host = Host::start().await;
    is_open(&host).await;
    let get = |rest: &str| format!("GET /v1/transforms HTTP/1.1\r\n{rest}Connection: close\r\n\r\n");
    let long = "x".repeat(200_000);
    for (request, status) in [
        (get("Host: localhost\r\n"), "200"),
        (get("Host: LOCALHOST.:80\r\n"), "200"),
        (get("Host: [::1]:8080\r\n"), "200"),
        (get("Host: sandbar.example\r\n"), "200"),
        (get(""), "421"),
        (get("Host: \r\n"), "421"),
        (get("Host: evil.example\r\n"), "421"),
        (get("Host: localhost@evil.example\r\n"), "421"),
        (get("Host: [fe80::1%lo]:80\r\n"), "421"),
        (get("Host: localhost\r\nHost: localhost\r\n"), "421"),
        (get("Host: localhost\r\nOrigin: null\r\n"), "403"),
        (get("Host: localhost\r\nOrigin: http://localhost:1\r\n"), "403"),
        (get("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n"), "403"),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), "200"),
        ("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), "421"),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".into(), "421"),
        ("GET /healthz HTTP/1.0\r\n\r\n".into(), "421"),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), "404"),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), "404"),
        ("CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), "421"),
        (get(&format!("Host: localhost\r\nA: {long}\r\n")), "431"),
        (get(&format!("Host: localhost\r\n{}", "a: b\r\n".repeat(200))), "431"),
        (format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), "4"),
        ("hello\r\n\r\n".into(), "400"),
        ("GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".into(), "400"),
        (post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "4"),
        (post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"), "400"),
        (post("Content-Length: -1\r\n", "{}"), "400"),
        (post("Content-Length: 99999999999999999999\r\n", "{}"), "4"),
        (post("Content-Length: 18446744073709551615\r\n", "{}"), "4"),
        (post("Transfer-Encoding: chunked\r\n", "fffffffffffffffffff\r\n{}"), "400"),
        (post("Transfer-Encoding: chunked\r\n", &format!("2;{long}\r\n{{}}\r\n0\r\n\r\n")), "400"),
        (post("Transfer-Encoding: chunked\r\n", "z\r\n{}"), "400"),
        (post("Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), "4"),
    ] {
        let mut stream = connect(&host).await;
        // A host that has seen enough hangs up while this is still sending.
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = heard(&mut stream).await;
        let shown = &request[..request.len().min(120)];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) || answer.starts_with(&format!("HTTP/1.0 {status}")),
            "{shown}: {answer}"
        );
        assert!(!answer.to_ascii_lowercase().contains("access-control-"), "{shown}: {answer}");
    }
    // HTTP/2 is not spoken: the connection is closed.
    let mut stream = say(&host, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(is_closed(&mut stream).await);
    // Garbage behind a request, and as many requests as fit into one write.
    let mut stream =
        say(&host, &format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n{}", "\u{1}garbage".repeat(100))).await;
    assert!(heard(&mut stream).await.starts_with("HTTP/1.1 200"));
    let many = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(499);
    let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut stream = say(&host, &format!("{many}{last}")).await;
    assert_eq!(heard(&mut stream).await.matches("HTTP/1.1 200").count(), 500);
    is_well(&host).await;
    is_open(&host).await;
}

fn post(head: &str, body: &str) -> String {
    format!(
        "POST {STRIP}/test HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n{head}\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_page_can_send_changes_nothing() {
    let host = Host::start().await;
    is_open(&host).await;
    let before = host.get(STRIP).await.expect(200);
    let port = host.base.rsplit(':').next().expect("a port").to_owned();
    let client = reqwest::Client::new();
    let simple = |path: &str, media: Option<&'static str>| {
        let request = client.post(format!("{}{path}", host.base));
        media.map_or(request.try_clone().expect("no body"), |media| request.header("content-type", media).body("{}"))
    };
    for path in ["pause", "resume", "restart", "rollback", "test"].map(|verb| format!("{STRIP}/{verb}")) {
        for media in
            [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data; boundary=b")]
        {
            Answer::of(simple(&path, media)).await.refused(403, "E048");
        }
        for origin in ["http://evil.example", "null", "http://localhost:1"] {
            let request = host.request("POST", &path).header("origin", origin);
            Answer::of(request).await.refused(403, "E046");
        }
        let cross = host.request("POST", &path).header("sec-fetch-site", "cross-site");
        Answer::of(cross).await.refused(403, "E046");
        let rebound = host.request("POST", &path).header("host", format!("evil.example:{port}"));
        Answer::of(rebound).await.refused(421, "E045");
    }
    assert_eq!(host.get(STRIP).await.expect(200), before);
    // As curl does with one header, and as the command line does.
    Answer::of(simple(&format!("{STRIP}/pause"), None).header("sandbar-request", "1")).await.expect(202);
    Answer::of(simple(&format!("{STRIP}/resume"), None).header("idempotency-key", "k")).await.expect(202);
    let own = host.request("POST", &format!("{STRIP}/pause")).header("origin", host.base.clone());
    Answer::of(own.header("sec-fetch-site", "same-origin")).await.expect(202);
    let count = |code: &str| format!("sandbar_http_requests_refused_total{{code=\"{code}\"}}");
    for (code, most) in [("E045", 5), ("E046", 20), ("E048", 20)] {
        assert_eq!(metric(&host, &count(code)).await, most, "{code}");
    }
    let answer = host.get("/healthz").await;
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), value);
    }
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
}

/// No answer is larger than its limit, also with a long message of a guest.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_refuse_are_small() {
    let host =
        Host::start_within(shop_log(), ServerLimits::default(), |limits| ApiLimits { records_bytes_max: 8 << 20, ..limits })
            .await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    let spec = |config: Value| json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "config": config});
    let said = "\u{1b}[31m\0".repeat(10_000);
    let answer = host.put(STRIP, &spec(json!({"refuse": said}))).await;
    answer.refused(422, "E019");
    assert!(answer.text.len() <= 16 * 1024, "{}", answer.text.len());
    let mut wrong = spec(json!({}));
    wrong["inputs"] = (0..64).map(|n| format!("{n} {}", "\"".repeat(2000))).collect();
    let answer = host.put(STRIP, &wrong).await;
    answer.refused(422, "E020");
    assert!(answer.text.len() <= 16 * 1024, "{}", answer.text.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_yaml_is_refused_at_once() {
    let host = Host::start().await;
    is_open(&host).await;
    let aliases: String = (1..1000).map(|n| format!("a{n}: &a{n} [*a{}, *a{}, *a{}]\n", n - 1, n - 1, n - 1)).collect();
    let texts = [
        "[".repeat(35_000),
        "{a: ".repeat(100_000),
        format!("a0: &a0 [x]\n{aliases}"),
        "- ".repeat(200_000),
        format!("config: {{a: {}", "[".repeat(500_000)),
    ];
    let started = Instant::now();
    for text in texts {
        let put = host.request("PUT", STRIP).header("content-type", "application/yaml").body(text.clone());
        let (answer, ()) = tokio::join!(Answer::of(put), is_well(&host));
        assert!(answer.status.is_client_error(), "{answer:?}");
        let form = reqwest::multipart::Form::new().text("spec", text).part("module", reqwest::multipart::Part::bytes(GOOD));
        assert!(Answer::of(host.request("PUT", STRIP).multipart(form)).await.status.is_client_error());
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    is_open(&host).await;
}
