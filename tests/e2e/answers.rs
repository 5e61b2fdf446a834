//! The status tells the reason why a transform stands still, and E201 only of what passes by itself.

use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, Producer as _};
use sandbar::kafka::{KafkaConfig, KafkaLog};
use sandbar::ports::{Log as _, LogRecord};
use sandbar_harness::proxy::PRODUCE;
use sandbar_harness::{Api, Host, KafkaCluster, Message, OwnKafka, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered};

const CALL: Duration = Duration::from_secs(20);

fn echo(kafka: &'static KafkaCluster, cluster: &str, fields: Value) -> Job {
    Job::on(kafka, (cluster, "echo"), 1, guests::fixture(), json!({"mode": "echo"})).with(fields)
}

/// Waits until the status is so.
#[track_caller]
fn wait_status(api: &Api, job: &Job, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, wait::PATIENCE, || {
        let status = api.status(&job.transform);
        if holds(&status) { Ok(status) } else { Err(status.to_string()) }
    })
}

#[track_caller]
fn wait_runs(api: &Api, job: &Job) {
    wait_status(api, job, "it runs", |status| {
        status["state"] == "running" && status["rollout"]["state"] == "complete" && status["hosts"][0]["error"].is_null()
    });
}

/// Waits until a host's status has the error, and shows that nothing of the transform runs.
#[track_caller]
fn wait_failed(api: &Api, job: &Job, code: &str) -> Value {
    wait_status(api, job, &format!("it has failed with {code}"), |status| {
        status["hosts"][0]["error"]["code"] == code && status["state"] == "failed"
    })
}

/// Brokers permit sessions of 6 s and more.
#[test]
fn a_worker_that_cannot_join_is_not_running() {
    let kafka = KafkaCluster::shared();
    let options = ["--kafka-property", "session.timeout.ms=5000"];
    let host = Host::start_with(kafka, "answers-join", &options);
    let job = echo(kafka, "answers-join", json!({}));
    job.deploy(&host.api());
    let status = wait_failed(&host.api(), &job, "E233");
    assert_ne!(status["rollout"]["state"], "complete", "{status}");
    assert_eq!((&status["running_revisions"], &status["revision"]), (&json!([]), &json!(1)), "{status}");
}

/// The group takes one member, and the transform has two.
#[test]
fn a_group_that_is_full_is_named() {
    let own = OwnKafka::start_with("group.max.size=1\n");
    let kafka = own.cluster();
    let host = Host::start(kafka, "answers-full");
    let job = echo(kafka, "answers-full", json!({"workers": 2}));
    job.deploy(&host.api());
    let status = wait_status(&host.api(), &job, "one worker is refused", |status| {
        status["hosts"][0]["error"]["code"] == "E233" && status["state"] == "degraded"
    });
    assert_ne!(status["rollout"]["state"], "complete", "{status}");
    job.produce(&numbered(100, 5));
    job.wait_through(wait::PATIENCE);
}

#[test]
fn an_input_that_is_deleted_is_named_until_it_is_back() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "answers-gone");
    let job = echo(kafka, "answers-gone", json!({}));
    job.deploy(&host.api());
    job.produce(&numbered(100, 5));
    job.wait_through(wait::PATIENCE);
    wait_runs(&host.api(), &job);
    topics::delete(kafka, &job.input);
    wait_failed(&host.api(), &job, "E207");
    topics::create(kafka, &[&job.input], 1);
    wait_runs(&host.api(), &job);
}

/// Another producer takes the id of the host's worker, again and again.
#[test]
fn a_worker_that_is_fenced_says_so() {
    let kafka = KafkaCluster::shared();
    let host = Host::start_with(kafka, "answers-fenced", &["--host", "fenced"]);
    let job = echo(kafka, "answers-fenced", json!({}));
    job.deploy(&host.api());
    wait_runs(&host.api(), &job);
    let id = "sandbar.answers-fenced.tests.echo.fenced.0";
    wait::until("the host says that it was fenced", wait::PATIENCE, || {
        let mut config = kafka.client();
        let other: BaseProducer = config.set("transactional.id", id).create().expect("valid");
        other.init_transactions(CALL).map_err(|error| error.to_string())?;
        job.produce(&numbered(10, 5));
        let status = host.api().status(&job.transform);
        if status["hosts"][0]["error"]["code"] == "E203" { Ok(()) } else { Err(status.to_string()) }
    });
    wait_runs(&host.api(), &job);
    job.wait_through(wait::PATIENCE);
}

