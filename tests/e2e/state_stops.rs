//! Faults that would damage state: a transform is refused or stops, with the reason. And ticks.

use std::collections::BTreeMap;

use sandbar_harness::{Host, KafkaCluster, Message, Producer, Seed, guests, topics, wait};
use serde_json::{Value, json};

use crate::faults::run;
use crate::stateful::{Stateful, messages};

/// Waits until the transform's status has an error of this code. Returns the status.
#[track_caller]
fn wait_for_error(host: &Host, stateful: &Stateful, code: &str) -> Value {
    let api = host.api();
    let name = stateful.job.transform.replace('/', "/transforms/");
    wait::until(&format!("the status says {code}"), wait::PATIENCE, || {
        let status = api.try_get(&format!("/v1/teams/{name}/status"))?.body;
        if status.contains(&format!("\"{code}\"")) { Ok(serde_json::from_str(&status).expect("JSON")) } else { Err(status) }
    })
}

fn ones(keys: u64) -> Vec<Message> {
    (0..keys).map(|key| Message::new(format!("key-{key}"), "1")).collect()
}

#[test]
fn inputs_that_share_a_store_have_equal_partitions() {
    let kafka = KafkaCluster::shared();
    topics::create(kafka, &["state-counts.other"], 3);
    let stateful = Stateful::new("state-counts", 4, json!({"mode": "fold"}), json!({}));
    let job = &stateful.job;
    let mut spec = job.spec.clone();
    spec["inputs"] = json!([job.input, "state-counts.other"]);
    let host = Host::start(kafka, "state-counts");
    let refused = host.api().try_deploy_with(&job.transform, &spec, &guests::stateful());
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("E050")), "{}", refused.body);
    for counted in [format!("{} has 4 partitions", job.input), "state-counts.other has 3 partitions".to_owned()] {
        assert!(refused.body.contains(&counted), "{}", refused.body);
    }
    assert_eq!(topics::partitions(kafka, &stateful.changelog), None, "nothing was made on the way");

    // A changelog of an earlier deployment, with other counts.
    topics::create_with(kafka, &[&stateful.changelog], 3, &[("cleanup.policy", "compact")]);
    let refused = host.api().try_deploy_with(&job.transform, &job.spec, &guests::stateful());
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("E052")), "{}", refused.body);

    // Stores that the guest opens and the spec lacks.
    let spec = job.spec.as_object().expect("an object").iter().filter(|(field, _)| *field != "state");
    let spec: Value = Value::Object(spec.map(|(field, value)| (field.clone(), value.clone())).collect());
    let refused = host.api().try_deploy_with(&job.transform, &spec, &guests::stateful());
    assert!(refused.status == 422 && refused.body.contains("declares no store"), "{}", refused.body);
}

/// Else Kafka would delete entries that the store still has: it would have them until its partition moves. The topic is one
/// that version 0.1 made.
#[test]
fn a_longer_ttl_wants_a_changelog_that_keeps_as_long() {
    let kafka = KafkaCluster::shared();
    let mut stateful = Stateful::new("state-ttl", 2, json!({"mode": "fold"}), json!({}));
    let host = Host::start(kafka, "state-ttl");
    let settings = [("cleanup.policy", "compact,delete"), ("retention.ms", "10800000")];
    topics::create_with(kafka, &[&stateful.changelog], 2, &settings);
    let mut deploy = |ttl: &str| {
        for (_, store) in stateful.job.spec["state"].as_object_mut().expect("it has stores") {
            store["ttl"] = ttl.into();
        }
        host.api().try_deploy_with(&stateful.job.transform, &stateful.job.spec, &guests::stateful())
    };
    deploy("2h").success();
    let refused = deploy("30days");
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("E052")), "{}", refused.body);
    let wanted = (30 * 24 + 1) * 3_600_000_i64;
    assert!(refused.body.contains(&format!("set its retention.ms to {wanted}")), "{}", refused.body);
    deploy("1h").success();
}

/// A topic that this version makes deletes nothing by its age, so that any ttl fits.
#[test]
fn a_changelog_that_is_compacted_only_fits_every_ttl() {
    let kafka = KafkaCluster::shared();
    let mut stateful = Stateful::new("state-any-ttl", 2, json!({"mode": "fold"}), json!({}));
    let host = Host::start(kafka, "state-any-ttl");
    for ttl in ["2h", "30days", "1h"] {
        for (_, store) in stateful.job.spec["state"].as_object_mut().expect("it has stores") {
            store["ttl"] = ttl.into();
        }
        host.api().try_deploy_with(&stateful.job.transform, &stateful.job.spec, &guests::stateful()).success();
    }
}

