//! Exactly once, whatever is done to the hosts: per key the exact sequence, nothing lost, nothing twice.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sandbar_shop::Generator;
use sandbar_tests::{Host, KafkaCluster, Message, Seed, guests, wait};
use serde_json::Value;

use crate::job::{ByKey, Job};

const RECORDS: usize = 200_000;
/// How far the producer is ahead of the hosts: there is always work under way.
const AHEAD: i64 = 40_000;

/// Moments of a run, as numbers of committed records: `count` of them, one at random in each part of the run.
fn moments(seed: &mut Seed, count: u64) -> Vec<i64> {
    let part = (RECORDS as u64 - AHEAD as u64) / count;
    (0..count).map(|i| (i * part + seed.within(1..part)) as i64).collect()
}

/// Lets the producer finish when a test fails, which the scope waits for.
struct Release<'a>(&'a AtomicI64);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(i64::MAX - AHEAD, Ordering::Relaxed);
    }
}

/// Runs the job, and calls `fault` at each moment, when the job is in mid-flight.
fn run(job: &Job, messages: &[Message], seed: &mut Seed, count: u64, mut fault: impl FnMut(u64)) {
    let seen = AtomicI64::new(0);
    let moments = moments(seed, count);
    std::thread::scope(|scope| {
        let _release = Release(&seen);
        scope.spawn(|| job.produce_ahead(messages, AHEAD, &seen));
        let mut last = 0;
        for (number, moment) in (0..).zip(moments) {
            // There is progress between any two faults: each meets a host at work, not one that starts.
            job.wait_total(moment.max(last + 1), &seen);
            // Anywhere within a commit interval: in a poll, a guest, a transaction, a commit.
            std::thread::sleep(seed.duration(Duration::from_millis(150)));
            let total = job.progress.total();
            last = total;
            assert!(total < RECORDS as i64, "all was done before fault {number}");
            println!("fault {number} at {total} committed records");
            fault(number);
        }
        job.wait_total(RECORDS as i64, &seen);
    });
    job.wait_through(wait::PATIENCE);
}

/// The shop's change events, field-strip as it is shipped, and what the shop says must come out.
fn workload(cluster: &str, seed: &Seed) -> (Job, Vec<Message>, ByKey) {
    let spec = include_str!("../../../transforms/field-strip/transform.yaml");
    let spec: Value = serde_norway::from_str(spec).expect("the shipped spec is YAML");
    let job = Job::new(cluster, "field-strip", 4, guests::field_strip(), spec["config"].clone());
    let mut expected = ByKey::new();
    let messages = Generator::new(seed.value()).take(RECORDS).map(|event| {
        if let Some(out) = event.expected() {
            expected.entry(Some(out.key)).or_default().push(out.value);
        }
        Message { key: Some(event.key), value: event.value, headers: event.headers, partition: None }
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
    run(&job, &messages, &mut seed, 6, |_| {
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
    run(&job, &messages, &mut seed, 4, |number| match number {
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
