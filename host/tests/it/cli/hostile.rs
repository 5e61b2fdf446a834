//! Text that somebody else wrote never acts on the terminal of a verb, and never looks like a line of the verb itself.

use std::path::Path;

use super::canned::{CannedHost, Reply};
use super::command::{Cli, RunResult, sandbar};
use serde_json::{Value, json};

/// Clears the screen, sets the title, forges a line, and turns text around: with ESC, OSC, C1, DEL and bidi controls.
const BAD: &str = "x\x1b[2J\x1b]0;t\x07\r\nerror[E000]: forged\r\u{9b}1m\u{85}\u{7f}\u{0}\u{202e}\u{2066}\u{2028}\u{e0041}";

const X: &str = "/v1/teams/a/transforms/x";

/// Replaces every string `?` by the text.
fn bad(value: Value) -> Value {
    match value {
        Value::String(text) if text == "?" => BAD.into(),
        Value::Array(all) => all.into_iter().map(bad).collect(),
        Value::Object(all) => {
            let name = |name: String| if name == "?" { BAD.to_owned() } else { name };
            all.into_iter().map(|(key, value)| (name(key), bad(value))).collect()
        }
        other => other,
    }
}

fn reply(status: u16, route: &str, body: Value) -> Reply {
    Reply::new(status, route, bad(body))
}

fn transform() -> Value {
    let spec = json!({ "inputs": ["?"], "config": { "?": "?", "deep": ["?", { "?": "?" }] }, "outputs": { "?": "?" } });
    json!({ "team": "?", "name": "?", "revision": 4, "module": "?", "desired": "?", "spec": spec, "changed_at": "?",
        "outcome": "?", "dry_run": false, "creates": ["?", "?"] })
}

fn error() -> Value {
    json!({ "code": "?", "message": "?", "offset": 1 })
}

fn status(rollout: &str) -> Value {
    let partition = json!({ "topic": "?", "partition": 0, "revision": 1, "revision_since": 0, "state": "?",
        "committed_offset": 1, "lag": 1, "error": error() });
    json!({ "team": "?", "name": "?", "revision": 4, "desired": "?", "state": "?", "lag": 1,
        "rollout": { "revision": 4, "state": rollout, "reason": "?", "error": error() },
        "hosts": [{ "host": "?", "state": "?", "revision": 4, "error": error(), "partitions": [partition] }] })
}

fn record() -> Value {
    json!({ "topic": "?", "timestamp": 0, "key": "?", "value": { "?": ["?"] }, "headers": [{ "name": "?", "value": "?" }] })
}

fn events(route: &str, events: &[Value]) -> Reply {
    let event = |event: &Value| format!("id: 1\nevent: log\ndata: {}\n\n", bad(event.clone()));
    Reply { route: format!("GET {X}/{route}"), status: 200, body: events.iter().map(event).collect() }
}

