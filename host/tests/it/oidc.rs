//! Exchanges with providers that misbehave: each ends, within its bounds, and with no keys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sandbar::oidc::{Discovery, Http, Issuer, KeySet};
use sandbar::trust::Trust;

use super::support::certificates::{Authority, CertificateFiles};

const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Serves the answers of `answer`, by path. Returns the port.
fn serve(tls: Option<&CertificateFiles>, answer: impl Fn(&str, u16) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let tls = tls.map(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            match &tls {
                Some(tls) => {
                    let connection = ServerConnection::new(tls.clone()).expect("a configuration");
                    exchange(StreamOwned::new(connection, stream), |path| answer(path, port));
                }
                None => exchange(stream, |path| answer(path, port)),
            }
        }
    });
    port
}

fn config(files: &CertificateFiles) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(files.chain(), files.secret()).expect("they fit"))
}

/// Reads one request and answers it. A client may hang up at any time.
fn exchange(stream: impl Read + Write, answer: impl Fn(&str) -> String) {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(read) if read > 2 => lines.push(line),
            Ok(_) => break,
            Err(_) => return,
        }
    }
    let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let mut stream = reader.into_inner();
    let _ = stream.write_all(answer(&path).as_bytes()).and_then(|()| stream.flush());
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn document(scheme: &str, name: &str, port: u16) -> String {
    ok(&format!(r#"{{"issuer":"{scheme}://{name}:{port}","jwks_uri":"{scheme}://{name}:{port}/keys"}}"#))
}

fn fetch(issuer: &str, trust: &Trust) -> Result<KeySet, String> {
    let issuer: Issuer = issuer.parse().map_err(str::to_owned)?;
    let http = Http::new(trust).map_err(|error| error.to_string())?;
    Discovery::fetch(&http, &issuer).and_then(|found| found.fetch_keys(&http)).map_err(|error| error.to_string())
}

#[track_caller]
fn check_refused(found: Result<KeySet, String>, part: &str) {
    let error = found.expect_err("no keys");
    assert!(error.contains(part) && error.len() < 1000, "{error}");
}

/// Checks the answer to a request for the keys, of a provider whose document is as it should be.
#[track_caller]
fn check(answer: String, part: &str) {
    let port = serve(None, move |path, port| match path {
        "/keys" => answer.clone(),
        _ => document("http", "127.0.0.1", port),
    });
    check_refused(fetch(&format!("http://127.0.0.1:{port}"), &Trust::SystemAnd(None)), part);
}

#[test]
fn keys_come_from_the_provider_itself() {
    let port = serve(None, |path, port| match path {
        "/keys" => ok(KEYS),
        "/.well-known/openid-configuration" => document("http", "127.0.0.1", port),
        _ => String::new(),
    });
    let keys = fetch(&format!("http://127.0.0.1:{port}"), &Trust::SystemAnd(None)).expect("keys");
    assert_eq!(keys.len(), 1);
    // The document names the issuer otherwise.
    check_refused(fetch(&format!("http://localhost:{port}"), &Trust::SystemAnd(None)), "is of the issuer");
    let elsewhere = serve(None, move |_, _| ok(KEYS));
    check(format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n"), "302");
    check("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(), "500");
    check(ok("<html>\u{1b}[2J"), "no set of keys");
    check(ok(&format!("{}{}", KEYS, " ".repeat(300 * 1024))), "");
    check(String::new(), "");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    check_refused(fetch(&format!("http://127.0.0.1:{closed}"), &Trust::SystemAnd(None)), "");
}

#[test]
fn a_provider_that_never_ends_its_answer_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
            // A byte from time to time, so that no single read takes long.
            std::thread::spawn(move || while drip(&mut stream) {});
        }
    });
    let started = Instant::now();
    check_refused(fetch(&format!("http://127.0.0.1:{port}"), &Trust::SystemAnd(None)), "");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

fn drip(stream: &mut TcpStream) -> bool {
    std::thread::sleep(Duration::from_millis(200));
    stream.write_all(b" ").is_ok()
}

#[test]
fn a_provider_proves_its_name() {
    let authority = Authority::new("of the company");
    let other = Authority::new("of nobody");
    let answers = |name: &'static str| {
        move |path: &str, port: u16| if path == "/keys" { ok(KEYS) } else { document("https", name, port) }
    };
    let good = serve(Some(&authority.sign("good", &["localhost"])), answers("localhost"));
    let issuer = format!("https://localhost:{good}");
    let only = Trust::Only(authority.file());
    assert_eq!(fetch(&issuer, &only).expect("keys").len(), 1);
    assert_eq!(fetch(&issuer, &Trust::SystemAnd(Some(authority.file()))).expect("keys").len(), 1);
    for trust in [Trust::SystemAnd(None), Trust::Only(other.file())] {
        check_refused(fetch(&issuer, &trust), "ertificate");
    }
    let named = serve(Some(&authority.sign("named", &["login.example"])), answers("localhost"));
    check_refused(fetch(&format!("https://localhost:{named}"), &only), "ertificate");
    let expired = serve(Some(&authority.sign_expired("old", &["localhost"])), answers("localhost"));
    check_refused(fetch(&format!("https://localhost:{expired}"), &only), "xpired");
    // A document that leads away from TLS.
    let plain = serve(Some(&authority.sign("plain", &["localhost"])), |_, port| {
        ok(&format!(r#"{{"issuer":"https://localhost:{port}","jwks_uri":"http://login.example/keys"}}"#))
    });
    check_refused(fetch(&format!("https://localhost:{plain}"), &only), "jwks_uri is not https");
    check_refused(fetch(&issuer, &Trust::Only("/nonexistent".into())), "nonexistent");
}
