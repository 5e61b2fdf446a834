//! The flow over HTTP: its first view and its changes, the history, dead letters, and the console's own files.

use std::time::Duration;

use reqwest::Response;
use sandbar::api::ServerLimits;
use sandbar::ports::{Log, LogRecord};
use serde_json::{Value, json};

use super::host::{Answer, GOOD, Host, shop_log};
use super::log::MemoryLog;

const STRIP: &str = "/v1/teams/orders/transforms/strip";

async fn deploy(host: &Host, name: &str) {
    let digest = host.upload(GOOD).await.json()["digest"].clone();
    let spec = json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}});
    host.put(&format!("/v1/teams/orders/transforms/{name}"), &spec).await.expect(202);
}

/// Records the flow as a host does.
fn record(host: &Host) {
    let state = &host.state;
    tokio::spawn(state.flow.clone().record_for_ever(state.catalog.clone(), state.runtime.clone(), state.shutdown.clone()));
}

/// The next view of a stream.
async fn next(response: &mut Response, rest: &mut String) -> Value {
    loop {
        if let Some((line, left)) = rest.split_once('\n') {
            let line = line.to_owned();
            *rest = left.to_owned();
            if !line.is_empty() {
                return serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
            continue;
        }
        let chunk = tokio::time::timeout(Duration::from_secs(60), response.chunk()).await.expect("a view in time");
        *rest += std::str::from_utf8(&chunk.expect("it stands").expect("it goes on")).expect("text");
    }
}

fn names(view: &Value) -> Vec<&str> {
    let transforms = view["transforms"].as_array().expect("a list");
    transforms.iter().map(|transform| transform["name"].as_str().expect("a name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flow_shows_each_transform_with_its_topics() {
    let host = Host::start().await;
    deploy(&host, "strip").await;
    let flow = host.get("/v1/flow").await.expect(200);
    let strip = &flow["transforms"][0];
    for (field, expected) in [
        ("team", json!("orders")),
        ("name", json!("strip")),
        ("revision", json!(1)),
        ("running_revisions", json!([1])),
        ("rollout", json!("complete")),
        ("desired", json!("running")),
        ("state", json!("running")),
        ("inputs", json!(["shop.orders"])),
        ("outputs", json!(["orders.out"])),
        ("tables", json!([])),
        ("dead_letters", json!("orders.strip.dead-letter")),
        ("hosts", json!(1)),
        ("partitions", json!({"running": 2})),
        ("lag", json!(7)),
    ] {
        assert_eq!(strip[field], expected, "{field}: {strip}");
    }
    assert_eq!(flow["recent"][0]["name"], "strip");
    let history = host.get(&format!("{STRIP}/history")).await.expect(200);
    assert_eq!((&history["interval_ms"], &history["lag"]), (&json!(5000), &json!([7])));
    host.get("/v1/teams/orders/transforms/nobody/history").await.refused(404, "E023");
    host.get("/v1/flow?follow=maybe").await.refused(400, "E028");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_flow_has_everything_and_then_what_changes() {
    let host = Host::start().await;
    deploy(&host, "strip").await;
    record(&host);
    let mut response = host.request("GET", "/v1/flow?follow").timeout(Duration::from_secs(120)).send().await.expect("sent");
    let mut rest = String::new();
    let first = next(&mut response, &mut rest).await;
    assert_eq!((names(&first), first["recent"].is_array()), (vec!["strip"], true));
    deploy(&host, "other").await;
    let second = next(&mut response, &mut rest).await;
    assert_eq!((names(&second), &second["recent"]), (vec!["other"], &Value::Null), "the other has not changed");
    host.post(&format!("{STRIP}/pause")).await.expect(202);
    let third = next(&mut response, &mut rest).await;
    assert_eq!((names(&third), &third["transforms"][0]["desired"]), (vec!["strip"], &json!("paused")));
    assert_eq!(host.request("DELETE", STRIP).send().await.expect("an answer").status(), 204);
    let fourth = next(&mut response, &mut rest).await;
    assert_eq!((names(&fourth), &fourth["gone"]), (vec![], &json!([{"team": "orders", "name": "strip"}])));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_the_flow_are_limited() {
    let host = Host::<MemoryLog>::start_within(shop_log(), ServerLimits::default(), |limits| sandbar::api::ApiLimits {
        flow_readers_max: 1,
        ..limits
    })
    .await;
    let stream = host.request("GET", "/v1/flow?follow").send().await.expect("sent");
    assert_eq!((stream.status(), host.metrics.http.flow_readers.get()), (reqwest::StatusCode::OK, 1));
    let refused = host.get("/v1/flow").await.refused(503, "E032");
    assert!(refused["detail"].as_str().expect("text").contains("flow_readers_max"), "{refused}");
    drop(stream);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while host.get("/v1/flow").await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "the place is not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_those_of_the_transform_newest_last() {
    let host = Host::start().await;
    deploy(&host, "strip").await;
    let letters = format!("{STRIP}/dead-letters");
    let empty = host.get(&letters).await.expect(200);
    assert_eq!((&empty["topic"], &empty["records"]), (&json!("orders.strip.dead-letter"), &json!([])));
    for (number, transform) in [(1, "orders/strip"), (2, "orders/other"), (3, "orders/strip")] {
        let headers = [("sandbar.error.transform", transform), ("sandbar.error.code", "E102"), ("trace", "t")];
        let headers = headers.map(|(name, value)| (name.to_owned(), Some(value.as_bytes().to_vec())));
        let value = Some(format!("{{\"n\":{number}}}").into_bytes());
        let record = LogRecord { offset: 0, timestamp: number, key: None, value, headers: headers.to_vec() };
        host.log.append(&"orders.strip.dead-letter".parse().expect("valid"), Some(0), vec![record]).expect("written");
    }
    let found = host.get(&letters).await.expect(200);
    let values: Vec<&str> =
        found["records"].as_array().expect("a list").iter().filter_map(|it| it["value"].as_str()).collect();
    assert_eq!(values, ["{\"n\":1}", "{\"n\":3}"], "{found}");
    assert_eq!(found["records"][0]["headers"][1], json!({"name": "sandbar.error.code", "value": "E102"}));
    assert_eq!(host.get(&format!("{letters}?limit=1")).await.expect(200)["records"].as_array().map(Vec::len), Some(1));
    host.get(&format!("{letters}?limit=0")).await.refused(400, "E028");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_its_inputs_where_it_is_asked_to() {
    let host = Host::start().await;
    deploy(&host, "strip").await;
    let records = "{\"key\":\"a\",\"value\":\"1\",\"partition\":0}\n{\"key\":\"b\",\"value\":\"bad\",\"partition\":0}\n";
    let write = host.request("POST", "/v1/topics/shop.orders/records").header("content-type", "application/x-ndjson");
    Answer::of(write.body(records)).await.expect(200);
    let run = async |live: Value| {
        Answer::of(host.request("POST", &format!("{STRIP}/test")).json(&json!({"live": live}))).await.expect(200)
    };
    let shown = run(json!({"records": 5, "inputs": true})).await;
    let values: Vec<&str> =
        shown["inputs"].as_array().expect("a list").iter().filter_map(|it| it["value"].as_str()).collect();
    assert_eq!((values, shown["failures"][0]["input"].as_u64()), (vec!["1", "bad"], Some(1)), "{shown}");
    assert_eq!(run(json!({"records": 5})).await.get("inputs"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_served_with_its_policy_and_found_by_a_link_from_elsewhere() {
    let host = Host::start().await;
    let page = host.get("/").await;
    assert!(page.status == 200 && page.text.contains("/console/console.js"), "{page:?}");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!((page.header("x-content-type-options"), page.header("referrer-policy")), ("nosniff", "no-referrer"));
    for (file, content_type) in
        [("console.js", "text/javascript"), ("layout.js", "text/javascript"), ("console.css", "text/css")]
    {
        let answer = host.get(&format!("/console/{file}")).await;
        assert!(answer.status == 200 && answer.header("content-type").starts_with(content_type), "{file}");
        let again = host.request("GET", &format!("/console/{file}")).header("if-none-match", answer.header("etag"));
        assert_eq!(Answer::of(again).await.status, 304, "{file}");
    }
    host.get("/console/nothing.js").await.refused(404, "E002");
    // An alert may lead to the console. Nothing else takes a request that comes from elsewhere.
    let from_elsewhere = |path: &str| host.request("GET", path).header("sec-fetch-site", "cross-site");
    assert_eq!(Answer::of(from_elsewhere("/")).await.status, 200);
    for path in ["/v1/flow", "/console/console.js", "/v1/transforms"] {
        Answer::of(from_elsewhere(path)).await.refused(403, "E046");
    }
}
