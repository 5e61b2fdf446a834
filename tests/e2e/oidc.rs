//! Sign-in at a real OpenID provider: the callers that a host admits and refuses, also without its provider.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use sandbar_harness::child::Process;
use sandbar_harness::oidc::AUDIENCE;
use sandbar_harness::{Api, Cli, KafkaCluster, OidcProvider, Response, dirs, guests, ports, wait};
use serde_json::{Value, json};

use crate::pages::shell::PageShell;

const PAGE: &str = include_str!("../../docs/security.md");

/// `sandbar dev` with the options of the page.
struct Dev {
    api: Api,
    cli: Cli,
    folder: PathBuf,
    _process: Process,
}

// === impl Dev ===

impl Dev {
    /// More options go before those of the page.
    fn start(provider: &OidcProvider, more: &[&str]) -> Self {
        let port = ports::free_port();
        let folder = dirs::fresh("dev");
        std::fs::write(folder.join("roles.yaml"), roles()).expect("written");
        let mut command = Command::new(dirs::sandbar());
        command.args(["dev", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"]).arg(folder.join("data"));
        command.args(options(&provider.issuer(), more)).current_dir(&folder);
        let process = Process::start("sandbar dev", command, &folder.join("log"));
        let address = ([127, 0, 0, 1], port).into();
        let dev = Self { api: Api::new(address), cli: Cli::at("oidc", address), folder, _process: process };
        wait::until("the host is ready", wait::PATIENCE, || match dev.api.try_get("/readyz")?.status {
            200 => Ok(()),
            status => Err(format!("{status}: {}", dirs::tail(&dev.folder.join("log"), 20))),
        });
        dev
    }

    fn whoami(&self, token: &str) -> Response {
        self.api.get_as(token, "/v1/whoami")
    }

    /// Waits until the host answers the holder of a token so.
    #[track_caller]
    fn wait(&self, token: &str, status: u16) -> Response {
        wait::until(&format!("the answer is {status}"), wait::PATIENCE, || match self.whoami(token) {
            answer if answer.status == status => Ok(answer),
            answer => Err(format!("{} {}", answer.status, answer.body)),
        })
    }

    /// The value of a series.
    fn metric(&self, token: &str, series: &str) -> f64 {
        let metrics = self.api.get_as(token, "/metrics");
        let found = metrics.body.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("no {series} in {}", metrics.body))
    }
}

/// The file of roles, as the page has it.
fn roles() -> &'static str {
    let (_, rest) = PAGE.split_once("```yaml\ngroups:").expect("the page has a file of roles");
    let (roles, _) = rest.split_once("```").expect("it ends");
    let all = PAGE.find("groups:\n").expect("the same");
    &PAGE[all..all + "groups:".len() + roles.len()]
}

/// The options of the page's `sandbar serve`, with another issuer.
fn options(issuer: &str, more: &[&str]) -> Vec<String> {
    let line = PAGE.lines().find(|line| line.starts_with("sandbar serve") && line.contains("--oidc-issuer"));
    let (_, options) = line.expect("the page has the command").split_once("--cluster shop ").expect("of Kafka");
    let page: Vec<String> = options.replace("https://login.example", issuer).split(' ').map(str::to_owned).collect();
    let resource = page.iter().position(|word| word == "--oidc-resource").expect("the page names one");
    // An option of the test takes the place of the page's.
    let kept = if more.contains(&"--oidc-resource") { page[..resource].to_vec() } else { page };
    kept.into_iter().chain(more.iter().map(ToString::to_string)).collect()
}

/// Enters the code that a command shows.
fn approve(provider: &OidcProvider, text: impl Fn() -> String) {
    let code = wait::until("the command shows a code", wait::PATIENCE, || {
        let text = text();
        let code = text.lines().find_map(|line| line.trim().strip_prefix("enter  ").map(str::to_owned));
        code.ok_or(text)
    });
    provider.approve(&code, "anna");
}