/// From then on keys are elsewhere: nothing more is processed, on old partitions or new ones.
#[test]
fn an_input_gets_more_partitions() {
    const KEYS: u64 = 200;
    let kafka = KafkaCluster::shared();
    let stateful = Stateful::new("state-raised", 4, json!({"mode": "fold"}), json!({}));
    let host = Host::start(kafka, "state-raised");
    stateful.job.deploy(&host.api());
    stateful.job.produce(&ones(KEYS));
    stateful.job.wait_through(wait::PATIENCE);
    topics::raise_partitions(kafka, &stateful.job.input, 6);
    // At once, to where producers put keys that know it: none may be counted there.
    let moved = (0..KEYS).map(|key| format!("key-{key}")).map(|key| {
        let partition = sandbar_shop::partition_for(key.as_bytes(), 6);
        Message::new(key, "1").to_partition(partition as i32)
    });
    stateful.job.produce(&moved.collect::<Vec<_>>());
    let status = wait_for_error(&host, &stateful, "E221").to_string();
    // By whom it was found first: who counts the input's, or who opens the state of a new one.
    assert!(status.contains("changelogs have 4"), "{status}");

    let stopped = stateful.job.outputs().len();
    // The transform is tried again, and refused again, also by a host that starts.
    let other = Host::start(kafka, "state-raised");
    wait_for_error(&other, &stateful, "E221");
    assert_eq!((stopped, stateful.job.outputs().len()), (KEYS as usize, KEYS as usize));
    let sums: BTreeMap<_, _> = stateful.fold_changelog().into_iter().flat_map(|(sums, _)| sums).collect();
    assert!(sums.len() == KEYS as usize && sums.values().all(|sum| *sum == (1, 1)), "{sums:?}");
}

/// An empty store in its place would be wrong in silence.
#[test]
fn a_changelog_topic_that_was_deleted() {
    const KEYS: u64 = 100;
    let kafka = KafkaCluster::shared();
    let stateful = Stateful::new("state-lost", 2, json!({"mode": "fold"}), json!({}));
    let mut host = Host::start(kafka, "state-lost");
    stateful.job.deploy(&host.api());
    stateful.job.produce(&ones(KEYS));
    stateful.job.wait_through(wait::PATIENCE);
    let foreign = (0..2 * KEYS).map(|n| Message::new(format!("key-{n}"), "of another life"));
    let foreign: Vec<Message> = foreign.flat_map(|record| [0, 1].map(|at| record.clone().to_partition(at))).collect();
    for fault in ["deleted", "made anew", "made anew, and as long as it was"] {
        assert_eq!(host.sigterm_and_wait(), Some(0));
        match fault {
            "deleted" => topics::delete(kafka, &stateful.changelog),
            "made anew" => topics::create_with(kafka, &[&stateful.changelog], 2, &[("cleanup.policy", "compact")]),
            _ => Producer::new(kafka).send_all(&stateful.changelog, &foreign),
        }
        host.start_again();
        host.wait_ready();
        stateful.job.produce(&ones(KEYS));
        let status = wait_for_error(&host, &stateful, "E220").to_string();
        assert!(status.contains(&stateful.changelog), "{status}");
    }
    assert_eq!(stateful.job.outputs().len(), KEYS as usize, "it went on");
}

/// Each tick counts on from the one before, and its output is there once, also when its host is killed.
#[test]
fn ticks_are_exact() {
    let mut seed = Seed::new("ticks_are_exact");
    let stateful = Stateful::new("state-ticks", 2, json!({"mode": "fold"}), json!({ "tick": "100ms" }));
    let mut host = Host::start(KafkaCluster::shared(), "state-ticks");
    stateful.job.deploy(&host.api());
    let messages = messages(&mut seed, 20_000, 100);
    run(&stateful.job, &messages, 4_000, &mut seed, 2, |_| {
        host.kill9();
        host.start_again();
    });
    let ticks = || {
        let outputs = stateful.job.outputs();
        let all: Vec<Vec<u64>> = (0..2)
            .map(|partition| {
                let own = outputs.iter().filter(|record| record.key_text() == format!("tick-{partition}"));
                own.map(|record| record.value_text().parse().expect("a number")).collect()
            })
            .collect();
        all
    };
    // Also where there is nothing but ticks.
    let before: usize = ticks().iter().map(Vec::len).min().expect("two");
    wait::until("ticks go on", wait::PATIENCE, || {
        let fewest = ticks().iter().map(Vec::len).min().expect("two");
        if fewest > before + 5 { Ok(()) } else { Err(format!("{fewest} after {before}")) }
    });
    assert_eq!(host.sigterm_and_wait(), Some(0));
    let counted: Vec<u64> = stateful.fold_changelog().into_iter().map(|(_, ticks)| ticks).collect();
    for (ticks, counted) in ticks().into_iter().zip(counted) {
        assert_eq!(ticks, (1..=counted).collect::<Vec<_>>());
    }
    stateful.assert_exact();
}

