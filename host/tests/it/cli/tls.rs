//! The command line over https, its token, and where it lets itself be redirected to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use super::canned::{CannedHost, Reply};
use super::command::{Dev, RunResult, sandbar};
use crate::support::certificates::{Authority, CertificateFiles};
use serde_json::json;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Runs a verb and compares its end: success, or these parts of the error.
#[track_caller]
fn check(folder: &Path, words: &[&str], environment: &[(&str, &str)], error: &[&str]) {
    let ran = RunResult::of(sandbar(folder).args(words).envs(environment.iter().copied()));
    assert_eq!(ran.code == 0, error.is_empty(), "{words:?}: {ran:?}");
    for part in error {
        assert!(ran.err.contains(part), "{words:?}: {part:?} is not in {ran:?}");
    }
}

/// A server with this certificate that makes handshakes and answers nothing; its URL.
fn handshakes(own: &CertificateFiles) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(own.chain(), own.secret()).expect("a certificate"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut connection = rustls::ServerConnection::new(config.clone()).expect("a connection");
            // The client ends it.
            while connection.complete_io(&mut stream).is_ok_and(|(read, _)| read > 0) {}
        }
    });
    url
}

/// A server of plain HTTP that takes the beginning of a handshake for a bad request; its URL, with https.
fn plain_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            // The client may be gone: then its test says so.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    url
}