fn grants(whoami: &Response) -> String {
    let caller = whoami.success().json();
    let grants: Vec<&str> = caller["grants"].as_array().expect("roles").iter().filter_map(Value::as_str).collect();
    grants.join(" ")
}

#[test]
fn a_provider_admits_the_holders_of_its_tokens() {
    let provider = OidcProvider::start();
    let dev = Dev::start(&provider, &[]);
    let issuer = provider.issuer();
    let token = |client: &str| provider.token(client, AUDIENCE);
    dev.wait(&token("ci-stock"), 200);
    for (client, expected) in [
        ("ci-stock", "stock:data stock:deploy stock:operate"),
        ("ci-admin", "*:admin"),
        ("ci-team", "shop:view"),
        ("ci-nobody", ""),
    ] {
        let whoami = dev.whoami(&token(client));
        assert_eq!(grants(&whoami), expected, "{client}");
        let caller = whoami.json();
        let shown =
            [&caller["kind"], &caller["id"], &caller["name"]].map(|field| field.as_str().unwrap_or_default().to_owned());
        assert_eq!(shown, ["oidc".to_owned(), format!("{issuer}#{client}"), format!("{client}@shop.example")]);
    }
    assert_eq!(
        grants(&dev.whoami(&provider.token("ci-stock", "urn:sandbar:es256"))),
        "stock:data stock:deploy stock:operate"
    );
    let person = provider.person("anna");
    assert_eq!(grants(&dev.whoami(person["access_token"].as_str().expect("a token"))), "stock:data stock:deploy");

    // Without a role nobody sees anything; with roles in a team nobody reaches another.
    let refused = |token: &str, path: &str| {
        let answer = dev.api.get_as(token, path);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("E076")), "{path}: {answer:?}");
    };
    for path in ["/v1/transforms", "/v1/hosts", "/v1/teams", "/v1/modules", "/metrics", "/v1/audit"] {
        refused(&token("ci-nobody"), path);
    }
    let hosts = ["ci-nobody", "ci-team"].map(|client| dev.api.get_as(&token(client), "/readyz").json()["host"].clone());
    assert!(hosts[0] == "" && hosts[1] != "", "{hosts:?}");
    refused(&token("ci-stock"), "/v1/teams/shop/transforms");
    refused(&token("ci-team"), "/v1/topics");
    assert_eq!(dev.api.get_as(&token("ci-stock"), "/v1/teams/stock/transforms").status, 200);

    // A change is its holder's in the audit topic.
    let admin = token("ci-admin");
    let bearer = format!("Bearer {admin}");
    let made = dev.api.try_send(
        "PUT",
        "/v1/topics/in",
        &[("authorization", bearer.as_str()), ("sandbar-request", "1")],
        &json!({}),
    );
    made.expect("an answer").success();
    let audit = dev.api.get_as(&admin, "/v1/audit?from=0").success().json();
    let entries = audit["entries"].as_array().expect("entries");
    let entry = entries.iter().find(|entry| entry["action"] == "create-topic").unwrap_or_else(|| panic!("{audit}"));
    assert!(entry.to_string().contains(&format!("{issuer}#ci-admin")), "{entry}");
    assert!(!audit.to_string().contains(&admin), "{audit}");
    assert!(!std::fs::read_to_string(dev.folder.join("log")).expect("a log").contains(&admin[..60]));
    assert!(dev.metric(&admin, "sandbar_oidc_keys ") == 2.0);
    assert!((0.0..300.0).contains(&dev.metric(&admin, "sandbar_oidc_keys_age_seconds ")));
}