/// The answers of a host to each verb.
fn answers() -> Vec<Reply> {
    let at = |method: &str, below: &str| format!("{method} {X}{below}");
    let log = json!({ "offset": 1, "at": 0, "host": "?", "revision": 2, "level": "?", "event": "?", "message": "?" });
    let sample = json!({ "at": 0, "host": "?", "revision": 2, "topic": "?", "partition": 0, "offset": 1, "input": record(),
        "outputs": [record(), { "topic": "?", "key_base64": "?", "value_base64": "?" }], "outputs_more": 1, "failed": error() });
    let revision = json!({ "revision": 4, "module": "?", "changed_at": "?", "cause": "?", "current": true });
    let output = json!({ "input": 0, "target": "?", "topic": "?", "key": "?", "value": { "?": "?" } });
    let trial = json!({ "outputs": [output], "failures": [{ "input": 0, "code": "?", "message": "?" }],
        "records": [{ "micros": 7, "memory_bytes": 1 }], "memory_bytes": 1, "micros_total": 7 });
    let change = json!({ "topic": "?", "partition": 0, "from": 17, "to": 3, "records": 1 });
    let changes = json!({ "dry_run": false, "records": 1, "offsets": [change] });
    let host = json!({ "host": "?", "version": "?", "started_at": "?", "seen_at": "?", "transforms": 1, "partitions": 1 });
    let summary =
        json!({ "team": "?", "name": "?", "revision": 1, "module": "?", "state": "?", "lag": 1, "changed_at": "?" });
    let offset = json!({ "topic": "?", "partition": 0, "offset": 17, "end_offset": 40, "lag": 23, "metadata": "?" });
    vec![
        reply(200, "GET /v1/transforms", json!({ "transforms": [summary] })),
        reply(200, "GET /v1/hosts", json!({ "hosts": [host] })),
        reply(200, &at("GET", ""), transform()),
        reply(202, &at("PUT", ""), transform()),
        reply(200, &at("PUT", "?dry_run=true"), transform()),
        reply(
            200,
            &at("GET", "/revisions/1"),
            json!({ "team": "a", "name": "x", "revision": 1, "module": "m", "spec": {}, "changed_at": "?" }),
        ),
        reply(200, &at("GET", "/status"), status("complete")),
        events("logs?follow=false&since=1h&limit=1000&level=debug", &[log.clone(), log]),
        events("tail?limit=10&wait=10s", &[sample]),
        reply(200, &at("GET", "/revisions"), json!({ "revisions": [revision] })),
        reply(202, &at("POST", "/rollback"), transform()),
        reply(200, &at("POST", "/test"), trial),
        reply(200, &at("GET", "/offsets"), json!({ "offsets": [offset] })),
        reply(200, &at("PATCH", "/offsets"), changes.clone()),
        reply(200, &at("DELETE", "/offsets"), changes),
        reply(200, &at("GET", "/state/s/k"), json!({ "value": "?", "key": "?" })),
        reply(200, &at("GET", "/state/s/json"), json!({ "value": { "?": "?" } })),
        reply(200, &at("GET", "/state/s/bytes"), json!({ "value_base64": "?" })),
        reply(200, &at("DELETE", "/state"), json!({ "?": "?" })),
        reply(202, &at("POST", "/pause"), json!({ "?": "?" })),
        reply(202, &at("POST", "/resume"), json!({ "?": "?" })),
        reply(202, &at("POST", "/restart"), json!({ "?": "?" })),
        reply(204, &at("DELETE", ""), json!({})),
    ]
}

/// Every verb that talks to a host, and the lines that its text has.
const VERBS: &[(&str, usize)] = &[
    ("list", 2),
    ("hosts", 2),
    ("status a/x", 13),
    ("revisions a/x", 2),
    ("logs a/x", 4),
    ("tail a/x", 6),
    ("test a/x --records in.ndjson", 4),
    ("offsets get a/x", 2),
    ("offsets set a/x --to earliest", 3),
    ("offsets reset a/x", 3),
    ("state get a/x s k", 1),
    ("state get a/x s json", 1),
    ("state get a/x s bytes", 1),
    ("state reset a/x --yes", 1),
    ("pause a/x", 1),
    ("resume a/x", 1),
    ("restart a/x", 1),
    ("delete a/x --yes", 1),
    ("deploy", 4),
    ("deploy --dry-run", 3),
    ("rollback a/x", 2),
];
/// Verbs whose text goes over as many lines as the spec has.
const LONG: &[&str] = &["describe a/x", "diff a/x 1"];

fn is_safe(c: char) -> bool {
    c == '\n'
        || !(c.is_control() || matches!(c, '\u{2028}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0041}'))
}

#[track_caller]
fn check_safe(ran: &RunResult, words: &str) {
    for (name, text) in [("stdout", &ran.out), ("stderr", &ran.err)] {
        let unsafe_ones: String = text.chars().filter(|&c| !is_safe(c)).collect();
        assert_eq!(unsafe_ones, "", "{words}: {name} has controls: {text:?}");
        assert!(
            text.lines().all(|line| !line.starts_with("error[E000]: forged")),
            "{words}: {name} has a forged line: {text}"
        );
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writable");
    write("transform.yaml", "team: a\nname: x\ninputs: [t]\n");
    write("in.ndjson", "{\"value\":1}\n");
    folder
}

fn run(folder: &Path, url: &str, words: &str) -> RunResult {
    RunResult::of(sandbar(folder).args(words.split(' ')).env("SANDBAR_URL", url))
}

#[test]
fn answers_of_a_host_are_shown_safely() {
    let folder = folder();
    let server = CannedHost::start(answers());
    let verbs = VERBS.iter().map(|(words, lines)| (*words, Some(*lines))).chain(LONG.iter().map(|words| (*words, None)));
    for (words, lines) in verbs {
        let ran = run(folder.path(), &server.url, words);
        check_safe(&ran, words);
        assert!(ran.code == 0 || words.starts_with("test") || words.starts_with("diff"), "{words}: {ran:?}");
        if let Some(lines) = lines {
            assert_eq!(ran.out.lines().count(), lines, "{words}: {}", ran.out);
        }
        let json = run(folder.path(), &server.url, &format!("{words} -o json"));
        check_safe(&json, words);
        for line in json.out.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{words}: {error}: {line}"));
        }
    }
}

