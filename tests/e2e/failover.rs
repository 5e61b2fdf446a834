//! A host dies with a transaction open: the next owner of its partitions ends the transaction, and no timeout is waited for.

use std::fs;

use sandbar_harness::{Host, KafkaCluster, guests, topics, wait};
use serde_json::json;

use crate::job::{Job, numbered, unchanged};

const CLUSTER: &str = "failover";
const KEYS: usize = 400;
/// The line of a host that has ended a transaction.
const ENDED: &str = "the transaction of a worker that is gone is over";

fn log(host: &Host) -> String {
    fs::read_to_string(host.log()).expect("the host has a log")
}

#[test]
fn the_next_owner_ends_the_transaction_of_a_dead_host() {
    let kafka = KafkaCluster::shared();
    // A transaction opens with the first full batch, and lasts longer than a look at the members of the group.
    let job = Job::new(CLUSTER, "echo", 4, guests::fixture(), json!({"mode": "echo"}));
    let job = job.with(json!({"commit_interval": "4s", "limits": {"batch_records": 10}}));
    let mut hosts = ["dies", "lives"].map(|name| Host::start_with(kafka, CLUSTER, &["--host", name]));
    job.deploy(&hosts[0].api());
    job.wait_for_hosts(&hosts[0].api(), 2);
    let messages = numbered(3 * KEYS, KEYS);
    let (before, at_kill) = messages.split_at(KEYS);
    job.produce(before);
    job.wait_through(wait::PATIENCE);
    // Partitions have moved from one to the other since, and both of them are alive.
    for host in &hosts {
        assert!(!log(host).contains(ENDED), "a live worker was taken for a dead one");
    }
    let ends = topics::ends(kafka, &job.output);
    job.produce(at_kill);
    wait::until("both have written in open transactions", wait::PATIENCE, || {
        let now = topics::ends(kafka, &job.output);
        let have_grown = now.iter().zip(&ends).all(|(now, before)| now - before > 50);
        if have_grown { Ok(()) } else { Err(format!("{now:?} after {ends:?}")) }
    });
    hosts[0].kill9();
    let own = "sandbar.failover.tests.echo.dies.0";
    wait::until("the transaction is ended", wait::PATIENCE, || {
        let log = log(&hosts[1]);
        let found = log.lines().any(|line| line.contains(ENDED) && line.contains(own));
        if found { Ok(()) } else { Err("it is open".into()) }
    });
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
    hosts[0].start_again();
    hosts[0].wait_ready();
    job.wait_for_hosts(&hosts[1].api(), 2);
    job.produce(before);
    job.wait_through(wait::PATIENCE);
}
