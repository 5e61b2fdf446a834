//! Signed modules: keys and signatures from the command line, and a host that takes no others.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::command::{Cli, Dev};

/// A custom section, which makes another module of a component.
const SECTION: [u8; 4] = [0, 2, 1, b'x'];

fn write(folder: &Path, name: &str, content: &str) {
    // As a whole: a host may read the file meanwhile.
    std::fs::write(folder.join("next"), content).expect("written");
    std::fs::rename(folder.join("next"), folder.join(name)).expect("renamed");
}

/// Makes the module of the spec, as a build would.
fn build(folder: &Path, sections: usize) {
    let fixture = std::fs::read(super::run::fixture()).expect("it is built");
    std::fs::write(folder.join("module.wasm"), [fixture, SECTION.repeat(sections)].concat()).expect("written");
}

fn cli_of(folder: &Path) -> Cli<'_> {
    Cli { folder, url: "http://127.0.0.1:1" }
}

/// Makes a key in the file, and returns its public part.
fn key(folder: &Path, name: &str) -> String {
    cli_of(folder).succeeds(&format!("sign key generate --out {name}")).trim().to_owned()
}

/// Sends a request; its status, and its answer as JSON.
fn send(request: ureq::http::request::Builder, body: &[u8]) -> (u16, Value) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.run(request.header("sandbar-request", "1").body(body).expect("a request")).expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().expect("text");
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

#[test]
fn a_key_is_for_its_owner_alone_and_a_signature_for_one_module_and_team() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let cli = cli_of(place);
    let public = key(place, "one.key");
    let mode = |name: &str| std::fs::metadata(place.join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode("one.key"), 0o600);
    assert_eq!(cli.succeeds("sign key public one.key").trim(), public);
    let pem = std::fs::read_to_string(place.join("one.key")).expect("readable");
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI"), "{pem}");
    cli.fails("sign key generate --out one.key", 2, &["error[E089]", "one.key", "hint: a key is never replaced"]);
    cli.fails("sign key public .", 2, &["error[E089]", "is no plain file"]);
    assert_eq!(std::fs::read_to_string(place.join("one.key")).expect("readable"), pem, "no key is ever replaced");

    let other = key(place, "two.key");
    std::fs::write(place.join("module.wasm"), b"any bytes").expect("written");
    cli.succeeds("sign module.wasm --key one.key --team shop");
    cli.succeeds(&format!("verify module.wasm --team shop --key {other} --key {public}"));
    cli.fails(&format!("verify module.wasm --team shop --key {other}"), 1, &["error[E088]", "no signing key"]);
    cli.fails(&format!("verify module.wasm --team stock --key {public}"), 1, &["error[E088]", "for team shop"]);
    cli.fails("verify module.wasm --team shop --key ed25519:AAAA", 2, &["error[E089]"]);
    std::fs::write(place.join("module.wasm"), b"other bytes").expect("written");
    cli.fails(&format!("verify module.wasm --team shop --key {public}"), 1, &["error[E088]", "another module"]);
    let printed = cli.succeeds("sign module.wasm --key one.key --team shop --out -");
    assert!(printed.starts_with("{\"payloadType\":\"application/vnd.in-toto+json\""), "{printed}");

    for (content, mode, part) in [
        (pem.as_str(), 0o640, "others have rights"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600, "no key of Ed25519"),
        (&pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), 0o600, "encrypted"),
        ("", 0o600, "no private key"),
    ] {
        std::fs::write(place.join("wrong.key"), content).expect("written");
        std::fs::set_permissions(place.join("wrong.key"), std::fs::Permissions::from_mode(mode)).expect("ours");
        cli.fails("sign module.wasm --key wrong.key --team shop", 2, &["error[E089]", part]);
    }
}

