//! Control topics that are not as they should be: each an error with a code, and running transforms go on.

use sandbar_harness::{Api, Host, KafkaCluster, Message, Producer, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};

#[test]
fn wrong_settings_are_named_and_nothing_starts() {
    let kafka = KafkaCluster::shared();
    for (cluster, topic, partitions, policy, naming) in [
        ("wrong-a", "deployments", 1, "delete", "does not have cleanup.policy=compact"),
        ("wrong-b", "deployments", 4, "compact", "has 4 partitions, not 1"),
        ("wrong-c", "modules", 2, "compact,delete", "does not have cleanup.policy=compact"),
        ("wrong-d", "modules", 1, "compact", "has 1 partitions, not 2"),
        ("wrong-e", "status", 3, "compact", "has 3 partitions, not 1"),
    ] {
        let topic = format!("_sandbar.{cluster}.{topic}");
        topics::create_with(kafka, &[&topic], partitions, &[("cleanup.policy", policy)]);
        let mut host = Host::new(kafka, cluster, &[]);
        host.start_again();
        let last = host.wait_ended();
        for part in [topic.as_str(), naming, "E210", "docs/errors/E210.md"] {
            assert!(last.contains(part), "{topic}: {part:?} is not in\n{last}");
        }
    }
}

#[test]
fn foreign_data_is_skipped_and_said_so() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "foreign");
    let api = host.api();
    let job = Job::new("foreign", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&api);
    let producer = Producer::new(kafka);
    for topic in ["deployments", "modules", "status", "logs", "samples"] {
        let foreign = [
            Message::new("tests/echo", "hello"),
            Message::new("tests/echo@1", "{}"),
            Message::new([0xff, 0xfe], [0xff]),
            Message::new("sha256:nonsense", "1"),
            Message { key: None, value: Some(b"no key".to_vec()), ..Message::default() },
        ];
        let name = format!("_sandbar.foreign.{topic}");
        // A compacted topic refuses records without a key.
        let compacted = matches!(topic, "deployments" | "modules" | "status");
        for message in foreign.into_iter().filter(|message| !compacted || message.key.is_some()) {
            producer.send(&name, &message.to_partition(0));
        }
        producer.flush();
    }
    wait::until("the host says what it skips", wait::PATIENCE, || {
        let log = std::fs::read_to_string(host.log()).expect("its log");
        let all = ["deployments", "modules", "status"];
        let said = |topic: &&str| {
            let topic = format!("_sandbar.foreign.{topic}");
            log.lines().any(|line| line.contains("E205") && line.contains(&topic))
        };
        let missing: Vec<_> = all.iter().filter(|topic| !said(topic)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    });
    // The host goes on undisturbed, and so does a host that reads all of the topic from the start.
    let other = Host::start(kafka, "foreign");
    for api in [&api, &other.api()] {
        let status = api.status(&job.transform);
        assert_eq!(status["revision"], 1, "{status}");
        assert_eq!(api.get("/v1/teams/tests/transforms/echo/logs").success().status, 200);
    }
    other.api().deploy(&job.transform, &{
        let mut spec = job.spec.clone();
        spec["module"] = api.upload(&job.module).into();
        spec["config"] = json!({"mode": "echo", "tag": "2"});
        spec
    });
    let messages = numbered(500, 10);
    job.produce(&messages);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
}

/// Writes statuses of a host that does not exist, and modules that nobody uploaded.
fn forge_statuses_and_modules(send: impl Fn(&str, &str, &Value)) {
    let beyond = u64::MAX;
    let status = json!({
        "team": "tests", "name": "echo", "host": "forger", "state": "failed", "revision": beyond, "partitions": [],
        "rollout": {"revision": beyond, "state": "failed"},
    });
    let forger = json!({
        "host": "forger", "version": "", "started_at": i64::MIN, "seen_at": i64::MAX, "transforms": beyond, "partitions": 0,
    });
    send("status", "forger", &forger);
    send("status", "tests/echo@forger", &status);
    send("status", "tests/echo@other", &status);
    for manifest in [json!({"bytes": beyond, "chunks": u32::MAX, "chunks_from": i64::MAX, "upload": "a"}), json!([])] {
        for digest in ["a", "b"] {
            send("modules", &format!("sha256:{}", digest.repeat(64)), &manifest);
        }
    }
}

