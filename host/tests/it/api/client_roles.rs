//! Clients that sign in with their certificate: their roles, their end, and a token beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbar::access::{Access, AdminTokens, ClientRoles, TokenSecret};
use sandbar::api::{ApiState, ServerLimits, Tls, TlsOptions, router};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::host::{GOOD, Host, access, shop_log};
use super::tls::SecureServer;
use crate::support::certificates::{Authority, CertificateFiles};

const PATIENCE: Duration = Duration::from_secs(20);

/// A host with TLS whose callers sign in, and the files that it follows.
struct Guarded {
    host: Host,
    server: SecureServer,
    authority: Authority,
    access: Arc<Access>,
    admin: String,
    folder: tempfile::TempDir,
}

// === impl Guarded ===

impl Guarded {
    async fn start(rules: &str) -> Self {
        let authority = Authority::new("ours");
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("roles.yaml"), rules).expect("written");
        std::fs::copy(authority.file(), at("clients.pem")).expect("copied");
        let secret = TokenSecret::generate().expect("randomness");
        std::fs::write(at("admin"), secret.hash().to_string()).expect("written");

        let host = Host::start_on(shop_log()).await;
        let client_roles = ClientRoles::open(Some(&at("roles.yaml"))).expect("valid");
        tokio::spawn(client_roles.clone().follow_for_ever(host.state.shutdown.clone()));
        let admin_tokens = AdminTokens::open(Some(&at("admin"))).expect("a file");
        let access = Arc::new(Access { client_roles, ..access(&host.log, true, admin_tokens) });
        let state = ApiState { access: access.clone(), ..host.state.clone() };

