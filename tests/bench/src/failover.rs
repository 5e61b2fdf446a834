//! `sandbar-bench failover`: the longest time that a record waits for its output when a host is killed.
//!
//! Two hosts share the four partitions of a transform under a load of 2,000 records/s. At a random moment one of them gets
//! `kill -9`, in the middle of a transaction, and a reader of committed records takes the time from the creation of each
//! record to the arrival of its output. Outputs have the keys of their records, so each partition of the output tells of one
//! partition of the input. A round ends when records that were created after the kill have come from every partition. The
//! hosts take turns at dying.
//!
//! First without stores; then with a store of ENTRIES (1000000), whose dead owner's part is restored from the changelog alone.
//! ROUNDS (5) and SANDBAR_SEED are read from the environment; QUICK=1 does one round with 100,000 entries.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use sandbar_harness::{Host, KafkaCluster, LiveReader, Message, Producer, Progress, Seed, guests, topics, wait};
use serde_json::{Value, json};

use crate::target::{self, Limit};
use crate::{PARTITIONS, broker, quick, variable};

const STATELESS_S_MAX: f64 = 10.0;
const STATEFUL_S_MAX: f64 = 15.0;
const RATE: u64 = 2_000;
/// Between two portions of the load.
const PORTION: Duration = Duration::from_millis(10);
/// The longest quiet time before a kill.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// A transform over two hosts.
struct Pair<'a> {
    kafka: &'a KafkaCluster,
    hosts: Vec<Host>,
    input: String,
    output: String,
    /// Keys of the load.
    keys: u64,
}

pub fn run() -> anyhow::Result<()> {
    let rounds: usize = variable("ROUNDS", if quick() { 1 } else { 5 })?;
    let entries: u64 = variable("ENTRIES", if quick() { 100_000 } else { 1_000_000 })?;
    let mut seed = Seed::new("failover");
    let kafka = broker::start()?;
    let stateless = Pair::start(&kafka, "failover-stateless", &guests::fixture(), json!({"config": {"mode": "echo"}}), 1000);
    let waits = stateless.rounds("stateless", rounds, &mut seed)?;
    let most = waits.into_iter().fold(0.0, f64::max);
    let fold = json!({"config": {"mode": "fold"}, "state": {"sums": {}}});
    let stateful = Pair::start(&kafka, "failover-stateful", &guests::stateful(), fold, entries);
    stateful.fill()?;
    let stateful_waits = stateful.rounds("stateful", rounds, &mut seed)?;
    let stateful_most = stateful_waits.into_iter().fold(0.0, f64::max);
    target::print("failover_stateless_s", most, Limit::AtMost(STATELESS_S_MAX));
    target::print(&format!("failover_{entries}_entries_s"), stateful_most, Limit::AtMost(STATEFUL_S_MAX));
    Ok(())
}

// === impl Pair ===

impl<'a> Pair<'a> {
    fn start(kafka: &'a KafkaCluster, cluster: &str, module: &[u8], fields: Value, keys: u64) -> Self {
        let input = format!("bench.{cluster}.in");
        let output = format!("bench.{cluster}.out");
        topics::create(kafka, &[&input, &output], PARTITIONS);
        let hosts = vec![Host::start(kafka, cluster), Host::start(kafka, cluster)];
        // With small batches, records do not wait for the commit, and a transaction is open nearly all the time.
        let limits = json!({"batch_records": 10});
        let mut spec = json!({"inputs": [input], "outputs": {"out": output}, "start": "earliest", "limits": limits});
        for (name, value) in fields.as_object().expect("an object") {
            spec[name] = value.clone();
        }
        hosts[0].api().try_deploy_with("bench/failover", &spec, module).success();
        let pair = Self { kafka, hosts, input, output, keys };
        pair.until_both_work();
        pair
    }

    /// Gives each key an entry.
    fn fill(&self) -> anyhow::Result<()> {
        let progress = Progress::new(self.kafka, "sandbar.failover-stateful.bench.failover", &self.input);
        let producer = Producer::new(self.kafka);
        (0..self.keys).for_each(|key| producer.send(&self.input, &message(key)));
        producer.flush();
        println!("{} entries are being made", self.keys);
        progress.wait_through(Duration::from_secs(300));
        Ok(())
    }

