//! A transform's committed offsets over HTTP, on the embedded log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::names::TopicName;
use sandbar::model::spec::{Delivery, Start};
use sandbar::model::units::Timestamp;
use sandbar::ports::{GroupOffset, Groups, Log, LogRecord, NewTopic, SessionOptions};
use serde_json::{Value, json};

use super::host::{Answer, GOOD, Host};

const STRIP: &str = "/v1/teams/orders/transforms/strip";
const OFFSETS: &str = "/v1/teams/orders/transforms/strip/offsets";
const GROUP: &str = "sandbar.test.orders.strip";

fn orders() -> TopicName {
    "shop.orders".parse().expect("valid")
}

/// Ten records in partition 0, one for each of the last ten hours; three in partition 1. The transform is paused, and has
/// processed six records of partition 0.
async fn paused() -> (Host<EmbeddedLog>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let log = EmbeddedLog::open(Options::new(dir.path())).expect("opens");
    for (name, partitions) in [("shop.orders", 2), ("orders.out", 1)] {
        let name = name.parse().expect("valid");
        log.create_topic(&NewTopic { name, partitions, compacted: false, retention: None }).expect("created");
    }
    let record = |hours_ago: u64| {
        let timestamp = Timestamp::now().before(Duration::from_secs(3600 * hours_ago)).0;
        LogRecord { offset: 0, timestamp, key: None, value: Some(b"x".to_vec()), headers: vec![] }
    };
    log.append(&orders(), Some(0), (1..=10).rev().map(record).collect()).expect("appended");
    log.append(&orders(), Some(1), (1..=3).rev().map(record).collect()).expect("appended");
    let host = Host::start_on(Arc::new(log)).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    let spec =
        json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"orders": "orders.out"}, "start": {"ago": "150m"}});
    host.put(STRIP, &spec).await.expect(202);
    let committed = GroupOffset { topic: orders(), partition: 0, next_offset: 6, metadata: "{\"revision\":1}".into() };
    host.log.commit_for_group(GROUP, &[committed]).expect("committed");
    host.post(&format!("{STRIP}/pause")).await.expect(202);
    (host, dir)
}

async fn patch(host: &Host<EmbeddedLog>, query: &str, body: &Value) -> Answer {
    Answer::of(host.request("PATCH", &format!("{OFFSETS}{query}")).json(body)).await
}

async fn delete(host: &Host<EmbeddedLog>, query: &str) -> Answer {
    Answer::of(host.request("DELETE", &format!("{OFFSETS}{query}"))).await
}