#[test]
fn a_host_with_tls_is_reached_by_those_who_trust_it() {
    let folder = folder();
    let ours = Authority::new("ours");
    let theirs = Authority::new("theirs");
    let own = ours.sign("host", &["localhost"]);
    let alice = ours.sign("alice", &["alice.example"]);
    let late = ours.sign_expired("alice", &["alice.example"]);
    let own_ca = ours.file();
    let ca = shown(&own_ca);
    let other_ca = theirs.file();
    let other_ca = shown(&other_ca);
    let options = [
        "--tls-cert",
        shown(&own.certificate),
        "--tls-key",
        shown(&own.key),
        "--tls-client-ca",
        ca,
        "--tls-client-required",
    ];
    let certificate = ["--client-cert", shown(&alice.certificate), "--client-key", shown(&alice.key)];
    let client = [&["--ca", ca][..], &certificate].concat();
    let host = Dev::start_secure(folder.path(), &options, &client);
    let url = host.url.as_str();
    let port = url.rsplit_once(':').expect("a port").1;
    let hosts = |more: &[&'static str]| [&["hosts", "--url", url][..], more].concat();
    let run = |words: &[&str], environment: &[(&str, &str)], error: &[&str]| check(folder.path(), words, environment, error);

    let known = [&hosts(&[])[..], &certificate].concat();
    run(&known, &[("SANDBAR_CA", ca)], &[]);
    // The system's authorities.
    run(&known, &[("SSL_CERT_FILE", ca)], &[]);
    run(&known, &[("SSL_CERT_FILE", other_ca)], &["error[E073]", "no trusted authority signed", "--ca"]);
    run(&known, &[("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")], &["error[E072]", "ca-certificates"]);
    run(&known, &[("SANDBAR_CA", shown(&own.key))], &["error[E072]", "no certificate in PEM"]);
    let wrong_name = format!("https://127.0.0.1:{port}");
    let words = [&["hosts", "--url", &wrong_name, "--ca", ca][..], &certificate].concat();
    run(&words, &[], &["error[E073]", "not for 127.0.0.1", "localhost"]);
    let plain = format!("http://localhost:{port}");
    run(&["hosts", "--url", &plain], &[], &["error[E073]", "this port speaks HTTPS", "https://"]);
    // The client's own certificate.
    run(&hosts(&[]), &[("SANDBAR_CA", ca)], &["error[E073]", "asks for a client's certificate", "--client-cert"]);
    let expired = ["--client-cert", shown(&late.certificate), "--client-key", shown(&late.key)];
    let words = [&hosts(&[])[..], &expired].concat();
    run(&words, &[("SANDBAR_CA", ca)], &["error[E073]", "refuses the client's certificate"]);
    let mixed = ["--client-cert", shown(&alice.certificate), "--client-key", shown(&late.key)];
    let words = [&hosts(&[])[..], &mixed].concat();
    run(&words, &[("SANDBAR_CA", ca)], &["error[E072]"]);
    // All of it in a context.
    let words = [&["context", "set", "secure", "--url", url][..], &client].concat();
    run(&words, &[], &[]);
    run(&["hosts"], &[], &[]);
    run(&["hosts", "--context", "secure"], &[("SANDBAR_CA", other_ca)], &[]);
}

#[test]
fn no_connection_is_made_to_an_expired_host_or_without_tls() {
    let folder = folder();
    let ours = Authority::new("ours");
    let ca = ours.file();
    let environment = [("SANDBAR_CA", shown(&ca))];
    let expired = handshakes(&ours.sign_expired("host", &["localhost"]));
    check(folder.path(), &["hosts", "--url", &expired], &environment, &["error[E073]", "has expired", "clock"]);
    let plain = plain_server();
    check(folder.path(), &["hosts", "--url", &plain], &environment, &["error[E073]", "does not speak TLS", "http://"]);
}

#[test]
fn a_token_goes_to_this_machine_or_over_tls() {
    let folder = folder();
    let token = [("SANDBAR_TOKEN", "sbt_secret")];
    let server = CannedHost::start([Reply::new(200, "GET /v1/hosts", json!({"hosts": []}))]);
    // Nor through a proxy: it would read the token.
    let proxied = [token[0], ("http_proxy", "http://192.0.2.1:1"), ("all_proxy", "http://192.0.2.1:1")];
    check(folder.path(), &["hosts", "--url", &server.url], &proxied, &[]);
    assert_eq!(server.seen()[0].header("authorization"), Some("Bearer sbt_secret"));
    let ran = RunResult::of(sandbar(folder.path()).args(["hosts", "--url", "http://sandbar.example:1"]).envs(token));
    assert!(ran.code == 2 && ran.err.contains("error[E074]") && !ran.err.contains("secret"), "{ran:?}");
    // Told so, it looks the name up, which no name server knows.
    let told = ["hosts", "--url", "http://sandbar.invalid:1", "--insecure-token-over-http"];
    let ran = RunResult::of(sandbar(folder.path()).args(told).envs(token));
    assert!(ran.code == 1 && !ran.err.contains("E074"), "{ran:?}");
    let ran = RunResult::of(sandbar(folder.path()).args(["hosts", "--url", &server.url]).env("SANDBAR_TOKEN", "two words"));
    assert!(ran.code == 2 && !ran.err.contains("words"), "{ran:?}");
}

#[test]
fn a_redirect_leads_to_hosts_of_the_cluster_only() {
    let folder = folder();
    let path = "/v1/teams/a/transforms/x/state/s/k";
    let entry = json!({"store": "s", "partition": 0, "host": "b", "value": 7});
    let owner = CannedHost::start([Reply::new(200, &format!("GET {path}"), entry)]);
    let to = |url: &str| Reply { route: format!("GET {path}"), status: 307, body: format!("{url}{path}") };
    let hosts = |url: &str| Reply::new(200, "GET /v1/hosts", json!({"hosts": [{"host": "b", "url": url}]}));
    let token = [("SANDBAR_TOKEN", "sbt_secret")];

    let first = CannedHost::start([to(&owner.url), hosts(&owner.url)]);
    let ran = RunResult::of(sandbar(folder.path()).args(["state", "get", "a/x", "s", "k", "--url", &first.url]).envs(token));
    assert_eq!((ran.code, ran.out.as_str()), (0, "7\n"), "{ran:?}");
    assert_eq!(owner.seen()[0].header("authorization"), Some("Bearer sbt_secret"));

    let thief = CannedHost::start([]);
    let forged = CannedHost::start([to(&thief.url), hosts(&owner.url)]);
    let words = ["state", "get", "a/x", "s", "k", "--url", &forged.url];
    check(folder.path(), &words, &token, &["error[E074]", "no host of its cluster"]);
    check(folder.path(), &words, &[], &["error[E074]"]);
    assert!(thief.seen().is_empty());
    // A change is not sent on.
    let moved = CannedHost::start([Reply {
        route: "POST /v1/teams/a/transforms/x/pause".into(),
        status: 307,
        body: thief.url.clone(),
    }]);
    check(folder.path(), &["pause", "a/x", "--url", &moved.url], &token, &["307"]);
    assert!(thief.seen().is_empty());
}

#[test]
fn a_host_that_others_reach_needs_tls_and_sign_in() {
    let folder = folder();
    let ours = Authority::new("ours");
    let own = ours.sign("host", &["localhost"]);
    let dev = ["dev", "--data-dir", "data", "--listen", "0.0.0.0:0"];
    let run = |more: &[&str], error: &[&str]| check(folder.path(), &[&dev[..], more].concat(), &[], error);
    let tls = ["--tls-cert", shown(&own.certificate), "--tls-key", shown(&own.key)];
    run(&[], &["E070", "--tls-cert", "--insecure-no-tls"]);
    run(&["--insecure-no-auth"], &["E070"]);
    run(&["--insecure-no-tls"], &["E071", "--insecure-no-auth"]);
    run(&tls, &["E071"]);
    let mixed = ["--insecure-no-auth", "--tls-cert", shown(&own.certificate), "--tls-key", shown(&own.certificate)];
    run(&mixed, &["E072", "host.pem"]);
    // Both are told, so it goes on, to a folder that is none.
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let words = ["dev", "--data-dir", shown(&file), "--listen", "0.0.0.0:0", "--insecure-no-tls", "--insecure-no-auth"];
    let ran = RunResult::of(sandbar(folder.path()).args(words));
    assert!(ran.code == 1 && !ran.err.contains("E07"), "{ran:?}");
}
