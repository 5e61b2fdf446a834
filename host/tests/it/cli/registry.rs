//! Modules from a hostile registry: `sandbar pull` and `deploy` believe its bytes only if they have the
//! digest that was asked for, and tell their password to nobody else.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sandbar::model::names::Digest;
use serde_json::{Value, json};

use super::command::{Cli, Dev, RunResult, sandbar};

const MODULE: &[u8] = b"\0asm, or not";

/// An answer: status, headers, body.
type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A server on a port of its own, which lives as long as the test process.
struct FakeRegistry {
    /// `127.0.0.1:PORT`
    address: String,
    seen: Arc<Mutex<Vec<Call>>>,
}

/// A request: its path with the query, and its header `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    path: String,
    authorization: Option<String>,
}

// === impl FakeRegistry ===

impl FakeRegistry {
    /// Starts a server. `answer` gets each request and the server's own address.
    fn start(answer: impl Fn(&Call, &str) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let own = address.clone();
        let log = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let Some(call) = read(&mut BufReader::new(&stream)) else { continue };
                log.lock().expect("unpoisoned").push(call.clone());
                let (status, headers, body) = answer(&call, &own);
                let mut head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
                headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
                // The client may have heard enough.
                let _ = stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat());
            }
        });
        Self { address, seen }
    }

    /// A registry with the module under the tag `1`, without sign-in.
    fn honest(manifest: Vec<u8>) -> Self {
        Self::start(move |call, _| content(call, &manifest))
    }

    fn seen(&self) -> Vec<Call> {
        self.seen.lock().expect("unpoisoned").clone()
    }

    fn reference(&self, name: &str) -> String {
        format!("oci+http://{}/shop/echo{name}", self.address)
    }
}

fn read(lines: &mut impl BufRead) -> Option<Call> {
    let mut call = Call { path: String::new(), authorization: None };
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok().filter(|&read| read > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => call.authorization = Some(value.to_owned()),
            None if line.trim_end().is_empty() => return Some(call),
            None => call.path = line.split(' ').nth(1)?.to_owned(),
            Some(_) => {}
        }
    }
}

/// The manifest of a module, with annotations.
fn manifest(module: &[u8], annotations: Value) -> Vec<u8> {
    let layer = json!({"mediaType": "application/wasm", "digest": Digest::of(module).to_string(), "size": module.len()});
    let config =
        json!({"mediaType": "application/vnd.wasm.config.v0+json", "digest": Digest::of(b"{}").to_string(), "size": 2});
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
        "layers": [layer], "annotations": annotations});
    manifest.to_string().into_bytes()
}

/// The answer of a registry that has this manifest and [`MODULE`].
fn content(call: &Call, manifest: &[u8]) -> Reply {
    let digest = Digest::of(manifest);
    let known = [format!("/v2/shop/echo/manifests/{digest}"), "/v2/shop/echo/manifests/1".to_owned()];
    let blob = format!("/v2/shop/echo/blobs/{}", Digest::of(MODULE));
    match call.path.as_str() {
        path if known.iter().any(|known| known == path) => (200, vec![], manifest.to_vec()),
        path if path == blob => (200, vec![], MODULE.to_vec()),
        _ => (404, vec![], b"{}".to_vec()),
    }
}

/// Runs with the user `me` of docker's configuration, whose password is for these registries.
fn signed_in(folder: &Path, registries: &[&str], words: &[&str]) -> RunResult {
    let auths: serde_json::Map<String, Value> =
        registries.iter().map(|it| ((*it).to_owned(), json!({"auth": STANDARD.encode("me:hunter2")}))).collect();
    std::fs::write(folder.join("config.json"), json!({"auths": auths}).to_string()).expect("written");
    RunResult::of(sandbar(folder).args(words).env("DOCKER_CONFIG", folder))
}

