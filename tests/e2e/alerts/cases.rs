//! The conditions that are made within seconds.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbar::model::units::Timestamp;
use sandbar_harness::{Message, guests, topics, wait};
use serde_json::json;

use super::scene::{CLUSTER, Scene, write_certificate};
use super::traffic::Traffic;
use super::{Case, Cause, Resolves};
use crate::job::{Job, numbered};

const DAY: Duration = Duration::from_secs(86_400);
const CALL: Duration = Duration::from_secs(20);
/// More than 10 a second over 5 minutes.
const GUESSES: usize = 4_000;

pub(super) fn all() -> Vec<Case> {
    use Resolves::{AfterAnHour, AfterWindow, AtOnce};
    let case = |alert, resolves, provoke| Case { alert, resolves, provoke };
    vec![
        case("SandbarTransformStalled", AtOnce, stalled),
        case("SandbarPartitionStuck", AtOnce, stuck),
        case("SandbarPartitionFailed", AtOnce, gap),
        case("SandbarHostDown", AtOnce, host_down),
        case("SandbarCertificateExpiring", AtOnce, certificate),
        case("SandbarFileRefused", AtOnce, file_refused),
        case("SandbarSignInFailures", AfterWindow, guesses),
        case("SandbarTransformPaused", AtOnce, paused),
        case("SandbarWorkerFailed", AtOnce, failed),
        case("SandbarWorkerDegraded", AtOnce, degraded),
        case("SandbarLagGrowing", AtOnce, growing),
        case("SandbarRecordsDeadLettered", AfterWindow, dead_letters),
        case("SandbarFailureRatioHigh", AfterWindow, failures),
        case("SandbarRecordsSkipped", AfterAnHour, skipped),
        case("SandbarGuestTraps", AfterWindow, traps),
        case("SandbarLogLinesDropped", AfterWindow, flood),
        case("SandbarEndToEndLatencyHigh", AfterWindow, late),
        case("SandbarTransactionsAborting", AfterWindow, aborting),
    ]
}

/// Records in a transaction of another producer, which holds up everybody who reads committed records.
fn open_transaction(scene: &Scene, topic: &str, partition: i32) -> BaseProducer {
    let mut config = scene.kafka.client();
    config.set("transactional.id", format!("{topic}.{partition}"));
    // Kafka aborts it after this time: later than the alert on a slow machine.
    config.set("transaction.timeout.ms", "600000");
    let producer: BaseProducer = config.create().expect("valid");
    producer.init_transactions(CALL).expect("Kafka answers");
    producer.begin_transaction().expect("none is open");
    for _ in 0..20 {
        let record = BaseRecord::to(topic).partition(partition).key("key").payload("value");
        producer.send(record).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(CALL).expect("Kafka answers");
    producer
}

fn stalled(scene: &mut Scene) -> Cause {
    let job = Job::new(CLUSTER, "stalled", 1, guests::fixture(), json!({"mode": "echo"}));
    let upstream = open_transaction(scene, &job.input, 0);
    job.deploy(&scene.host.api());
    Cause::of_transform("stalled", move |_| upstream.commit_transaction(CALL).expect("Kafka answers"))
}

/// The records are there before the transform: the lag of the partition was never smaller.
fn stuck(scene: &mut Scene) -> Cause {
    let job = Job::new(CLUSTER, "stuck", 2, guests::fixture(), json!({"mode": "echo"}));
    let upstream = open_transaction(scene, &job.input, 0);
    job.deploy(&scene.host.api());
    let messages = numbered(5, 5).into_iter().map(|message| message.to_partition(1)).collect();
    let traffic = Traffic::start(scene.kafka, &job.input, messages);
    Cause::of_transform("stuck", move |_| {
        upstream.commit_transaction(CALL).expect("Kafka answers");
        drop(traffic);
    })
}

/// Records are deleted before they are read, as by retention, while their transform is paused.
fn gap(scene: &mut Scene) -> Cause {
    const KEPT: i64 = 3;
    let job = scene.deploy("gap", 1, json!({"mode": "echo"}), json!({}));
    job.produce(&numbered(10, 5));
    job.wait_through(wait::PATIENCE);
    scene.pause(&job);
    job.produce(&numbered(10, 5));
    let first = topics::ends(scene.kafka, &job.input)[0] - KEPT;
    topics::delete_records(scene.kafka, &job.input, 0, first);
    scene.post(&job, "resume");
    Cause::of_transform("gap", move |scene| {
        scene.pause(&job);
        let offsets = json!({"offsets": [{"topic": job.input, "partition": 0, "offset": first}]}).to_string();
        let path = "/v1/teams/tests/transforms/gap/offsets";
        scene.host.api().send("PATCH", path, "application/json", offsets.as_bytes()).success();
        scene.post(&job, "resume");
    })
}

fn host_down(scene: &mut Scene) -> Cause {
    scene.spare.kill9();
    Cause::of_host(&scene.spare, |scene| {
        scene.spare.start_again();
        scene.spare.wait_ready();
    })
}

fn certificate(scene: &mut Scene) -> Cause {
    write_certificate(&scene.folder, 5 * DAY);
    Cause::of_host(&scene.secure, |scene| write_certificate(&scene.folder, 90 * DAY))
}

fn file_refused(scene: &mut Scene) -> Cause {
    let file = scene.folder.join("guarded.yaml");
    std::fs::write(&file, "teams: [").expect("writable");
    Cause::of_host(&scene.guarded, move |_| std::fs::write(file, "teams: {}\n").expect("writable"))
}

fn guesses(scene: &mut Scene) -> Cause {
    let api = scene.guarded.api();
    let guess = || assert_eq!(api.get("/v1/teams").status, 401);
    guess();
    scene.wait_for(&format!("sandbar_sign_in_failures_total{{instance=\"{}\"}}", scene.guarded.address()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..GUESSES / 4).for_each(|_| guess()));
        }
    });
    Cause::of_host(&scene.guarded, |_| ())
}

