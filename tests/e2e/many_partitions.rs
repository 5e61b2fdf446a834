//! A transform with many partitions: it asks its brokers about all of them at once.

use sandbar_harness::proxy::LIST_OFFSETS;
use sandbar_harness::{Host, KafkaCluster, guests, wait};
use serde_json::json;

use crate::job::{Job, numbered, unchanged};

const CLUSTER: &str = "many-partitions";
const PARTITIONS: i32 = 60;
/// Of a start: the bounds before the first offsets and after them, with some repeats, of which a slow start has more. One
/// question for each partition would be 60 or more.
const QUESTIONS_MAX: usize = 40;

#[test]
fn a_start_asks_for_the_offsets_of_all_partitions_at_once() {
    let kafka = KafkaCluster::shared();
    let job = Job::new(CLUSTER, "echo", PARTITIONS, guests::fixture(), json!({"mode": "echo"}));
    let host = Host::start_proxied(kafka, CLUSTER);
    let asked = kafka.faults().count(LIST_OFFSETS, &job.input);
    job.deploy(&host.api());
    wait::until("all partitions run", wait::PATIENCE, || {
        let status = host.api().status(&job.transform);
        let all = status["hosts"][0]["partitions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let running = all.iter().filter(|partition| partition["state"] == "running").count();
        if running == PARTITIONS as usize { Ok(()) } else { Err(format!("{running} run")) }
    });
    let questions = asked.requests();
    assert!((1..=QUESTIONS_MAX).contains(&questions), "{questions} questions for {PARTITIONS} partitions");
    let messages = numbered(2000, 500);
    job.produce(&messages);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
}
