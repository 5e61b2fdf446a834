//! Revisions swapped under load: exactly once through all of them, and every output is of one revision.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sandbar_tests::{Api, Host, KafkaCluster, Message, Producer, Record, Seed, guests, wait};
use serde_json::{Value, json};

use crate::job::{Job, unchanged};

/// Swaps in one run; `SANDBAR_TEST_SWAPS` says another number.
const SWAPS: u64 = 150;
/// Records that may wait while a swap goes on: enough that there is always work under way.
const AHEAD: usize = 20_000;

/// Produces for as long as it is asked to, never far ahead of what came through.
fn produce(job: &Job, ends: &AtomicBool, sent: &AtomicUsize) -> Vec<Message> {
    let producer = Producer::new(job.kafka);
    let mut messages = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        for _ in 0..500 {
            let number = messages.len();
            let message = Message::new(format!("key-{}", number % 64), format!("value-{number}"));
            producer.send(&job.input, &message);
            messages.push(message);
        }
        producer.flush();
        sent.store(messages.len(), Ordering::Relaxed);
        wait::until("the transform goes on", 3 * wait::PATIENCE, || {
            let committed = job.progress.total();
            let behind = messages.len().saturating_sub(usize::try_from(committed).unwrap_or(0));
            if behind < AHEAD || ends.load(Ordering::Relaxed) { Ok(()) } else { Err(format!("{behind} behind")) }
        });
    }
    messages
}

/// Ends the producer also where a test fails, which the scope waits for.
struct Release<'a>(&'a AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Deploys the config and waits until its rollout has ended so. (What traps is "complete" while no record comes.)
#[track_caller]
fn deploy(api: &Api, job: &Job, config: Value, expected: &str) -> u64 {
    let mut spec = job.spec.clone();
    spec["config"] = config;
    let revision = api.deploy(&job.transform, &spec)["revision"].as_u64().expect("a number");
    wait::until(&format!("revision {revision} is {expected}"), wait::PATIENCE, || {
        let status = api.status(&job.transform);
        let rollout = &status["rollout"];
        if rollout["revision"] == revision && rollout["state"] == expected { Ok(()) } else { Err(status.to_string()) }
    });
    revision
}

/// The revision that a record is of.
fn tag(record: &Record) -> u64 {
    record.header("tag").and_then(|tag| tag.parse().ok()).expect("every output has a revision for its tag")
}

/// Within a partition of the output, which is one of the input, no lower revision follows a higher one.
fn assert_revisions(job: &Job, broken: &[u64]) -> usize {
    let mut last: BTreeMap<i32, u64> = BTreeMap::new();
    let mut all = std::collections::BTreeSet::new();
    for record in job.outputs() {
        let tag = tag(&record);
        assert!(!broken.contains(&tag), "revision {tag} panics on everything, and something came out");
        let before = last.insert(record.partition, tag).unwrap_or(0);
        assert!(before <= tag, "partition {} offset {}: {tag} after {before}", record.partition, record.offset);
        all.insert(tag);
    }
    all.len()
}

/// How long tasks stood still for swaps, in a host that may have been started again on the way: to look at, on a
/// machine that does much else.
fn pauses(api: &Api) -> String {
    let metrics = api.get("/metrics").body;
    let buckets = metrics.lines().filter_map(|line| line.strip_prefix("sandbar_swap_pause_seconds_bucket{"));
    let shown = buckets.filter_map(|line| {
        let (labels, count) = line.rsplit_once(' ')?;
        let (_, bound) = labels.split_once("le=\"")?;
        Some(format!("<={} {count}", bound.split('"').next()?))
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn revisions_swapped_under_load() {
    let mut seed = Seed::new("revisions_swapped_under_load");
    let swaps = std::env::var("SANDBAR_TEST_SWAPS").map_or(SWAPS, |swaps| swaps.parse().expect("a number"));
    let kafka = KafkaCluster::shared();
    let mut hosts = [(); 2].map(|()| Host::start(kafka, "swap"));
    let mut job = Job::new("swap", "echo", 4, guests::fixture(), json!({"mode": "echo", "tag": "1"}));
    job.spec["module"] = hosts[0].api().upload(&job.module).into();
    deploy(&hosts[0].api(), &job, json!({"mode": "echo", "tag": "1"}), "complete");

    let (ends, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut broken = Vec::new();
    let messages = std::thread::scope(|scope| {
        let release = Release(&ends);
        let producing = scope.spawn(|| produce(&job, &ends, &sent));
        for number in 2..swaps + 2 {
            let api = hosts[seed.within(0..2) as usize].api();
            let panics = seed.within(0..8) == 0;
            let (mode, expected) = if panics { ("panic-all", "failed") } else { ("echo", "complete") };
            let revision = deploy(&api, &job, json!({"mode": mode, "tag": number.to_string()}), expected);
            assert_eq!(revision, number);
            broken.extend(panics.then_some(number));
            if seed.within(0..30) == 0 {
                let unlucky = seed.within(0..2) as usize;
                println!("host {unlucky} killed after revision {number} ({mode})");
                hosts[unlucky].kill9();
                std::thread::sleep(seed.duration(Duration::from_millis(500)));
                hosts[unlucky].start_again();
                hosts[unlucky].wait_ready();
            }
        }
        drop(release);
        producing.join().expect("the producer ends")
    });
    job.wait_through(3 * wait::PATIENCE);
    hosts.iter().for_each(|host| println!("pauses in s, as cumulated buckets: {}", pauses(&host.api())));
    let seen = assert_revisions(&job, &broken);
    println!("{} records by {seen} revisions; {} others trapped and were refused", messages.len(), broken.len());
    assert!(seen as u64 > swaps / 2, "most revisions had work to do");
    job.assert_output(&unchanged(&messages));
}