        let own = authority.sign("host", &["localhost"]);
        let options = TlsOptions {
            certificate: own.certificate,
            key: own.key,
            client_authorities: Some(at("clients.pem")),
            client_required: false,
        };
        let tls = Tls::open(&options, host.metrics.tls.clone()).expect("usable files");
        let server = SecureServer::serve(tls, ServerLimits::default(), host.metrics.clone(), router(state)).await;
        Self { host, server, authority, access, admin: secret.expose().to_owned(), folder }
    }

    async fn connect(&self, own: Option<&CertificateFiles>) -> TlsStream<TcpStream> {
        self.server.connect(&self.authority.client(own)).await.expect("a connection")
    }

    /// Asks on a connection of its own. Returns the status and the body.
    async fn ask(&self, own: Option<&CertificateFiles>, method: &str, path: &str, token: &str) -> (u16, String) {
        let mut stream = self.connect(own).await;
        send(&mut stream, method, path, token, "Connection: close\r\n").await;
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("in time").expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    /// Waits until `whoami` answers with this status.
    async fn until(&self, own: &CertificateFiles, status: u16) -> String {
        let started = Instant::now();
        loop {
            let (found, body) = self.ask(Some(own), "GET", "/v1/whoami", "").await;
            if found == status {
                return body;
            }
            assert!(started.elapsed() < PATIENCE, "{found} in place of {status}: {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn write_rules(&self, rules: &str) {
        std::fs::write(self.folder.path().join("roles.yaml"), rules).expect("written");
    }
}

async fn send(stream: &mut TlsStream<TcpStream>, method: &str, path: &str, token: &str, rest: &str) {
    let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nSandbar-Request: 1\r\n{token}{rest}\r\n");
    stream.write_all(head.as_bytes()).await.expect("it is taken");
}

/// Reads a stream to its end, which must come in time.
async fn ends(stream: &mut TlsStream<TcpStream>) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it ends in time");
    drop(read);
    String::from_utf8_lossy(&all).into_owned()
}

const RULES: &str = "certificates:
- {uri: 'spiffe://shop/ci/*', roles: ['orders:view', 'orders:deploy', 'orders:operate']}
- {subject: 'CN=auditor', roles: ['*:admin']}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_has_the_roles_of_its_rules() {
    let guarded = Guarded::start(RULES).await;
    let ci = guarded.authority.sign("some-name", &["ci.example", "uri:spiffe://shop/ci/orders"]);
    let auditor = guarded.authority.sign("auditor", &[]);
    let (status, body) = guarded.ask(Some(&ci), "GET", "/v1/whoami", "").await;
    let caller: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200, "{body}");
    assert_eq!((&caller["kind"], &caller["name"]), (&"certificate".into(), &"spiffe://shop/ci/orders".into()));
    assert_eq!(caller["grants"].as_array().map(Vec::len), Some(3), "{body}");
    let fingerprint = {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(&ci.chain()[0]))
    };
    assert_eq!(caller["id"], *fingerprint);

    // Its rights end at its team, and the audit topic has the refusal with the certificate.
    let path = |team: &str| format!("/v1/teams/{team}/transforms/strip/pause");
    assert_eq!(guarded.ask(Some(&ci), "POST", &path("orders"), "").await.0, 404);
    assert_eq!(guarded.ask(Some(&ci), "POST", &path("stock"), "").await.0, 403);
    let (status, body) = guarded.ask(Some(&auditor), "GET", "/v1/audit", "").await;
    assert_eq!(status, 200, "{body}");
    let audit: Value = serde_json::from_str(&body).expect("JSON");
    let entry = &audit["entries"][0];
    assert_eq!((&entry["actor"], &entry["kind"]), (&"spiffe://shop/ci/orders".into(), &"certificate".into()), "{body}");
    assert_eq!((&entry["id"], &entry["code"]), (&fingerprint.into(), &"E076".into()), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_no_rule_names_is_nobody() {
    let guarded = Guarded::start(RULES).await;
    for (common_name, names) in [
        ("spiffe://shop/ci/orders", &[][..]),
        ("auditor-2", &["auditor"]),
        ("x", &["uri:spiffe://shop/ci/a", "uri:spiffe://shop/ci/b"]),
        ("x", &["uri:spiffe://shop/ci/../admin"]),
    ] {
        let own = guarded.authority.sign(common_name, names);
        let (status, body) = guarded.ask(Some(&own), "GET", "/v1/whoami", "").await;
        assert!(status == 401 && body.contains("E075") && body.contains("certificate has no roles"), "{names:?}: {body}");
        assert_eq!(guarded.ask(Some(&own), "GET", "/healthz", "").await.0, 200);
    }
    let (status, body) = guarded.ask(None, "GET", "/v1/whoami", "").await;
    assert!(status == 401 && body.contains("no Authorization header"), "{body}");
    let failed = "sandbar_sign_in_failures_total{reason=\"certificate_unknown\"} 4";
    assert!(guarded.host.metrics.render().contains(failed), "{}", guarded.host.metrics.render());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_before_the_certificate() {
    let guarded = Guarded::start(RULES).await;
    let ci = guarded.authority.sign("x", &["uri:spiffe://shop/ci/orders"]);
    let (status, body) = guarded.ask(Some(&ci), "GET", "/v1/whoami", &guarded.admin).await;
    assert!(status == 200 && body.contains("admin-token"), "{body}");
    // A token that is not known does not fall back to the certificate.
    let other = TokenSecret::generate().expect("randomness");
    assert_eq!(guarded.ask(Some(&ci), "GET", "/v1/whoami", other.expose()).await.0, 401);
    assert_eq!(guarded.ask(Some(&ci), "GET", "/v1/whoami", "nonsense").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rules_end_streams_and_broken_ones_change_nothing() {
    let guarded = Guarded::start(RULES).await;
    let spec = serde_json::json!({"module": guarded.host.upload(GOOD).await.json()["digest"], "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}});
    guarded.host.put("/v1/teams/orders/transforms/strip", &spec).await.expect(202);
    let ci = guarded.authority.sign("x", &["uri:spiffe://shop/ci/orders"]);
    let follow = "/v1/teams/orders/transforms/strip/logs?follow";
    let mut stream = guarded.connect(Some(&ci)).await;
    send(&mut stream, "GET", follow, "", "Connection: close\r\n").await;
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).await.expect("an answer");
    assert_eq!(&begun, b"HTTP/1.1 200");

    guarded.write_rules("certificates: [{uri: 'spiffe://*', roles: []}]");
    let started = Instant::now();
    while !guarded.access.client_roles.is_refused() {
        assert!(started.elapsed() < PATIENCE, "the broken file is not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    guarded.until(&ci, 200).await;
    guarded.write_rules("certificates: [{uri: 'spiffe://shop/ci/orders', roles: ['orders:view']}]");
    ends(&mut stream).await;
    let body = guarded.until(&ci, 200).await;
    assert!(body.contains("orders:view") && !body.contains("orders:deploy"), "{body}");
    guarded.write_rules("certificates: []");
    guarded.until(&ci, 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_certificates_end_with_their_authorities_and_their_time() {
    let guarded = Guarded::start(RULES).await;
    let ci = guarded.authority.sign("x", &["uri:spiffe://shop/ci/orders"]);
    let mut known = guarded.connect(Some(&ci)).await;
    let mut unknown = guarded.connect(None).await;
    std::fs::copy(Authority::new("theirs").file(), guarded.folder.path().join("clients.pem")).expect("copied");
    ends(&mut known).await;
    send(&mut unknown, "GET", "/healthz", "", "Connection: close\r\n").await;
    assert!(ends(&mut unknown).await.starts_with("HTTP/1.1 200"));
    assert!(guarded.host.metrics.render().contains("closed_total{reason=\"client_authorities\"} 1"));
    // A connection that outlives the certificate.
    let certificate = sandbar::access::ClientCertificate::of(&ci.chain()[0]);
    let at = |millis: i64| guarded.access.sign_in(&[], Some(&certificate), sandbar::model::units::Timestamp(millis));
    let end = certificate.not_after.0;
    let principal = at(end - 1).await.expect("it is valid");
    assert!(at(end).await.is_err_and(|error| error.reason() == "certificate_expired"));
    let valid =
        |millis: i64| guarded.access.is_valid(&principal, Some(&certificate), sandbar::model::units::Timestamp(millis));
    assert!(valid(end - 1) && !valid(end));
    assert!(!guarded.access.is_valid(&principal, None, sandbar::model::units::Timestamp(end - 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_needs_no_token() {
    let guarded = Guarded::start(RULES).await;
    let ci = guarded.authority.sign("x", &["uri:spiffe://shop/ci/orders"]);
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sandbar"));
        command.args(words).env("XDG_CONFIG_HOME", guarded.folder.path()).env_remove("SANDBAR_TOKEN");
        command.output().expect("it starts")
    };
    let url = format!("https://localhost:{}", guarded.server.address.port());
    let file = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let ca = file(&guarded.authority.file());
    let certificate = file(&ci.certificate);
    let key = file(&ci.key);
    let set =
        run(&["context", "set", "ci", "--url", &url, "--ca", &ca, "--client-cert", &certificate, "--client-key", &key]);
    assert!(set.status.success(), "{set:?}");
    let who = run(&["whoami"]);
    let out = String::from_utf8_lossy(&who.stdout);
    assert!(who.status.success() && out.contains("spiffe://shop/ci/orders") && out.contains("orders:deploy"), "{who:?}");
}
