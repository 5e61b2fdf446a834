//! The command line, as the real binary: against a real `sandbar dev`, and against a server with given replies, which a
//! real host does not give at will.

use std::os::unix::ffi::OsStrExt;

use super::canned::{CannedHost, Reply};
use super::command::{Cli, Dev, RunResult, sandbar, unread};
use serde_json::{Value, json};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn problem(status: u16, route: &str, code: &str) -> Reply {
    let body = json!({ "type": format!("/errors/{code}"), "title": "title", "status": status, "detail": "what happened",
        "code": code, "hint": "what to do" });
    Reply::new(status, route, body)
}

/// The component of `tests/guests/fixture`.
fn fixture() -> std::path::PathBuf {
    let built = || concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests").into();
    let file = std::env::var_os("SANDBAR_GUESTS_DIR").map_or_else(built, std::path::PathBuf::from);
    let file = file.join("guest_fixture.wasm");
    assert!(file.exists(), "{} is not there: run `make guests`", file.display());
    file
}

#[test]
fn without_a_host_it_says_which_url_and_how_to_name_another() {
    let folder = folder();
    let cli = Cli { folder: folder.path(), url: "http://127.0.0.1:1" };
    for words in
        ["list", "hosts", "status a/x", "describe a/x", "pause a/x", "resume a/x", "restart a/x", "delete a/x --yes"]
    {
        cli.fails(words, 1, &["error: no host answers at http://127.0.0.1:1", "hint:", "--url", "SANDBAR_URL"]);
    }
    for (words, part) in [
        ("list --url localhost:8080", "is not the URL of a host"),
        ("list -u ftp://a", "is not the URL of a host"),
        ("status noslash", "must be team/name"),
        ("status", "give TEAM/NAME"),
        ("delete a/x", "give --yes"),
        ("list --context nowhere", "there is no context \"nowhere\""),
    ] {
        cli.fails(words, 2, &[part]);
    }
}

#[test]
fn a_verb_that_nobody_listens_to_ends_with_its_own_exit_code() {
    let folder = folder();
    for (verb, code) in [
        ("list", 1),
        ("deploy", 2),
        ("status noslash", 2),
        ("run nowhere.wasm", 2),
        ("dev --config nowhere.toml", 2),
        ("serve --config nowhere.toml", 2),
    ] {
        let mut command = sandbar(folder.path());
        command.args(verb.split(' ')).env("SANDBAR_URL", "http://127.0.0.1:1").stderr(unread());
        assert_eq!(command.status().expect("it starts").code(), Some(code), "{verb}");
    }
}

#[test]
fn a_host_that_nobody_listens_to_runs() {
    let folder = folder();
    let dev = Dev::start_telling(folder.path(), &["--log", "debug"], unread());
    Cli { folder: folder.path(), url: &dev.url }.succeeds("hosts");
}

#[test]
fn a_refusal_is_shown_with_code_and_hint() {
    let folder = folder();
    let odd = Reply { route: "GET /v1/hosts".into(), status: 200, body: "<html>".into() };
    let server = CannedHost::start([problem(404, "GET /v1/teams/a/transforms/x/status", "E999"), odd]);
    let cli = Cli { folder: folder.path(), url: &server.url };
    cli.fails("status a/x", 1, &["error[E999]: what happened\nhint: what to do"]);
    cli.fails("hosts", 1, &["does not answer as a host does"]);
}

#[test]
fn a_change_whose_connection_breaks_is_sent_again_with_the_same_key() {
    let folder = folder();
    let route = "POST /v1/teams/a/transforms/x/pause";
    let server = CannedHost::start([Reply::broken(route), Reply::broken(route), Reply::new(202, route, json!({}))]);
    let cli = Cli { folder: folder.path(), url: &server.url };
    cli.succeeds("pause a/x");
    let keys: Vec<_> = server.seen().iter().map(|request| request.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0].as_ref().is_some_and(|key| key.len() == 32) && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    cli.succeeds("pause a/x");
    assert_ne!(server.seen()[3].header("idempotency-key"), keys[0].as_deref());
}