/// Rights are taken from everybody, and given back.
#[test]
fn a_right_that_is_missing_is_named() {
    let settings = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                    allow.everyone.if.no.acl.found=true\n";
    let own = OwnKafka::start_with(settings);
    let kafka = own.cluster();
    let host = Host::start_with(kafka, "answers-rights", &["--host", "a"]);
    let api = host.api();
    let job = echo(kafka, "answers-rights", json!({}));
    job.deploy(&api);
    wait_runs(&api, &job);
    let group = "sandbar.answers-rights.tests.echo";
    let id = format!("{group}.a.0");
    for (resource, name, operation) in [
        ("--group", group, "Read"),
        ("--topic", job.input.as_str(), "Read"),
        ("--topic", job.output.as_str(), "Write"),
        ("--transactional-id", id.as_str(), "Write"),
    ] {
        kafka.deny(resource, name, operation);
        job.produce(&numbered(100, 5));
        wait_status(&api, &job, &format!("E204 without {operation} of {name}"), |status| {
            status["hosts"][0]["error"]["code"] == "E204" && status["state"] != "running"
        });
        kafka.allow(resource, name);
        job.wait_through(wait::PATIENCE);
        wait_runs(&api, &job);
    }
}

#[test]
fn the_lag_of_a_paused_partition_goes_on() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "answers-lag");
    let api = host.api();
    let job = Job::new("answers-lag", "pauses", 1, guests::fixture(), json!({"mode": "fail"}));
    let job = job.with(json!({"on_error": {"then": "pause"}}));
    job.deploy(&api);
    job.produce(&[Message::new("k", "poison")]);
    wait_status(&api, &job, "it is paused", |status| status["hosts"][0]["partitions"][0]["state"] == "paused");
    for more in [50, 70] {
        let before = api.status(&job.transform)["lag"].as_u64().expect("known");
        job.produce(&numbered(more, 5));
        let lag = before + more as u64;
        wait_status(&api, &job, &format!("the lag is {lag}"), |status| status["lag"] == lag);
        let gauge = format!(
            "sandbar_lag_records{{partition=\"0\",team=\"tests\",topic=\"{}\",transform=\"pauses\"}} {lag}",
            job.input
        );
        wait::until("the metric says the same", wait::PATIENCE, || {
            let metrics = api.get("/metrics").body;
            let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with("sandbar_lag_records")).collect();
            if lines.contains(&gauge.as_str()) { Ok(()) } else { Err(lines.join("\n")) }
        });
    }
}

/// A topic that takes nothing keeps nobody from writing another one: each has a client of its own.
#[test]
fn an_append_does_not_wait_for_one_to_another_topic() {
    let kafka = KafkaCluster::shared();
    topics::create(kafka, &["answers.dead", "answers.live"], 1);
    let log = KafkaLog::new(KafkaConfig { brokers: kafka.proxied().to_owned(), ..KafkaConfig::default() });
    let log = log.expect("a client");
    let record = || LogRecord { offset: 0, timestamp: -1, key: None, value: Some(vec![1]), headers: Vec::new() };
    let append = |topic: &str| log.append(&topic.parse().expect("valid"), Some(0), vec![record()]);
    append("answers.live").expect("both are there");
    let stall = kafka.faults().stall(&[PRODUCE], "answers.dead");
    std::thread::scope(|scope| {
        let dead = scope.spawn(|| append("answers.dead"));
        stall.wait_caught();
        append("answers.live").expect("the other topic takes it");
        assert!(!dead.is_finished(), "the append waited for that to the dead topic");
        drop(stall);
        let _ = dead.join().expect("no panic");
    });
}

/// Log lines and events are written to a topic that does not answer; the status is told all the same.
#[test]
fn a_dead_topic_of_the_logs_makes_no_host_look_dead() {
    let kafka = KafkaCluster::shared();
    let hosts = [(); 2].map(|()| Host::start_proxied(kafka, "answers-logs"));
    let [one, other] = hosts.each_ref().map(Host::api);
    let job = echo(kafka, "answers-logs", json!({}));
    job.deploy(&one);
    wait_runs(&one, &job);
    let turn = |verb: &str, state: &str| {
        let route = format!("/v1/teams/tests/transforms/echo/{verb}");
        one.send("POST", &route, "application/json", b"{}").success();
        wait_status(&other, &job, &format!("the other host sees that it is {state}"), |status| {
            let listed = other.get("/v1/hosts").success().json();
            assert_eq!(listed["hosts"].as_array().map(Vec::len), Some(2), "a host looks dead: {listed}");
            status["state"] == state && status["hosts"].as_array().is_some_and(|hosts| hosts.len() == 2)
        });
    };
    let stall = kafka.faults().stall(&[PRODUCE], "_sandbar.answers-logs.logs");
    turn("pause", "paused");
    stall.wait_caught();
    // A host that is silent for 10 s looks dead.
    let until = Instant::now() + Duration::from_secs(40);
    while Instant::now() < until {
        turn("resume", "running");
        turn("pause", "paused");
    }
    drop(stall);
}
