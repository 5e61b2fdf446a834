//! Tables over the embedded log: caught up before they are handed out, updated while they are used, bounded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::codes::Code;
use sandbar::model::names::{TeamName, TopicName};
use sandbar::ports::{Log, LogRecord, NewTopic, Table};
use sandbar::stores::tables::{TableLimits, Tables, counted};
use sandbar::telemetry::metrics::Metrics;

use crate::support::gated::Gated;

const PATIENCE: Duration = Duration::from_secs(30);

struct Fixture {
    log: Gated,
    topic: TopicName,
    metrics: Metrics,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = Gated::new(EmbeddedLog::open(Options::new(dir.path())).expect("opens"));
        let topic: TopicName = "shop.products".parse().expect("valid");
        let fixture = Self { log, topic, metrics: Metrics::new(), _dir: dir };
        fixture.create(&fixture.topic);
        fixture
    }

    fn create(&self, topic: &TopicName) {
        let new = NewTopic { name: topic.clone(), partitions: 3, compacted: true, retention: None };
        self.log.create_topic(&new).expect("made");
    }

    fn put(&self, key: &str, value: Option<&str>) {
        let key = Some(key.into());
        let value = value.map(Into::into);
        let record = LogRecord { offset: 0, timestamp: 1, key, value, headers: Vec::new() };
        self.log.append(&self.topic, None, vec![record]).expect("appended");
    }

    fn tables(&self, bytes_max: usize) -> Tables {
        let limits = TableLimits { table: bytes_max, team: usize::MAX, host: usize::MAX };
        Tables::new(Arc::new(self.log.clone()), limits, self.metrics.clone())
    }
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_table_has_what_its_topic_has_and_follows_it() {
    let fixture = Fixture::new();
    (0..500).for_each(|n| fixture.put(&format!("k{n}"), Some(&format!("v{n}"))));
    fixture.put("k7", Some("new"));
    fixture.put("k8", None);
    let tables = fixture.tables(1 << 20);
    let topics = || [fixture.topic.clone()].into_iter();
    let table = tables.of(&shop(), topics()).expect("caught up")[0].clone();
    let get = |key: &str| table.get(key.as_bytes()).map(|value| String::from_utf8(value).expect("text"));
    assert_eq!((get("k499").as_deref(), get("k7").as_deref(), get("k8")), (Some("v499"), Some("new"), None));

    fixture.put("k7", None);
    fixture.put("k8", Some("back"));
    wait_for("an update and a delete", || get("k7").is_none() && get("k8").as_deref() == Some("back"));

    // Whoever has it already shares it.
    let again = tables.of(&shop(), topics()).expect("at once")[0].clone();
    assert!(Arc::ptr_eq(&table, &again));
    wait_for("its size in the metrics", || {
        fixture.metrics.render().contains("sandbar_table_entries{team=\"-\",topic=\"shop.products\"} 499")
    });
    drop((table, again));
    wait_for("its thread to end", || !fixture.metrics.render().contains("sandbar_table_entries{"));
}

#[test]
fn a_table_beyond_its_limit_says_so() {
    let fixture = Fixture::new();
    (0..100).for_each(|n| fixture.put(&format!("k{n}"), Some(&"v".repeat(100))));
    let tables = fixture.tables(5000).waiting_at_most(10 * PATIENCE);
    let began = Instant::now();
    let (code, message) = tables.of(&shop(), [fixture.topic.clone()].into_iter()).err().expect("too large");
    assert!(began.elapsed() < PATIENCE, "nobody waits for it to become smaller");
    assert_eq!(code, Code::TableUnavailable);
    assert!(message.contains("shop.products") && message.contains("the limit is 5000"), "{message}");
    let tables = tables.waiting_at_most(Duration::from_secs(2));
    let missing: TopicName = "none".parse().expect("valid");
    let (code, message) = tables.of(&shop(), [missing].into_iter()).err().expect("missing");
    assert!(code == Code::TableUnavailable && message.contains("none"), "{message}");
}