#[test]
fn a_request_that_a_host_does_not_know_again_is_sent_once() {
    let folder = folder();
    for (words, route, hint) in [
        (
            "token create --team a --role view --name ci",
            "POST /v1/tokens".to_owned(),
            "hint: look with `sandbar token list`",
        ),
        ("offsets set a/x --to 1h-ago", format!("PATCH {X}/offsets"), "hint: look with `sandbar offsets get a/x`"),
        ("offsets reset a/x", format!("DELETE {X}/offsets"), "hint: look with `sandbar offsets get a/x`"),
    ] {
        let server = CannedHost::start([Reply::broken(&route)]);
        let cli = Cli { folder: folder.path(), url: &server.url };
        cli.fails(words, 1, &["error: the connection to ", hint]);
        assert_eq!(server.seen().len(), 1, "{words}");
    }
}

#[test]
fn a_token_that_a_broken_request_has_revoked_is_no_error() {
    let folder = folder();
    let id = "0123456789abcdef";
    let route = format!("DELETE /v1/tokens/{id}");
    let revoke = format!("token revoke {id}");
    let missing = || problem(404, &route, "E079");
    let broken = || Reply::broken(&route);
    let done = || Reply::new(204, &route, json!({}));
    for (replies, expected) in [
        (vec![done()], Some(" is revoked\n")),
        (vec![broken(), broken(), done()], Some(" is revoked\n")),
        (vec![broken(), missing()], Some("a request whose connection broke has revoked it, unless the id is wrong\n")),
        (vec![missing()], None),
        (vec![broken(), problem(403, &route, "E076")], None),
    ] {
        let server = CannedHost::start(replies);
        let cli = Cli { folder: folder.path(), url: &server.url };
        match expected {
            Some(text) => {
                let out = cli.succeeds(&revoke);
                assert!(out.contains(id) && out.ends_with(text), "{out}");
            }
            None => cli.fails(&revoke, 1, &["error[E07"]),
        }
    }
}

#[test]
fn every_request_says_that_no_page_sent_it() {
    let folder = folder();
    let server = CannedHost::start([Reply::new(202, "POST /v1/teams/a/transforms/x/pause", json!({}))]);
    let cli = Cli { folder: folder.path(), url: &server.url };
    for command in ["pause a/x", "resume a/x", "list", "logs a/x", "tail a/x", "offsets get a/x", "delete a/x --yes"] {
        let _ = cli.run(command);
    }
    assert_eq!(server.seen().len(), 7);
    for request in server.seen() {
        assert_eq!(request.header("sandbar-request"), Some("1"), "{}", request.route);
    }
}

#[test]
fn a_host_that_may_open_too_few_files_does_not_start() {
    let folder = folder();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -S -n 256 && ulimit -H -n 600 && exec \"$0\" dev --listen 127.0.0.1:0 --data-dir data"]);
    let ran = command.arg(env!("CARGO_BIN_EXE_sandbar")).current_dir(folder.path()).output().expect("a shell");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && told.contains("600 files") && told.contains("--connections-max"), "{told}");
}

#[test]
fn contexts_name_clusters() {
    let folder = folder();
    let hosts = Reply::new(200, "GET /v1/hosts", json!({ "hosts": [] }));
    let one = CannedHost::start([hosts.clone()]);
    let two = CannedHost::start([hosts]);
    let run = |words: &str| RunResult::of(sandbar(folder.path()).args(words.split(' ')));
    let done = |words: &str| assert_eq!(run(words).code, 0, "{words}: {:?}", run(words));
    done(&format!("context set one --url {}", one.url));
    done(&format!("context set two --url {}", two.url));
    done("hosts");
    assert_eq!((one.seen().len(), two.seen().len()), (1, 0), "the first is the current one");
    done("hosts --context two");
    done("context use two");
    done("hosts");
    assert_eq!((one.seen().len(), two.seen().len()), (1, 2));
    let list = run("context list").out;
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["CURRENT", "NAME", "URL"], vec!["one", &one.url], vec!["*", "two", &two.url]]);
    done("context delete two");
    for (words, part) in [("context use two", "there are one"), ("context set bad --url ftp://x", "is not the URL")] {
        let ran = run(words);
        assert!(ran.code == 2 && ran.err.contains(part), "{words}: {ran:?}");
    }
}

