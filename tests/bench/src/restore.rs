//! `sandbar-bench restore`: a large store, from its changelog alone, on one host.
//!
//! KEYS (10000000; with QUICK=1 1000000) entries of 16 + 32 bytes are written straight into the changelog topic of a store of 4 partitions;
//! then a host starts without any local copy. It prints the time from the start of the process until the
//! last partition's state is there, and the most memory that the process had until then. A second start has the local copy.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use sandbar_harness::{Api, Host, KafkaCluster, guests, topics, wait};
use serde_json::json;

use crate::target::{self, Limit};
use crate::{PARTITIONS, broker, quick, variable};

const CLUSTER: &str = "bench-restore";
const TRANSFORM: &str = "bench/restore";
const INPUT: &str = "bench.restore.in";
const OUTPUT: &str = "bench.restore.out";
const CHANGELOG: &str = "_sandbar.bench-restore.state.bench.restore.sums";
/// A restore of ten million entries takes a minute; of a slow machine this is five.
const PATIENCE: Duration = Duration::from_secs(300);

pub fn run() -> anyhow::Result<()> {
    let keys: u64 = variable("KEYS", if quick() { 1_000_000 } else { 10_000_000 })?;
    let kafka = broker::start()?;
    topics::create(&kafka, &[INPUT, OUTPUT], PARTITIONS);
    let mut host = Host::start(&kafka, CLUSTER);
    let spec = json!({"inputs": [INPUT], "outputs": {"out": OUTPUT}, "state": {"sums": {}}, "config": {"mode": "fold"}});
    host.api().try_deploy_with(TRANSFORM, &spec, &guests::stateful()).success();
    until_restored(&host.api(), 0);
    ensure!(host.sigterm_and_wait() == Some(0), "the host did not end well");
    println!("writing {keys} entries of 16 + 32 bytes into the changelog, {PARTITIONS} partitions");
    fill(&kafka, keys)?;
    for (what, wipe) in [("from the changelog alone", true), ("with the local copy", false)] {
        if wipe {
            std::fs::remove_dir_all(host.state_dir()).context("the local stores")?;
        }
        let started = Instant::now();
        host.start_again();
        host.wait_ready();
        until_restored(&host.api(), keys);
        let took = started.elapsed();
        let rss_mib = peak_rss_mib(host.pid().context("the host runs")?)?;
        let rate = keys as f64 / took.as_secs_f64();
        println!("{what}: {:.1} s, {rate:.0} entries/s, peak RSS {rss_mib} MiB", took.as_secs_f64());
        if wipe {
            target::print("restore_entries_per_second", rate, Limit::AtLeast(300_000.0));
        }
        ensure!(host.sigterm_and_wait() == Some(0), "the host did not end well");
    }
    Ok(())
}

/// Writes the entries, each once.
fn fill(kafka: &KafkaCluster, keys: u64) -> anyhow::Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.brokers())
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .create_with_context(DefaultProducerContext)?;
    for n in 0..keys {
        // The keys look random, so that they do not come in order.
        let key = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let key = format!("{key:016x}");
        let value = format!("{n:032}");
        let mut record = BaseRecord::to(CHANGELOG).partition((n % PARTITIONS as u64) as i32).key(&key).payload(&value);
        while let Err((error, again)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(Duration::from_millis(10));
            record = again;
        }
        if n % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(())
}

/// Every partition has its state, and the entries are there.
fn until_restored(api: &Api, keys: u64) {
    wait::until(&format!("{keys} entries are restored"), PATIENCE, || {
        let status = api.status(TRANSFORM);
        let partitions = status["hosts"][0]["partitions"].as_array().cloned().unwrap_or_default();
        let ready =
            partitions.iter().filter(|partition| partition["state"] == "running" && partition["restoring"].is_null());
        let entries: u64 = partitions.iter().filter_map(|partition| partition["stores"][0]["entries"].as_u64()).sum();
        let done = ready.count() == PARTITIONS as usize && entries == keys;
        if done { Ok(()) } else { Err(format!("{entries} entries: {status}")) }
    });
}

fn peak_rss_mib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
