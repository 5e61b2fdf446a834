//! Logs and samples over HTTP: what is shown, in which form, and from where on.

#[path = "api_support/host.rs"]
#[expect(dead_code, reason = "shared with api_http, which uses the rest")]
mod host;
#[path = "api_support/log.rs"]
#[expect(dead_code, reason = "shared with api_http, which uses the rest")]
mod log;

use std::time::Duration;

use sandbar::model::units::Timestamp;
use sandbar::ports::{Log, LogRecord};
use serde_json::{Value, json};

use host::{GOOD, Host};

const STRIP: &str = "/v1/teams/orders/transforms/strip";
const LOGS: &str = "/v1/teams/orders/transforms/strip/logs";
const TAIL: &str = "/v1/teams/orders/transforms/strip/tail";
const LOGS_TOPIC: &str = "_sandbar.test.logs";
const SAMPLES_TOPIC: &str = "_sandbar.test.samples";

async fn deployed() -> Host {
    let host = Host::start().await;
    let module = host.upload(GOOD).await.expect(201)["digest"].clone();
    host.put(STRIP, &json!({"inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "module": module})).await.expect(202);
    host
}

fn entry(level: &str, message: &str) -> Value {
    json!({"at": 5, "host": "b", "revision": 2, "level": level, "message": message})
}

fn sample(offset: i64) -> Value {
    json!({"at": 5, "host": "b", "revision": 2, "topic": "shop.orders", "partition": 0, "offset": offset,
        "input": {"timestamp": 5, "key": "k", "value": {"total": 1}}, "outputs": []})
}

/// Writes what another host would.
fn write(host: &Host, topic: &str, key: &str, age: Duration, value: Value) {
    let (key, value) = (Some(key.as_bytes().to_vec()), Some(value.to_string().into_bytes()));
    let record = LogRecord { offset: 0, timestamp: Timestamp::now().before(age).0, key, value, headers: vec![] };
    host.log.append(&topic.parse().expect("a topic"), None, vec![record]).expect("written");
}

fn log(host: &Host, age_s: u64, level: &str, message: &str) {
    write(host, LOGS_TOPIC, "orders/strip", Duration::from_secs(age_s), entry(level, message));
}

fn messages(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.is_empty());
    let parsed = lines.map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    parsed.map(|line| line["message"].as_str().expect("a message").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn older_lines_are_chosen_by_time_number_and_level() {
    let host = deployed().await;
    for (age_s, level, message) in [(7200, "info", "old"), (600, "debug", "one"), (60, "warn", "two"), (1, "info", "three")]
    {
        log(&host, age_s, level, message);
    }
    write(&host, LOGS_TOPIC, "orders/other", Duration::ZERO, entry("info", "another's"));
    write(&host, LOGS_TOPIC, "orders/strip", Duration::ZERO, json!({"hello": "foreign"}));
    write(&host, LOGS_TOPIC, "orders/strip", Duration::ZERO, json!("foreign"));
    for (query, expected) in [
        ("", "one two three"),
        ("?since=3h", "old one two three"),
        ("?since=5m", "two three"),
        ("?since=0s", ""),
        ("?limit=2", "two three"),
        ("?limit=0", ""),
        ("?level=info", "two three"),
        ("?level=warn&since=3h", "two"),
        ("?follow=false", "one two three"),
    ] {
        let answer = host.get(&format!("{LOGS}{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/x-ndjson"), "{query}");
        assert_eq!(messages(&answer.text).join(" "), expected, "{query}");
    }
    let first = host.get(&format!("{LOGS}?since=3h")).await;
    let first: Value = serde_json::from_str(first.text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        first,
        json!({"offset": first["offset"], "at": 5, "host": "b", "revision": 2, "level": "info", "message": "old"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_wrongly_is_named() {
    let host = deployed().await;
    for (path, status, code) in [
        (format!("{LOGS}?since=soon"), 400, "E028"),
        (format!("{LOGS}?limit=10001"), 400, "E028"),
        (format!("{LOGS}?level=loud"), 400, "E028"),
        (format!("{LOGS}?follow=perhaps"), 400, "E028"),
        (format!("{LOGS}?lines=1"), 400, "E028"),
        (format!("{TAIL}?wait=2h"), 400, "E028"),
        ("/v1/teams/orders/transforms/none/logs".into(), 404, "E023"),
        ("/v1/teams/orders/transforms/none/tail".into(), 404, "E023"),
    ] {
        host.get(&path).await.refused(status, code);
    }
    let answer = host::Answer::of(host.request("GET", LOGS).header("last-event-id", "x")).await;
    answer.refused(400, "E028");
    host.log.delete(LOGS_TOPIC);
    host.get(LOGS).await.refused(502, "E210");
}

/// An answer that goes on, read bit by bit.
struct Following {
    response: reqwest::Response,
    text: String,
}

impl Following {
    async fn start(host: &Host, path: &str, headers: &[(&str, &str)]) -> Self {
        let request = headers.iter().fold(host.request("GET", path), |request, (name, value)| request.header(*name, *value));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// Reads until the text so far is as wanted.
    async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> &str {
        while !wanted(&self.text) {
            let chunk = self.response.chunk().await.expect("it stands").expect("it has not ended");
            self.text += std::str::from_utf8(&chunk).expect("text");
        }
        &self.text
    }

    async fn end(mut self) -> String {
        while let Some(chunk) = self.response.chunk().await.expect("it stands") {
            self.text += std::str::from_utf8(&chunk).expect("text");
        }
        self.text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_and_gone_on_with_in_both_forms() {
    let host = deployed().await;
    log(&host, 1, "info", "before");
    let mut lines = Following::start(&host, &format!("{LOGS}?follow"), &[]).await;
    let mut events = Following::start(&host, &format!("{LOGS}?follow"), &[("accept", "text/event-stream")]).await;
    lines.until(|text| text.contains("before")).await;
    events.until(|text| text.contains("before")).await;
    log(&host, 0, "error", "after");
    let text = lines.until(|text| text.contains("after")).await;
    assert_eq!(messages(text), ["before", "after"]);
    let text = events.until(|text| text.contains("after") && text.ends_with("\n\n")).await.to_owned();
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!((ids.len(), text.matches("event: log\ndata: {").count()), (2, 2), "{text}");
    // Back after a while, through whichever host: nothing is missed, nothing comes twice.
    drop(events);
    log(&host, 0, "info", "meanwhile");
    let headers = [("accept", "text/event-stream"), ("last-event-id", ids[1])];
    let mut again = Following::start(&host, &format!("{LOGS}?follow=true"), &headers).await;
    let text = again.until(|text| text.contains("meanwhile")).await;
    assert!(!text.contains("after"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_come_while_somebody_looks_and_as_many_as_were_asked_for() {
    let host = deployed().await;
    write(&host, SAMPLES_TOPIC, "orders/strip", Duration::ZERO, sample(0));
    let tails = host.state.feeds.tails.clone();
    assert!(tails.wanted().is_empty());
    let two = Following::start(&host, &format!("{TAIL}?limit=2&wait=20s"), &[]).await;
    assert_eq!(tails.wanted().len(), 1, "the hosts that run it are asked");
    let mut all = Following::start(&host, &format!("{TAIL}?follow"), &[("accept", "text/event-stream")]).await;
    for (key, value) in [("orders/strip", sample(1)), ("orders/other", sample(9)), ("orders/strip", json!({"foreign": 1}))] {
        write(&host, SAMPLES_TOPIC, key, Duration::ZERO, value);
    }
    write(&host, SAMPLES_TOPIC, "orders/strip", Duration::ZERO, sample(2));
    write(&host, SAMPLES_TOPIC, "orders/strip", Duration::ZERO, sample(3));
    let offsets = |text: &str| {
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.iter().map(|line| line["offset"].as_i64().expect("an offset")).collect::<Vec<_>>()
    };
    assert_eq!(offsets(&two.end().await), [1, 2], "from now on, and no more than that");
    let text = all.until(|text| text.contains("\"offset\":3")).await;
    assert_eq!(text.matches("event: sample\n").count(), 3, "{text}");
    drop(all);
    // Its stream sees that nobody reads it when it next has something to say.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !tails.wanted().is_empty() {
        assert!(std::time::Instant::now() < deadline, "somebody still looks");
        write(&host, SAMPLES_TOPIC, "orders/strip", Duration::ZERO, sample(4));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let none = Following::start(&host, &format!("{TAIL}?wait=1s"), &[]).await;
    assert_eq!(offsets(&none.end().await), [0; 0], "time was up");
}