fn committed(host: &Host<EmbeddedLog>) -> Vec<(i32, i64, String)> {
    let offsets = host.log.group_offsets(GROUP, &[orders()]).expect("readable");
    offsets.into_iter().map(|offset| (offset.partition, offset.next_offset, offset.metadata)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_shown_moved_and_forgotten() {
    let (host, _dir) = paused().await;
    let shown = host.get(OFFSETS).await.expect(200);
    let expected = json!({"offsets": [
        {"topic": "shop.orders", "partition": 0, "offset": 6, "forgotten": false, "first_offset": 0, "end_offset": 10, "lag": 4, "metadata": "{\"revision\":1}"},
        {"topic": "shop.orders", "partition": 1, "offset": null, "forgotten": false, "first_offset": 0, "end_offset": 3, "lag": null, "metadata": ""},
    ]});
    assert_eq!(shown, expected);

    let three_hours_ago = sandbar::model::units::Rfc3339(Timestamp::now().before(Duration::from_secs(3 * 3600 + 1800)));
    for (body, to, records) in [
        (json!({"to": "earliest"}), [0, 0], [6, 0]),
        (json!({"to": "latest"}), [10, 3], [-4, 0]),
        (json!({"to": {"ago": "3h 30m"}}), [7, 0], [-1, 0]),
        (json!({"to": {"ago": "8h 30m"}}), [2, 0], [4, 0]),
        (json!({"to": {"ago": "1s"}}), [10, 3], [-4, 0]),
        (json!({"to": {"timestamp": three_hours_ago.to_string()}}), [7, 0], [-1, 0]),
    ] {
        let plan = patch(&host, "?dry_run=true", &body).await.expect(200);
        let moves = [0, 1].map(|partition| {
            let from = if partition == 0 { json!(6) } else { Value::Null };
            json!({"topic": "shop.orders", "partition": partition, "from": from, "to": to[partition], "records": records[partition]})
        });
        assert_eq!(plan, json!({"dry_run": true, "records": records[0], "offsets": moves}), "{body}");
    }
    assert_eq!(committed(&host), [(0, 6, "{\"revision\":1}".to_owned())], "a dry run changes nothing");

    let body = json!({"offsets": [{"topic": "shop.orders", "partition": 0, "offset": 2}]});
    let moved = patch(&host, "", &body).await.expect(200);
    assert_eq!((&moved["dry_run"], &moved["records"], &moved["offsets"][0]["from"]), (&json!(false), &json!(4), &json!(6)));
    // The metadata is kept; and the other partition begins, as it would when the transform goes on.
    assert_eq!(committed(&host), [(0, 2, "{\"revision\":1}".to_owned()), (1, 0, String::new())]);
    let shown =
        |at: Value| at["offsets"].as_array().expect("a list").iter().map(|at| at["forgotten"].clone()).collect::<Vec<_>>();
    host.log.delete_group(GROUP).expect("nobody is in it");
    assert_eq!(shown(host.get(OFFSETS).await.expect(200)), [true, true], "not new, but forgotten");
    patch(&host, "", &body).await.expect(200);
    assert_eq!(committed(&host), [(0, 2, String::new())], "what is forgotten is not begun");
    assert_eq!(shown(host.get(OFFSETS).await.expect(200)), [false, true]);
    let first = GroupOffset { topic: orders(), partition: 0, next_offset: 2, metadata: "{\"revision\":1}".into() };
    host.log.commit_for_group(GROUP, &[first]).expect("committed");
    patch(&host, "", &json!({"to": "latest"})).await.expect(200);
    assert_eq!(committed(&host), [(0, 10, "{\"revision\":1}".to_owned()), (1, 3, String::new())]);

    // `start` would begin two and a half hours ago: the last two records of each partition.
    for (query, dry_run) in [("?dry_run=true", true), ("", false)] {
        let forgotten = delete(&host, query).await.expect(200);
        assert_eq!((&forgotten["dry_run"], &forgotten["records"]), (&json!(dry_run), &json!(4)), "{forgotten}");
        assert_eq!((&forgotten["offsets"][0]["to"], &forgotten["offsets"][1]["to"]), (&json!(8), &json!(1)));
        assert_eq!(committed(&host).is_empty(), !dry_run);
    }
    assert_eq!(host.get(OFFSETS).await.expect(200)["offsets"][0]["offset"], Value::Null);
    assert_eq!(delete(&host, "").await.expect(200)["records"], 0, "there is nothing left to forget");
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_are_in_use_are_not_moved() {
    let (host, _dir) = paused().await;
    let body = json!({"to": "earliest"});
    host.post(&format!("{STRIP}/resume")).await.expect(202);
    for query in ["", "?dry_run=true"] {
        for answer in [patch(&host, query, &body).await, delete(&host, query).await] {
            let problem = answer.refused(409, "E040");
            assert!(problem["detail"].as_str().is_some_and(|text| text.contains("running transform")), "{problem}");
            assert_eq!(problem["hint"], "pause it first: sandbar pause orders/strip");
        }
    }
    host.get(OFFSETS).await.expect(200);
    host.post(&format!("{STRIP}/pause")).await.expect(202);

    // Paused, but a host has not left yet.
    let options = SessionOptions {
        group: GROUP.into(),
        transactional_id: "strip-0".into(),
        inputs: vec![orders()],
        outputs: vec![],
        delivery: Delivery::ExactlyOnce,
        transaction_timeout: sandbar::model::transaction_time::TIMEOUT_MIN,
        start: Start::Latest,
        begun: BTreeMap::new(),
        co_partitioned: false,
    };
    let mut session = host.log.open(&options).expect("opens");
    session.poll(Duration::ZERO, 1, &mut |_, _| {}).expect("joins");
    for answer in [patch(&host, "", &body).await, delete(&host, "").await] {
        let problem = answer.refused(409, "E040");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("1 members")), "{problem}");
    }
    assert_eq!(committed(&host), [(0, 6, "{\"revision\":1}".to_owned())]);
    // It is waited for.
    let (moved, ()) = tokio::join!(patch(&host, "", &body), async { drop(session) });
    moved.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_by_name() {
    let (host, _dir) = paused().await;
    let target =
        |topic: &str, partition: i32, offset: i64| json!({"topic": topic, "partition": partition, "offset": offset});
    let offsets = |targets: &[Value]| json!({"offsets": targets});
    let good = target("shop.orders", 0, 3);
    for (body, status, code, named) in [
        (json!({}), 400, "E007", "either"),
        (json!({"to": "latest", "offsets": [good]}), 400, "E007", "either"),
        (json!({"too": "latest"}), 400, "E007", "too"),
        (json!({"to": "yesterday"}), 400, "E007", "yesterday"),
        (json!({"to": {"ago": "soon"}}), 400, "E007", "soon"),
        (json!({"to": {"timestamp": "2026-13-01T00:00:00Z"}}), 400, "E007", "2026-13"),
        (json!({"to": {"offsets": {"shop.orders": {"0": 1}}}}), 400, "E007", "to.offsets"),
        (offsets(&[]), 422, "E041", "names no partition"),
        (offsets(&[good.clone(), target("orders.out", 0, 0)]), 422, "E041", "offsets[1].topic"),
        (offsets(&[target("shop.orders", 2, 0)]), 422, "E041", "0 to 1"),
        (offsets(&[target("shop.orders", 0, 11)]), 422, "E041", "0 to 10"),
        (offsets(&[target("shop.orders", 0, -1)]), 422, "E041", "0 to 10"),
        (offsets(&[good.clone(), good.clone()]), 422, "E041", "twice"),
    ] {
        let problem = patch(&host, "", &body).await.refused(status, code);
        assert!(problem.to_string().contains(named), "{body}: {problem}");
    }
    patch(&host, "?dryrun=true", &json!({"to": "latest"})).await.refused(400, "E028");
    delete(&host, "?dry_run=perhaps").await.refused(400, "E028");
    Answer::of(host.request("PATCH", OFFSETS).body("to: latest")).await.refused(415, "E006");
    for method in ["GET", "PATCH", "DELETE"] {
        let path = "/v1/teams/orders/transforms/none/offsets";
        Answer::of(host.request(method, path).json(&json!({"to": "latest"}))).await.refused(404, "E023");
    }
    assert_eq!(committed(&host), [(0, 6, "{\"revision\":1}".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_checked_against_the_topics() {
    let (host, _dir) = paused().await;
    let mut spec = host.get(STRIP).await.expect(200)["spec"].clone();
    let fresh = "/v1/teams/orders/transforms/fresh";
    spec["name"] = "fresh".into();
    for (start, field) in [
        (json!({"offsets": {"shop.restocks": {"0": 1}}}), "start.offsets.shop.restocks"),
        (json!({"offsets": {"shop.orders": {"0": 1, "2": 1}}}), "start.offsets.shop.orders.2"),
        (json!({"offsets": {"shop.orders": {"0": 11, "1": 3}}}), "start.offsets.shop.orders.0"),
        (json!({"ago": "soon"}), "start.ago"),
        (json!({"since": "1h"}), "start.since"),
        (json!("now"), "start"),
    ] {
        spec["start"] = start;
        let problem = host.put(fresh, &spec).await.refused(422, "E020");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    for start in [json!({"offsets": {"shop.orders": {"0": 10}}}), json!({"timestamp": "2026-01-01T00:00:00.000Z"})] {
        spec["start"] = start.clone();
        assert_eq!(host.put(fresh, &spec).await.expect(202)["spec"]["start"], start);
    }
    // After the deployment, retention may have deleted the offset of a start: the start has no effect any more.
    spec["start"] = json!({"offsets": {"shop.orders": {"0": 99}}});
    host.put(fresh, &spec).await.expect(202);
}
