//! HTTP/2: several streams on one connection, each with clocks of its own, and peers that misuse them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{Request, StatusCode};
use axum::routing::{any, get, post};
use futures::StreamExt;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use sandbar::api::{ServerLimits, Tls, TlsOptions, router};
use sandbar::telemetry::metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::host::{GOOD, Host, shop_log};
use super::tls::SecureServer;
use crate::support::certificates::Authority;
use crate::support::metrics;

const PATIENCE: Duration = Duration::from_secs(30);
const MIB: usize = 1 << 20;

/// A server with TLS that speaks HTTP/2.
struct Server {
    server: SecureServer,
    metrics: Metrics,
    authority: Authority,
}

type Client = SendRequest<Bytes>;

// === impl Server ===

impl Server {
    async fn start(limits: ServerLimits) -> Self {
        Self::serve(limits, Metrics::new(), routes()).await
    }

    async fn serve(limits: ServerLimits, metrics: Metrics, routes: Router) -> Self {
        let authority = Authority::new("ours");
        let own = authority.sign("host", &["localhost"]);
        let options =
            TlsOptions { certificate: own.certificate, key: own.key, client_authorities: None, client_required: false };
        let tls = Tls::open(&options, metrics.tls.clone()).expect("usable files");
        let server = SecureServer::serve(tls, limits, metrics.clone(), routes).await;
        Self { server, metrics, authority }
    }

    /// Makes a connection whose client offers these protocols.
    async fn connect_as(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        let mut config = (*self.authority.client(None)).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self.server.connect(&Arc::new(config)).await.expect("a connection")
    }

    async fn connect(&self) -> Client {
        self.connect_with(h2::client::Builder::new().initial_connection_window_size(64 << 20)).await
    }

    async fn connect_with(&self, builder: &mut h2::client::Builder) -> Client {
        let stream = self.connect_as(&["h2"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (client, connection) = builder.handshake(stream).await.expect("a connection of HTTP/2");
        tokio::spawn(connection);
        client
    }

    /// Speaks HTTP/2 by hand, after an empty SETTINGS frame.
    async fn raw(&self) -> TlsStream<TcpStream> {
        let mut stream = self.connect_as(&["h2"]).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("taken");
        stream.write_all(&frame(4, 0, 0, b"")).await.expect("taken");
        stream
    }

    /// Health answers on a connection of its own, and soon.
    async fn is_well(&self) {
        let started = Instant::now();
        let answer = get_whole(&mut self.connect().await, "/healthz").await.expect("an answer");
        assert_eq!(answer.0, 200);
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    }

    #[track_caller]
    fn wait_metric(&self, line: &str) -> impl Future<Output = ()> + '_ {
        metrics::wait_for(&self.metrics, line)
    }
}

fn routes() -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/bytes/{count}", get(|Path(count): Path<usize>| async move { vec![b'x'; count] }))
        .route(
            "/endless",
            get(|| async { Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1000]))) }),
        )
        .route(
            "/silent",
            get(|| async {
                Body::from_stream(
                    futures::stream::once(async { Ok::<_, std::io::Error>("first") }).chain(futures::stream::pending()),
                )
            }),
        )
        .route("/never", any(std::future::pending::<String>))
        .route("/count", post(|body: Bytes| async move { body.len().to_string() }))
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://localhost{path}")).body(()).expect("a request")
}

/// Begins a GET. Returns the status and the body.
async fn begin(client: &mut Client, path: &str) -> Result<(StatusCode, RecvStream), h2::Error> {
    let mut client = client.clone().ready().await?;
    let (answer, _) = client.send_request(request("GET", path), true)?;
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")?;
    Ok((answer.status(), answer.into_body()))
}

