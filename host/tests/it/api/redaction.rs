//! Redaction: every way out of the API, for callers of each role, with the rules of a topic's owner.

use std::path::Path;
use std::time::{Duration, Instant};

use sandbar::model::codes::Code;
use sandbar::model::status::LastError;
use sandbar::model::units::Timestamp;
use sandbar::ports::{Log, LogRecord};
use serde_json::{Value, json};

use super::access::Guarded;
use super::host::{Answer, GOOD, Host, shop_log};

const STRIP: &str = "/v1/teams/orders/transforms/strip";

/// The rule of the shop for `shop.orders`, with these other keys.
fn rule(more: &str) -> String {
    format!("{{shop.orders: {{paths: ['$.email'], headers: [Authorization]{more}}}}}")
}

fn file(redact: &str) -> String {
    format!("teams: {{shop: {{topics: {{owns: ['shop.orders'], redact: {redact}}}}}}}")
}

/// A host that asks for sign-in, with this file of teams, and its folder.
async fn start(text: &str) -> (Guarded, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("teams.yaml");
    std::fs::write(&path, text).expect("writable");
    let host = Host::start_with_teams(shop_log(), &path).await;
    (Guarded::start_on(host, |state| state).await, folder)
}

/// Puts another file in the place of the file, and waits until the host uses it.
async fn replace(guarded: &Guarded, folder: &Path, text: &str) {
    let before = guarded.state.teams.current();
    std::fs::write(folder.join("next"), text).expect("writable");
    std::fs::rename(folder.join("next"), folder.join("teams.yaml")).expect("renamed");
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::sync::Arc::ptr_eq(&before, &guarded.state.teams.current()) {
        assert!(Instant::now() < deadline, "{text} is not in use");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(guarded.state.teams.current().trouble, None);
}

async fn deploy(guarded: &Guarded, name: &str, more: Value) {
    let upload = guarded.request(&guarded.admin, "POST", "/v1/modules").header("content-type", "application/wasm");
    let digest = Answer::of(upload.body(GOOD)).await.json()["digest"].clone();
    let mut spec = json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"},
        "state": {"levels": {"queryable": true}}});
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let path = format!("/v1/teams/orders/transforms/{name}");
    guarded.send(&guarded.admin, "PUT", &path, &spec).await.expect(202);
}

/// Writes a record as a host would.
fn write(guarded: &Guarded, topic: &str, key: &str, value: &Value) {
    let value = Some(value.to_string().into_bytes());
    let key = Some(key.as_bytes().to_vec());
    let record = LogRecord { offset: 0, timestamp: Timestamp::now().0, key, value, headers: vec![] };
    guarded.host.log.append(&topic.parse().expect("a topic"), None, vec![record]).expect("written");
}

fn sample(topic: &str) -> Value {
    json!({"at": 5, "host": "b", "revision": 1, "topic": topic, "partition": 0, "offset": 3,
        "input": {"timestamp": 5, "key": "k", "value": {"email": "secret-email", "total": 1.50},
            "headers": [{"name": "authorization", "value": "secret-token"}, {"name": "trace", "value": "t1"}]},
        "outputs": [{"topic": "orders.out", "timestamp": 5, "key": "secret-key", "value": "secret-output",
            "headers": [{"name": "secret-header", "value": "x"}]}],
        "failed": {"code": "E101", "message": "secret-failure"}})
}

