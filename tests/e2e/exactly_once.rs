//! Exactly once, whatever is done to the hosts: per key the exact sequence, nothing lost, nothing twice.

use sandbar_harness::{Host, KafkaCluster, Message, Seed, guests};
use sandbar_shop::Generator;
use serde_json::Value;

use crate::faults::run;
use crate::job::{ByKey, Job};

const RECORDS: usize = 200_000;
/// The lead of the producer before the hosts.
const AHEAD: i64 = 40_000;

/// The shop's change events, field-strip as it is shipped, and the outputs that the shop expects.
fn workload(cluster: &str, seed: &Seed) -> (Job, Vec<Message>, ByKey) {
    let spec = include_str!("../../transforms/field-strip/transform.yaml");
    let spec: Value = serde_norway::from_str(spec).expect("the shipped spec is YAML");
    let job = Job::new(cluster, "field-strip", 4, guests::field_strip(), spec["config"].clone());
    let mut expected = ByKey::new();
    let messages = Generator::new(seed.value()).take(RECORDS).map(|event| {
        let out = event.expected();
        expected.entry(Some(out.key)).or_default().push(out.value);
        Message { key: Some(event.key), value: event.value, headers: event.headers, ..Message::default() }
    });
    let messages = messages.collect();
    (job, messages, expected)
}

#[test]
fn a_host_killed_again_and_again() {
    let mut seed = Seed::new("a_host_killed_again_and_again");
    let (job, messages, expected) = workload("killed", &seed);
    let mut host = Host::start(KafkaCluster::shared(), "killed");
    job.deploy(&host.api());
    run(&job, &messages, AHEAD, &mut seed, 6, |_| {
        host.kill9();
        host.start_again();
    });
    host.wait_ready();
    job.assert_output(&expected);
}

#[test]
fn one_of_two_hosts_stopped_or_killed() {
    let mut seed = Seed::new("one_of_two_hosts_stopped_or_killed");
    let (job, messages, expected) = workload("pair", &seed);
    let mut hosts = [(); 2].map(|()| Host::start(KafkaCluster::shared(), "pair"));
    job.deploy(&hosts[0].api());
    run(&job, &messages, AHEAD, &mut seed, 4, |number| match number {
        0 => assert_eq!(hosts[0].sigterm_and_wait(), Some(0)),
        1 => hosts[0].start_again(),
        2 => hosts[1].kill9(),
        _ => {
            hosts[1].start_again();
            hosts[1].wait_ready();
            assert_eq!(hosts[1].sigterm_and_wait(), Some(0));
        }
    });
    job.assert_output(&expected);
    assert_eq!(hosts[0].sigterm_and_wait(), Some(0));
}
