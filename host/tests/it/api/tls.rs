//! TLS of the server: certificates that change, certificates of clients, and peers that are slow in the handshake.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Extension, Json, Router};
use rustls::ClientConfig;
use sandbar::access::ClientCertificate;
use sandbar::api::{Gate, Server, ServerLimits, Tls, TlsOptions};
use sandbar::model::units::Timestamp;
use sandbar::telemetry::metrics::Metrics;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::certificates::{Authority, CertificateFiles};
use crate::support::metrics;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose one route tells who the client is.
pub struct SecureServer {
    pub address: std::net::SocketAddr,
    metrics: Metrics,
    _down: watch::Sender<bool>,
}

// === impl SecureServer ===

impl SecureServer {
    async fn start(own: &CertificateFiles, clients: Option<(&Authority, bool)>, limits: ServerLimits) -> Self {
        let options = TlsOptions {
            certificate: own.certificate.clone(),
            key: own.key.clone(),
            client_authorities: clients.map(|(authority, _)| authority.file()),
            client_required: clients.is_some_and(|(_, required)| required),
        };
        let metrics = Metrics::new();
        let tls = Tls::open(&options, metrics.tls.clone()).expect("usable files");
        Self::serve(tls, limits, metrics, Router::new().route("/who", get(who))).await
    }

    pub async fn serve(tls: Tls, limits: ServerLimits, metrics: Metrics, routes: Router) -> Self {
        let (down, shutdown) = watch::channel(false);
        tokio::spawn(tls.clone().follow_for_ever(shutdown.clone()));
        let server = Server {
            gate: Gate::new(None, &[]),
            limits,
            metrics: metrics.http.clone(),
            tls: Some(tls),
            routes: Arc::new(OnceLock::from(routes)),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(server.serve(listener, shutdown));
        Self { address, metrics, _down: down }
    }

    pub async fn connect(&self, client: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        TlsConnector::from(client.clone()).connect("localhost".try_into().expect("a name"), stream).await
    }

    /// Asks on a connection of its own who the client is.
    async fn who(&self, client: &Arc<ClientConfig>) -> std::io::Result<String> {
        ask(&mut self.connect(client).await?).await
    }

    /// Waits until a line of the metrics is there.
    #[track_caller]
    fn wait_metric(&self, line: &str) -> impl Future<Output = ()> + '_ {
        metrics::wait_for(&self.metrics, line)
    }
}

async fn who(client: Option<Extension<ClientCertificate>>) -> String {
    let Some(Extension(client)) = client else { return "nobody".to_owned() };
    let subject = client.subject.map(|subject| subject.to_string()).unwrap_or_default();
    let is_valid = client.not_after > Timestamp::now();
    format!("{subject} {} {} {} {is_valid}", client.dns_names.join("+"), client.uri_names.join("+"), client.fingerprint)
}