#[track_caller]
fn check_refused(ran: &RunResult, parts: &[&str]) {
    assert_eq!(ran.code, 1, "{ran:?}");
    for part in ["error[E111]"].iter().chain(parts) {
        assert!(ran.err.contains(part), "{part:?} is not in {ran:?}");
    }
    assert!(!ran.err.contains("hunter2") && !ran.out.contains("hunter2"), "{ran:?}");
}

#[test]
fn a_module_is_pulled_by_tag_and_by_digest() {
    let folder = tempfile::tempdir().expect("a folder");
    let cli = Cli { folder: folder.path(), url: "http://127.0.0.1:1" };
    let manifest = manifest(MODULE, json!({"io.github.sandbar-rs.signature": "{\"signed\":1}"}));
    let digest = Digest::of(&manifest);
    let registry = FakeRegistry::honest(manifest);
    for name in [":1".to_owned(), format!("@{digest}"), format!(":2@{digest}")] {
        let shown = cli.succeeds(&format!("pull {} --out m.wasm", registry.reference(&name)));
        assert!(shown.contains(&registry.reference(&format!("@{digest}"))), "{shown}");
        assert_eq!(std::fs::read(folder.path().join("m.wasm")).expect("written"), MODULE);
        assert_eq!(std::fs::read(folder.path().join("m.wasm.sig")).expect("written"), b"{\"signed\":1}");
    }
    cli.fails(&format!("pull {}", registry.reference(":2")), 1, &["error[E111]", "no such artifact"]);
    cli.fails("pull oci+http://127.0.0.1:1/a:1", 1, &["error[E111]", "127.0.0.1:1"]);
    cli.fails("pull oci+http://registry.example/a:1", 2, &["on this machine alone"]);

    // The signature of another module does not stay beside the new one.
    let unsigned = FakeRegistry::honest(self::manifest(MODULE, json!({})));
    cli.succeeds(&format!("pull {} --out m.wasm", unsigned.reference(":1")));
    assert!(!folder.path().join("m.wasm.sig").exists());
}

#[test]
fn bytes_that_were_not_asked_for_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let pull = |registry: &FakeRegistry, name: &str| signed_in(folder.path(), &[], &["pull", &registry.reference(name)]);
    let good = manifest(MODULE, json!({}));
    let asked = format!("@{}", Digest::of(b"another manifest"));
    let other = FakeRegistry::start({
        let good = good.clone();
        move |_, _| (200, vec![], good.clone())
    });
    check_refused(&pull(&other, &asked), &["sent a manifest with digest", &Digest::of(&good).to_string()]);

    let with_blob = |manifest: Vec<u8>, blob: Vec<u8>| {
        FakeRegistry::start(move |call, _| {
            let is_blob = call.path.contains("/blobs/");
            (200, vec![], if is_blob { blob.clone() } else { manifest.clone() })
        })
    };
    let changed = MODULE.iter().rev().copied().collect();
    check_refused(&pull(&with_blob(good.clone(), changed), ":1"), &["sent a module with digest"]);
    check_refused(&pull(&with_blob(good.clone(), vec![0; 5 << 20]), ":1"), &["more than the 12 bytes"]);
    check_refused(&pull(&with_blob(good, MODULE[..5].to_vec()), ":1"), &["sent a module with digest"]);
    check_refused(&pull(&with_blob(vec![b' '; (1 << 20) + 1], vec![]), ":1"), &["more than the 1048576 bytes"]);
    let huge = json!({"schemaVersion": 2, "layers": [{"mediaType": "application/wasm", "size": 1_u64 << 60,
        "digest": Digest::of(MODULE).to_string()}]});
    let huge = with_blob(huge.to_string().into_bytes(), vec![]);
    check_refused(&pull(&huge, ":1"), &["the limit is 268435456"]);
    assert_eq!(huge.seen().len(), 1, "the bytes were not asked for");
    assert!(!folder.path().join("module.wasm").exists());
}

