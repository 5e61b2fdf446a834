//! A host that dies again and again in the calls of one transform: that one is found and kept off, the others run.
//!
//! No guest is known that ends a host, so the test does it: it kills the host while a call of the culprit is under way,
//! as the host's own file of calls says.

use sandbar_harness::{Api, Host, KafkaCluster, Message, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};

const CALLS_HEADER_BYTES: usize = 256;
const SLOT_BYTES: usize = 256;

/// Waits until a call of the transform on one of its partitions is under way.
#[track_caller]
fn wait_in_call(host: &Host, transform: &str) {
    let path = host.data_dir().join("calls");
    wait::until(&format!("{transform} is in a call"), wait::PATIENCE, || {
        let calls = std::fs::read(&path).map_err(|error| error.to_string())?;
        let slots = calls.get(CALLS_HEADER_BYTES..).unwrap_or_default().chunks_exact(SLOT_BYTES);
        let is_in_call = |slot: &[u8]| {
            let id = &slot[12..12 + usize::from(slot[2])];
            slot[0] == 1 && slot[1] == 1 && id == transform.as_bytes()
        };
        if slots.into_iter().any(is_in_call) { Ok(()) } else { Err("it is not".to_owned()) }
    });
}

/// Kills the host in a call of the transform, and starts it again.
#[track_caller]
pub(crate) fn die_in_call(host: &mut Host, transform: &str) {
    wait_in_call(host, transform);
    host.kill9();
    host.start_again();
    host.wait_ready();
}

/// Waits until the transform's status on its only host is so.
#[track_caller]
fn wait_status(api: &Api, transform: &str, what: &str, holds: impl Fn(&Value) -> bool) {
    wait::until(&format!("{transform} is {what}"), wait::PATIENCE, || {
        let status = api.status(transform);
        if holds(&status) { Ok(()) } else { Err(status.to_string()) }
    });
}

fn is_quarantined(status: &Value) -> bool {
    let of_host = &status["hosts"][0];
    let failed = status["state"] == "failed" && status["rollout"]["state"] == "failed";
    failed && of_host["error"]["code"] == "E213" && status["rollout"]["error"]["code"] == "E213"
}

#[test]
fn a_culprit_is_found_and_the_others_run() {
    let kafka = KafkaCluster::shared();
    let mut host = Host::start(kafka, "quarantine");
    let api = host.api();
    let spec = json!({"limits": {"batch_time": "5s"}});
    let culprit = Job::new("quarantine", "loops", 1, guests::fixture(), json!({"mode": "loop"})).with(spec);
    let victim = Job::new("quarantine", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    let mut sent = Vec::new();
    let mut produce = |victim: &Job| {
        let messages = numbered(300, 10);
        victim.produce(&messages);
        sent.extend(messages);
    };
    let poison = |text: &str| culprit.produce(&[Message::new("key", format!("poison {text}"))]);
    culprit.deploy(&api);
    victim.deploy(&api);

    // One death, and the transform commits after it: nobody is held back for that.
    poison("once");
    produce(&victim);
    die_in_call(&mut host, &culprit.transform);
    culprit.wait_through(wait::PATIENCE);
    victim.wait_through(wait::PATIENCE);

    // From here on three in a row. The commit has cleared the one before, or it would be kept off after two.
    poison("again and again");
    for _ in 0..3 {
        produce(&victim);
        die_in_call(&mut host, &culprit.transform);
    }
    wait_status(&api, &culprit.transform, "quarantined", is_quarantined);
    produce(&victim);
    victim.wait_through(wait::PATIENCE);
    let metrics = api.get("/metrics").body;
    let gauges: Vec<&str> = metrics.lines().filter(|line| line.starts_with("sandbar_quarantined{")).collect();
    assert_eq!(gauges, [r#"sandbar_quarantined{team="tests",transform="loops"} 1"#]);

    // The transform stays so through a restart that somebody wants, and through a deployment of a mended module.
    assert_eq!(host.sigterm_and_wait(), Some(0));
    host.start_again();
    host.wait_ready();
    let culprit = culprit.with(json!({"config": {"mode": "echo"}}));
    culprit.deploy(&api);
    wait_status(&api, &culprit.transform, "quarantined with its new revision", |status| {
        is_quarantined(status) && status["rollout"]["revision"] == 2
    });

    // Until somebody resumes it.
    api.send("POST", "/v1/teams/tests/transforms/loops/resume", "application/json", b"{}").success();
    culprit.wait_through(wait::PATIENCE);
    wait_status(&api, &culprit.transform, "running", |status| {
        status["state"] == "running" && status["rollout"]["state"] == "complete"
    });
    assert!(!api.get("/metrics").body.contains("sandbar_quarantined{"));
    assert_eq!(topics::read_committed(kafka, &culprit.dead_letters).len(), 1, "the first poison");
    culprit.assert_output(&unchanged([&Message::new("key", "poison again and again")]));
    victim.assert_output(&unchanged(&sent));
}