/// Waits until the host that is no forger runs this revision.
#[track_caller]
fn wait_running(api: &Api, job: &Job, deployed: &Value) {
    wait::until("the new revision runs", wait::PATIENCE, || {
        let status = api.status(&job.transform);
        let hosts = status["hosts"].as_array().expect("a list");
        let own = hosts.iter().find(|status| status["host"] != "forger").unwrap_or(&Value::Null);
        let runs = own["state"] == "running" && own["revision"] == *deployed && own["rollout"]["state"] == "complete";
        if runs { Ok(()) } else { Err(format!("{deployed}: {status}")) }
    });
}

/// Whoever may write to the control topics may write any number.
#[test]
fn forged_records_lock_nobody_out() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "forged");
    let api = host.api();
    let mut job = Job::new("forged", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&api);
    let producer = Producer::new(kafka);
    let newest = || {
        let records = topics::read_committed(kafka, "_sandbar.forged.deployments");
        let newest = records.into_iter().rfind(|record| record.key_text() == "tests/echo").expect("it was deployed");
        serde_json::from_str::<Value>(&newest.value_text()).expect("a deployment")
    };
    let send = |topic: &str, key: &str, value: &Value| {
        let message = Message::new(key, value.to_string()).to_partition(0);
        producer.send(&format!("_sandbar.forged.{topic}"), &message);
        producer.flush();
    };
    let mut all = Vec::new();
    let largest = 1u64 << 53;
    let beyond = u64::MAX;
    let numbers = |number: u64| json!({"restarts": number, "resumes": number, "resets": number});
    forge_statuses_and_modules(send);
    for (round, forged) in [
        json!({"revision": beyond, "changes": beyond}),
        json!({"asked": numbers(beyond), "changed_at": i64::MIN}),
        json!({"revision": largest, "changes": largest, "changed_at": i64::MAX}),
        json!({"asked": numbers(largest)}),
    ]
    .iter()
    .enumerate()
    {
        let mut deployment = newest();
        deployment.as_object_mut().expect("an object").extend(forged.as_object().expect("an object").clone());
        send("deployments", "tests/echo", &deployment);
        send("deployments", &format!("tests/echo@{beyond}"), &deployment);
        // The transform's work goes on. Its owner deploys, and the new revision runs.
        let messages = numbered(200, 10);
        job.produce(&messages);
        job.wait_through(wait::PATIENCE);
        job.spec["config"]["tag"] = json!(round.to_string());
        job.deploy(&api);
        let deployed = newest()["revision"].clone();
        wait_running(&api, &job, &deployed);
        let more = numbered(200, 10);
        job.produce(&more);
        job.wait_through(wait::PATIENCE);
        let last = job.outputs().pop().expect("an output").header("tag");
        assert_eq!(last, Some(round.to_string()), "{forged}");
        all.extend(messages);
        all.extend(more);
        for path in ["", "/revisions", "/status"] {
            api.get(&format!("/v1/teams/tests/transforms/echo{path}")).success();
        }
        api.get("/v1/hosts").success();
    }
    job.assert_output(&unchanged(&all));
    let mut other = Host::start(kafka, "forged");
    assert_eq!(other.sigterm_and_wait(), Some(0), "one that read all of it from the start");
}