/// Sends a request and reads the body of its answer.
async fn ask(stream: &mut TlsStream<TcpStream>) -> std::io::Result<String> {
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut text = String::new();
    let mut bytes = [0; 4096];
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("an answer in time")?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() == length.unwrap_or(0usize) {
            assert!(head.starts_with("HTTP/1.1 200"), "{text}");
            return Ok(body.to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_files_are_for_new_connections_and_broken_ones_for_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Authority::new("first");
    let second = Authority::new("second");
    let files = first.sign("host", &["localhost"]).copy_to(folder.path());
    let server = SecureServer::start(&files, None, ServerLimits::default()).await;
    let mut open = server.connect(&first.client(None)).await.expect("trusted");
    assert_eq!(ask(&mut open).await.expect("an answer"), "nobody");
    assert!(server.who(&second.client(None)).await.is_err());

    second.sign("host", &["localhost"]).copy_to(folder.path());
    let started = Instant::now();
    while server.who(&second.client(None)).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "the new files are not taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(server.who(&first.client(None)).await.is_err(), "the old certificate is still in use");
    assert_eq!(ask(&mut open).await.expect("the connection stays"), "nobody");

    // A certificate of another key, one that has ended, and no file at all.
    let spoil: [&dyn Fn(); 3] = [
        &|| std::fs::copy(second.sign("other", &["localhost"]).certificate, &files.certificate).map(drop).expect("copied"),
        &|| drop(second.sign_expired("host", &["localhost"]).copy_to(folder.path())),
        &|| std::fs::remove_file(&files.key).expect("removed"),
    ];
    for spoil in spoil {
        spoil();
        server.wait_metric("sandbar_tls_files_refused 1").await;
        assert_eq!(server.who(&second.client(None)).await.expect("the last usable files"), "nobody");
        second.sign("host", &["localhost"]).copy_to(folder.path());
        server.wait_metric("sandbar_tls_files_refused 0").await;
    }
    let page = server.metrics.render();
    let own = "sandbar_tls_certificate_end_timestamp_seconds{certificate=\"host\"} ";
    let end = page.lines().find_map(|line| line.strip_prefix(own)).expect("it is told").parse::<i64>();
    let in_300_days = Timestamp::now().0 / 1000 + 300 * 86_400;
    assert!(end.as_ref().is_ok_and(|end| *end > in_300_days), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_certificate_is_in_its_requests() {
    let ours = Authority::new("ours");
    let theirs = Authority::new("theirs");
    let own = ours.sign("host", &["localhost"]);
    let alice = ours.sign("alice", &["alice.example", "uri:spiffe://shop/alice"]);
    let eve = theirs.sign("alice", &["alice.example"]);
    let late = ours.sign_expired("alice", &["alice.example"]);
    let fingerprint = {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(&alice.chain()[0]))
    };
    let known = format!("CN=alice alice.example spiffe://shop/alice {fingerprint} true");
    for required in [true, false] {
        let server = SecureServer::start(&own, Some((&ours, required)), ServerLimits::default()).await;
        assert_eq!(server.who(&ours.client(Some(&alice))).await.expect("known"), known);
        assert!(server.who(&ours.client(Some(&eve))).await.is_err(), "another authority's");
        assert!(server.who(&ours.client(Some(&late))).await.is_err(), "expired");
        let absent = server.who(&ours.client(None)).await;
        if required {
            let error = absent.expect_err("a certificate is required");
            assert!(error.to_string().contains("CertificateRequired"), "{error}");
        } else {
            assert_eq!(absent.expect("none is needed"), "nobody");
        }
        let refused = if required { 3 } else { 2 };
        server.wait_metric(&format!("sandbar_tls_handshakes_failed_total{{reason=\"client_certificate\"}} {refused}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_handshakes_lose_their_slots_and_end_in_time() {
    let authority = Authority::new("ours");
    let own = authority.sign("host", &["localhost"]);
    let limits = ServerLimits { connections_max: 4, connections_per_address_max: 4, ..ServerLimits::default() };
    let server = SecureServer::start(&own, None, limits).await;
    let mut held = Vec::new();
    for n in 0..40_usize {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        // Nothing, the first byte, or half of a record.
        stream.write_all(&[22, 3, 1, 1, 0, 1][..n % 7]).await.expect("taken");
        held.push(stream);
    }
    assert_eq!(server.who(&authority.client(None)).await.expect("there is room"), "nobody");
    assert!(server.metrics.render().contains("sandbar_http_connections_closed_total{reason=\"evicted\"}"));

    let brief = ServerLimits { handshake_time: Duration::from_millis(300), ..ServerLimits::default() };
    let server = SecureServer::start(&own, None, brief).await;
    for begin in [&[][..], &[22], &[22, 3, 1, 1, 0, 1]] {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        stream.write_all(begin).await.expect("taken");
        let end = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("it is closed");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    server.wait_metric("sandbar_http_connections_closed_total{reason=\"handshake_time\"} 3").await;
    server.wait_metric("sandbar_tls_handshakes_failed_total{reason=\"time\"} 3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_do_not_fit_are_named() {
    let authority = Authority::new("ours");
    let own = authority.sign("host", &["localhost"]);
    let Err(error) = Tls::open(
        &TlsOptions {
            certificate: own.certificate.clone(),
            key: own.certificate.clone(),
            client_authorities: None,
            client_required: false,
        },
        Metrics::new().tls,
    ) else {
        panic!("a certificate is no key")
    };
    assert!(error.to_string().contains("host.pem: it has no private key"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_is_told_to_use_https() {
    let authority = Authority::new("ours");
    let server = SecureServer::start(&authority.sign("host", &["localhost"]), None, ServerLimits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.expect("it listens");
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("taken");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    assert!(text.starts_with("HTTP/1.1 400") && text.contains("\"E073\"") && text.contains("https://"), "{text}");
    let mut stream = TcpStream::connect(server.address).await.expect("it listens");
    stream.write_all(&[0; 100]).await.expect("taken");
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.is_empty(), "{bytes:?}");
    server.wait_metric("sandbar_tls_handshakes_failed_total{reason=\"plain_http\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_follows_from_host_to_host_and_never_out_of_tls() {
    const PATH: &str = "/v1/teams/a/transforms/x/state/s/k";
    let authority = Authority::new("ours");
    let own = authority.sign("host", &["localhost"]);
    let start = |routes: Router| {
        let options = TlsOptions {
            certificate: own.certificate.clone(),
            key: own.key.clone(),
            client_authorities: None,
            client_required: false,
        };
        let metrics = Metrics::new();
        let tls = Tls::open(&options, metrics.tls.clone()).expect("usable files");
        SecureServer::serve(tls, ServerLimits::default(), metrics, routes)
    };
    let entry = |headers: HeaderMap| async move {
        let token = headers["authorization"].to_str().expect("text").to_owned();
        Json(json!({"store": "s", "partition": 0, "host": "b", "value": token}))
    };
    let owner = start(Router::new().route(PATH, get(entry))).await;
    // A host that sends the client on, and lists both URLs.
    let first = |url: String| {
        let hosts = json!({"hosts": [{"host": "b", "url": url.clone()}]});
        let to = format!("{url}{PATH}");
        let redirect = move || async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]) };
        start(Router::new().route(PATH, get(redirect)).route("/v1/hosts", get(move || async move { Json(hosts) })))
    };
    let port = owner.address.port();
    for (scheme, error) in [("https", None), ("http", Some("error[E074]"))] {
        let first = first(format!("{scheme}://localhost:{port}")).await;
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sandbar"));
        let url = format!("https://localhost:{}", first.address.port());
        command.args(["state", "get", "a/x", "s", "k", "--url", &url, "--ca"]).arg(authority.file());
        let ran = command.env("SANDBAR_TOKEN", "sbt_secret").output().expect("it starts");
        let out = String::from_utf8_lossy(&ran.stdout);
        let err = String::from_utf8_lossy(&ran.stderr);
        match error {
            None => assert_eq!(out, "\"Bearer sbt_secret\"\n", "{err}"),
            Some(error) => assert!(err.contains(error) && err.contains("leaves TLS"), "{err}"),
        }
    }
}