#[test]
fn every_other_token_is_refused() {
    let provider = OidcProvider::start();
    let dev = Dev::start(&provider, &["--oidc-refresh-interval", "1h", "--oidc-refetch-interval", "1h"]);
    let valid = provider.token("ci-stock", AUDIENCE);
    dev.wait(&valid, 200);
    let check = |token: &str, reason: &str| {
        let answer = dev.whoami(token);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("E075")), "{answer:?}");
        assert!(answer.body.contains(reason) && !answer.body.contains("ci-stock"), "{reason}: {}", answer.body);
    };
    check(&provider.token("ci-stock", "urn:other"), "not meant for this host");
    check(provider.person("anna")["id_token"].as_str().expect("a token"), "not meant for this host");
    check(&provider.token("ci-stock", "urn:sandbar:long"), "valid for too long");
    // Another provider, and one with the same keys.
    check(&OidcProvider::start().token("ci-stock", AUDIENCE), "a key that the provider does not have");
    check(&provider.twin().token("ci-stock", AUDIENCE), "another issuer");
    for (kind, reason) in [
        ("none", "not signed with one of the algorithms"),
        ("none-with-signature", "not signed with one of the algorithms"),
        ("hs256", "not signed with one of the algorithms"),
        ("path-kid", "a key that the provider does not have"),
        ("unknown-kid", "a key that the provider does not have"),
        ("own-key", "signature"),
        ("own-jwk", "signature"),
        ("own-jku", "signature"),
        ("other-claims", "signature"),
        ("crit", "crit"),
        ("cut-off", "JWT"),
    ] {
        check(&provider.forged(kind, &valid), reason);
    }
    check("eyJhbGciOiJSUzI1NiJ9.e30", "three parts");
    check(&format!("eyJ{}.e30.AA", "A".repeat(20_000)), "too long");
    check("sbr_0123456789", "not one of Sandbar's");
    // Keys that nobody has do not make the host ask the provider each time.
    for _ in 0..50 {
        check(&provider.forged("unknown-kid", &valid), "a key that the provider does not have");
    }
    assert_eq!(provider.count("keys"), 2, "once at the start, and once for all unknown keys");
    dev.wait(&valid, 200);
    let admin = provider.token("ci-admin", AUDIENCE);
    for reason in ["algorithm", "unknown-key", "signature", "issuer", "audience", "claim", "malformed"] {
        assert!(dev.metric(&admin, &format!("sandbar_sign_in_failures_total{{reason=\"{reason}\"}} ")) >= 1.0, "{reason}");
    }
}

#[test]
fn keys_end_to_count_when_the_provider_takes_them_back_or_is_away() {
    let mut provider = OidcProvider::new();
    let fast = ["--oidc-refresh-interval", "2s", "--oidc-refetch-interval", "1s", "--oidc-keys-age-max", "25s"];
    let dev = Dev::start(&provider, &fast);
    // A host starts without its provider.
    let unknown = dev.whoami("eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.e30.AA");
    assert_eq!((unknown.status, unknown.json()["code"].as_str()), (503, Some("E082")), "{unknown:?}");
    provider.run();
    let first = provider.token("ci-admin", AUDIENCE);
    dev.wait(&first, 200);

    provider.rotate();
    let second = provider.token("ci-admin", AUDIENCE);
    dev.wait(&second, 200);
    let refused = dev.wait(&first, 401);
    assert!(refused.body.contains("a key that the provider does not have"), "{}", refused.body);

    // Without its provider the host goes on for a while, and no longer.
    provider.stop();
    let failed =
        wait::until("a fetch fails", wait::PATIENCE, || match dev.metric(&second, "sandbar_oidc_fetch_failures_total ") {
            0.0 => Err("none has failed".to_owned()),
            failed => Ok(failed),
        });
    assert!(failed >= 1.0 && dev.whoami(&second).status == 200);
    let away = dev.wait(&second, 503);
    assert_eq!(away.json()["code"], "E082");
    provider.run();
    dev.wait(&second, 200);
}

