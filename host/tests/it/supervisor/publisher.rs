//! The statuses of a host in the status topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbar::cluster::{Cluster, Publisher};
use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::status::TransformStatus;
use sandbar::model::units::Timestamp;
use sandbar::ports::{Log, LogRecord};
use sandbar::telemetry::metrics::Metrics;
use sandbar::telemetry::transform_log::TransformLog;
use serde_json::json;
use tokio::sync::watch;

use super::PATIENCE;

const STATUS: &str = "_sandbar.dev.status";

fn write(log: &dyn Log, key: &str, value: &serde_json::Value) {
    let key = Some(key.as_bytes().to_vec());
    let value = Some(value.to_string().into_bytes());
    let record = LogRecord { offset: 0, timestamp: Timestamp::now().0, key, value, headers: Vec::new() };
    log.append(&STATUS.parse().expect("valid"), Some(0), vec![record]).expect("appended");
}

/// The keys that have a value in the status topic.
fn keys(log: &dyn Log) -> Vec<String> {
    let page = log.read(&STATUS.parse().expect("valid"), 0, 0, Duration::from_millis(50), 1 << 20).expect("readable");
    let mut has_value = BTreeMap::new();
    for record in page.records {
        let key = String::from_utf8(record.key.expect("a key")).expect("text");
        has_value.insert(key, record.value.is_some());
    }
    has_value.into_iter().filter(|(_, has_value)| *has_value).map(|(key, _)| key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_clears_all_that_it_told_before_it_was_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(Options::new(folder.path())).expect("opens"));
    let cluster = Arc::new(Cluster::open(&log, &"dev".parse().expect("valid")).expect("opens"));
    for host in ["host", "other"] {
        let status = json!({
            "team": "shop", "name": "x", "host": host, "state": "running", "revision": 1, "partitions": [],
            "rollout": {"revision": 1, "state": "complete"},
        });
        write(&*log, &format!("shop/x@{host}"), &status);
        write(&*log, &format!("tail:shop/y@{host}"), &json!({}));
    }
    let metrics = Metrics::new();
    let (journal, _readers) = TransformLog::new("host", 1 << 20, |kind| metrics.transform_log.dropped(kind));
    let statuses = Box::new(Vec::<TransformStatus>::new);
    let publisher =
        Publisher::new(log.clone(), cluster, ("host", None), statuses, Arc::default(), (journal, metrics.clone()));
    let (down, shutdown) = watch::channel(false);
    let publishing = tokio::spawn(publisher.run(shutdown));
    let deadline = Instant::now() + PATIENCE;
    while keys(&*log) != ["host", "shop/x@other", "tail:shop/y@other"] {
        assert!(Instant::now() < deadline, "{:?}", keys(&*log));
    }
    down.send(true).expect("it runs");
    publishing.await.expect("it ends");
    assert_eq!(keys(&*log), ["shop/x@other", "tail:shop/y@other"]);
}