/// Reads one sample of the transform, written after the reader has come. Null: the reader sees none.
async fn tail(guarded: &Guarded, token: &str, name: &str, sample: &Value) -> Value {
    let path = format!("/v1/teams/orders/transforms/{name}/tail?follow");
    let mut stream = guarded.request(token, "GET", &path).send().await.expect("an answer");
    assert_eq!(stream.status(), 200, "{path}");
    write(guarded, "_sandbar.test.samples", &format!("orders/{name}"), sample);
    let mut text = String::new();
    while !text.trim_start().contains('\n') {
        let chunk = stream.chunk().await.expect("it stands").expect("it has not ended");
        text += std::str::from_utf8(&chunk).expect("text");
    }
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The answers of every other way out, as one text, with their statuses.
async fn ways_out(guarded: &Guarded, token: &str) -> (String, [u16; 4]) {
    let logs = guarded.ask(token, "GET", &format!("{STRIP}/logs")).await;
    let status = guarded.ask(token, "GET", &format!("{STRIP}/status")).await;
    let entry = guarded.ask(token, "GET", &format!("{STRIP}/state/levels/known?partition=0")).await;
    let test = guarded.send(token, "POST", &format!("{STRIP}/test"), &json!({"live": {"records": 5}})).await;
    let more = guarded.ask(token, "GET", STRIP).await.text + &guarded.ask(token, "GET", "/v1/transforms").await.text;
    let answers = [logs, status, entry, test];
    let statuses = [0, 1, 2, 3].map(|index: usize| answers[index].status.as_u16());
    (answers.map(|answer| answer.text).concat() + &more, statuses)
}

/// Deploys a transform over a redacted topic, and puts a secret on each way out.
async fn prepare(guarded: &Guarded) {
    deploy(guarded, "strip", json!({})).await;
    let error = LastError { code: Code::GuestFailed, message: "secret-status".into(), offset: None, at: Timestamp(1) };
    *guarded.host.running.error.lock().expect("unpoisoned") = Some(error);
    let line = |event: Value, message: &str| json!({"at": 5, "host": "b", "revision": 1, "level": "warn", "event": event, "message": message});
    for line in [
        line(Value::Null, "secret-line"),
        line("dead-lettered".into(), "2 failed records went away, the last for E101 secret-event"),
        line("swapped".into(), "revision 2 runs, after 1"),
    ] {
        write(guarded, "_sandbar.test.logs", "orders/strip", &line);
    }
    for value in [json!({"email": "secret-input"}), json!("bad")] {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned).into_bytes();
        let record = LogRecord { offset: 0, timestamp: 1, key: None, value: Some(value), headers: vec![] };
        guarded.host.log.append(&"shop.orders".parse().expect("valid"), None, vec![record]).expect("written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rules_records_are_as_they_were() {
    let (guarded, _folder) = start(&file("{}")).await;
    prepare(&guarded).await;
    let (data, _) = guarded.token(&guarded.admin, "orders", &["data", "deploy"]).await;
    assert_eq!(tail(&guarded, &data, "strip", &sample("shop.orders")).await, sample("shop.orders"));
    let (shown, statuses) = ways_out(&guarded, &data).await;
    assert_eq!(statuses, [200; 4], "{shown}");
    for secret in ["secret-line", "secret-event", "secret-status", "secret-input", "bad as can be"] {
        assert!(shown.contains(secret), "{secret}: {shown}");
    }
    let (view, _) = guarded.token(&guarded.admin, "orders", &["view"]).await;
    guarded.ask(&view, "GET", &format!("{STRIP}/tail")).await.refused(403, "E076");
    // What a guest says may quote a record.
    let status = guarded.ask(&view, "GET", &format!("{STRIP}/status")).await.expect(200).to_string();
    assert!(!status.contains("secret") && status.contains("E101"), "{status}");
    let (operate, _) = guarded.token(&guarded.admin, "orders", &["operate"]).await;
    assert!(guarded.ask(&operate, "GET", &format!("{STRIP}/status")).await.text.contains("secret-status"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_without_the_owners_word_sees_no_secret_on_any_way() {
    let (guarded, _folder) = start(&file(&rule(""))).await;
    prepare(&guarded).await;
    for (roles, may) in [
        (&["view"][..], [403, 200, 403, 403]),
        (&["data"], [200, 200, 403, 200]),
        (&["deploy"], [200, 200, 403, 403]),
        (&["operate"], [200, 200, 403, 403]),
        (&["data", "deploy"], [200, 200, 403, 200]),
        (&["admin"], [200, 200, 403, 200]),
    ] {
        let (token, _) = guarded.token(&guarded.admin, "orders", roles).await;
        let (shown, statuses) = ways_out(&guarded, &token).await;
        assert_eq!(statuses, may, "{roles:?}: {shown}");
        assert!(!shown.contains("secret") && !shown.contains("bad as can be"), "{roles:?}: {shown}");
        let state = guarded.ask(&token, "GET", &format!("{STRIP}/state/levels/known?partition=0")).await;
        if !roles.contains(&"data") && !roles.contains(&"admin") {
            state.refused(403, "E076");
            guarded.ask(&token, "GET", &format!("{STRIP}/tail")).await.refused(403, "E076");
            continue;
        }
        let refused = state.refused(403, "E086");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("data in team shop")), "{refused}");
        // Not even the existence of an entry is told.
        guarded.ask(&token, "GET", &format!("{STRIP}/state/levels/unknown?partition=0")).await.refused(403, "E086");
        let shown = tail(&guarded, &token, "strip", &sample("shop.orders")).await;
        let mut expected = sample("shop.orders");
        expected["input"]["value"]["email"] = "***".into();
        expected["input"]["headers"][0]["value"] = "***".into();
        expected["outputs"][0] = json!({"topic": "orders.out", "timestamp": 5, "key": "***", "value": "***"});
        expected["failed"]["message"] = "***".into();
        expected["redacted"] = true.into();
        assert_eq!(shown, expected, "{roles:?}");
        let report = guarded.send(&token, "POST", &format!("{STRIP}/test"), &json!({"live": {"records": 5}})).await.json();
        assert_eq!((&report["outputs"][0]["value"], &report["redacted"]), (&json!("***"), &json!(true)), "{report}");
        assert_eq!(report["failures"][0], json!({"input": 1, "code": "E101", "message": "***"}));
        let given = json!({"records": [{"value": "own"}, {"value": "bad"}]});
        let report = guarded.send(&token, "POST", &format!("{STRIP}/test"), &given).await.json();
        assert_eq!((&report["outputs"][0]["value"], &report["redacted"]), (&json!("own"), &Value::Null), "{report}");
        // A module of one's own could tell a record by the number of its outputs.
        let own = json!({"live": {"records": 5}, "spec": {"inputs": ["shop.orders"], "outputs": {"x": "orders.out"}}});
        let candidate = guarded.send(&token, "POST", &format!("{STRIP}/test"), &own).await;
        if *roles == ["data"] {
            candidate.refused(403, "E076");
        } else {
            assert_ne!(candidate.status, 403, "{roles:?}: {candidate:?}");
        }
        let logs = guarded.ask(&token, "GET", &format!("{STRIP}/logs")).await.text;
        let line = |text: &str| logs.contains(&format!("\"message\":\"{text}\""));
        let event = "2 failed records went away, the last for E101 ***";
        assert!(line("***") && line(event) && line("revision 2 runs, after 1"), "{logs}");
    }
    // Refusals of handlers are in the audit topic, as those before them are.
    let list = guarded.ask(&guarded.admin, "GET", "/v1/audit?team=orders").await.text;
    for (target, code) in [("state/{store}/{key}", "E086"), ("/test", "E076")] {
        let is_it = |line: &&Value| line["target"].as_str().is_some_and(|it| it.ends_with(target)) && line["code"] == code;
        let entries: Value = serde_json::from_str(&list).expect("JSON");
        assert!(entries["entries"].as_array().expect("entries").iter().any(|entry| is_it(&entry)), "{target}: {list}");
    }
    let metrics = guarded.ask(&guarded.admin, "GET", "/metrics").await.text;
    for way in ["tail", "test", "logs", "status", "state"] {
        assert!(metrics.contains(&format!("sandbar_redacted_total{{way=\"{way}\"}}")), "{way}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_the_owner_or_of_a_team_that_it_names_shows_everything() {
    let (guarded, folder) = start(&file(&rule(""))).await;
    prepare(&guarded).await;
    let (orders, _) = guarded.token(&guarded.admin, "orders", &["data", "deploy"]).await;
    let (cluster, _) = guarded.token(&guarded.admin, "*", &["data", "deploy"]).await;
    let (viewer, _) = guarded.token(&guarded.admin, "*", &["view", "deploy"]).await;
    let check_whole = async |token: &str| {
        assert_eq!(tail(&guarded, token, "strip", &sample("shop.orders")).await, sample("shop.orders"));
        let (shown, statuses) = ways_out(&guarded, token).await;
        let secrets = ["secret-line", "secret-event", "secret-status", "secret-input", "bad as can be"];
        assert!(statuses == [200; 4] && secrets.iter().all(|secret| shown.contains(secret)), "{statuses:?} {shown}");
    };
    check_whole(&cluster).await;
    check_whole(&guarded.admin).await;
    assert!(!ways_out(&guarded, &viewer).await.0.contains("secret"));
    replace(&guarded, folder.path(), &file(&rule(", shown_to: [orders]"))).await;
    check_whole(&orders).await;
    assert!(!ways_out(&guarded, &viewer).await.0.contains("secret"));
    // The rule is its team's to see.
    let (shop, _) = guarded.token(&guarded.admin, "shop", &["view"]).await;
    let team = guarded.ask(&shop, "GET", "/v1/teams/shop").await.expect(200);
    let shown = json!([{"topic": "shop.orders", "paths": ["$.email"], "keys": false, "headers": ["Authorization"],
        "values": false, "viewers": false, "shown_to": ["orders"]}]);
    assert_eq!(team["topics"]["redact"], shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_see_masked_records_where_every_owner_lets_them() {
    let (guarded, folder) = start(&file(&rule(", viewers: true"))).await;
    prepare(&guarded).await;
    let (view, _) = guarded.token(&guarded.admin, "orders", &["view"]).await;
    let (deploy_token, _) = guarded.token(&guarded.admin, "orders", &["deploy"]).await;
    let (stock, _) = guarded.token(&guarded.admin, "stock", &["data"]).await;
    let shown = tail(&guarded, &view, "strip", &sample("shop.orders")).await;
    assert_eq!(shown["input"]["value"], json!({"email": "***", "total": 1.5}));
    assert!(!shown.to_string().contains("secret"), "{shown}");
    let report =
        guarded.send(&deploy_token, "POST", &format!("{STRIP}/test"), &json!({"live": {"records": 5}})).await.expect(200);
    assert!(report["redacted"] == true && !report.to_string().contains("secret"), "{report}");
    guarded.ask(&stock, "GET", &format!("{STRIP}/tail")).await.refused(403, "E076");
    guarded.ask(&view, "GET", &format!("{STRIP}/state/levels/known")).await.refused(403, "E076");
    // An input without such a rule is for the role `data` alone.
    deploy(&guarded, "both", json!({"inputs": ["shop.orders", "shop.restocks"], "state": {}})).await;
    guarded.ask(&view, "GET", "/v1/teams/orders/transforms/both/tail").await.refused(403, "E076");
    deploy(&guarded, "other", json!({"inputs": ["shop.restocks"]})).await;
    guarded.ask(&view, "GET", "/v1/teams/orders/transforms/other/tail").await.refused(403, "E076");
    // The owner takes it back while somebody reads.
    let path = format!("{STRIP}/tail?follow");
    let mut stream = guarded.request(&view, "GET", &path).send().await.expect("an answer");
    replace(&guarded, folder.path(), &file(&rule(""))).await;
    write(&guarded, "_sandbar.test.samples", "orders/strip", &sample("shop.orders"));
    guarded.ask(&view, "GET", &path).await.refused(403, "E076");
    // An empty line is a sign of life.
    let first = stream.chunk().await.expect("it stands").expect("it has not ended");
    assert_eq!(first, "\n".as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_holds_for_open_streams_as_soon_as_it_is_there() {
    let (guarded, folder) = start(&file("{}")).await;
    prepare(&guarded).await;
    let (data, _) = guarded.token(&guarded.admin, "orders", &["data"]).await;
    let path = format!("{STRIP}/tail?follow");
    let mut stream = guarded.request(&data, "GET", &path).send().await.expect("an answer");
    let mut lines = format!("{STRIP}/logs?follow&since=0s");
    lines.push_str("&limit=0");
    let mut logs = guarded.request(&data, "GET", &lines).send().await.expect("an answer");
    let mut next = async |topic: &str, value: &Value, of_logs: bool| {
        write(&guarded, topic, "orders/strip", value);
        let stream = if of_logs { &mut logs } else { &mut stream };
        let chunk = stream.chunk().await.expect("it stands").expect("it has not ended");
        String::from_utf8(chunk.to_vec()).expect("text")
    };
    let line = json!({"at": 5, "host": "b", "revision": 1, "level": "info", "message": "secret-line"});
    assert!(next("_sandbar.test.samples", &sample("shop.orders"), false).await.contains("secret-email"));
    assert!(next("_sandbar.test.logs", &line, true).await.contains("secret-line"));
    replace(&guarded, folder.path(), &file(&rule(""))).await;
    let masked = next("_sandbar.test.samples", &sample("shop.orders"), false).await;
    assert!(masked.contains("\"offset\":3") && !masked.contains("secret"), "{masked}");
    let masked = next("_sandbar.test.logs", &line, true).await;
    assert!(masked.contains("***") && !masked.contains("secret"), "{masked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_have_the_rules_of_their_source() {
    let (guarded, _folder) = start(&file(&rule(""))).await;
    prepare(&guarded).await;
    let (data, _) = guarded.token(&guarded.admin, "orders", &["data"]).await;
    // A transform that reads the dead letters of another.
    deploy(&guarded, "again", json!({"inputs": ["orders.strip.dead-letter"]})).await;
    let shown = tail(&guarded, &data, "again", &sample("orders.strip.dead-letter")).await;
    assert!(!shown.to_string().contains("secret") && shown["input"]["value"]["total"] == 1.5, "{shown}");
    let entry = "/v1/teams/orders/transforms/again/state/levels/known?partition=0";
    guarded.ask(&data, "GET", entry).await.refused(403, "E086");
    // A topic into which dead letters came otherwise: the letter itself names its source.
    deploy(&guarded, "moved", json!({"inputs": ["shop.restocks"]})).await;
    let mut letter = sample("shop.restocks");
    assert_eq!(tail(&guarded, &data, "moved", &letter).await, letter);
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    letter["input"]["headers"] = json!([
        header("authorization", "secret-token"),
        header("sandbar.error.topic", "shop.orders"),
        header("sandbar.error.message", "secret-message"),
        header("sandbar.error.code", "E101"),
    ]);
    let shown = tail(&guarded, &data, "moved", &letter).await;
    assert!(!shown.to_string().contains("secret") && shown["input"]["headers"][3]["value"] == "E101", "{shown}");
    // A dead letter that failed again: its first source is named by a header with another name.
    letter["input"]["headers"] = json!([
        header("was.sandbar.error.topic", "shop.orders"),
        header("was.sandbar.error.message", "secret-message"),
        header("sandbar.error.topic", "shop.restocks"),
        header("sandbar.error.message", "secret-message"),
    ]);
    let shown = tail(&guarded, &data, "moved", &letter).await;
    assert!(!shown.to_string().contains("secret") && shown["input"]["value"]["total"] == 1.5, "{shown}");
}

/// Writes a dead letter of the transform, of a record of `origin`, and returns it as the API shows it.
async fn dead_letter(guarded: &Guarded, token: &str, name: &str, timestamp: i64, origin: Option<&str>) -> Value {
    let transform = format!("orders/{name}");
    let named = [
        ("sandbar.error.transform", Some(transform.as_str())),
        ("sandbar.error.topic", origin),
        ("sandbar.error.message", Some("secret-message")),
        ("trace", Some("t1")),
    ];
    let header = |(name, value): (&str, Option<&str>)| Some((name.to_owned(), Some(value?.as_bytes().to_vec())));
    let headers = named.into_iter().filter_map(header).collect();
    let value = Some(json!({"email": "secret-email", "total": 1}).to_string().into_bytes());
    let record = LogRecord { offset: 0, timestamp, key: None, value, headers };
    let topic = format!("orders.{name}.dead-letter").parse().expect("valid");
    guarded.host.log.append(&topic, Some(0), vec![record]).expect("written");
    let path = format!("/v1/teams/orders/transforms/{name}/dead-letters?limit=1");
    let found = guarded.ask(token, "GET", &path).await.expect(200);
    assert_eq!(found["records"].as_array().map(Vec::len), Some(1), "{name} {origin:?}: {found}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_of_a_topic_that_no_kept_revision_reads_has_the_rules_of_that_topic() {
    let text = "teams: {shop: {topics: {owns: ['shop.orders', 'shop.hidden'], redact: \
        {shop.orders: {paths: ['$.email'], viewers: true}, shop.hidden: {paths: ['$.email']}}}}}";
    let (guarded, _folder) = start(text).await;
    let (view, _) = guarded.token(&guarded.admin, "orders", &["view"]).await;
    let (data, _) = guarded.token(&guarded.admin, "orders", &["data"]).await;
    deploy(&guarded, "strip", json!({})).await;
    deploy(&guarded, "moved", json!({"inputs": ["shop.restocks"]})).await;
    const MASKED: &[&str] = &["total", "trace"];
    const WHOLE: &[&str] = &["secret-email", "secret-message", "total", "trace"];
    for (index, (token, name, origin, shown)) in [
        (&view, "strip", Some("shop.orders"), MASKED),
        // Its owner lets no viewers see it, or it has no rule, or nobody knows where it is from.
        (&view, "strip", Some("shop.hidden"), &[]),
        (&view, "strip", Some("shop.restocks"), &[]),
        (&view, "strip", None, &[]),
        (&data, "strip", Some("shop.orders"), MASKED),
        (&data, "strip", Some("shop.hidden"), MASKED),
        (&data, "strip", Some("shop.restocks"), MASKED),
        // The transform reads no redacted topic any more.
        (&data, "moved", Some("shop.hidden"), MASKED),
        (&data, "moved", Some("shop.restocks"), WHOLE),
    ]
    .into_iter()
    .enumerate()
    {
        let found = dead_letter(&guarded, token, name, index as i64 + 1, origin).await;
        let text = found.to_string();
        let words: Vec<&str> = WHOLE.iter().copied().filter(|word| text.contains(word)).collect();
        assert_eq!(words, shown, "{name} {origin:?}: {found}");
        assert_eq!(found["redacted"] == true, shown != WHOLE, "{name} {origin:?}: {found}");
    }
    guarded.ask(&view, "GET", "/v1/teams/orders/transforms/moved/dead-letters").await.refused(403, "E076");
    // So has a sample: `shop.restocks` is no input of `strip`.
    let shown = tail(&guarded, &view, "strip", &sample("shop.restocks")).await;
    assert!(!shown.to_string().contains("secret") && shown["input"]["value"] == "***", "{shown}");
    let mut moved = sample("shop.orders");
    moved["input"]["headers"] = json!([{"name": "sandbar.error.topic", "value": "shop.restocks"}]);
    let shown = tail(&guarded, &view, "strip", &moved).await;
    assert!(!shown.to_string().contains("secret") && shown["input"]["value"] == "***", "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_topic_that_is_not_used_says_nothing_of_the_topic() {
    let (guarded, _folder) = start(&file(&rule(""))).await;
    let (data, _) = guarded.token(&guarded.admin, "orders", &["data"]).await;
    deploy(&guarded, "moved", json!({"inputs": ["shop.restocks"]})).await;
    // These have no dead letters. They name topics of others, and would else make all that comes from there look like theirs.
    for (name, then, input, topic) in [
        ("skips", "skip", "shop.orders", "shop.restocks"),
        ("pauses", "pause", "shop.orders", "shop.restocks"),
        ("spies", "skip", "shop.restocks", "shop.orders"),
    ] {
        let on_error = json!({"then": then, "dead_letter_topic": topic});
        deploy(&guarded, name, json!({"inputs": [input], "on_error": on_error})).await;
    }
    let letter = sample("shop.restocks");
    assert_eq!(tail(&guarded, &data, "moved", &letter).await, letter);
    // Nor is a topic read for them that the team may not write.
    let headers = vec![("sandbar.error.transform".to_owned(), Some(b"orders/spies".to_vec()))];
    let record = LogRecord { offset: 0, timestamp: 1, key: None, value: Some(b"{}".to_vec()), headers };
    guarded.host.log.append(&"shop.orders".parse().expect("valid"), Some(0), vec![record]).expect("written");
    let path = "/v1/teams/orders/transforms/spies/dead-letters";
    let found = guarded.ask(&guarded.admin, "GET", path).await.expect(200);
    assert_eq!(found["records"], json!([]), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_over_moved_dead_letters_has_the_rules_of_their_source() {
    let (guarded, _folder) = start(&file(&rule(""))).await;
    deploy(&guarded, "moved", json!({"inputs": ["shop.restocks"]})).await;
    let (data, _) = guarded.token(&guarded.admin, "orders", &["data"]).await;
    let path = "/v1/teams/orders/transforms/moved/test";
    let topic = "shop.restocks".parse().expect("valid");
    for (timestamp, header, is_masked) in [
        (1, None, false),
        (2, Some("sandbar.error.topic"), true),
        (3, Some("was.sandbar.error.topic"), true),
        (4, Some("trace"), false),
    ] {
        let headers = header.into_iter().map(|name: &str| (name.to_owned(), Some(b"shop.orders".to_vec()))).collect();
        let record = LogRecord { offset: 0, timestamp, key: None, value: Some(b"secret-input".to_vec()), headers };
        guarded.host.log.append(&topic, None, vec![record]).expect("written");
        let newest = json!({"live": {"records": 1}});
        let report = guarded.send(&data, "POST", path, &newest).await.expect(200);
        assert_eq!(report["redacted"] == true, is_masked, "{header:?}: {report}");
        assert_eq!(report.to_string().contains("secret"), !is_masked, "{header:?}: {report}");
        // A module of one's own could tell a record by the number of its outputs.
        let spec = json!({"inputs": ["shop.restocks"], "outputs": {"x": "orders.out"}});
        let own = json!({"live": {"records": 1}, "spec": spec});
        let candidate = guarded.send(&data, "POST", path, &own).await;
        if is_masked {
            candidate.refused(403, "E076");
        } else {
            assert_ne!(candidate.status, 403, "{header:?}: {candidate:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_inputs_and_the_topics_of_outputs_count() {
    let text = "teams: {shop: {topics: {owns: ['shop.orders'], redact: {shop.orders: {values: true}}}}, \
        sales: {topics: {owns: ['orders.out'], redact: {orders.out: {paths: ['$.email'], keys: true}}, accepts_from: [orders]}}}";
    let (guarded, _folder) = start(text).await;
    let (data, _) = guarded.token(&guarded.admin, "orders", &["data"]).await;
    deploy(&guarded, "out", json!({"inputs": ["shop.restocks"], "state": {}})).await;
    let mut shown = sample("shop.restocks");
    shown["outputs"][0]["value"] = json!({"email": "secret-email", "n": 2.0});
    shown["outputs"][0]["headers"] = json!([]);
    let shown = tail(&guarded, &data, "out", &shown).await;
    assert_eq!(
        shown["outputs"][0],
        json!({"topic": "orders.out", "timestamp": 5, "key": "***", "value": {"email": "***", "n": 2.0}})
    );
    assert_eq!(shown["input"]["value"]["email"], "secret-email", "no rule is for it");
    // A revision that is kept has read the redacted topic: its records may be in stores and lines.
    deploy(&guarded, "strip", json!({"state": {}})).await;
    deploy(&guarded, "strip", json!({"inputs": ["shop.restocks"], "state": {}})).await;
    let line = json!({"at": 5, "host": "b", "revision": 1, "level": "info", "message": "secret-line"});
    write(&guarded, "_sandbar.test.logs", "orders/strip", &line);
    let logs = guarded.ask(&data, "GET", &format!("{STRIP}/logs")).await;
    assert!(logs.status == 200 && !logs.text.contains("secret") && logs.text.contains("***"), "{}", logs.text);
}