async fn whole(body: &mut RecvStream) -> Result<usize, h2::Error> {
    let mut bytes = 0;
    while let Some(data) = tokio::time::timeout(PATIENCE, body.data()).await.expect("data in time") {
        let data = data?;
        bytes += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(bytes)
}

async fn get_whole(client: &mut Client, path: &str) -> Result<(u16, usize), h2::Error> {
    let (status, mut body) = begin(client, path).await?;
    Ok((status.as_u16(), whole(&mut body).await?))
}

/// A frame as it goes over the wire.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends a text over and over until the server has closed the connection, which it must in time.
async fn send_until_closed(stream: TlsStream<TcpStream>, bytes: &[u8]) {
    let (mut read, mut write) = tokio::io::split(stream);
    let sending = async {
        loop {
            if write.write_all(bytes).await.is_err() || write.flush().await.is_err() {
                return;
            }
        }
    };
    let reading = async {
        let mut buffer = vec![0; 64 * 1024];
        while read.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::select! { () = sending => {} () = reading => {} }
    })
    .await
    .expect("the connection is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_share_a_connection() {
    let server = Server::start(ServerLimits::default()).await;
    let client = server.connect().await;
    let many = (0..60).map(|n| {
        let mut client = client.clone();
        async move { (n, get_whole(&mut client, &format!("/bytes/{}", n * 10_007)).await.expect("an answer")) }
    });
    for (n, (status, bytes)) in futures::future::join_all(many).await {
        assert_eq!((status, bytes), (200, n * 10_007));
    }
    server.wait_metric("sandbar_http_connections 1").await;
    server.wait_metric("sandbar_http_streams 0").await;
    // A body that is larger than every window.
    let mut ready = client.clone().ready().await.expect("open");
    let request = Request::builder().method("POST").uri("https://localhost/count").header("sandbar-request", "1");
    let (answer, mut sender) = ready.send_request(request.body(()).expect("a request"), false).expect("sent");
    let mut left = Bytes::from(vec![b'x'; MIB]);
    while !left.is_empty() {
        sender.reserve_capacity(left.len());
        let room = std::future::poll_fn(|cx| sender.poll_capacity(cx)).await.expect("open").expect("room");
        let end = left.len() <= room;
        sender.send_data(left.split_to(room.min(left.len())), end).expect("sent");
    }
    let mut counted = answer.await.expect("an answer").into_body();
    // The last byte is a frame of its own.
    let mut text = Vec::new();
    while let Some(data) = counted.data().await {
        text.extend_from_slice(&data.expect("data"));
    }
    assert_eq!(text, MIB.to_string().as_bytes());
    // The name of the host is checked as in HTTP/1.1.
    for (uri, headers, status) in [
        ("https://sandbar.evil/healthz", &[][..], 421),
        ("https://localhost/healthz", &[("host", "sandbar.evil")], 421),
        ("https://localhost/healthz", &[("host", "localhost")], 200),
        ("https://127.0.0.1:1/healthz", &[], 200),
        ("https://localhost/healthz", &[("origin", "https://sandbar.evil")], 403),
    ] {
        let request =
            headers.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        let mut ready = client.clone().ready().await.expect("open");
        let (answer, _) = ready.send_request(request.body(()).expect("a request"), true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status().as_u16(), status, "{uri} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_http_1_are_answered_as_before() {
    let server = Server::start(ServerLimits::default()).await;
    for protocols in [&[][..], &["http/1.1"], &["http/1.1", "x"]] {
        let mut stream = server.connect_as(protocols).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("taken");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200"), "{protocols:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_ends_alone() {
    let limits = ServerLimits { write_time: Duration::from_millis(1500), ..ServerLimits::default() };
    let server = Server::start(limits).await;
    // Streams of which the client takes: nothing of a large answer, nothing of an endless one, nothing at all of a small
    // one, and one that says nothing.
    let mut client = server.connect().await;
    let (_, mut silent) = begin(&mut client, "/silent").await.expect("an answer");
    assert_eq!(silent.data().await.expect("data").expect("data"), "first");
    silent.flow_control().release_capacity(5).expect("open");
    let unread = [
        begin(&mut client, &format!("/bytes/{}", 8 * MIB)).await.expect("an answer"),
        begin(&mut client, "/endless").await.expect("an answer"),
    ];
    assert!(server.metrics.render().contains("sandbar_http_bytes_in_flight{kind=\"answer\"} 8"), "8 MiB are held");
    let started = Instant::now();
    while !server.metrics.render().contains("sandbar_http_streams_closed_total{reason=\"write_time\"} 2") {
        assert_eq!(get_whole(&mut client, "/bytes/100000").await.expect("the others go on"), (200, 100_000));
        assert!(started.elapsed() < PATIENCE, "{}", server.metrics.render());
    }
    for (_, mut body) in unread {
        let ended = whole(&mut body).await.expect_err("the rest is missing");
        assert_eq!(ended.reason(), Some(Reason::CANCEL), "{ended}");
    }
    server.wait_metric("sandbar_http_bytes_in_flight{kind=\"answer\"} 0").await;
    assert!(tokio::time::timeout(Duration::from_millis(200), silent.data()).await.is_err(), "it has nothing to say");

    for window in [0, 1] {
        let mut client = server.connect_with(h2::client::Builder::new().initial_window_size(window)).await;
        let (_, mut body) = begin(&mut client, "/bytes/10000").await.expect("an answer");
        let ended = async { while let Some(Ok(_)) = body.data().await {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    }
    server.wait_metric("sandbar_http_streams_closed_total{reason=\"write_time\"} 4").await;
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_resets_ends_its_connection() {
    let server = Server::start(ServerLimits::default()).await;
    for path in ["/never", "/bytes/100000"] {
        let client = server.connect().await;
        let started = Instant::now();
        let mut opened = 0;
        let flood = async {
            while let Ok(mut ready) = client.clone().ready().await {
                let Ok((answer, mut sender)) = ready.send_request(request("GET", path), true) else { return };
                // Some before the server has seen them, some in their work.
                if opened % 2 == 0 {
                    tokio::task::yield_now().await;
                }
                sender.send_reset(Reason::CANCEL);
                drop(answer);
                opened += 1;
            }
        };
        tokio::time::timeout(PATIENCE, flood).await.expect("the connection is closed");
        assert!(opened < 100_000, "{opened} in {:?}", started.elapsed());
        server.is_well().await;
    }
    server.wait_metric("sandbar_http_streams 0").await;
    server.wait_metric("sandbar_http_connections 0").await;

    // Each was in its work when it was reset: the host itself counts those.
    let server = Server::start(ServerLimits::default()).await;
    let client = server.connect().await;
    let flood = async {
        while let Ok(mut ready) = client.clone().ready().await {
            let Ok((answer, mut sender)) = ready.send_request(request("GET", "/never"), true) else { return };
            tokio::time::sleep(Duration::from_millis(2)).await;
            sender.send_reset(Reason::CANCEL);
            drop(answer);
        }
    };
    tokio::time::timeout(PATIENCE, flood).await.expect("the connection is closed");
    server.wait_metric("sandbar_http_connections_closed_total{reason=\"resets\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_end_their_connections() {
    let limits = ServerLimits { head_time: Duration::from_secs(2), ..ServerLimits::default() };
    let server = Server::start(limits).await;
    // Its clock ends no flood that early: the count of frames does.
    let patient = Server::start(ServerLimits::default()).await;
    // A literal header without indexing: name `a`, value of 100 bytes.
    let field = [&[0, 1, b'a', 100][..], &[b'x'; 100]].concat();
    let unfinished = frame(1, 0, 1, &field);
    let table: [(&str, Vec<u8>, Vec<u8>); 6] = [
        ("CONTINUATION without end", unfinished.clone(), frame(9, 0, 1, &field.repeat(10))),
        ("empty CONTINUATION", unfinished, frame(9, 0, 1, b"")),
        ("SETTINGS", Vec::new(), frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("PING", Vec::new(), frame(6, 0, 0, &[0; 8])),
        ("PRIORITY", Vec::new(), frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", Vec::new(), frame(8, 0, 0, &[0, 0, 0, 1])),
    ];
    for (name, first, repeated) in table {
        let is_counted = name.contains("CONTINUATION");
        let server = if is_counted { &patient } else { &server };
        let started = Instant::now();
        let mut stream = server.raw().await;
        stream.write_all(&first).await.expect("taken");
        let flood = repeated.repeat(1000);
        let ((), ()) = tokio::join!(send_until_closed(stream, &flood), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.is_well().await;
        });
        assert!(!is_counted || started.elapsed() < Duration::from_secs(10), "{name}: {:?}", started.elapsed());
    }
    // One that takes none of the answers to its pings.
    let mut stream = server.raw().await;
    let pings = frame(6, 0, 0, &[0; 8]).repeat(1000);
    let sending = async { while stream.write_all(&pings).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, sending).await.expect("the connection is closed");
    // A head that is too large is refused, and the connection goes on.
    let mut client = server.connect().await;
    let large =
        Request::builder().uri("https://localhost/healthz").header("a", "x".repeat(40_000)).body(()).expect("a request");
    let (answer, _) = client.clone().ready().await.expect("open").send_request(large, true).expect("sent");
    match answer.await {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(error.is_reset() || error.is_go_away(), "{error}"),
    }
    let _ = get_whole(&mut client, "/healthz").await;
    server.is_well().await;
    // Whoever asks for nothing is closed in time.
    let idle = server.connect().await;
    server.wait_metric("sandbar_http_connections 0").await;
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_have_slots_within_limits() {
    let limits = ServerLimits {
        connections_max: 4,
        connections_per_address_max: 3,
        streams_per_connection_max: 16,
        ..ServerLimits::default()
    };
    let server = Server::start(limits).await;
    let mut client = server.connect().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut ready = client.clone().ready().await.expect("open");
        held.push(ready.send_request(request("GET", "/never"), true).expect("sent"));
    }
    server.wait_metric("sandbar_http_streams 3").await;
    let (status, mut body) = begin(&mut client, "/bytes/1").await.expect("an answer");
    let text = body.data().await.expect("a body").expect("a body");
    assert!(status == 503 && String::from_utf8_lossy(&text).contains("E032"), "{status} {text:?}");
    assert_eq!(get_whole(&mut client, "/healthz").await.expect("health is free").0, 200);
    // Another connection has a stream of its own, whatever this one does.
    assert_eq!(get_whole(&mut server.connect().await, "/bytes/1").await.expect("an answer"), (200, 1));
    drop(held);
    server.wait_metric("sandbar_http_streams 0").await;
    assert_eq!(get_whole(&mut client, "/bytes/1").await.expect("there is room"), (200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stands_still_holds_up_no_other_and_keeps_no_slot() {
    let limits = ServerLimits { connections_max: 1, connections_per_address_max: 1, ..ServerLimits::default() };
    let server = Server::start(limits).await;
    let mut client = server.connect().await;
    let begun = || async {
        let mut ready = client.clone().ready().await.expect("open");
        let request = Request::builder().method("POST").uri("https://localhost/count").header("sandbar-request", "1");
        ready.send_request(request.body(()).expect("a request"), false).expect("sent")
    };
    let (_answer, mut sender) = begun().await;
    // A whole window of a body that does not end, and the others go on.
    sender.send_data(vec![b'x'; 60_000].into(), false).expect("sent");
    let (other, mut finished) = begun().await;
    finished.send_data(vec![b'x'; 50_000].into(), true).expect("sent");
    assert_eq!(tokio::time::timeout(PATIENCE, other).await.expect("in time").expect("an answer").status(), 200);
    assert_eq!(get_whole(&mut client, "/bytes/100000").await.expect("an answer"), (200, 100_000));
    // The whole connection waits for its peer now: another one takes its slot.
    let started = Instant::now();
    loop {
        let mut next = server.connect().await;
        match get_whole(&mut next, "/bytes/1").await {
            Ok((200, 1)) => break,
            _ => assert!(started.elapsed() < PATIENCE, "the slot stays taken"),
        }
    }
    server.wait_metric("sandbar_http_connections_closed_total{reason=\"evicted\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_streams_over_http_2() {
    let host = Host::start_on(shop_log()).await;
    let spec = serde_json::json!({"module": host.upload(GOOD).await.json()["digest"], "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}});
    host.put("/v1/teams/orders/transforms/strip", &spec).await.expect(202);
    let server = Server::serve(ServerLimits::default(), host.metrics.clone(), router(host.state.clone())).await;
    let mut client = server.connect().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let (status, body) = begin(&mut client, "/v1/teams/orders/transforms/strip/logs?follow").await.expect("an answer");
        assert_eq!(status, 200);
        streams.push(body);
    }
    assert_eq!(get_whole(&mut client, "/v1/transforms").await.expect("an answer").0, 200);
    // A client that leaves a stream gives back its permit (a team has four of them here).
    drop(streams);
    let started = Instant::now();
    let mut opened = Vec::new();
    while opened.len() < 4 {
        assert!(started.elapsed() < PATIENCE, "the permits are not given back");
        match begin(&mut client, "/v1/teams/orders/transforms/strip/logs?follow").await.expect("an answer") {
            (StatusCode::OK, body) => opened.push(body),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