#[test]
fn contexts_are_shown_as_json() {
    let folder = folder();
    let cli = Cli { folder: folder.path(), url: "" };
    let context = |name: &str, current: bool| json!({ "name": name, "url": "http://h:1", "current": current });
    for (words, contexts) in [
        ("list", json!([])),
        ("set one --url http://h:1", json!([context("one", true)])),
        ("set two --url http://h:1", json!([context("one", true), context("two", false)])),
        ("use two", json!([context("one", false), context("two", true)])),
        ("list", json!([context("one", false), context("two", true)])),
        ("delete two", json!([context("one", false)])),
    ] {
        assert_eq!(cli.json(&format!("context {words}")), json!({ "contexts": contexts }), "{words}");
    }
}

/// A folder with a transform of the fixture.
fn fixture_folder() -> tempfile::TempDir {
    let folder = folder();
    std::fs::copy(fixture(), folder.path().join("module.wasm")).expect("copied");
    write_spec(&folder, "echo");
    folder
}

fn write_spec(folder: &tempfile::TempDir, mode: &str) {
    let spec = format!(
        "team: shop\nname: echo\nmodule: module.wasm\ninputs: [shop.orders]\noutputs: {{ out: shop.out }}\nconfig: {{ mode: {mode} }}\n"
    );
    std::fs::write(folder.path().join("transform.yaml"), spec).expect("writable");
}

#[test]
fn a_transform_lives_from_deploy_to_delete() {
    let folder = fixture_folder();
    let dev = Dev::start(folder.path());
    let cli = Cli { folder: folder.path(), url: &dev.url };
    cli.fails("deploy", 1, &["error[E021]: ", "shop.orders", "hint: "]);
    dev.create_topics(&["shop.orders", "shop.out"]);

    let tried = cli.succeeds("deploy --dry-run");
    assert!(tried.contains("shop/echo: would be created, revision 1"), "{tried}");
    assert!(tried.contains("topic shop.echo.dead-letter would be created"), "{tried}");
    cli.fails("status", 1, &["error[E023]: there is no transform shop/echo"]);

    let deployed = cli.run("deploy");
    assert!(deployed.code == 0 && deployed.out.ends_with("shop/echo runs revision 1\n"), "{deployed:?}");
    assert!(deployed.err.contains("shop/echo: revision 1 is complete"), "{deployed:?}");
    assert!(cli.succeeds("deploy").contains("shop/echo: unchanged, revision 1"));
    write_spec(&folder, "filter-odd");
    cli.fails("deploy --if-revision 7", 1, &["error[E008]: ", "hint: "]);
    assert_eq!(cli.json("deploy --if-revision 1")["rollout"]["state"], "complete", "the last answer is the status");

    let listed = cli.succeeds("list shop");
    let row: Vec<&str> = listed.lines().nth(1).expect("one row").split_whitespace().collect();
    assert_eq!(row[..5], ["shop/echo", "2", "2", "complete", "running"], "{listed}");
    assert_eq!(cli.json("list")["transforms"][0]["name"], "echo");
    let described = cli.succeeds("describe");
    assert!(described.contains("revision:   2\nruns:       2\nrollout:    complete\n"), "{described}");
    assert!(described.contains("revision:   2\n") && described.contains("    mode: filter-odd\n"), "{described}");
    assert_eq!(cli.json("describe shop/echo")["spec"]["config"]["mode"], "filter-odd");
    let status = cli.succeeds("status shop/echo");
    assert!(status.contains("rollout:    revision 2 complete\n") && status.contains("TOPIC"), "{status}");
    let hosts = cli.json("hosts");
    assert!(cli.succeeds("hosts").contains(hosts["hosts"][0]["host"].as_str().expect("a name")));

    for (verb, desired) in [("pause", "paused"), ("resume", "running"), ("restart", "running")] {
        assert!(cli.succeeds(verb).starts_with("shop/echo "), "{verb}");
        assert_eq!(cli.json("status")["desired"], desired, "{verb}");
    }
    cli.fails("delete", 2, &["--yes"]);
    assert!(cli.succeeds("delete --yes").contains("shop/echo is deleted"));
    cli.fails("describe", 1, &["error[E023]: "]);
}