/// Refusals of a host, and answers of something else in its place.
#[test]
fn refusals_are_shown_safely() {
    let problem = bad(json!({ "type": "?", "title": "?", "status": 422, "detail": "?", "code": "?", "hint": "?",
        "errors": [{ "field": "?", "message": "?" }, { "field": "?", "message": "?" }] }));
    for (status, body) in [(422, problem.to_string()), (503, problem.to_string()), (200, BAD.into()), (500, BAD.into())] {
        let replies = answers().into_iter().map(|reply| Reply { status, body: body.clone(), ..reply });
        let folder = folder();
        let server = CannedHost::start(replies);
        for words in VERBS.iter().map(|(words, _)| words).chain(LONG) {
            // A verb that tries again until its time is over would take a minute.
            let wait = if words.starts_with("deploy") || words.starts_with("rollback") { " --timeout 300ms" } else { "" };
            for form in ["", " -o json"] {
                let ran = run(folder.path(), &server.url, &format!("{words}{wait}{form}"));
                check_safe(&ran, words);
            }
        }
    }
}

#[test]
fn a_rollout_that_fails_is_shown_safely() {
    let replies = answers().into_iter().map(|reply| {
        if reply.route.ends_with("/status") { Reply { body: bad(status("failed")).to_string(), ..reply } } else { reply }
    });
    let folder = folder();
    let server = CannedHost::start(replies);
    for words in ["deploy", "rollback a/x"] {
        let ran = run(folder.path(), &server.url, words);
        check_safe(&ran, words);
        assert!(ran.code == 1 && ran.err.contains("forged"), "{ran:?}");
    }
}

/// A spec file may come from anywhere.
#[test]
fn errors_in_a_file_are_shown_safely() {
    let folder = folder();
    for text in [
        format!("{BAD}: 1"),
        format!("team: a\nname: {}\n", Value::from(BAD)),
        format!("team: a\n{}: 1\n", Value::from(BAD)),
    ] {
        std::fs::write(folder.path().join("transform.yaml"), text).expect("writable");
        let ran = run(folder.path(), "http://127.0.0.1:1", "deploy");
        check_safe(&ran, "deploy");
        assert_eq!(ran.code, 2, "{ran:?}");
    }
}

/// A file that was named by mistake, or that somebody let grow, is refused before it fills the memory.
#[test]
fn a_file_is_read_up_to_its_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = || std::fs::File::options().create(true).write(true).truncate(false).open(folder.path().join("large"));
    std::fs::write(folder.path().join("module.wasm"), "any bytes").expect("written");
    let cli = Cli { folder: folder.path(), url: "http://127.0.0.1:1" };
    for (words, bytes_max) in [
        ("dev --config large", 1 << 20),
        ("hosts --url https://127.0.0.1:1 --ca large", 1 << 20),
        ("run module.wasm --config large", 16 << 20),
        ("deploy -f large", 16 << 20),
        ("test a/x --records large", 64 << 20),
        ("run large", 256 << 20),
        ("run module.wasm --table t=large", 256 << 20),
        ("test a/x --live --module large", 256 << 20),
    ] {
        large().and_then(|file| file.set_len(bytes_max + 1)).expect("a file with a hole");
        cli.fails(words, 2, &[&format!("large: has more than {bytes_max} bytes")]);
    }
    let mut reader = sandbar(folder.path());
    reader.args(["test", "a/x"]).env("SANDBAR_URL", cli.url);
    let ran = RunResult::of(reader.stdin(std::fs::File::open(folder.path().join("large")).expect("there")));
    assert!(ran.code == 2 && ran.err.contains("standard input: has more than 67108864 bytes"), "{ran:?}");
}
