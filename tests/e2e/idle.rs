//! Transforms for which nothing comes: they cost few threads, go on at once, and each record counts once all the same.

use std::fs;
use std::time::{Duration, Instant};

use sandbar_harness::{Host, KafkaCluster, guests, wait};
use serde_json::json;

use crate::job::{Job, numbered, unchanged};

/// A producer is closed after half a minute.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);

/// Clients that a host opens for itself after it is ready: for records of its own, and while transforms run for their ends and
/// for the offsets of groups.
const OWN_MORE: usize = 12;

/// The Kafka clients of a host, by their main threads.
fn clients(host: &Host) -> usize {
    let pid = host.pid().expect("the host runs");
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == "rdk:main").count()
}

/// Waits until the transforms of a host, which had `own` clients before them, have closed their producers: each keeps its
/// consumer. A host opens some clients of its own meanwhile.
#[track_caller]
fn wait_idle(host: &Host, own: usize, transforms: usize) {
    wait::until("the producers are closed", CLOSED_WITHIN + wait::PATIENCE, || {
        let now = clients(host);
        let most = own + transforms + OWN_MORE;
        if now <= most { Ok(()) } else { Err(format!("{now} clients, more than {most}")) }
    });
}

#[test]
fn a_transform_without_records_has_no_producer_and_goes_on_at_once() {
    const TRANSFORMS: usize = 10;
    let host = Host::start(KafkaCluster::shared(), "idle-clients");
    let own = clients(&host);
    let job = |number: usize| Job::new("idle-clients", &format!("t{number}"), 2, guests::fixture(), json!({"mode": "echo"}));
    let jobs: Vec<Job> = (0..TRANSFORMS).map(job).collect();
    let messages = numbered(200, 10);
    for job in &jobs {
        job.deploy(&host.api());
        job.produce(&messages[..100]);
    }
    for job in &jobs {
        job.wait_through(wait::PATIENCE);
    }
    wait_idle(&host, own, TRANSFORMS);
    for job in &jobs {
        let sent = Instant::now();
        job.produce(&messages[100..]);
        job.wait_through(wait::PATIENCE);
        // A look, a producer that opens, a commit: a second by itself, and as much again for a busy machine.
        println!("{} goes on after {:.0?}", job.transform, sent.elapsed());
        job.assert_output(&unchanged(&messages));
    }
}

/// The host is frozen while its producer is closed, so nothing fences it when another takes its partitions over.
#[test]
fn a_zombie_without_a_producer_adds_nothing() {
    let kafka = KafkaCluster::shared();
    let mut frozen = Host::start(kafka, "idle-zombie");
    let own = clients(&frozen);
    let job = |number: usize| Job::new("idle-zombie", &format!("t{number}"), 2, guests::fixture(), json!({"mode": "echo"}));
    let others: Vec<Job> = (1..=OWN_MORE + 3).map(job).collect();
    let job = job(0);
    job.deploy(&frozen.api());
    let messages = numbered(600, 50);
    job.produce(&messages[..200]);
    job.wait_through(wait::PATIENCE);
    // Its producer is used before those of the others are opened, so it is the first one to close.
    others.iter().for_each(|other| other.deploy(&frozen.api()));
    wait_idle(&frozen, own, 1 + others.len());
    frozen.sigstop();
    job.produce(&messages[200..400]);
    let _other = Host::start(kafka, "idle-zombie");
    job.wait_through(wait::PATIENCE);
    frozen.sigcont();
    job.produce(&messages[400..]);
    job.wait_through(wait::PATIENCE);
    wait::until("the zombie is a member again", wait::PATIENCE, || {
        let status = frozen.api().status(&job.transform);
        if status["state"] == "running" { Ok(()) } else { Err(status.to_string()) }
    });
    job.assert_output(&unchanged(&messages));
}
