//! `sandbar-bench swap`: how long a worker makes no guest call while a revision is swapped in, under load.
//!
//! One host, one transform of two workers over four partitions, records all the time, modules of 1 MiB. First each swap
//! brings a new module, which is compiled meanwhile; then the swaps go back and forth between two that are compiled.
//! The figures are the host's own (`sandbar_swap_pause_seconds`), interpolated within its buckets. Beside them stand
//! the time of a deployment, and the part of it that is the change of the catalog.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sandbar_harness::{Api, Host, KafkaCluster, Message, Producer, Progress, guests, topics, wait};
use serde_json::{Value, json};

use crate::{ballast, broker, variable};

const INPUT: &str = "bench.swap.in";
const OUTPUT: &str = "bench.swap.out";
const TRANSFORM: &str = "bench/swap";
const MODULE_BYTES: usize = 1 << 20;
/// Records that wait at most: there is always work.
const AHEAD: usize = 20_000;

pub fn run() -> anyhow::Result<()> {
    let swaps: u32 = variable("SWAPS", 100)?;
    let kafka = broker::start()?;
    topics::create(&kafka, &[INPUT, OUTPUT], 4);
    let host = Host::start(&kafka, "bench-swap");
    let api = host.api();
    let guest = guests::fixture();
    let module = |variant| ballast::grown(&guest, MODULE_BYTES, variant);
    deploy(&api, &api.upload(&module(0)), 0);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| load(&kafka, &ends));
        const METRICS: [(&str, &str); 3] = [
            ("pauses", "sandbar_swap_pause_seconds"),
            ("commits", "sandbar_transaction_commit_seconds"),
            ("changes of the catalog", "sandbar_catalog_change_seconds"),
        ];
        let now = || METRICS.map(|(_, metric)| Buckets::of(&api, metric));
        let mut before = now();
        let mut revision = 0;
        for (what, fresh) in [("each with a new module", true), ("between two known modules", false)] {
            let started = Instant::now();
            let records = processed(&api);
            let mut deployments = Vec::new();
            for number in 0..swaps {
                revision += 1;
                let variant = if fresh { revision } else { 1 + number % 2 };
                let digest = api.upload(&module(variant));
                let asked = Instant::now();
                deploy(&api, &digest, revision);
                deployments.push(asked.elapsed());
            }
            let after = now();
            deployments.sort();
            println!("{swaps} swaps {what}, {:.0} records/s", (processed(&api) - records) / started.elapsed().as_secs_f64());
            for ((what, _), (after, before)) in METRICS.iter().zip(after.iter().zip(&before)) {
                let all = after.since(before);
                let [half, most, longest] = [0.5, 0.99, 1.0].map(|q| all.quantile(q));
                println!("  {:5} {what}: p50 {half:.1} ms, p99 {most:.1} ms, longest under {longest:.1} ms", all.count());
            }
            let [half, most] = [0.5, 0.99].map(|q| deployments[(q * (deployments.len() - 1) as f64) as usize]);
            println!("  from the request to a complete rollout: p50 {half:.0?}, p99 {most:.0?}");
            before = after;
        }
        ends.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Deploys a module, and waits until its revision has committed.
fn deploy(api: &Api, digest: &str, number: u32) {
    let spec = json!({
        "module": digest, "inputs": [INPUT], "outputs": {"out": OUTPUT}, "start": "earliest", "workers": 2,
        "config": {"mode": "echo", "tag": number.to_string()},
    });
    let revision = api.deploy(TRANSFORM, &spec)["revision"].clone();
    wait::until("the revision runs", wait::PATIENCE, || {
        let status: Value = api.status(TRANSFORM);
        let done = status["rollout"]["revision"] == revision && status["rollout"]["state"] == "complete";
        if done { Ok(()) } else { Err(status.to_string()) }
    });
}

fn load(kafka: &KafkaCluster, ends: &AtomicBool) {
    let producer = Producer::new(kafka);
    let progress = Progress::new(kafka, "sandbar.bench-swap.bench.swap", INPUT);
    let value = "v".repeat(500);
    let mut sent = 0;
    while !ends.load(Ordering::Relaxed) {
        for number in 0..1_000 {
            producer.send(INPUT, &Message::new(format!("key-{number}"), value.as_str()));
        }
        producer.flush();
        sent += 1_000;
        wait::until("the transform goes on", wait::PATIENCE, || {
            let behind = sent - usize::try_from(progress.total()).unwrap_or(0);
            if behind < AHEAD || ends.load(Ordering::Relaxed) { Ok(()) } else { Err(format!("{behind} behind")) }
        });
    }
}

/// Records that the transform has processed.
fn processed(api: &Api) -> f64 {
    let metrics = api.get("/metrics").body;
    let counts = metrics.lines().filter(|line| line.starts_with("sandbar_records_in_total{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// A histogram: upper bounds in seconds, and how many are at most that.
#[derive(Default, Clone)]
struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    fn of(api: &Api, metric: &str) -> Self {
        let metrics = api.get("/metrics").body;
        let metric = format!("{metric}_bucket{{");
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(&metric));
        let bucket = |line: &str| {
            let (labels, count) = line.rsplit_once(' ')?;
            let bound = labels.split_once("le=\"")?.1.split('"').next()?;
            Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? }, count.parse().ok()?))
        };
        Self(lines.filter_map(bucket).collect())
    }

    fn since(&self, before: &Self) -> Self {
        let earlier = |i: usize| before.0.get(i).map_or(0.0, |(_, count)| *count);
        Self(self.0.iter().enumerate().map(|(i, (bound, count))| (*bound, count - earlier(i))).collect())
    }

    fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// In ms.
    fn quantile(&self, q: f64) -> f64 {
        let rank = q * self.count();
        let mut low = 0.0;
        let mut below = 0.0;
        for &(bound, count) in &self.0 {
            if count >= rank && count > below {
                return 1000.0 * (low + (bound - low) * (rank - below) / (count - below));
            }
            (low, below) = (bound, count);
        }
        0.0
    }
}
