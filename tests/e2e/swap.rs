//! Revisions swapped under load: exactly once through all of them, and every output is of one revision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sandbar_harness::{Api, Host, KafkaCluster, Message, Producer, Record, Seed, guests, wait};
use serde_json::{Value, json};

use crate::job::{Job, unchanged};

/// Swaps in one run, over all transforms.
const SWAPS: u64 = 500;
/// Transforms that are swapped at the same time, each with 4 partitions over two hosts.
const JOBS: u64 = 4;
/// A host is killed each time that this number of swaps is made. Kafka gives its partitions to the other one only when
/// its session is over (10 s), so each kill takes its time.
const SWAPS_PER_KILL: u64 = 90;
/// After this number of swaps the other host is asked for them.
const SWAPS_PER_HOST: u64 = 40;
/// Records of a transform that may wait: enough that there is always work under way, and few enough to be counted.
const AHEAD: usize = 400;

/// Produces as long as it is told to, never far ahead of the outputs.
fn produce(job: &Job, ends: &AtomicBool) -> Vec<Message> {
    let producer = Producer::new(job.kafka);
    let mut messages = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        for _ in 0..AHEAD / 2 {
            let number = messages.len();
            let message = Message::new(format!("key-{}", number % 64), format!("value-{number}"));
            producer.send(&job.input, &message);
            messages.push(message);
        }
        producer.flush();
        wait::until("the transform goes on", 3 * wait::PATIENCE, || {
            let committed = job.progress.total();
            let behind = messages.len().saturating_sub(usize::try_from(committed).unwrap_or(0));
            if behind < AHEAD || ends.load(Ordering::Relaxed) { Ok(()) } else { Err(format!("{behind} behind")) }
        });
    }
    messages
}