#[test]
fn a_host_takes_and_runs_what_a_present_key_of_the_team_has_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    let [one, two] = ["one.key", "two.key"].map(|name| key(place, name));
    let rule = |keys: &[&String]| json!({ "teams": { "shop": { "signing": { "required": true, "keys": keys } } } });
    write(place, "teams.yaml", &rule(&[&one]).to_string());
    let spec = "team: shop\nname: echo\nmodule: module.wasm\ninputs: [shop.orders]\noutputs: { out: shop.out }\n";
    let config = |tag: &str| format!("{spec}config: {{ mode: echo, tag: {tag} }}\n");
    write(place, "transform.yaml", &config("a"));
    build(place, 0);
    let dev = Dev::start_with(place, &["--teams", "teams.yaml"]);
    let cli = Cli { folder: place, url: &dev.url };
    dev.create_topics(&["shop.orders", "shop.out"]);

    // Nothing that would run code takes an unsigned module.
    std::fs::write(place.join("in.ndjson"), "{\"value\": \"a\"}\n").expect("written");
    let dry_run = "test shop/echo --spec transform.yaml --records in.ndjson";
    for words in ["deploy", "deploy --dry-run", dry_run] {
        cli.fails(words, 1, &["error[E087]", "has no signature", "sandbar sign"]);
    }
    let bytes = std::fs::read(place.join("module.wasm")).expect("readable");
    let upload =
        || ureq::http::Request::post(format!("{}/v1/modules?team=shop", dev.url)).header("content-type", "application/wasm");
    assert_eq!(send(upload(), &bytes).1["code"], "E087");
    let modules = || send(ureq::http::Request::get(format!("{}/v1/modules", dev.url)), b"").1["modules"].clone();
    assert_eq!(modules(), json!([]), "and stores none");
    cli.succeeds("sign module.wasm --key two.key --team shop --out foreign.sig");
    cli.fails("deploy --signature foreign.sig", 1, &["error[E088]", "no signing key of team shop"]);
    cli.succeeds("sign module.wasm --key one.key --team stock --out foreign.sig");
    cli.fails("deploy --signature foreign.sig", 1, &["error[E088]", "for team stock"]);

    cli.succeeds("sign module.wasm --key one.key --team shop");
    let signature = std::fs::read(place.join("module.wasm.sig")).expect("readable");
    let header = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &signature);
    assert_eq!(send(upload().header("sandbar-signature", &header), &bytes).0, 201);
    cli.succeeds(dry_run);
    let id = cli.json("teams shop")["signing"]["keys"][0]["id"].as_str().expect("text").to_owned();
    let deployed = cli.succeeds("deploy");
    assert!(deployed.contains("revision 1, module ") && deployed.contains(&format!("signed with key {id}")), "{deployed}");
    assert_eq!(cli.json("describe")["signed_by"], json!(id));
    let audit = cli.succeeds("audit -o json");
    let entries = audit.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let signers: Vec<Value> = entries.filter(|it| it["action"] == "deploy").map(|it| it["signed_by"].clone()).collect();
    assert_eq!(signers, [json!(id)]);

    // The team's signature of a module is known from then on, and of no other module.
    std::fs::remove_file(place.join("module.wasm.sig")).expect("there");
    write(place, "transform.yaml", &config("b"));
    assert!(cli.succeeds("deploy").contains("revision 2"));
    cli.succeeds("rollback --to 1");
    build(place, 1);
    cli.fails("deploy", 1, &["error[E087]"]);
    std::fs::write(place.join("module.wasm.sig"), &signature).expect("written");
    cli.fails("deploy", 1, &["error[E088]", "for another module"]);

    // A key that is removed takes its modules along, and brings them back.
    write(place, "teams.yaml", &rule(&[&two]).to_string());
    wait_for(&cli, "E088");
    cli.fails("rollback --to 1", 1, &["error[E088]"]);
    let metrics = || ureq::get(format!("{}/metrics", dev.url)).call().and_then(|mut it| it.body_mut().read_to_string());
    let deadline = Instant::now() + Duration::from_secs(30);
    for at in ["request", "run", "start"] {
        let name = format!("sandbar_signatures_refused_total{{at=\"{at}\"}}");
        while !metrics().expect("metrics").lines().any(|line| line.starts_with(&name)) {
            assert!(Instant::now() < deadline, "{at} is not counted");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // The same module, signed with the new key, is a new revision.
    build(place, 0);
    cli.succeeds("sign module.wasm --key two.key --team shop");
    let deployed = cli.succeeds("deploy");
    assert!(deployed.contains("revision 4"), "{deployed}");

    // Without a file a transform keeps its own signature, whatever another one of the team has for the module.
    let second = cli.json("teams shop")["signing"]["keys"][0]["id"].clone();
    write(place, "teams.yaml", &rule(&[&one, &two]).to_string());
    let deadline = Instant::now() + Duration::from_secs(30);
    while cli.json("teams shop")["signing"]["keys"].as_array().map(Vec::len) != Some(2) {
        assert!(Instant::now() < deadline, "the host does not know both keys");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::remove_file(place.join("module.wasm.sig")).expect("there");
    cli.succeeds("sign module.wasm --key one.key --team shop --out one.sig");
    write(place, "other.yaml", &config("b").replace("name: echo", "name: before"));
    cli.succeeds("deploy --file other.yaml --signature one.sig");
    let again = cli.succeeds("deploy");
    assert!(again.contains("unchanged, revision 4"), "{again}");
    cli.succeeds("deploy --signature one.sig");
    assert_ne!(cli.json("describe")["signed_by"], second);
    cli.succeeds("rollback --to 4");
    assert_eq!(cli.json("describe")["signed_by"], second, "a rollback brings the signature of its target");
}

/// Waits until the transform has failed with this code.
#[track_caller]
fn wait_for(cli: &Cli<'_>, code: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = cli.json("status");
        if status["state"] == "failed" && status["hosts"][0]["error"]["code"] == code {
            return;
        }
        assert!(Instant::now() < deadline, "{status:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