#[test]
fn open_streams_end_with_the_token_with_its_key_and_with_its_roles() {
    let mut provider = OidcProvider::start();
    let dev = Dev::start(&provider, &["--oidc-refresh-interval", "2s", "--oidc-clock-skew", "0s"]);
    let admin = provider.token("ci-admin", AUDIENCE);
    dev.wait(&admin, 200);
    let bearer = format!("Bearer {admin}");
    let headers = [("authorization", bearer.as_str()), ("sandbar-request", "1")];
    for topic in ["in", "out"] {
        let made = dev.api.try_send("PUT", &format!("/v1/topics/{topic}"), &headers, &json!({}));
        made.expect("an answer").success();
    }
    std::fs::write(dev.cli.folder.join("echo.wasm"), guests::fixture()).expect("written");
    let spec = "team: stock\nname: echo\ninputs: [in]\noutputs: {out: out}\nconfig: {mode: echo}\nmodule: echo.wasm\n";
    std::fs::write(dev.cli.folder.join("transform.yaml"), spec).expect("written");
    let as_holder = |words: &str, token: &str| {
        let mut command = dev.cli.command(words);
        command.env("SANDBAR_TOKEN", token);
        command
    };
    let deployed = Cli::ended(&mut as_holder("deploy", &admin));
    assert_eq!(deployed.code, Some(0), "{deployed:?}");

    let stream = |token: &str| dev.api.stream_as(token, "/v1/teams/stock/transforms/echo/logs?follow");
    let ends = |mut stream: Box<dyn Read>| stream.read_to_end(&mut Vec::new()).expect("the host ends the stream");
    ends(Box::new(stream(&provider.token("ci-stock", "urn:sandbar:short"))));

    let by_role = Box::new(stream(&provider.token("ci-stock", AUDIENCE)));
    let changed = roles().replace("stock-devs", "other-devs").replace("ci-stock", "other-stock");
    std::fs::write(dev.folder.join("roles.yaml"), changed).expect("written");
    ends(by_role);

    let by_key = Box::new(stream(&admin));
    provider.rotate();
    ends(by_key);
    assert_eq!(dev.whoami(&admin).status, 401);
}

#[test]
fn a_person_signs_in_with_the_command_line() {
    let provider = OidcProvider::start();
    // Each command finds a token that expires soon, and renews it.
    let dev = Dev::start(&provider, &["--oidc-resource", "urn:sandbar:short", "--oidc-scopes", "openid offline_access"]);
    dev.wait(&provider.token("ci-stock", AUDIENCE), 200);
    let unprotected = dev.cli.run("login --oidc --url http://sandbar.example:1");
    assert!(unprotected.code == Some(2) && unprotected.err.contains("E074"), "{unprotected:?}");
    let running = dev.cli.start("login --oidc");
    approve(&provider, || running.text());
    wait::until("the person is signed in", wait::PATIENCE, || {
        let text = running.text();
        if text.contains("knows you as") { Ok(()) } else { Err(text) }
    });
    let shown = running.text();
    assert!(shown.contains("anna@shop.example (stock:data stock:deploy)") && !shown.contains("eyJ"), "{shown}");
    let file = dev.cli.folder.join("config/sandbar/config.toml");
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);

    // The context goes before the host of the environment, which has no token.
    let of_context = |words: &str| dev.cli.run(&format!("{words} --context default"));
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let ran = of_context("whoami");
        assert!(ran.code == Some(0) && ran.out.contains("stock:data stock:deploy"), "{ran:?}");
        tokens.push(std::fs::read_to_string(&file).expect("there"));
    }
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2], "the token is not renewed");
    let ran = of_context("teams nonsense");
    assert!(!format!("{ran:?}").contains("eyJ"), "{ran:?}");

    // A token of the environment needs no login.
    let ci = Cli::ended(dev.cli.command("whoami").env("SANDBAR_TOKEN", provider.token("ci-team", AUDIENCE)));
    assert!(ci.code == Some(0) && ci.out.contains("shop:view"), "{ci:?}");

    // The host of the environment is that of the context, whose sign-in ends.
    let out = dev.cli.run("logout");
    assert_eq!((out.code, provider.count("revoked")), (Some(0), 1), "{out:?}");
    let kept = std::fs::read_to_string(&file).expect("there");
    assert!(!kept.contains("eyJ") && !kept.contains("refresh"), "{kept}");
    let refused = of_context("whoami");
    assert!(refused.code == Some(1) && refused.err.contains("E075"), "{refused:?}");
}