#[tokio::test]
async fn tables_are_waited_for_without_a_thread() {
    let fixture = Fixture::new();
    fixture.put("k", Some("v"));
    let tables = fixture.tables(5000).waiting_at_most(Duration::from_secs(2));
    let topics = || [fixture.topic.clone()].into_iter();
    let open = tables.open_ahead(&shop(), topics()).await.expect("caught up");
    assert_eq!(open[0].get(b"k").as_deref(), Some(b"v".as_slice()));
    let missing: TopicName = "none".parse().expect("valid");
    let (code, message) = tables.open_ahead(&shop(), [missing].into_iter()).await.err().expect("missing");
    assert!(code == Code::TableUnavailable && message.contains("none"), "{message}");
    drop(open);
    (0..100).for_each(|n| fixture.put(&format!("k{n}"), Some(&"v".repeat(100))));
    let tables = fixture.tables(5000).waiting_at_most(10 * PATIENCE);
    let began = Instant::now();
    let (_, message) = tables.open_ahead(&shop(), topics()).await.err().expect("too large");
    assert!(message.contains("the limit is 5000") && began.elapsed() < PATIENCE, "{message}");
}

/// Nobody can decide on them before the topic is read to its end, so each of them is held, and counts.
#[test]
fn spellings_of_one_key_count_for_the_limit() {
    let fixture = Fixture::new();
    (0..100).for_each(|n| fixture.put(&format!("{{\"id\":{}7}}", " ".repeat(1000 + n)), Some("v")));
    let tables = fixture.tables(50_000).waiting_at_most(Duration::from_secs(2));
    let (code, message) = tables.of(&shop(), [fixture.topic.clone()].into_iter()).err().expect("too large");
    assert_eq!(code, Code::TableUnavailable, "{message}");
    assert!(message.contains("the limit is 50000"), "{message}");
}

/// It is read again from the start then, and whoever uses it sees nothing of that.
#[test]
fn a_table_that_cannot_be_read_on_stays_as_it_was() {
    let fixture = Fixture::new();
    (0..200).for_each(|n| fixture.put("k", Some(&format!("v{n}"))));
    fixture.put("gone", Some("v"));
    fixture.put("gone", None);
    let tables = fixture.tables(5000);
    let table = tables.of(&shop(), [fixture.topic.clone()].into_iter()).expect("caught up")[0].clone();
    (0..100).for_each(|n| fixture.put(&format!("k{n}"), Some(&"v".repeat(100))));
    wait_for("attempts to read it", || {
        assert_eq!(table.get(b"k").as_deref(), Some(b"v199".as_slice()));
        assert_eq!(table.get(b"gone"), None);
        fixture.metrics.render().contains("sandbar_table_failures_total{team=\"-\",topic=\"shop.products\"} 3")
    });
}

/// It may be large, and to read all of it again may not even fit beside what is there.
#[test]
fn a_lost_answer_lets_no_table_be_read_again() {
    let fixture = Fixture::new();
    fixture.put("k", Some("v"));
    let table = fixture.tables(1 << 20).of(&shop(), [fixture.topic.clone()].into_iter()).expect("caught up")[0].clone();
    fixture.log.lost_topics.lose(usize::MAX);
    wait_for("two questions without an answer", || fixture.log.lost_topics.asked() == 2);
    fixture.put("k", Some("new"));
    wait_for("an update", || table.get(b"k").as_deref() == Some(b"new".as_slice()));
    let shown = fixture.metrics.render();
    assert!(!shown.contains("sandbar_table_failures_total{team"), "{shown}");
}

/// It has as many partitions as before, so only its id tells it from the old one.
#[test]
fn a_topic_that_was_created_again_is_read_from_its_start() {
    let fixture = Fixture::new();
    (0..50).for_each(|n| fixture.put(&format!("k{n}"), Some("old")));
    let table = fixture.tables(1 << 20).of(&shop(), [fixture.topic.clone()].into_iter()).expect("caught up")[0].clone();
    let anew: TopicName = "shop.products.anew".parse().expect("valid");
    fixture.create(&anew);
    fixture.log.replace(&fixture.topic, &anew);
    fixture.put("k7", Some("new"));
    let get = |key: &str| table.get(key.as_bytes()).map(|value| String::from_utf8(value).expect("text"));
    wait_for("the rows of the new topic alone", || get("k7").as_deref() == Some("new") && get("k8").is_none());
    fixture.put("k8", Some("new"));
    wait_for("it follows the new topic", || get("k8").as_deref() == Some("new"));
}

