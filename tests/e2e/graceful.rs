//! A host that is asked to stop, and one that takes up its work.

use std::time::{Duration, Instant};

use sandbar_harness::{Host, KafkaCluster, guests, wait};
use serde_json::json;

use crate::job::{Job, numbered, unchanged};

#[test]
fn a_stopped_host_exits_0_and_its_deployments_come_back() {
    let kafka = KafkaCluster::shared();
    let mut host = Host::start(kafka, "graceful");
    let job = Job::new("graceful", "echo", 4, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&host.api());
    let messages = numbered(30_000, 100);
    job.produce(&messages[..10_000]);
    job.wait_through(wait::PATIENCE);

    let asked = Instant::now();
    assert_eq!(host.sigterm_and_wait(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());

    // The host starts again on its data.
    host.start_again();
    host.wait_ready();
    job.produce(&messages[10_000..20_000]);
    job.wait_through(wait::PATIENCE);
    assert_eq!(host.sigterm_and_wait(), Some(0));

    // Another host, whose data directory is empty: all that matters is in Kafka.
    let host = Host::start(kafka, "graceful");
    job.produce(&messages[20_000..]);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
    let deployed = host.api().get("/v1/teams/tests/transforms/echo").success().json();
    assert_eq!(deployed["revision"], 1, "{deployed}");
}

#[test]
fn a_host_that_does_nothing_stops_at_once() {
    let mut host = Host::start(KafkaCluster::shared(), "idle");
    let asked = Instant::now();
    assert_eq!(host.sigterm_and_wait(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(9), "it took {:?}", asked.elapsed());
}