#[test]
fn several_specs_in_one_file_are_deployed_in_order() {
    let folder = fixture_folder();
    let dev = Dev::start(folder.path());
    dev.create_topics(&["shop.orders", "shop.out", "shop.end"]);
    let spec = |name: &str, from: &str, to: &str| {
        format!(
            "team: shop\nname: {name}\nmodule: module.wasm\ninputs: [{from}]\noutputs: {{ out: {to} }}\nconfig: {{ mode: echo }}\n"
        )
    };
    let both = spec("one", "shop.orders", "shop.out") + "---\n" + &spec("two", "shop.out", "shop.end");
    std::fs::write(folder.path().join("both.yaml"), both).expect("writable");
    let cli = Cli { folder: folder.path(), url: &dev.url };
    let out = cli.succeeds("deploy -f both.yaml");
    let running: Vec<&str> = out.lines().filter(|line| line.contains(" runs ")).collect();
    assert_eq!(running, ["shop/one runs revision 1", "shop/two runs revision 1"], "{out}");
    cli.fails("deploy -f both.yaml --if-revision 1", 2, &["has 2 specs"]);
}

#[test]
fn errors_in_the_folder_are_shown_before_the_first_request() {
    let folder = fixture_folder();
    let cli = Cli { folder: folder.path(), url: "http://127.0.0.1:1" };
    let write = |text: &str| std::fs::write(folder.path().join("bad.yaml"), text).expect("writable");
    cli.fails("deploy -f nowhere.yaml", 2, &["nowhere.yaml: ", "hint: -f names"]);
    cli.fails("deploy --module nowhere.wasm", 2, &["nowhere.wasm: ", "hint: `sandbar build`"]);
    for (text, part) in [
        ("team: [", "bad.yaml: "),
        ("team: shop\nname: x\ninputz: []\n", "unknown field `inputz`"),
        ("team: shop\nname: x\nlimits: { memory: lots }\n", "is not a size"),
        ("name: x\n", "team: is missing"),
        ("team: shop\nname: x\nmodule: gone.wasm\n", "gone.wasm: "),
    ] {
        write(text);
        cli.fails("deploy -f bad.yaml", 2, &[part]);
    }
    cli.fails("deploy", 1, &["no host answers"]);
}

// In the tests below, a server of the test's own gives the replies of the API's contract.

const X: &str = "/v1/teams/a/transforms/x";

fn transform(revision: u64, keep: u64) -> Value {
    json!({ "team": "a", "name": "x", "revision": revision, "module": format!("sha256:{keep:064}"), "desired": "running",
        "spec": { "inputs": ["t"], "config": { "keep": keep } }, "changed_at": "2026-01-01T00:00:00Z", "outcome": "updated",
        "dry_run": false, "creates": [] })
}

fn rollout(revision: u64, state: &str, error: Value) -> Reply {
    let status = json!({ "team": "a", "name": "x", "revision": revision, "desired": "running", "state": "running", "lag": null,
        "rollout": { "revision": revision, "state": state, "error": error }, "hosts": [] });
    Reply::new(200, &format!("GET {X}/status"), status)
}