fn paused(scene: &mut Scene) -> Cause {
    let job = scene.deploy("paused", 1, json!({"mode": "echo"}), json!({}));
    scene.post(&job, "pause");
    Cause::of_transform("paused", move |scene| scene.post(&job, "resume"))
}

/// The file of teams takes a topic away from a team.
fn failed(scene: &mut Scene) -> Cause {
    let mut job = Job::new(CLUSTER, "failed", 1, guests::fixture(), json!({"mode": "echo"}));
    job.transform = "bounded/failed".to_owned();
    let file = scene.folder.join("teams.yaml");
    let rights = move |read: &[&str]| {
        let team = json!({"topics": {"read": read, "write": ["alerts.failed.out"]}});
        std::fs::write(&file, json!({"teams": {"bounded": team}}).to_string()).expect("writable");
    };
    job.deploy(&scene.host.api());
    scene.wait_for("sandbar_worker_state{transform=\"failed\",state=\"running\"} == 1");
    rights(&[]);
    Cause::of_transform("failed", move |_| rights(&["alerts.failed.in"]))
}

fn degraded(scene: &mut Scene) -> Cause {
    let job = scene.deploy("degraded", 2, json!({"mode": "fail"}), json!({"on_error": {"then": "pause"}}));
    job.produce(&[Message::new("key", "poison").to_partition(0)]);
    Cause::of_transform("degraded", move |scene| {
        let job = scene.mend(job, json!({"mode": "echo"}));
        scene.post(&job, "resume");
    })
}

/// Each record fails, and is run again after a second: more come than go.
fn growing(scene: &mut Scene) -> Cause {
    let slow = json!({"on_error": {"retry": {"attempts": 1, "backoff": "1s"}, "then": "skip"}});
    let job = scene.deploy("growing", 1, json!({"mode": "fail"}), slow);
    let traffic = Traffic::start(scene.kafka, &job.input, vec![Message::new("key", "poison"); 200]);
    Cause::of_transform("growing", move |scene| {
        drop(traffic);
        scene.mend(job, json!({"mode": "echo"}));
    })
}

fn poison() -> Vec<Message> {
    [numbered(5, 5), vec![Message::new("key", "poison")]].concat()
}

fn dead_letters(scene: &mut Scene) -> Cause {
    scene.busy("fails", json!({"mode": "fail"}), json!({}), poison())
}

/// The transform of [`dead_letters`] fails.
fn failures(_: &mut Scene) -> Cause {
    Cause::of_transform("fails", |_| ())
}

fn skipped(scene: &mut Scene) -> Cause {
    scene.busy("traps", json!({"mode": "panic"}), json!({"on_error": {"then": "skip"}}), poison())
}

/// The transform of [`skipped`] traps.
fn traps(_: &mut Scene) -> Cause {
    Cause::of_transform("traps", |_| ())
}

fn flood(scene: &mut Scene) -> Cause {
    scene.busy("floods", json!({"mode": "log-flood", "lines": 200}), json!({}), numbered(2, 2))
}

fn late(scene: &mut Scene) -> Cause {
    let an_hour_ago = Timestamp::now().0 - 3_600_000;
    let messages = numbered(5, 5).into_iter().map(|message| message.at(an_hour_ago)).collect();
    scene.busy("late", json!({"mode": "filter-odd"}), json!({}), messages)
}

/// A compacted topic refuses records without a key, and the transaction around them.
fn aborting(scene: &mut Scene) -> Cause {
    let job = Job::new(CLUSTER, "aborting", 1, guests::fixture(), json!({"mode": "echo"}));
    topics::configure(scene.kafka, &job.output, &[("cleanup.policy", "compact")]);
    job.deploy(&scene.host.api());
    let refused = Message { key: None, value: Some(b"value".to_vec()), ..Message::default() };
    let traffic = Traffic::start(scene.kafka, &job.input, vec![refused]);
    Cause::of_transform("aborting", move |_| drop(traffic))
}