#[test]
fn a_host_does_not_start_with_half_of_the_options() {
    let folder = dirs::fresh("half");
    std::fs::write(folder.join("roles.yaml"), "groups: {a: [\"stock:emperor\"]}").expect("written");
    let check = |options: &[&str], reason: &str| {
        let mut command = Command::new(dirs::sandbar());
        command.args(["dev", "--listen", "127.0.0.1:0", "--data-dir", "data", "--auth", "required"]).current_dir(&folder);
        let ran = Cli::ended(command.args(options));
        assert!(ran.code != Some(0) && ran.err.contains("E083") && ran.err.contains(reason), "{ran:?}");
    };
    check(&["--oidc-audience", "a"], "--oidc-issuer");
    check(&["--oidc-issuer", "http://login.example", "--oidc-audience", "a", "--oidc-roles", "roles.yaml"], "https");
    check(&["--oidc-issuer", "https://login.example", "--oidc-roles", "roles.yaml"], "--oidc-audience");
    check(&["--oidc-issuer", "https://login.example", "--oidc-audience", "a"], "--oidc-roles");
    let whole = ["--oidc-issuer", "https://login.example", "--oidc-audience", "a", "--oidc-roles", "roles.yaml"];
    check(&whole, "emperor");
    check(&[&whole[..], &["--oidc-keys-age-max", "9min"]].concat(), "at least twice --oidc-refresh-interval");
}

#[test]
fn the_commands_of_the_pages_sign_in() {
    let kafka = KafkaCluster::shared();
    let provider = OidcProvider::start();
    let port = ports::free_port();
    let mut shell = PageShell::new("tests/e2e/oidc.rs", Vec::new());
    shell.name("localhost:9092", kafka.brokers());
    shell.name("--cluster shop", "--cluster oidc");
    shell.name("https://login.example", &provider.issuer());
    shell.set("SANDBAR_LISTEN", &format!("127.0.0.1:{port}"));
    shell.set("SANDBAR_DATA_DIR", &shell.path("data"));
    shell.write("roles.yaml", roles());
    let host = shell.start("oidc-host");
    let address = ([127, 0, 0, 1], port).into();
    let admin = provider.token("ci-admin", AUDIENCE);
    let api = Api::new(address);
    wait::until("the host is ready", wait::PATIENCE, || match api.try_get("/readyz")?.status {
        200 => Ok(()),
        status => Err(format!("{status}: {}", host.text())),
    });
    // The environment of a test, other than a person's, would hide the token of the context.
    let context = Cli::ended(&mut shell.command("", &format!("sandbar context set default --url http://127.0.0.1:{port}")));
    assert_eq!(context.code, Some(0), "{context:?}");

    let login = shell.start("oidc-login");
    approve(&provider, || login.text());
    let shown = login.ends();
    assert!(shown.contains("stock:data stock:deploy") && !shown.contains("eyJ"), "{shown}");

    let cli = Cli::at("oidc-admin", address).signed_in(&admin);
    shell.write("ci.token", cli.succeeds("token create --team stock --role admin --name ci"));
    cli.succeeds("token create --team stock --role view --name revoked");
    let tokens = cli.json("token list");
    let revoked = tokens["tokens"].as_array().and_then(|all| all.iter().find(|token| token["name"] == "revoked"));
    let revoked = revoked.and_then(|token| token["id"].as_str()).unwrap_or_else(|| panic!("{tokens}"));
    shell.name("5d2c41f0a97be386", revoked);
    let login = shell.start("cli-login");
    approve(&provider, || login.text());
    login.ends();
    assert_eq!(provider.count("revoked"), 1);
    let left = cli.json("token list");
    assert!(!left.to_string().contains(revoked), "{left}");
    shell.end();
}