#[test]
fn a_rollout_ends_as_the_host_says() {
    let error = json!({ "code": "E102", "message": "the guest panicked", "offset": 17, "at": 0 });
    let waiting = || rollout(4, "in-progress", Value::Null);
    let broken = || Reply::broken(&format!("GET {X}/status"));
    let starting = || problem(503, &format!("GET {X}/status"), "E201");
    for (case, replies, words, code, out, err) in [
        (
            "complete",
            vec![
                rollout(3, "complete", Value::Null),
                waiting(),
                broken(),
                starting(),
                starting(),
                rollout(4, "complete", Value::Null),
            ],
            "",
            0,
            "a/x runs revision 4\n",
            "a/x: revision 4 is in-progress",
        ),
        (
            "failed",
            vec![waiting(), rollout(4, "failed", error)],
            "",
            1,
            "",
            "error[E102]: revision 4 of a/x failed: the guest panicked (at offset 17)\nhint: http://",
        ),
        ("not back", vec![starting()], " --timeout 500ms", 3, "", "after 500ms: error[E201]: what happened"),
        ("late", vec![waiting()], " --timeout 300ms", 3, "", "does not run everywhere after 300ms"),
        ("overtaken", vec![rollout(5, "complete", Value::Null)], "", 1, "", "was replaced by 5"),
        ("gone", vec![problem(404, &format!("GET {X}/status"), "E023")], "", 1, "", "error[E023]: "),
        ("not waited for", vec![], " --no-wait", 0, "a/x: back to revision 2, as revision 4\n", ""),
    ] {
        let accepted = Reply::new(202, &format!("POST {X}/rollback"), transform(4, 2));
        let folder = folder();
        let server = CannedHost::start([vec![accepted], replies].concat());
        let cli = Cli { folder: folder.path(), url: &server.url };
        let ran = cli.run(&format!("rollback a/x --to 2{words}"));
        assert_eq!(ran.code, code, "{case}: {ran:?}");
        assert!(ran.out.ends_with(out) && ran.err.contains(err), "{case}: {ran:?}");
        assert_eq!(server.seen()[0].body, r#"{"revision":2}"#, "{case}");
    }
}

#[test]
fn a_paused_transform_is_not_said_to_run() {
    let mut status: Value = serde_json::from_str(&rollout(4, "complete", Value::Null).body).expect("JSON");
    (status["desired"], status["state"]) = (json!("paused"), json!("paused"));
    let server = CannedHost::start([
        Reply::new(202, &format!("POST {X}/rollback"), transform(4, 2)),
        Reply::new(202, &format!("PUT {X}"), transform(4, 2)),
        Reply::new(200, &format!("GET {X}/status"), status),
    ]);
    let folder = folder();
    std::fs::write(folder.path().join("transform.yaml"), "team: a\nname: x\ninputs: [t]\n").expect("writable");
    let cli = Cli { folder: folder.path(), url: &server.url };
    for words in ["rollback --to 2", "deploy"] {
        let out = cli.succeeds(words);
        assert!(!out.contains("runs revision"), "{words}: {out}");
        assert!(
            out.ends_with("a/x is accepted as revision 4, but is paused: `sandbar resume a/x` starts it\n"),
            "{words}: {out}"
        );
    }
}

#[test]
fn a_followed_stream_goes_on_when_its_host_is_back() {
    let line = r#"{"offset":1,"at":0,"host":"h","revision":2,"level":"info","message":"hello"}"#;
    let sample = r#"{"at":0,"host":"h","revision":2,"topic":"t","partition":0,"offset":1,"input":{},"outputs":[]}"#;
    for (words, query, event) in [
        ("logs a/x -f", "logs?follow=true&since=1h&limit=1000&level=debug", line),
        ("tail a/x -f", "tail?follow=true", sample),
    ] {
        let route = format!("GET {X}/{query}");
        let starting = || problem(503, &route, "E201");
        let events = Reply { status: 200, route: route.clone(), body: format!("id: 1\ndata: {event}\n\n") };
        let gone = problem(404, &route, "E023");
        let server = CannedHost::start([starting(), events.clone(), starting(), starting(), events, gone]);
        let folder = folder();
        let ran = Cli { folder: folder.path(), url: &server.url }.run(&format!("{words} -o json"));
        assert_eq!(ran.out, format!("{event}\n{event}\n"), "{words}: {ran:?}");
        assert!(ran.err.starts_with("trying again: error[E201]: ") && ran.err.contains("error[E023]: "), "{ran:?}");
        let ids: Vec<_> = server.seen().iter().map(|seen| seen.header("last-event-id").map(str::to_owned)).collect();
        assert_eq!(ids, [None, None, Some("1"), Some("1"), Some("1"), Some("1")].map(|id| id.map(str::to_owned)), "{words}");
    }
}

#[test]
fn a_search_that_took_too_long_is_not_repeated() {
    let route = format!("GET {X}/logs?follow=true&since=1h&limit=1000&level=debug");
    let folder = folder();
    let server = CannedHost::start([problem(503, &route, "E043")]);
    Cli { folder: folder.path(), url: &server.url }.fails("logs a/x -f", 1, &["error[E043]: "]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn history_is_listed_and_compared() {
    let at = "2026-01-01T00:00:00Z";
    let list = json!({ "revisions": [
        { "revision": 3, "module": "sha256:01234567890123", "changed_at": at, "cause": "rollback", "rolled_back_to": 1, "changed_by": "anna", "current": true, "running": false },
        { "revision": 2, "module": "sha256:2", "changed_at": at, "cause": "deploy", "current": false, "running": true },
        // As hosts of earlier versions answer.
        { "revision": 1, "module": "sha256:1", "changed_at": at, "cause": "deploy", "current": false }] });
    let server = CannedHost::start([
        Reply::new(200, &format!("GET {X}/revisions"), list.clone()),
        Reply::new(200, &format!("GET {X}/revisions/1"), transform(1, 1)),
        Reply::new(200, &format!("GET {X}/revisions/2"), transform(2, 2)),
        Reply::new(200, &format!("GET {X}/revisions/3"), transform(3, 1)),
        Reply::new(200, &format!("GET {X}"), transform(3, 1)),
        problem(404, &format!("GET {X}/revisions/9"), "E034"),
    ]);
    let folder = folder();
    let cli = Cli { folder: folder.path(), url: &server.url };
    let text = cli.succeeds("revisions a/x");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["3", "*", "012345678901", at, "anna", "rollback", "to", "1"], "{text}");
    assert_eq!(rows[2], ["2", "*", "2", at, "-", "deploy"], "{text}");
    assert_eq!(rows[3], ["1", "-", "1", at, "-", "deploy"], "{text}");
    assert_eq!(cli.json("revisions a/x"), list);
    for (words, code, part) in [
        ("diff a/x", 1, "-  keep: 2\n+  keep: 1\n"),
        ("diff a/x 1 2", 1, "+++ a/x revision 2"),
        ("diff a/x 2", 1, "+++ a/x revision 3"),
        ("diff a/x 1 3", 0, ""),
        ("diff a/x 1 3 -o json", 0, "\"revision\":3"),
    ] {
        let ran = cli.run(words);
        assert!(ran.code == code && ran.out.contains(part), "{words}: {ran:?}");
    }
    cli.fails("diff a/x 1 9", 1, &["error[E034]: "]);
    cli.fails("diff a/x one", 2, &["is not a revision"]);
}

#[test]
fn offsets_are_shown_and_set() {
    let changes = |records: i64| {
        json!({ "dry_run": false, "records": records,
            "offsets": [{ "topic": "t", "partition": 0, "from": 17, "to": 3, "records": records }] })
    };
    let offset = json!({ "topic": "t", "partition": 0, "offset": 17, "end_offset": 40, "lag": 23, "metadata": "" });
    let set = format!("PATCH {X}/offsets");
    let tried = format!("PATCH {X}/offsets?dry_run=true");
    let server = CannedHost::start([
        Reply::new(200, &format!("GET {X}/offsets"), json!({ "offsets": [offset] })),
        Reply::new(200, &set, changes(14)),
        Reply::new(200, &tried, changes(-1)),
        Reply::new(200, &format!("DELETE {X}/offsets"), changes(14)),
    ]);
    let folder = folder();
    let cli = Cli { folder: folder.path(), url: &server.url };
    for (words, part) in [("get", "t      0          17      40   23\n"), ("reset", "14 records will be processed again\n")]
    {
        let out = cli.succeeds(&format!("offsets {words} a/x"));
        assert!(out.contains(part), "{words}: {out}");
    }
    for (words, route, body) in [
        ("--to earliest", &set, json!({ "to": "earliest" })),
        ("--to 1h-ago --dry-run", &tried, json!({ "to": { "ago": "1h" } })),
        ("--to 2026-01-01T00:00:00Z", &set, json!({ "to": { "timestamp": "2026-01-01T00:00:00Z" } })),
        ("--offset t:0:3", &set, json!({ "offsets": [{ "topic": "t", "partition": 0, "offset": 3 }] })),
    ] {
        let out = cli.succeeds(&format!("offsets set a/x {words}"));
        let dry = route.contains("dry_run");
        assert!(
            out.ends_with(if dry { "1 record will be skipped\n" } else { "14 records will be processed again\n" }),
            "{out}"
        );
        let seen = server.seen().pop().expect("a request");
        assert_eq!((&seen.route, serde_json::from_str::<Value>(&seen.body).expect("JSON")), (route, body), "{words}");
    }
    for words in ["set a/x", "set a/x --to soon", "set a/x --offset t:0", "set a/x --to latest --offset t:0:1"] {
        cli.fails(&format!("offsets {words}"), 2, &["error: "]);
    }
}

#[test]
fn a_candidate_is_tried_on_records() {
    let route = format!("POST {X}/test");
    let outcome = |failures: Value| {
        let output = json!({ "input": 0, "target": "orders", "topic": "o", "key": "k", "value": { "a": 1 }, "headers": [] });
        json!({ "outputs": [output], "failures": failures, "records": [{ "micros": 7, "memory_bytes": 1500 }], "memory_bytes": 1500, "micros_total": 7 })
    };
    let failure = json!([{ "input": 0, "code": "E101", "message": "no number" }]);
    let server = CannedHost::start([
        Reply::new(200, &route, outcome(failure)),
        Reply::new(200, &route, outcome(json!([]))),
        Reply::new(200, &route, outcome(json!([]))),
    ]);
    let folder = fixture_folder();
    std::fs::write(folder.path().join("in.ndjson"), "{\"value\":1}\n").expect("writable");
    let cli = Cli { folder: folder.path(), url: &server.url };
    let ran = cli.run("test a/x --records in.ndjson");
    assert!(ran.code == 1 && ran.out.contains("  failed: E101: no number\n1 record, 1 output, 1 failed"), "{ran:?}");
    let out = cli.succeeds("test a/x --live 20 --spec transform.yaml");
    assert!(out.contains("record 0: 7 us, 2 KiB\n  -> orders (o): k = {\"a\":1}\n"), "{out}");
    cli.succeeds("test a/x --module module.wasm");
    cli.succeeds("test a/x --live");
    cli.succeeds("test --live 25 a/x");
    let names = |body: &str| -> Vec<String> {
        body.split(" name=\"").skip(1).filter_map(|rest| rest.split('"').next().map(str::to_owned)).collect()
    };
    let seen = server.seen();
    assert!(seen[0].body.contains("\r\n\r\n{\"value\":1}\n\r\n"), "{}", seen[0].body);
    assert!(seen[1].body.contains("{\"records\":20}"), "{}", seen[1].body);
    assert!(seen[3].body.contains("{\"records\":10}"), "{}", seen[3].body);
    assert!(seen[4].body.contains("{\"records\":25}"), "{}", seen[4].body);
    let parts: Vec<_> = seen.iter().take(3).map(|request| names(&request.body)).collect();
    assert_eq!(parts, [vec!["records"], vec!["live", "spec", "module"], vec!["records", "module"]]);
    cli.fails("test --live a/x", 2, &["TEAM/NAME goes before --live"]);
    cli.fails("test a/x --records nowhere.ndjson", 2, &["nowhere.ndjson: "]);
}

/// Every verb that can be given, as words: `offsets get`.
fn verbs(command: &clap::Command, above: &str) -> Vec<String> {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let words = |verb: &clap::Command| {
        if verb.has_subcommands() {
            // `sign MODULE` is a verb beside those of `sign key`.
            let itself = verb.is_subcommand_negates_reqs_set().then(|| format!("{above}{}", verb.get_name()));
            itself.into_iter().chain(verbs(verb, &format!("{above}{} ", verb.get_name()))).collect()
        } else {
            vec![format!("{above}{}", verb.get_name())]
        }
    };
    shown.flat_map(words).collect()
}

#[test]
fn the_page_has_an_example_of_every_verb_and_of_no_other() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md")).expect("the page");
    let blocks = page.split("```").skip(1).step_by(2);
    let examples: Vec<&str> = blocks.flat_map(|block| block.split("sandbar ").skip(1)).collect();
    let all = verbs(&<sandbar::cli::Cli as clap::CommandFactory>::command(), "");
    let shows = |example: &str, verb: &str| {
        example.split_whitespace().zip(verb.split(' ')).all(|(a, b)| a.trim_end_matches(')') == b)
    };
    for verb in &all {
        assert!(examples.iter().any(|example| shows(example, verb)), "docs/cli.md has no example of {verb:?}");
    }
    for example in examples {
        assert!(all.iter().any(|verb| shows(example, verb)), "docs/cli.md shows what there is not: {example:?}");
    }
}

#[test]
fn shells_get_their_completion() {
    let folder = folder();
    for (shell, part) in [("bash", "complete -F"), ("zsh", "#compdef sandbar"), ("fish", "complete -c sandbar")] {
        let ran = RunResult::of(sandbar(folder.path()).args(["completion", shell]));
        assert!(ran.code == 0 && ran.out.contains(part) && ran.out.contains("rollback"), "{shell}: {}", ran.err);
    }
}

#[test]
fn every_verb_has_a_manual_page() {
    let folder = folder();
    let ran = RunResult::of(sandbar(folder.path()).args(["man", "."]));
    assert!(ran.code == 0 && ran.out.is_empty(), "{}", ran.err);
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a page");
    assert!(page("sandbar.1").contains("exactly once"));
    for verb in verbs(&<sandbar::cli::Cli as clap::CommandFactory>::command(), "") {
        assert!(page(&format!("sandbar-{}.1", verb.replace(' ', "-"))).starts_with(".ie"), "{verb}");
    }
    assert!(!folder.path().join("sandbar-compile-module.1").exists());
    let refused = RunResult::of(sandbar(folder.path()).args(["man", "nowhere"]));
    assert!(refused.code == 2 && refused.err.contains("nowhere: "), "{refused:?}");
}

/// A variable that cannot be read must not send a change to another host.
#[test]
fn a_url_that_is_not_utf_8_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = std::ffi::OsStr::from_bytes(b"http://127.0.0.1:1/\xff");
    let ran = RunResult::of(sandbar(folder.path()).arg("list").env("SANDBAR_URL", url));
    assert!(ran.code == 2 && ran.err.contains("SANDBAR_URL is not UTF-8"), "{ran:?}");
}