fn shop() -> TeamName {
    "shop".parse().expect("valid")
}

/// Looks one key up in a table whose topic has the row under another spelling of that key.
#[track_caller]
fn check_found(written: &str, asked: &str, expected: Option<&str>) {
    let fixture = Fixture::new();
    fixture.put(written, Some("row"));
    let table = fixture.tables(1 << 20).of(&shop(), [fixture.topic.clone()].into_iter()).expect("caught up")[0].clone();
    let found = table.get(asked.as_bytes()).map(|value| String::from_utf8(value).expect("text"));
    assert_eq!(found.as_deref(), expected, "{written} {asked}");
}

#[test]
fn a_key_is_found_by_what_it_says() {
    const PLAIN: &str = r#"{"product_id":7}"#;
    const WRAPPED: &str = r#"{"schema":{"type":"struct","fields":[],"optional":false},"payload":{"product_id":7}}"#;
    let same = [PLAIN, WRAPPED, r#"{"product_id": 7}"#, r#"{ "product_id":7.0 }"#, r#"{"product\u005fid":7}"#];
    for spelling in same {
        check_found(spelling, PLAIN, Some("row"));
        check_found(PLAIN, spelling, Some("row"));
    }
    check_found(r#"{"line":2,"order":1}"#, r#"{"order": 1, "line": 2}"#, Some("row"));
    for other in [r#"{"product_id":"7"}"#, r#"{"product_id":7,"__dbz__physicalTableIdentifier":"a.b"}"#, "7"] {
        check_found(other, PLAIN, None);
    }
    check_found("7.0", "7", None);
}

/// Nobody knows which of two rows counts. A table that is in use stays as it was.
#[test]
fn a_topic_with_one_key_in_two_spellings_is_refused() {
    let fixture = Fixture::new();
    fixture.put(r#"{"id":7}"#, Some("old"));
    let tables = fixture.tables(1 << 20);
    let topics = || [fixture.topic.clone()].into_iter();
    let used = tables.of(&shop(), topics()).expect("caught up")[0].clone();
    fixture.put(r#"{"id": 7}"#, Some("new"));
    wait_for("attempts to read it", || {
        assert_eq!(used.get(b"{\"id\":7}").as_deref(), Some(b"old".as_slice()));
        fixture.metrics.render().contains("sandbar_table_failures_total{team=\"-\",topic=\"shop.products\"} 2")
    });
    let tables = tables.stale_after(Duration::ZERO);
    let stale = tables.stale(&shop(), topics().collect::<Vec<_>>().iter()).expect("it does not follow");
    assert!(stale.code == Code::TableKeys && stale.message.contains("two spellings"), "{stale:?}");

    // Another host opens it, and waits no longer than it must.
    let (code, message) = fixture.tables(1 << 20).of(&shop(), topics()).err().expect("two spellings");
    assert_eq!(code, Code::TableKeys);
    assert!(message.contains("shop.products") && message.contains(r#"{"id":7}"#), "{message}");
}

/// A table that no look-up ever hits gives no other sign.
#[test]
fn look_ups_are_counted_by_transform_and_table() {
    let fixture = Fixture::new();
    fixture.put(r#"{"id": 7}"#, Some("row"));
    let tables =
        fixture.tables(1 << 20).of(&shop(), [fixture.topic.clone(), fixture.topic.clone()].into_iter()).expect("caught up");
    let names = ["products", "prices"].map(|name| name.parse().expect("valid"));
    let counts = fixture.metrics.transform(&"shop/t".parse().expect("valid"));
    let tables = counted(&tables, names.iter(), &counts);
    for (key, is_hit) in [(r#"{"id":7}"#, true), (r#"{"id":8}"#, false), ("7", false)] {
        assert_eq!(tables[0].get(key.as_bytes()).is_some(), is_hit, "{key}");
    }
    let rendered = fixture.metrics.render();
    for (table, result, count) in
        [("products", "hit", 1), ("products", "miss", 2), ("prices", "hit", 0), ("prices", "miss", 0)]
    {
        let labels = format!("result=\"{result}\",table=\"{table}\",team=\"shop\",transform=\"t\"");
        assert!(rendered.contains(&format!("sandbar_table_lookups_total{{{labels}}} {count}")), "{labels}: {rendered}");
    }
}
