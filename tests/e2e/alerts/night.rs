//! The conditions that take minutes. They are made before those of [`super::cases`], which stay for minutes alone.

use std::path::Path;
use std::time::Duration;

use sandbar_harness::proxy::{END_TXN, JOIN_GROUP};
use sandbar_harness::{Host, Message, Producer, guests, topics, wait};
use serde_json::json;

use super::scene::{Scene, target};
use super::{Case, Cause, Resolves};
use crate::job::{Job, numbered};
use crate::quarantine::die_in_call;
use crate::secured::tokens::{Flow, TokenSite};

/// More than 20, of which each makes a rebalance at least.
const RESTARTS: usize = 25;
/// More than the second from which on a commit is slow.
const STALL: Duration = Duration::from_secs(3);
/// Transforms that wait for one table.
const WAITING: usize = 6;
/// Memory of each of three instances: together more than 2 GiB.
const HELD_BYTES: u64 = 800 << 20;
/// A key in two spellings.
const SPELLINGS: [&str; 2] = [r#"{"id":1}"#, r#"{"id": 1}"#];

pub(super) fn all() -> Vec<Case> {
    use Resolves::{AfterWindow, AtOnce};
    let case = |alert, resolves, provoke| Case { alert, resolves, provoke };
    vec![
        case("SandbarTableStale", AtOnce, table_stale),
        case("SandbarTableFailing", AfterWindow, table_failing),
        case("SandbarKafkaTokenFailing", AfterWindow, no_tokens),
        case("SandbarControlTopicFailing", AtOnce, not_ready),
        case("SandbarApiErrors", AfterWindow, api_errors),
        case("SandbarTransformQuarantined", AtOnce, quarantined),
        case("SandbarHostRestarting", AfterWindow, restarting),
        case("SandbarCommitSlow", AfterWindow, slow_commits),
        case("SandbarWorkerNotStarting", AtOnce, not_starting),
        case("SandbarRebalanceStorm", AfterWindow, storm),
        case("SandbarHostMemoryHigh", AtOnce, memory_high),
        case("SandbarVersionSkew", AtOnce, version_skew),
    ]
}

impl Scene {
    /// Has a host of a cluster of its own watched, too.
    fn watch_more(&mut self, host: &Host) {
        self.more.push(target(host, false));
        self.watch_all();
    }
}

/// Creates the topic of a table, with these keys.
fn table(scene: &Scene, topic: &str, keys: &[&str]) {
    topics::create_with(scene.kafka, &[topic], 1, &[("cleanup.policy", "compact")]);
    put(scene, topic, keys, Some("row"));
}

fn put(scene: &Scene, topic: &str, keys: &[&str], value: Option<&str>) {
    let message =
        |key: &&str| Message { key: Some(key.as_bytes().to_vec()), value: value.map(Into::into), ..Message::default() };
    Producer::new(scene.kafka).send_all(topic, &keys.iter().map(message).collect::<Vec<_>>());
}

/// Deletes one of the spellings, and writes the row of the other anew: a row counts if it is younger than such a tombstone.
fn keep_one_spelling(scene: &Scene, topic: &str) {
    put(scene, topic, &SPELLINGS[1..], None);
    std::thread::sleep(Duration::from_millis(20));
    put(scene, topic, &SPELLINGS[..1], Some("row"));
}

/// A table that was read, and gets a key in a second spelling.
fn table_stale(scene: &mut Scene) -> Cause {
    const TOPIC: &str = "alerts.stale.table";
    table(scene, TOPIC, &SPELLINGS[..1]);
    scene.deploy("stale", 1, json!({"mode": "echo"}), json!({"tables": {"rows": TOPIC}}));
    scene.wait_for(&format!("sandbar_table_entries{{topic=\"{TOPIC}\"}} == 1"));
    put(scene, TOPIC, &SPELLINGS[1..], Some("row"));
    let remove = |scene: &mut Scene| keep_one_spelling(scene, TOPIC);
    Cause { subject: ("topic", TOPIC.to_owned()), remove: Box::new(remove) }
}

/// A table that was never read, since it has a key in two spellings. Each transform that waits for it tries twice a minute.
fn table_failing(scene: &mut Scene) -> Cause {
    const TOPIC: &str = "alerts.failing.table";
    table(scene, TOPIC, &SPELLINGS);
    for number in 0..WAITING {
        scene.deploy(&format!("no-table-{number}"), 1, json!({"mode": "echo"}), json!({"tables": {"rows": TOPIC}}));
    }
    let remove = |scene: &mut Scene| keep_one_spelling(scene, TOPIC);
    Cause { subject: ("topic", TOPIC.to_owned()), remove: Box::new(remove) }
}

/// A provider of tokens that is gone, while the tokens of a team end.
fn no_tokens(scene: &mut Scene) -> Cause {
    let mut site = TokenSite::new("alerts-tokens", 20);
    let host = site.host();
    let mut orders = Flow::new(&site, &host.api(), "orders", "no-token");
    orders.goes_on(&host.api());
    scene.watch_more(&host);
    scene.wait_for("sandbar_kafka_token_failures_total{team=\"orders\"}");
    site.provider.stop();
    let subject = ("instance", host.address().to_string());
    let remove = move |scene: &mut Scene| {
        site.provider.run();
        scene.kept.push(Box::new((site, host)));
    };
    Cause { subject, remove: Box::new(remove) }
}

/// A control topic that is gone. Nobody asks whether the host is ready.
fn not_ready(scene: &mut Scene) -> Cause {
    const OWN: &str = "alerts-control";
    let host = Host::start(scene.kafka, OWN);
    scene.watch_more(&host);
    let topic = format!("_sandbar.{OWN}.deployments");
    topics::delete(scene.kafka, &topic);
    let subject = ("instance", host.address().to_string());
    scene.unready = Some(host);
    let remove = move |scene: &mut Scene| {
        topics::create_with(scene.kafka, &[&topic], 1, &[("cleanup.policy", "compact")]);
    };
    Cause { subject, remove: Box::new(remove) }
}

/// The answers of the host of [`not_ready`] to somebody who asks whether it is ready, as a balancer does.
fn api_errors(scene: &mut Scene) -> Cause {
    let host = scene.unready.as_ref().expect("it was started before");
    let api = host.api();
    // It ends with the host.
    std::thread::spawn(move || {
        while api.try_get("/readyz").is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    Cause::of_host(host, |_| ())
}

/// A host that dies three times in calls of one transform. Prometheus sees each of its lives.
fn quarantined(scene: &mut Scene) -> Cause {
    const OWN: &str = "alerts-quarantine";
    let mut host = Host::start(scene.kafka, OWN);
    scene.watch_more(&host);
    let limits = json!({"limits": {"batch_time": "5s"}});
    let job = Job::new(OWN, "quarantined", 1, guests::fixture(), json!({"mode": "loop"})).with(limits);
    job.deploy(&host.api());
    job.produce(&[Message::new("key", "poison")]);
    let up = format!("process_cpu_seconds_total{{instance=\"{}\"}}", host.address());
    for _ in 0..3 {
        scene.wait_for(&up);
        die_in_call(&mut host, &job.transform);
        let lives = scene.prometheus.query(&format!("resets({up}[15m])")).expect("valid");
        println!("the host was started again: {lives:?}");
        // A scrape of this life, before the next one.
        std::thread::sleep(2 * sandbar_harness::prometheus::SCRAPE);
    }
    scene.dying = Some(host);
    Cause::of_transform("quarantined", move |scene| {
        let host = scene.dying.as_ref().expect("it is there");
        let path = "/v1/teams/tests/transforms/quarantined/resume";
        host.api().send("POST", path, "application/json", b"{}").success();
    })
}

/// The host of [`quarantined`].
fn restarting(scene: &mut Scene) -> Cause {
    let host = scene.dying.as_ref().expect("it was started before");
    Cause::of_host(host, |_| ())
}

/// The brokers are slow to end transactions.
fn slow_commits(scene: &mut Scene) -> Cause {
    const OWN: &str = "alerts-slow";
    let host = Host::start_proxied(scene.kafka, OWN);
    scene.watch_more(&host);
    let job = Job::new(OWN, "slow", 1, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&host.api());
    job.produce(&numbered(10, 5));
    job.wait_through(wait::PATIENCE);
    scene.wait_for("sandbar_transaction_commit_seconds_count{transform=\"slow\"} > 0");
    for _ in 0..3 {
        let stalled = scene.kafka.faults().stall(&[END_TXN], &format!("sandbar.{OWN}.tests.slow"));
        job.produce(&numbered(10, 5));
        stalled.wait_caught();
        std::thread::sleep(STALL);
        drop(stalled);
        job.wait_through(wait::PATIENCE);
    }
    scene.slow = Some(host);
    Cause::of_transform("slow", |_| ())
}

/// The group does not take a worker in.
fn not_starting(scene: &mut Scene) -> Cause {
    const OWN: &str = "alerts-slow";
    let held = scene.kafka.faults().stall(&[JOIN_GROUP], &format!("sandbar.{OWN}.tests.starts"));
    let job = Job::new(OWN, "starts", 1, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&scene.slow.as_ref().expect("it was started before").api());
    Cause::of_transform("starts", move |_| drop(held))
}

fn storm(scene: &mut Scene) -> Cause {
    let job = scene.deploy("storm", 1, json!({"mode": "echo"}), json!({}));
    for _ in 0..RESTARTS {
        job.produce(&numbered(1, 1));
        job.wait_through(wait::PATIENCE);
        scene.post(&job, "restart");
    }
    Cause::of_transform("storm", |_| ())
}

/// Three instances that hold more than the 2 GiB of the rule.
fn memory_high(scene: &mut Scene) -> Cause {
    const OWN: &str = "alerts-memory";
    let host = Host::start(scene.kafka, OWN);
    scene.watch_more(&host);
    let config = json!({"mode": "hold", "bytes": HELD_BYTES});
    let job = Job::new(OWN, "memory", 3, guests::fixture(), config).with(json!({"limits": {"memory": "1GiB"}}));
    job.deploy(&host.api());
    job.produce(&numbered(30, 30));
    job.wait_through(wait::PATIENCE);
    let subject = ("instance", host.address().to_string());
    let remove = move |scene: &mut Scene| {
        let path = "/v1/teams/tests/transforms/memory/pause";
        host.api().send("POST", path, "application/json", b"{}").success();
        scene.kept.push(Box::new(host));
    };
    Cause { subject, remove: Box::new(remove) }
}

/// A host of another build than the others.
fn version_skew(scene: &mut Scene) -> Cause {
    let binary = std::env::var_os("SANDBAR_OTHER_BIN").expect("SANDBAR_OTHER_BIN, as `make nightly` sets it");
    let mut host = Host::new(scene.kafka, "alerts-skew", &[]);
    host.set_binary(Path::new(&binary));
    host.start_again();
    host.wait_ready();
    scene.watch_more(&host);
    Cause { subject: ("", String::new()), remove: Box::new(move |_| drop(host)) }
}
