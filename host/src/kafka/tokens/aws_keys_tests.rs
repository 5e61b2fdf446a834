//! Each place that keys come from, with services on loopback in the place of AWS's. Each fake answers requests as they are
//! documented, and keeps them.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::https::Authorities;
use super::*;

const FAR_END: &str = "2999-01-01T00:00:00Z";

/// A service that gives these answers by method and path, and 404 for all else.
struct Service {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start(answers: Vec<(&'static str, u16, String)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let kept = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let request = read_request(&stream);
                let found = answers.iter().find(|(line, ..)| request.starts_with(&format!("{line} HTTP/1.1\n")));
                let (status, text) = found.map_or((404, ""), |(_, status, text)| (*status, text));
                kept.lock().push(request);
                answer(&stream, status, text);
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> String {
        self.requests.lock().join("\n")
    }
}

/// Head and body of a request, with names of headers in lower case.
fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut text = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("readable");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let header = line.split_once(": ").map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()));
        let line = header.unwrap_or_else(|| line.to_owned());
        length = line.strip_prefix("content-length: ").map_or(length, |value| value.parse().expect("a number"));
        text.push_str(&line);
        text.push('\n');
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("readable");
    text + &String::from_utf8(body).expect("UTF-8")
}

fn answer(mut stream: &TcpStream, status: u16, text: &str) {
    let location = if status == 302 { "location: /elsewhere\r\n" } else { "" };
    let head = format!("HTTP/1.1 {status} x\r\n{location}connection: close\r\ncontent-length: {}\r\n\r\n", text.len());
    // A client that has seen enough is gone.
    let _ = stream.write_all((head + text).as_bytes());
}

fn chain(own: Own, environment: &[(&str, &str)]) -> KeyChain {
    let known: HashMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    KeyChain {
        own,
        region: "eu-west-1".into(),
        sts: None,
        https: Https { authorities: Authorities::System, time: Duration::from_secs(20) },
        environment: Box::new(move |name| known.get(name).cloned()),
    }
}

/// Finds keys, and compares id and session, or looks for a part of the error.
#[track_caller]
fn check(chain: &KeyChain, expected: Result<(&str, Option<&str>), &str>) -> Option<Duration> {
    let found = chain.find(Instant::now).map(|found| (found.keys, found.lifetime));
    match (found, expected) {
        (Ok((keys, lifetime)), Ok((id, session))) => {
            assert_eq!((keys.id.as_str(), keys.session.as_deref()), (id, session));
            lifetime
        }
        (Err(why), Err(part)) => {
            assert!(why.contains(part) && !why.contains("hush"), "{why}");
            None
        }
        (found, expected) => panic!("{:?} instead of {expected:?}", found.map(|(keys, _)| keys.id)),
    }
}

fn keys_json(id: &str, end: &str) -> String {
    format!(r#"{{"AccessKeyId": "{id}", "SecretAccessKey": "hush", "Token": "session", "Expiration": "{end}"}}"#)
}

fn identity() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("identity");
    std::fs::write(&path, "hush.identity\n").expect("written");
    (folder, path.to_str().expect("UTF-8").to_owned())
}

const SERVED: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>
    <SessionToken>a/b+c=</SessionToken><SecretAccessKey>hush</SecretAccessKey><Expiration>2999-01-01T00:00:00Z</Expiration>
    <AccessKeyId>ASIA1</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";

#[test]
fn keys_of_the_properties_come_before_all_others() {
    let keys = Keys { id: "own".into(), secret: "hush".into(), session: None };
    let environment = [("AWS_ACCESS_KEY_ID", "other"), ("AWS_SECRET_ACCESS_KEY", "hush")];
    check(&chain(Own::Keys(keys), &environment), Ok(("own", None)));
    check(&chain(Own::Host, &environment), Ok(("other", None)));
    let with_session = [&environment[..], &[("AWS_SESSION_TOKEN", "s")]].concat();
    check(&chain(Own::Host, &with_session), Ok(("other", Some("s"))));
}