#[test]
fn a_topic_deleted_while_running_stops_changes_and_nothing_else() {
    let kafka = KafkaCluster::shared();
    let host = Host::start(kafka, "deleted");
    let api = host.api();
    let job = Job::new("deleted", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&api);
    let mut all = Vec::new();
    let mut goes_on = || {
        let messages = numbered(500, 10);
        job.produce(&messages);
        job.wait_through(wait::PATIENCE);
        all.extend(messages);
    };
    goes_on();
    let mut spec = job.spec.clone();
    spec["module"] = api.upload(&job.module).into();
    for (topic, partitions) in [("deployments", 1), ("modules", 2)] {
        let name = format!("_sandbar.deleted.{topic}");
        topics::delete(kafka, &name);
        spec["config"] = json!({"mode": "echo", "tag": topic});
        wait::until("a change is refused by name", wait::PATIENCE, || {
            let answer = api.try_deploy_with(&job.transform, &spec, &job.module);
            let refused = (answer.status, &answer.json()["code"]) == (502, &json!("E210")) && answer.body.contains(&name);
            if refused { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        goes_on();
        let status = api.status(&job.transform);
        assert_eq!(status["state"], "running", "{status}");
        let readiness = |expected: u16| {
            wait::until(&format!("the host answers {expected} to who asks whether it is ready"), wait::PATIENCE, || {
                let answer = api.get("/readyz");
                let named = expected == 200 || answer.body.contains(&name);
                if answer.status == expected && named { Ok(()) } else { Err(format!("{answer:?}")) }
            });
        };
        readiness(503);
        // The new topic is written, and counts on from the last revision.
        let before = status["rollout"]["revision"].as_u64().expect("a number");
        topics::create_with(kafka, &[&name], partitions, &[("cleanup.policy", "compact")]);
        readiness(200);
        wait::until("changes are taken again", wait::PATIENCE, || {
            let answer = api.try_deploy_with(&job.transform, &spec, &job.module);
            let revision = answer.json()["revision"].as_u64();
            if answer.status < 300 && revision == Some(before + 1) { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        wait::until("the new revision runs", wait::PATIENCE, || {
            let status = api.status(&job.transform);
            if status["rollout"]["state"] == "complete" { Ok(()) } else { Err(status.to_string()) }
        });
        goes_on();
    }
    // Nothing depends on these topics: the host creates them again by itself.
    for topic in ["status", "logs", "samples"] {
        topics::delete(kafka, &format!("_sandbar.deleted.{topic}"));
    }
    goes_on();
    api.send("POST", "/v1/teams/tests/transforms/echo/pause", "application/json", b"").success();
    wait::until("logs and hosts are told again", 2 * wait::PATIENCE, || {
        let logs = api.get("/v1/teams/tests/transforms/echo/logs");
        let told = logs.status == 200 && logs.body.contains("paused by request");
        let status = topics::partitions(kafka, "_sandbar.deleted.status");
        if told && status == Some(1) { Ok(()) } else { Err(format!("{status:?} {logs:?}")) }
    });
    // A host that knew nothing before knows it all now.
    let other = Host::start(kafka, "deleted");
    let status = other.api().status(&job.transform);
    assert_eq!((&status["revision"], &status["desired"]), (&json!(3), &json!("paused")), "{status}");
    wait::until("it sees the other", wait::PATIENCE, || {
        let hosts = other.api().get("/v1/hosts").json();
        if hosts["hosts"].as_array().is_some_and(|all| all.len() == 2) { Ok(()) } else { Err(hosts.to_string()) }
    });
    job.assert_output(&unchanged(&all));
}

/// The group's offsets outlive the catalog: a new deployment goes on from them.
#[test]
fn a_cluster_whose_topics_were_lost_goes_on_counting() {
    let kafka = KafkaCluster::shared();
    let mut host = Host::start(kafka, "anew");
    let mut job = Job::new("anew", "echo", 2, guests::fixture(), json!({"mode": "echo", "tag": "1"}));
    job.deploy(&host.api());
    job.spec["config"]["tag"] = json!("2");
    job.deploy(&host.api());
    wait::until("the second revision runs", wait::PATIENCE, || {
        let status = host.api().status(&job.transform);
        if status["rollout"]["state"] == "complete" { Ok(()) } else { Err(status.to_string()) }
    });
    let messages = numbered(1_000, 10);
    job.produce(&messages[..500]);
    job.wait_through(wait::PATIENCE);
    assert_eq!(host.sigterm_and_wait(), Some(0));
    for topic in ["deployments", "modules", "status", "logs", "samples"] {
        topics::delete(kafka, &format!("_sandbar.anew.{topic}"));
    }
    host.start_again();
    host.wait_ready();
    job.deploy(&host.api());
    assert_eq!(host.api().status(&job.transform)["revision"], 3);
    job.produce(&messages[500..]);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
}