#[test]
fn a_password_goes_to_its_registry_and_its_server_of_tokens_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = manifest(MODULE, json!({}));
    let store = FakeRegistry::start(|_, _| (200, vec![], MODULE.to_vec()));
    let tokens = FakeRegistry::start(|_, _| (200, vec![], br#"{"token":"t0ken","access_token":"t0ken"}"#.to_vec()));
    let basic = format!("Basic {}", STANDARD.encode("me:hunter2"));
    let registry = FakeRegistry::start({
        let store = store.address.clone();
        let realm = format!("http://{}/token?a=1", tokens.address);
        let good = good.clone();
        move |call, _| match call.authorization.as_deref() {
            Some("Bearer t0ken") if call.path.contains("/blobs/") => {
                (307, vec![("Location", format!("http://{store}/b?key=1"))], vec![])
            }
            Some("Bearer t0ken") => content(call, &good),
            _ => {
                let demand = format!("Bearer realm=\"{realm}\",service=\"the service\",scope=\"repository:other:push\"");
                (401, vec![("WWW-Authenticate", demand)], vec![])
            }
        }
    });
    let pull = |registries: &[&str]| signed_in(folder.path(), registries, &["pull", &registry.reference(":1")]);
    let ran = pull(&[&registry.address]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let call = |path: &str, authorization: Option<&str>| Call {
        path: path.to_owned(),
        authorization: authorization.map(str::to_owned),
    };
    let asked = "/token?a=1&scope=repository%3Ashop%2Fecho%3Apull&service=the%20service";
    assert_eq!(tokens.seen(), [call(asked, Some(&basic))], "for a pull of this repository");
    assert_eq!(store.seen(), [call("/b?key=1", None)]);
    assert!(registry.seen().iter().all(|call| call.authorization.as_deref() != Some(&basic)), "{:?}", registry.seen());

    // A password of another registry stays where it is.
    let ran = pull(&[&store.address]);
    assert_eq!(ran.code, 0, "a token without a password: {ran:?}");
    assert_eq!(tokens.seen()[1].authorization, None);
}

#[test]
fn a_target_of_a_redirect_that_asks_for_a_sign_in_gets_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = FakeRegistry::start(|_, _| (200, vec![], br#"{"token":"t0ken"}"#.to_vec()));
    for demand in [format!("Bearer realm=\"http://{}/token\"", tokens.address), "Basic realm=x".to_owned()] {
        let store = FakeRegistry::start(move |_, _| (401, vec![("WWW-Authenticate", demand.clone())], vec![]));
        let registry = FakeRegistry::start({
            let target = format!("http://{}/m?key=1", store.address);
            move |_, _| (307, vec![("Location", target.clone())], vec![])
        });
        let ran = signed_in(folder.path(), &[&registry.address], &["pull", &registry.reference(":1")]);
        check_refused(&ran, &[&format!("redirects to http://{}/m, which asks for a sign-in", store.address)]);
        assert_eq!(store.seen(), [Call { path: "/m?key=1".to_owned(), authorization: None }]);
    }
    assert!(tokens.seen().is_empty(), "the password went to {:?}", tokens.seen());
}

#[test]
fn a_registry_that_leads_elsewhere_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let pull =
        |registry: &FakeRegistry| signed_in(folder.path(), &[&registry.address], &["pull", &registry.reference(":1")]);
    for realm in ["http://192.0.2.1/token", "https://192.0.2.1/token", "file:///etc/passwd", "/token"] {
        let registry =
            FakeRegistry::start(move |_, _| (401, vec![("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))], vec![]));
        check_refused(&pull(&registry), &[realm, "out of TLS"]);
    }
    for target in ["http://192.0.2.1/m", "//192.0.2.1/m", "https://192.0.2.1/m", "m"] {
        let registry = FakeRegistry::start(move |_, _| (302, vec![("Location", target.to_owned())], vec![]));
        check_refused(&pull(&registry), &[target, "out of TLS"]);
    }
    let circle = FakeRegistry::start(|call, _| (307, vec![("Location", call.path.clone())], vec![]));
    check_refused(&pull(&circle), &["more than 5 times"]);
    assert_eq!(circle.seen().len(), 6);
    // A server that asks again for what it got does so once.
    let greedy = FakeRegistry::start(|_, _| (401, vec![("WWW-Authenticate", "Basic realm=x".to_owned())], vec![]));
    check_refused(&pull(&greedy), &["does not permit it with these credentials"]);
    assert_eq!(greedy.seen().len(), 2);
    let foreign = FakeRegistry::start(|_, _| (401, vec![("WWW-Authenticate", "Negotiate".to_owned())], vec![]));
    check_refused(&pull(&foreign), &["not supported"]);
    let silent = FakeRegistry::start(|_, _| (401, vec![("WWW-Authenticate", "Basic realm=x".to_owned())], vec![]));
    let ran = signed_in(folder.path(), &[], &["pull", &silent.reference(":1")]);
    check_refused(&ran, &["asks for a user and a password"]);
}

#[test]
fn a_user_of_the_command_line_and_a_helper_of_dockers_sign_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let good = manifest(MODULE, json!({}));
    let basic = format!("Basic {}", STANDARD.encode("me:hunter2"));
    let registry = FakeRegistry::start(move |call, _| match call.authorization.as_deref() {
        Some(own) if own == basic => content(call, &good),
        _ => (401, vec![("WWW-Authenticate", "Basic realm=x".to_owned())], vec![]),
    });
    let reference = registry.reference(":1");
    let words = ["pull", &reference, "--registry-user", "me"];
    let run = |password: &str| {
        RunResult::of(sandbar(place).args(words).env("SANDBAR_REGISTRY_PASSWORD", password).env("DOCKER_CONFIG", place))
    };
    assert_eq!(run("hunter2").code, 0);
    check_refused(&run("wrong"), &["with these credentials"]);
    // A helper answers for the registry that it is asked for.
    let script = format!(
        "#!/bin/sh\n[ \"$(cat)\" = {} ] && echo '{{\"Username\":\"me\",\"Secret\":\"hunter2\"}}'\n",
        registry.address
    );
    let helper = place.join("docker-credential-test");
    std::fs::write(&helper, script).expect("written");
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
    let config = json!({"credHelpers": {registry.address.clone(): "test"}});
    std::fs::write(place.join("config.json"), config.to_string()).expect("written");
    let path = format!("{}:{}", place.display(), std::env::var("PATH").unwrap_or_default());
    let ran = RunResult::of(sandbar(place).args(["pull", &reference]).env("DOCKER_CONFIG", place).env("PATH", path));
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// Whoever proposes a change of a spec names a registry, and gets no password by that.
#[test]
fn a_password_of_the_command_line_goes_to_no_registry_that_only_a_spec_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    std::fs::write(place.join("folder.yaml"), "folder: shop\n").expect("written");
    let start = || FakeRegistry::start(|_, _| (401, vec![("WWW-Authenticate", "Basic realm=x".to_owned())], vec![]));
    let own = start();
    let other = start();
    let signed_in = |words: &[&str]| {
        let mut command = sandbar(place);
        command.args(words).args(["--registry-user", "me"]).env("SANDBAR_URL", "http://127.0.0.1:1");
        RunResult::of(command.env("SANDBAR_REGISTRY_PASSWORD", "hunter2").env("DOCKER_CONFIG", place))
    };
    let spec = |registry: &FakeRegistry| {
        let text = "team: shop\nname: echo\ninputs: [shop.orders]\noutputs: { out: shop.out }\n";
        let text = format!("{text}module: {}\n", registry.reference(":1"));
        std::fs::write(place.join("transform.yaml"), text).expect("written");
    };
    let test = ["test", "shop/echo", "--spec", "transform.yaml"];
    let verbs: [&[&str]; 4] = [&["deploy"], &["plan"], &["apply"], &test];
    let host = ["--registry-host", own.address.as_str()];
    spec(&other);
    for verb in verbs {
        let ran = signed_in(verb);
        assert_eq!(ran.code, 2, "{verb:?}: {ran:?}");
        assert!(ran.err.contains("error[E111]") && ran.err.contains("needs --registry-host"), "{verb:?}: {ran:?}");
        assert!(other.seen().is_empty(), "{verb:?}: {:?}", other.seen());
    }
    for verb in verbs {
        check_refused(&signed_in(&[verb, &host[..]].concat()), &["asks for a user and a password"]);
    }
    let reference = other.reference(":1");
    check_refused(&signed_in(&["pull", reference.as_str(), host[0], host[1]]), &["asks for a user and a password"]);
    let seen = other.seen();
    assert!(seen.len() == 5 && seen.iter().all(|call| call.authorization.is_none()), "{seen:?}");
    // The registry that the command line names gets it.
    spec(&own);
    check_refused(&signed_in(&["deploy", host[0], host[1]]), &["with these credentials"]);
    let basic = format!("Basic {}", STANDARD.encode("me:hunter2"));
    assert_eq!(own.seen().last().and_then(|call| call.authorization.clone()), Some(basic));
}

#[test]
fn a_module_is_deployed_from_a_registry_with_the_signature_that_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let module = std::fs::read(super::run::fixture()).expect("it is built");
    std::fs::write(place.join("m.wasm"), &module).expect("written");
    let offline = Cli { folder: place, url: "http://127.0.0.1:1" };
    let key = offline.succeeds("sign key generate --out shop.key").trim().to_owned();
    let signature = offline.succeeds("sign m.wasm --key shop.key --team shop --out -");
    let rule = json!({"teams": {"shop": {"signing": {"required": true, "keys": [key]}}}});
    std::fs::write(place.join("teams.yaml"), rule.to_string()).expect("written");
    let serve = |annotations: Value| {
        let manifest = manifest(&module, annotations);
        let module = module.clone();
        FakeRegistry::start(move |call, _| {
            let is_blob = call.path.contains("/blobs/");
            (200, vec![], if is_blob { module.clone() } else { manifest.clone() })
        })
    };
    let signed = serve(json!({"io.github.sandbar-rs.signature": signature}));
    let unsigned = serve(json!({}));
    let dev = Dev::start_with(place, &["--teams", "teams.yaml"]);
    let cli = Cli { folder: place, url: &dev.url };
    dev.create_topics(&["shop.orders", "shop.out"]);
    let spec = |registry: &FakeRegistry| {
        let text = "team: shop\nname: echo\ninputs: [shop.orders]\noutputs: { out: shop.out }\nconfig: { mode: echo }\n";
        let text = format!("{text}module: {}\n", registry.reference(":1"));
        std::fs::write(place.join("transform.yaml"), text).expect("written");
    };
    spec(&unsigned);
    cli.fails("deploy", 1, &["error[E087]", "/shop/echo:1 is oci+http://"]);
    spec(&signed);
    let deployed = cli.succeeds("deploy");
    assert!(deployed.contains("signed with key"), "{deployed}");
    assert!(cli.json("describe")["module"].as_str() == Some(&*Digest::of(&module).to_string()));
    std::fs::write(place.join("in.ndjson"), "{\"value\": \"a\"}\n").expect("written");
    let test = format!("test --records in.ndjson --module {}", signed.reference(":1"));
    cli.succeeds(&test);

    // Another team, which requires none, is not kept from the module by a signature that is not for it.
    let text = std::fs::read_to_string(place.join("transform.yaml")).expect("readable");
    std::fs::write(place.join("transform.yaml"), text.replace("team: shop", "team: stock")).expect("written");
    for words in ["deploy", test.as_str()] {
        let ran = cli.run(words);
        assert_eq!(ran.code, 0, "{words}: {ran:?}");
        assert!(ran.err.contains("is for team shop, and is not sent for team stock"), "{words}: {ran:?}");
    }
    assert_eq!(cli.json("describe")["signed_by"], Value::Null);
    std::fs::write(place.join("shop.sig"), &signature).expect("written");
    cli.fails("deploy --signature shop.sig", 1, &["error[E088]", "for team shop"]);
}