#[test]
fn a_web_identity_takes_a_role() {
    let (_folder, file) = identity();
    let service = Service::start(vec![("POST /", 200, SERVED.to_owned())]);
    let environment = [
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/host"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str()),
        ("AWS_ENDPOINT_URL_STS", service.url.as_str()),
    ];
    let lifetime = check(&chain(Own::Host, &environment), Ok(("ASIA1", Some("a/b+c="))));
    assert!(lifetime.is_some_and(|left| left > Duration::from_secs(900)), "{lifetime:?}");
    let asked = service.requests();
    let body = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fhost\
        &RoleSessionName=sandbar&WebIdentityToken=hush.identity";
    assert!(asked.ends_with(body), "{asked}");
}

#[test]
fn a_team_with_a_role_never_has_the_keys_of_the_host() {
    let (_folder, file) = identity();
    let service = Service::start(vec![("POST /", 403, denied())]);
    let role = |token_file: Option<String>| Own::Role { arn: "arn:team".into(), session: None, token_file };
    let environment =
        [("AWS_ACCESS_KEY_ID", "host"), ("AWS_SECRET_ACCESS_KEY", "hush"), ("AWS_ENDPOINT_URL_STS", service.url.as_str())];
    check(&chain(role(None), &environment), Err("there is no web identity"));
    check(&chain(role(Some(file)), &environment), Err("STS answers 403, AccessDenied: *** may not"));
    assert!(service.requests().contains("RoleArn=arn%3Ateam"), "{}", service.requests());
}

fn denied() -> String {
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>hush.identity may not</Message></Error></ErrorResponse>"
        .to_owned()
}

#[test]
fn a_container_is_answered_with_its_token() {
    let (_folder, file) = identity();
    let service = Service::start(vec![("GET /keys", 200, keys_json("ASIA2", FAR_END))]);
    let url = format!("{}/keys", service.url);
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of the variable"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.as_str()),
    ];
    check(&chain(Own::Host, &environment), Ok(("ASIA2", Some("session"))));
    assert!(service.requests().contains("authorization: hush.identity\n"), "{}", service.requests());
    let far = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://keys.example/keys")];
    check(&chain(Own::Host, &far), Err("not https"));
}

#[test]
fn a_machine_is_asked_for_a_token_first() {
    const KEYS: &str = "GET /latest/meta-data/iam/security-credentials/";
    let service = Service::start(vec![
        ("PUT /latest/api/token", 200, "machine-token".to_owned()),
        (KEYS, 200, "a-role\n".to_owned()),
        ("GET /latest/meta-data/iam/security-credentials/a-role", 200, keys_json("ASIA3", FAR_END)),
    ]);
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url.as_str())];
    check(&chain(Own::Host, &environment), Ok(("ASIA3", Some("session"))));
    let asked = service.requests();
    assert!(asked.contains("x-aws-ec2-metadata-token-ttl-seconds: 60\n"), "{asked}");
    assert_eq!(asked.matches("x-aws-ec2-metadata-token: machine-token\n").count(), 2, "{asked}");
    let off = [&environment[..], &[("AWS_EC2_METADATA_DISABLED", "true")]].concat();
    check(&chain(Own::Host, &off), Err("there are no keys of AWS"));
}

/// Answers that are no keys, too large, or lead elsewhere.
#[test]
fn a_service_that_answers_otherwise_is_told_and_not_followed() {
    let large = keys_json(&"x".repeat(100_000), FAR_END);
    let service = Service::start(vec![
        ("GET /ended", 200, keys_json("ASIA4", "2020-01-01T00:00:00Z")),
        ("GET /never", 200, keys_json("ASIA4", "soon")),
        ("GET /page", 200, "<html>hush".to_owned()),
        ("GET /large", 200, large),
        ("GET /moved", 302, String::new()),
        ("GET /elsewhere", 200, keys_json("ASIA5", FAR_END)),
    ]);
    let at = |path: &str| {
        let url = format!("{}{path}", service.url);
        chain(Own::Host, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str())])
    };
    assert_eq!(check(&at("/ended"), Ok(("ASIA4", Some("session")))), Some(Duration::ZERO));
    check(&at("/never"), Err("unknown time"));
    check(&at("/page"), Err("without keys"));
    check(&at("/large"), Err("limit"));
    check(&at("/moved"), Err("answers 302"));
    check(&at("/none"), Err("answers 404"));
    assert!(!service.requests().contains("/elsewhere"), "the redirect was followed");
}

/// A service that is silent costs its time and no more.
#[test]
fn a_silent_service_is_given_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
    let mut silent = chain(Own::Host, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str())]);
    silent.https.time = Duration::from_millis(300);
    check(&silent, Err("timeout"));
}