    /// Both hosts own partitions, and all of them run.
    fn until_both_work(&self) {
        wait::until("both hosts work", Duration::from_secs(120), || {
            let status = self.hosts[0].api().try_get("/v1/teams/bench/transforms/failover/status")?;
            let status: Value = serde_json::from_str(&status.body).map_err(|error| error.to_string())?;
            let hosts = status["hosts"].as_array().cloned().unwrap_or_default();
            let running = |host: &Value| {
                let all = host["partitions"].as_array().cloned().unwrap_or_default();
                all.iter().filter(|partition| partition["state"] == "running").count()
            };
            let counts: Vec<usize> = hosts.iter().map(running).collect();
            let each = PARTITIONS as usize / 2;
            if counts == [each, each] { Ok(()) } else { Err(format!("{counts:?} of {status}")) }
        });
    }

    /// Kills the hosts in turn. Returns the longest wait of a record in each round, in seconds.
    fn rounds(mut self, name: &str, rounds: usize, seed: &mut Seed) -> anyhow::Result<Vec<f64>> {
        let over = AtomicBool::new(false);
        let mut waits = Vec::new();
        for round in 0..rounds {
            let quiet = QUIET_MAX + seed.duration(QUIET_MAX);
            over.store(false, Ordering::Relaxed);
            let victim = round % 2;
            let longest = std::thread::scope(|scope| {
                scope.spawn(|| load(self.kafka, &self.input, self.keys, &over));
                let longest = round_of(self.kafka, &self.output, quiet, &mut self.hosts[victim]);
                over.store(true, Ordering::Relaxed);
                longest
            });
            println!("{name}, round {}: killed after {quiet:.1?}, the longest wait {longest:.2?}", round + 1);
            waits.push(longest.as_secs_f64());
            let host = &mut self.hosts[victim];
            // It has no local copies when the other one dies.
            if host.state_dir().exists() {
                std::fs::remove_dir_all(host.state_dir()).context("the local stores")?;
            }
            host.start_again();
            host.wait_ready();
            self.until_both_work();
        }
        Ok(waits)
    }
}

fn message(key: u64) -> Message {
    Message::new(format!("key-{key}"), "1").at(now_ms())
}

#[expect(clippy::disallowed_methods, reason = "the time at which a record is made and read, in this process")]
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}

/// Produces until it is over.
fn load(kafka: &KafkaCluster, input: &str, keys: u64, over: &AtomicBool) {
    let producer = Producer::new(kafka);
    let started = Instant::now();
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        let due = started.elapsed().as_millis() as u64 * RATE / 1000;
        for number in sent..due {
            producer.send(input, &message(number.wrapping_mul(7919) % keys));
        }
        sent = due;
        std::thread::sleep(PORTION);
    }
    producer.flush();
}

/// Reads for a while, kills the host, and reads on until every partition has gone on. Returns the longest wait of a record.
fn round_of(kafka: &KafkaCluster, output: &str, quiet: Duration, victim: &mut Host) -> Duration {
    let mut reader = LiveReader::at_end(kafka, output);
    let started = Instant::now();
    let mut killed_ms = None;
    let mut newest: BTreeMap<i32, i64> = BTreeMap::new();
    let mut longest = 0;
    while started.elapsed() < wait::PATIENCE {
        if killed_ms.is_none() && started.elapsed() >= quiet {
            victim.kill9();
            killed_ms = Some(now_ms());
        }
        let records = reader.poll(Duration::from_millis(20));
        let now = now_ms();
        for record in records {
            let created = record.timestamp.unwrap_or(now);
            let newest = newest.entry(record.partition).or_insert(created);
            *newest = (*newest).max(created);
            // Those before are of a transform that starts.
            if killed_ms.is_some() {
                longest = longest.max(now - created);
            }
        }
        let is_back =
            |killed: i64| newest.len() == PARTITIONS as usize && newest.values().all(|&newest| newest > killed + 500);
        if killed_ms.is_some_and(is_back) {
            return Duration::from_millis(longest.unsigned_abs());
        }
    }
    // Not within the patience: that is the figure.
    started.elapsed()
}