/// Ends the producers also where a test fails, which the scope waits for.
struct Release<'a>(&'a AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Deploys the config through whichever host answers, under one key, and waits until its rollout has ended so. (A
/// revision that traps is "complete" while no record comes.)
#[track_caller]
fn deploy(apis: &[Api], job: &Job, config: Value, expected: &str) -> u64 {
    let mut spec = job.spec.clone();
    spec["config"] = config;
    let key = format!("{}-{}", job.transform.replace('/', "-"), spec["config"]["tag"]);
    let route = job.transform.replace('/', "/transforms/");
    let turn = AtomicU64::new(0);
    // A host that was just killed answers nothing; the key makes the request one, however often it is sent.
    let api = || &apis[turn.fetch_add(1, Ordering::Relaxed) as usize % apis.len()];
    let revision = wait::until("the deployment is accepted", wait::PATIENCE, || {
        let headers = [("idempotency-key", key.trim_matches('"'))];
        let answer = api().try_send("PUT", &format!("/v1/teams/{route}"), &headers, &spec)?;
        let revision = answer.json()["revision"].as_u64().filter(|_| answer.status < 300);
        revision.ok_or_else(|| format!("{answer:?}"))
    });
    wait::until(&format!("revision {revision} of {} is {expected}", job.transform), wait::PATIENCE, || {
        let answer = api().try_get(&format!("/v1/teams/{route}/status"))?;
        let status = answer.json();
        let rollout = &status["rollout"];
        if rollout["revision"] == revision && rollout["state"] == expected { Ok(()) } else { Err(status.to_string()) }
    });
    revision
}

/// The revision that a record is of.
fn tag(record: &Record) -> u64 {
    record.header("tag").and_then(|tag| tag.parse().ok()).expect("every output has a revision for its tag")
}

/// Each revision that does not trap had work to do (but for the first, from before there was any), and within a partition
/// of the output, which is one of the input, no lower one follows a higher one.
fn assert_revisions(job: &Job, broken: &[u64]) {
    let mut last: BTreeMap<i32, u64> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for record in job.outputs() {
        let tag = tag(&record);
        assert!(!broken.contains(&tag), "revision {tag} panics on everything, and something came out");
        let before = last.insert(record.partition, tag).unwrap_or(0);
        assert!(before <= tag, "partition {} offset {}: {tag} after {before}", record.partition, record.offset);
        all.insert(tag);
    }
    let idle: Vec<u64> =
        (2..SWAPS / JOBS + 2).filter(|revision| !broken.contains(revision) && !all.contains(revision)).collect();
    assert!(idle.is_empty(), "nothing came out of the revisions {idle:?}");
}

/// Returns the times for which tasks stood still for swaps, in a host that may have been started again on the way. They
/// are to look at, on a machine that does much else; `make bench` has the figures.
fn pauses(api: &Api) -> String {
    let metrics = api.get("/metrics").body;
    let mut buckets: BTreeMap<u64, (String, u64)> = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("sandbar_swap_pause_seconds_bucket{")) {
        let Some((labels, count)) = line.rsplit_once(' ') else { continue };
        let bound = labels.split_once("le=\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
        let order = bound.parse::<f64>().map_or(u64::MAX, |seconds| (seconds * 1e9) as u64);
        buckets.entry(order).or_insert_with(|| (bound.to_owned(), 0)).1 += count.parse::<u64>().unwrap_or(0);
    }
    buckets.into_values().map(|(bound, count)| format!("<={bound} {count}")).collect::<Vec<_>>().join(", ")
}

/// Waits until a revision that is complete has committed something; while partitions of a killed host are nobody's,
/// that takes until they are somebody's.
fn wait_for_work(job: &Job) {
    let before = job.progress.total();
    wait::until("the new revision works", wait::PATIENCE, || {
        let now = job.progress.total();
        if now > before { Ok(()) } else { Err(format!("{now}")) }
    });
}

/// Swaps a transform so often; the revisions that trap.
fn swap(job: &Job, apis: &[Api], swaps: u64, mut seed: Seed, made: &AtomicU64) -> Vec<u64> {
    let mut broken = Vec::new();
    for number in 2..swaps + 2 {
        let panics = seed.within(0..8) == 0;
        let (mode, expected) = if panics { ("panic-all", "failed") } else { ("echo", "complete") };
        let mut apis = apis.to_vec();
        // Mostly all through one host at a time: hosts that write at once fence each other, which takes seconds. The
        // tests of the catalog cover that.
        let turn = made.load(Ordering::Relaxed) / SWAPS_PER_HOST + u64::from(seed.within(0..24) == 0);
        apis.rotate_left((turn % 2) as usize);
        let revision = deploy(&apis, job, json!({"mode": mode, "tag": number.to_string()}), expected);
        assert_eq!(revision, number, "each accepted deployment is one revision");
        if !panics {
            wait_for_work(job);
        }
        broken.extend(panics.then_some(number));
        made.fetch_add(1, Ordering::Relaxed);
    }
    broken
}

/// Kills one of the hosts, in the middle of whatever goes on, each time that enough swaps were made.
fn kill_now_and_then(hosts: &mut [Host; 2], mut seed: Seed, made: &AtomicU64, all_made: &AtomicBool) {
    let mut next = SWAPS_PER_KILL / 4;
    loop {
        let ended = wait::until("swaps are made", 3 * wait::PATIENCE, || {
            let made = made.load(Ordering::Relaxed);
            let ended = all_made.load(Ordering::Relaxed);
            if ended || made >= next { Ok(ended) } else { Err(format!("{made}")) }
        });
        if ended {
            return;
        }
        let unlucky = &mut hosts[seed.within(0..2) as usize];
        unlucky.kill9();
        std::thread::sleep(seed.duration(Duration::from_millis(500)));
        unlucky.start_again();
        unlucky.wait_ready();
        next = made.load(Ordering::Relaxed) + SWAPS_PER_KILL;
    }
}

#[test]
fn revisions_swapped_under_load() {
    let mut seed = Seed::new("revisions_swapped_under_load");
    let kafka = KafkaCluster::shared();
    let mut hosts = [(); 2].map(|()| Host::start(kafka, "swap"));
    let apis = [hosts[0].api(), hosts[1].api()];
    let jobs: Vec<Job> = (0..JOBS)
        .map(|n| {
            let mut job = Job::new("swap", &format!("echo-{n}"), 4, guests::fixture(), json!({}));
            job.spec["module"] = apis[0].upload(&job.module).into();
            deploy(&apis, &job, json!({"mode": "echo", "tag": "1"}), "complete");
            job
        })
        .collect();
    let started = Instant::now();
    let ends = AtomicBool::new(false);
    let all_made = AtomicBool::new(false);
    let made = AtomicU64::new(0);
    let (messages, broken): (Vec<Vec<Message>>, Vec<Vec<u64>>) = std::thread::scope(|scope| {
        // Both, also where a test fails.
        let release = Release(&ends);
        let _killer = Release(&all_made);
        let ends = &ends;
        let all_made = &all_made;
        let made = &made;
        let apis = &apis;
        let hosts = &mut hosts;
        let producing: Vec<_> = jobs.iter().map(|job| scope.spawn(move || produce(job, ends))).collect();
        let swapping: Vec<_> = jobs
            .iter()
            .map(|job| {
                let own = seed.fork();
                scope.spawn(move || swap(job, apis, SWAPS / JOBS, own, made))
            })
            .collect();
        let own = seed.fork();
        let killing = scope.spawn(move || kill_now_and_then(hosts, own, made, all_made));
        let broken = swapping.into_iter().map(|thread| thread.join().expect("it swaps to the end")).collect();
        all_made.store(true, Ordering::Relaxed);
        killing.join().expect("it kills to the end");
        drop(release);
        (producing.into_iter().map(|thread| thread.join().expect("the producer ends")).collect(), broken)
    });
    println!("{SWAPS} swaps in {:?}", started.elapsed());
    hosts.iter().for_each(|host| println!("pauses in s, as cumulated buckets: {}", pauses(&host.api())));
    for ((job, messages), broken) in jobs.iter().zip(&messages).zip(&broken) {
        job.wait_through(3 * wait::PATIENCE);
        println!("{}: {} records; {} revisions trapped and were refused", job.transform, messages.len(), broken.len());
        assert_revisions(job, broken);
        job.assert_output(&unchanged(messages));
    }
}
