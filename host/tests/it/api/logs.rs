//! Logs and samples over HTTP: what is shown, in which form, and from where on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sandbar::cluster::{LogTopics, Recorder};
use sandbar::model::log_entry::Level;
use sandbar::model::units::Timestamp;
use sandbar::ports::{Log, LogRecord};
use sandbar::telemetry::metrics::Metrics;
use sandbar::telemetry::transform_log::{EntryKind, TransformLog};
use serde_json::{Value, json};

use super::host::{GOOD, Host, LOG_BYTES_MAX};
use super::log::MemoryLog;

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
    let answer = super::host::Answer::of(host.request("GET", LOGS).header("last-event-id", "x")).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn older_lines_are_bounded_in_bytes_and_read_page_by_page() {
    let host = deployed().await;
    let long = "x".repeat(100_000);
    for _ in 0..300 {
        log(&host, 1, "info", &long);
    }
    for _ in 0..200 {
        log(&host, 1, "info", &long[..1000]);
    }
    let all = host.get(&format!("{LOGS}?limit=10000")).await;
    let lines: Vec<Value> = all.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(all.text.len() <= LOG_BYTES_MAX + lines.len() && lines.len() > 50, "{} lines", lines.len());
    assert_eq!(lines.last().map(|line| &line["offset"]), Some(&json!(499)), "the newest of them");
    // From the beginning, by a client that takes its time: its host does not read ahead by more than a connection takes.
    for path in [LOGS.to_owned(), format!("{LOGS}?follow")] {
        let before = host.log.bytes_read.load(Ordering::Relaxed);
        let mut slow = Following::start(&host, &path, &[("last-event-id", "0")]).await;
        slow.until(|text| text.contains("\"offset\":1,")).await;
        let read = host.log.bytes_read.load(Ordering::Relaxed) - before;
        assert!(read < 20_000_000, "{read} of 30 million bytes were read for {path}");
        // The rest is long: each part is looked at once. A line is an object, and its text is of one letter.
        let objects = |text: &[u8]| text.iter().filter(|&&byte| byte == b'{').count();
        let mut lines = objects(slow.text.as_bytes());
        while lines < 499 {
            let chunk = slow.response.chunk().await.expect("it stands").expect("it has not ended");
            lines += objects(&chunk);
        }
        assert_eq!(lines, 499, "{path}");
    }
}

/// The answer is broken off: a part must not look like the whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_go_on_is_broken_off() {
    let host = deployed().await;
    for _ in 0..300 {
        log(&host, 1, "info", &"x".repeat(100_000));
    }
    let mut response = host.request("GET", LOGS).header("last-event-id", "0").send().await.expect("an answer");
    response.chunk().await.expect("it stands").expect("a part of it");
    host.log.unavailable.store(true, Ordering::Relaxed);
    let ended = loop {
        match response.chunk().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_teams_readers_leave_room_for_others() {
    let host = deployed().await;
    let module = host.upload(GOOD).await.expect(200)["digest"].clone();
    let spec = json!({"inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "module": module});
    for team in ["stock", "sales"] {
        host.put(&format!("/v1/teams/{team}/transforms/strip"), &spec).await.expect(202);
    }
    let mut open = Vec::new();
    for path in [LOGS, LOGS, TAIL, TAIL] {
        open.push(Following::start(&host, &format!("{path}?follow"), &[]).await);
    }
    for path in [format!("{LOGS}?follow"), LOGS.to_owned(), format!("{TAIL}?follow")] {
        let refused = host.get(&path).await.refused(503, "E032");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("follows_per_team_max")), "{refused}");
    }
    assert_eq!(host.get("/v1/teams/stock/transforms/strip/logs").await.status, 200);
    for _ in 0..2 {
        open.push(Following::start(&host, "/v1/teams/stock/transforms/strip/logs?follow", &[]).await);
    }
    let refused = host.get("/v1/teams/sales/transforms/strip/logs").await.refused(503, "E032");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("follows_max")), "{refused}");
    drop(open);
    let deadline = Instant::now() + Duration::from_secs(20);
    while host.get(LOGS).await.status != 200 {
        assert!(Instant::now() < deadline, "their turns are not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A record that the log does not take holds up none that come after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_the_log_refuses_is_dropped_and_counted() {
    let memory = MemoryLog::with_topics(&[]);
    memory.record_bytes_max.store(2000, Ordering::Relaxed);
    let log: Arc<dyn Log> = Arc::new(memory.clone());
    let feeds = LogTopics::new(&log, &"test".parse().expect("valid"), Duration::from_secs(3600));
    feeds.ensure().expect("created");
    let metrics = Metrics::new();
    let (journal, [entries, _]) = TransformLog::new("a", 1 << 20, |kind| metrics.transform_log.dropped(kind));
    let (end, ended) = tokio::sync::watch::channel(false);
    let recording = tokio::spawn(Recorder::new(feeds, entries, metrics.clone()).run(ended));
    let id = "orders/strip".parse().expect("valid");
    for message in ["one", &"x".repeat(4000), "two"] {
        assert!(journal.log(&id, 1, Level::Info, message));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let written = || (0..8).map(|partition| memory.all(LOGS_TOPIC, partition).len()).sum::<usize>();
    while written() < 2 {
        assert!(Instant::now() < deadline, "the lines around it are not written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    end.send(true).expect("it records");
    recording.await.expect("it ends");
    assert_eq!((written(), metrics.transform_log.dropped(EntryKind::Log).get()), (2, 1));
}
