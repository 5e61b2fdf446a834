//! The hostile corpus against two hosts on Kafka: each module costs its owner the price of its rule, and nobody else
//! anything.
//!
//! Beside the corpus a transform works that behaves, the victim: its output is exact. How fast it is, alone and beside, is
//! printed here; the claim about it is measured by `sandbar-bench victim`, with optimised hosts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sandbar_harness::hostile::attack::{Attack, RECORDS};
use sandbar_harness::hostile::watch::Watch;
use sandbar_harness::hostile::web::{self, OpenConnections};
use sandbar_harness::hostile::{self, Case};
use sandbar_harness::{Api, Host, KafkaCluster, Message, guests, topics, wait};
use serde_json::{Value, json};

use crate::job::{Job, unchanged};

const CLUSTER: &str = "corpus";
/// A bomb has to be ended soon: the corpus has several.
const OPTIONS: [&str; 4] = ["--compile-time-max", "10s", "--compile-memory-max", "1GiB"];
/// More than the caches, the compiled modules and the instances of the largest group take together.
const MEMORY_BYTES_MAX: u64 = 1536 << 20;
/// Modules that are tried, and transforms that run, at once.
const LANES: usize = 4;
const GROUP: usize = 30;
/// Records of the victim's in one round.
const ROUND: usize = 4_000;
/// Longest answer to a spec that is a bomb.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_hostile_corpus_costs_nobody_but_its_owners() {
    let kafka = KafkaCluster::shared();
    let hosts = [(); 2].map(|()| Host::start_with(kafka, CLUSTER, &OPTIONS));
    let both: Vec<&Host> = hosts.iter().collect();
    let apis: Vec<Api> = hosts.iter().map(Host::api).collect();
    let victim = Victim::start(&apis[0]);
    let alone = victim.round();
    let attack = Attack::new(kafka, CLUSTER, apis);
    let watch = Watch::start(&both);
    let corpus = hostile::corpus();
    let beside = victim.beside(|| {
        timed("uploads, dry runs and trials", || try_all(&attack, &corpus));
        timed("deployments", || run_all(&attack, &corpus, &hosts));
        attack.note(timed("specs that are bombs", || spec_bombs(&hosts)));
        attack.note(timed("requests of web pages", || foreign_requests(&hosts, &victim.job)));
    });
    println!("the victim: {alone:.0} records/s alone, {beside:.0} beside the corpus");
    victim.assert_exact();
    attack.note(watch.finish(&both, MEMORY_BYTES_MAX));
    let wrong = attack.wrong();
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let outcome = run();
    println!("{what}: {:.1?}", started.elapsed());
    outcome
}

/// Uploads, dry runs and trials.
fn try_all(attack: &Attack<'_>, corpus: &[Case]) {
    attack.create_topics(corpus);
    in_lanes(corpus, |_, case| attack.try_out(case));
}

/// Deploys the modules that a host takes, group by group; the first group under connections without end.
fn run_all(attack: &Attack<'_>, corpus: &[Case], hosts: &[Host]) {
    let running: Vec<&Case> = corpus.iter().filter(|case| case.runs()).collect();
    let mut held: Vec<OpenConnections> = hosts.iter().map(|host| OpenConnections::open(host.address())).collect();
    let count: usize = held.iter().map(OpenConnections::count).sum();
    for group in running.chunks(GROUP) {
        let deployed = Mutex::new(Vec::new());
        in_lanes(group, |through, case| {
            if attack.deploy(case, through, RECORDS) {
                deployed.lock().expect("nobody panics with it").push(*case);
            }
        });
        held.iter_mut().for_each(OpenConnections::drip);
        let deployed = deployed.into_inner().expect("nobody panicked with it");
        attack.settle(&deployed);
        in_lanes(&deployed, |_, case| attack.delete(case));
        if !held.is_empty() {
            println!("{} cases were deployed under {count} connections", group.len());
            held.clear();
        }
    }
}

/// Takes up each of `all`, with its number, some at once.
fn in_lanes<T: Sync>(all: &[T], take: impl Fn(usize, &T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = all.get(number) else { return };
                    take(number, one);
                }
            });
        }
    });
}

/// Each is refused, soon, through each host.
fn spec_bombs(hosts: &[Host]) -> Vec<String> {
    let mut wrong = Vec::new();
    for host in hosts {
        for (what, media, text) in web::spec_bombs() {
            let asked = Instant::now();
            let answer =
                host.api().send_bytes("PUT", "/v1/teams/hostile/transforms/bomb?dry_run=true", media, text.as_bytes());
            let took = asked.elapsed();
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    wrong.push(format!("{what}: {error} after {took:?}"));
                    continue;
                }
            };
            if !(400..500).contains(&answer.status) || took > REFUSED_WITHIN || answer.body.len() > 64 * 1024 {
                let start: String = answer.body.chars().take(200).collect();
                wrong.push(format!("{what}: {} after {took:?}: {start}", answer.status));
            }
        }
    }
    wrong
}

/// Each is refused, and the transform that they are about goes on.
fn foreign_requests(hosts: &[Host], job: &Job) -> Vec<String> {
    let mut wrong = Vec::new();
    for host in hosts {
        for (what, request) in web::foreign_requests(host.address(), &job.transform) {
            match web::ask(host.address(), &request) {
                Ok((status, _)) if (400..500).contains(&status) => {}
                other => wrong.push(format!("{what}: {other:?}")),
            }
        }
        let deployment =
            host.api().get(&format!("/v1/teams/tests/transforms/{}", job.transform.trim_start_matches("tests/")));
        let deployment: Value = deployment.success().json();
        if deployment["desired"] != "running" || deployment["revision"] != 1 {
            wrong.push(format!("the victim was changed: {deployment}"));
        }
    }
    wrong
}

/// A transform that behaves, fed round by round.
struct Victim {
    job: Job,
    sent: AtomicUsize,
}

impl Victim {
    fn start(api: &Api) -> Self {
        let job = Job::new(CLUSTER, "victim", 4, guests::fixture(), json!({"mode": "echo"}));
        job.deploy(api);
        job.wait_for_hosts(api, 1);
        Victim { job, sent: AtomicUsize::new(0) }
    }

    /// Sends one round of records, waits until all of them are through, and returns the records a second.
    fn round(&self) -> f64 {
        let first = self.sent.fetch_add(ROUND, Ordering::Relaxed);
        let started = Instant::now();
        self.job.produce(&messages(first..first + ROUND));
        self.job.wait_through(2 * wait::PATIENCE);
        ROUND as f64 / started.elapsed().as_secs_f64()
    }

    /// LogTopics rounds for as long as `attack` takes, and returns their mean rate.
    fn beside(&self, attack: impl FnOnce()) -> f64 {
        let ends = AtomicBool::new(false);
        let started = Instant::now();
        let before = self.sent.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    self.round();
                }
            });
            // Also where the attack panics, the rounds end.
            let _guard = Ends(&ends);
            attack();
        });
        (self.sent.load(Ordering::Relaxed) - before) as f64 / started.elapsed().as_secs_f64()
    }

    /// Every record is there once, and none is among the dead letters.
    fn assert_exact(&self) {
        self.job.assert_output(&unchanged(&messages(0..self.sent.load(Ordering::Relaxed))));
        assert_eq!(topics::read_committed(self.job.kafka, &self.job.dead_letters), []);
    }
}

/// Sets its flag when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn messages(range: std::ops::Range<usize>) -> Vec<Message> {
    range.map(|i| Message::new(format!("key-{}", i % 100), format!("value-{i}"))).collect()
}
