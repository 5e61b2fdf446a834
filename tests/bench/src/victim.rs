//! `sandbar-bench victim`: a transform that behaves, alone and beside the whole hostile corpus, on two hosts.
//!
//! The victim is offered RATE records a second for SECONDS. Its throughput is the number of committed records over the
//! time that it needed. Beside it every module of the corpus that a host takes runs over a queue of records, and a
//! client sends the others again and again. The target is on the ratio of the two. Then the victim is offered all
//! records at once: its speed then depends on the processors that are left, and has no target.
//!
//! RATE (2000), SECONDS (20) and ROUNDS (3) are read from the environment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sandbar_harness::hostile::attack::Attack;
use sandbar_harness::hostile::{self, Case};
use sandbar_harness::{Api, Host, KafkaCluster, Message, Producer, Progress, guests, topics, wait};
use serde_json::json;

use crate::{broker, variable};

const CLUSTER: &str = "bench-victim";
const INPUT: &str = "bench.victim.in";
const OUTPUT: &str = "bench.victim.out";
/// Records that wait for each hostile transform: they last longer than the measurement.
const QUEUE: usize = 5_000;
/// Records that are offered at once.
const ALL_AT_ONCE: usize = 200_000;
const RATIO_MIN: f64 = 0.9;
const SLICE: Duration = Duration::from_millis(10);

pub fn run() -> anyhow::Result<()> {
    let rate: usize = variable("RATE", 2_000)?;
    let seconds: usize = variable("SECONDS", 20)?;
    let rounds: usize = variable("ROUNDS", 3)?;
    let kafka = broker::start()?;
    topics::create(&kafka, &[INPUT, OUTPUT], 4);
    let hosts = [(); 2].map(|()| Host::start_with(&kafka, CLUSTER, &["--compile-time-max", "10s"]));
    let apis: Vec<Api> = hosts.iter().map(Host::api).collect();
    let victim = Victim::deploy(&kafka, &apis[0]);
    let alone = victim.measure("alone", rate, seconds, rounds);

    let corpus = hostile::corpus();
    let attack = Attack::new(&kafka, CLUSTER, apis);
    attack.create_topics(&corpus);
    let (running, refused): (Vec<Case>, Vec<Case>) = corpus.into_iter().partition(Case::runs);
    for (number, case) in running.iter().enumerate() {
        attack.deploy(case, number, QUEUE);
    }
    let ends = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            refused.iter().cycle().take_while(|_| !ends.load(Ordering::Relaxed)).for_each(|case| attack.try_out(case))
        });
        let _guard = Ends(&ends);
        victim.measure("beside the corpus", rate, seconds, rounds)
    });
    let ratio = beside / alone;
    let verdict = if ratio >= RATIO_MIN { "ok" } else { "short" };
    println!("target victim-throughput {ratio:.3} >={RATIO_MIN} {verdict}");
    Ok(())
}

struct Victim {
    producer: Producer,
    progress: Progress,
}

impl Victim {
    fn deploy(kafka: &KafkaCluster, api: &Api) -> Self {
        let module = api.upload(&guests::fixture());
        let spec = json!({
            "module": module, "inputs": [INPUT], "outputs": {"out": OUTPUT}, "start": "earliest", "config": {"mode": "echo"},
        });
        api.deploy("bench/victim", &spec);
        let progress = Progress::new(kafka, &format!("sandbar.{CLUSTER}.bench.victim"), INPUT);
        Victim { producer: Producer::new(kafka), progress }
    }

    /// The median over the rounds of the records a second at `rate`; the rate of a backlog is printed beside.
    fn measure(&self, what: &str, rate: usize, seconds: usize, rounds: usize) -> f64 {
        self.through(1_000, usize::MAX);
        let mut offered: Vec<f64> = (0..rounds).map(|_| self.through(rate * seconds, rate)).collect();
        let mut at_once: Vec<f64> = (0..rounds).map(|_| self.through(ALL_AT_ONCE, usize::MAX)).collect();
        offered.sort_by(f64::total_cmp);
        at_once.sort_by(f64::total_cmp);
        let [offered, at_once] = [offered, at_once].map(|all| all[all.len() / 2]);
        println!(
            "{what}: {offered:.0} records/s of {rate} that are offered; {at_once:.0} records/s of {ALL_AT_ONCE} at once"
        );
        offered
    }

    /// Sends records, `rate` a second, and waits until all are committed; records a second.
    fn through(&self, records: usize, rate: usize) -> f64 {
        let started = Instant::now();
        let value = "v".repeat(200);
        for sent in 0..records {
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            if let Some(early) = due.checked_sub(started.elapsed()).filter(|early| *early >= SLICE) {
                std::thread::sleep(early);
            }
            self.producer.send(INPUT, &Message::new(format!("key-{}", sent % 1_000), value.as_str()));
        }
        self.producer.flush();
        self.progress.wait_through(4 * wait::PATIENCE);
        records as f64 / started.elapsed().as_secs_f64()
    }
}

/// Sets its flag when it is dropped: also where a measurement panics, the client ends.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