/// Hosts with different inputs could both have the state of a number.
#[test]
fn inputs_change_while_nobody_has_the_stores_open() {
    const KEYS: u64 = 40;
    let kafka = KafkaCluster::shared();
    let other = "state-inputs.other";
    topics::create(kafka, &[other], 4);
    let mut stateful = Stateful::new("state-inputs", 4, json!({"mode": "fold"}), json!({}));
    let hosts = [(); 2].map(|()| Host::start(kafka, "state-inputs"));
    stateful.job.deploy(&hosts[0].api());
    stateful.job.produce(&ones(KEYS));
    stateful.job.wait_through(wait::PATIENCE);
    let inputs = [json!([stateful.job.input, other]), json!([other]), json!([other, stateful.job.input])];
    for host in &hosts {
        for inputs in &inputs {
            let mut spec = stateful.job.spec.clone();
            spec["inputs"] = inputs.clone();
            let refused = host.api().try_deploy_with(&stateful.job.transform, &spec, &guests::stateful());
            assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("E057")), "{}", refused.body);
        }
    }
    let send = |host: &Host, verb: &str| {
        let path = format!("/v1/teams/tests/transforms/state-inputs/{verb}");
        host.api().send("POST", &path, "application/json", b"").success();
    };
    send(&hosts[0], "pause");
    stateful.job.spec["inputs"] = inputs[0].clone();
    // The other host takes it once both have left the group.
    stateful.job.deploy(&hosts[1].api());
    send(&hosts[0], "resume");
    stateful.job.wait_for_hosts(&hosts[0].api(), 2);
    sandbar_harness::Producer::new(kafka).send_all(other, &ones(KEYS));
    wait::until_complete("both inputs are counted together", wait::PATIENCE, || {
        let sums: BTreeMap<_, _> = stateful.fold_changelog().into_iter().flat_map(|(sums, _)| sums).collect();
        let fits = sums.len() == KEYS as usize && sums.values().all(|sum| *sum == (2, 2));
        if fits { Ok(()) } else { Err(format!("{sums:?}")) }
    });
}

/// A host that stood still sees a pause, a reset and a resume as one change.
#[test]
fn a_reset_that_a_host_sees_late_is_taken_up() {
    const KEYS: u64 = 40;
    let kafka = KafkaCluster::shared();
    let mut stateful = Stateful::new("state-late", 4, json!({"mode": "fold"}), json!({}));
    let mut hosts = [(); 2].map(|()| Host::start(kafka, "state-late"));
    let api = hosts[1].api();
    stateful.job.deploy(&api);
    stateful.job.wait_for_hosts(&api, 2);
    stateful.job.produce(&ones(KEYS));
    stateful.job.wait_through(wait::PATIENCE);
    let path = "/v1/teams/tests/transforms/state-late";
    hosts[0].sigstop();
    api.send("POST", &format!("{path}/pause"), "application/json", b"").success();
    api.send("DELETE", &format!("{path}/state"), "application/json", b"").success();
    api.send("POST", &format!("{path}/resume"), "application/json", b"").success();
    hosts[0].sigcont();
    let parts = |status: &Value| -> Vec<Value> {
        let hosts = status["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
        hosts.iter().flat_map(|host| host["partitions"].as_array().cloned().unwrap_or_default()).collect()
    };
    wait::until("all stores are empty", 2 * wait::PATIENCE, || {
        let status = api.status("tests/state-late");
        let parts = parts(&status);
        let is_empty = |part: &Value| part["state"] == "running" && part["stores"][0]["entries"] == 0;
        if parts.len() == 4 && parts.iter().all(is_empty) { Ok(()) } else { Err(status.to_string()) }
    });
    stateful.job.produce(&ones(KEYS));
    stateful.job.wait_through(wait::PATIENCE);
    stateful.changelog.push_str(".1");
    let sums: BTreeMap<_, _> = stateful.fold_changelog().into_iter().flat_map(|(sums, _)| sums).collect();
    assert!(sums.len() == KEYS as usize && sums.values().all(|sum| *sum == (1, 1)), "{sums:?}");
}