/// The command line and local files end with 2, before a host has made anything.
#[test]
fn a_host_with_a_wrong_option_is_a_wrong_command() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("kc"), "sasl.pasword=hunter2secret\n").expect("written");
    for (words, parts) in [
        ("serve --cluster c", &["error: --brokers HOST:PORT is needed"][..]),
        ("serve --cluster c --brokers=", &["error: --brokers HOST:PORT is needed"]),
        ("dev --config nope.toml", &["error: nope.toml: "]),
        ("dev --host a\tb", &["error: --host "]),
        ("dev --listen 0.0.0.0:0", &["error[E070]: ", "hint: "]),
        (
            "serve --listen 127.0.0.1:0 --cluster c --brokers 127.0.0.1:1 --kafka-config kc",
            &["error[E241]: ", "sasl.pasword", "hint: "],
        ),
    ] {
        let ran = RunResult::of(sandbar(folder.path()).args(words.split(' ')).env_remove("SANDBAR_BROKERS"));
        assert_eq!(ran.code, 2, "{words}: {ran:?}");
        assert!(parts.iter().all(|part| ran.err.contains(part)) && !ran.err.contains("hunter2"), "{words}: {ran:?}");
    }
    let script = RunResult::of(sandbar(folder.path()).args(["completion", "bash"]));
    assert!(script.out.contains("deploy") && !script.out.contains("compile-module"), "hidden verbs are not offered");
}
