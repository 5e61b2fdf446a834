//! `sandbar-bench many`: the cost of many transforms that have little or nothing to do.
//!
//! One host runs TRANSFORMS (200) transforms, each with an output of its own, and all read one topic. First nothing
//! arrives. Then the topic gets 2 records a second, and a reader of committed records takes the time of each output from the
//! timestamp of its record to its arrival. Last, the host gets SIGTERM. The figures are the kernel's, of the whole process
//! of the host and of the broker's JVM. The program first prints the time that this machine takes to wake a thread: an idle
//! host does little else.
//!
//! SECONDS (30) is the length of each phase. The limits of CPU time are for 200 transforms, and are scaled to the number.
//! QUICK=1 measures 50 transforms for 6 s.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sandbar_harness::{Api, Host, KafkaCluster, LiveReader, Producer, guests, topics, wait};
use serde_json::{Value, json};

use crate::process_use::{Cpu, Memory, wake_us};
use crate::target::{self, Limit};
use crate::trickle::{PAUSE, quantile, send};
use crate::{broker, quick, variable};

const CLUSTER: &str = "bench-many";
const INPUT: &str = "bench.many.in";
/// Time after the deployment until the host rests: its producers are closed by then.
const SETTLES_WITHIN: Duration = Duration::from_secs(40);
/// The first records find no producer, and a reader that begins; they are not measured.
const WARM_UP: usize = 6;
/// The number of transforms that the limits of CPU time are for.
const LIMITS_ARE_FOR: f64 = 200.0;

pub fn run() -> anyhow::Result<()> {
    let transforms: usize = variable("TRANSFORMS", if quick() { 50 } else { 200 })?;
    let seconds: u64 = variable("SECONDS", if quick() { 6 } else { 30 })?;
    println!("to wake a thread takes this machine {:.0} us", wake_us()?);
    let kafka = broker::start()?;
    let outputs: Vec<String> = (0..transforms).map(|number| format!("bench.many.out-{number}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    topics::create(&kafka, &[INPUT], 1);
    topics::create(&kafka, &outputs, 1);
    let mut host = Host::start(&kafka, CLUSTER);
    let pids = (host.pid().context("the host runs")?, kafka.pid(1).context("the broker runs")?);
    let unused = Memory::of(pids.0)?;
    deploy(&host.api(), &outputs);
    sleep(SETTLES_WITHIN);
    idle(pids, transforms, seconds, &unused)?;
    trickle(&kafka, pids, &outputs, seconds)?;
    let started = Instant::now();
    let code = host.sigterm_and_wait();
    let stopped = started.elapsed();
    println!("SIGTERM: exit {code:?} after {stopped:.1?}");
    target::print("many-sigterm-s", stopped.as_secs_f64(), Limit::AtMost(10.0));
    ensure!(code == Some(0), "the host did not end well");
    Ok(())
}

/// Deploys all, one after the other, and waits until each has its partition.
fn deploy(api: &Api, outputs: &[&str]) {
    let module = api.upload(&guests::fixture());
    let started = Instant::now();
    for (number, output) in outputs.iter().enumerate() {
        let spec = json!({
            "module": module, "inputs": [INPUT], "outputs": {"out": output}, "start": "latest", "config": {"mode": "echo"},
        });
        api.deploy(&format!("many/t{number}"), &spec);
    }
    for number in 0..outputs.len() {
        let transform = format!("many/t{number}");
        wait::until(&format!("{transform} runs"), wait::PATIENCE, || {
            let status: Value = api.status(&transform);
            let partitions = status["hosts"][0]["partitions"].as_array().map_or(0, Vec::len);
            if status["state"] == "running" && partitions == 1 { Ok(()) } else { Err(status.to_string()) }
        });
    }
    println!("{} transforms deployed and running after {:.1?}", outputs.len(), started.elapsed());
}

fn idle((host, broker): (u32, u32), transforms: usize, seconds: u64, unused: &Memory) -> anyhow::Result<()> {
    let before = Cpu::of(host, broker)?;
    sleep(Duration::from_secs(seconds));
    let (host_percent, broker_percent) = before.percent(Cpu::of(host, broker)?);
    let used = Memory::of(host)?;
    let each = |total: f64, before: f64| (total - before) / transforms as f64;
    let threads = each(used.threads, unused.threads);
    let rss_mib = each(used.rss_mib, unused.rss_mib);
    println!(
        "idle: host {host_percent:.1} % of a core, broker {broker_percent:.1} %; {:.0} MiB, {} threads, {} descriptors",
        used.rss_mib, used.threads, used.descriptors
    );
    let scale = transforms as f64 / LIMITS_ARE_FOR;
    target::print("many-idle-host-cpu-percent", host_percent, Limit::AtMost(2.0 * scale));
    target::print("many-idle-broker-cpu-percent", broker_percent, Limit::AtMost(5.0 * scale));
    target::print("many-idle-rss-each-mib", rss_mib, Limit::AtMost(2.0));
    target::print("many-idle-threads-each", threads, Limit::AtMost(6.0));
    Ok(())
}

fn trickle(kafka: &KafkaCluster, (host, broker): (u32, u32), outputs: &[&str], seconds: u64) -> anyhow::Result<()> {
    let producer = Producer::new(kafka);
    let mut reader = LiveReader::at_ends(kafka, outputs);
    let first = send(&producer, INPUT, &mut reader, 1, outputs.len());
    println!(
        "the first record after the silence: p50 {:.0} ms, p99 {:.0} ms",
        quantile(&first, 0.5),
        quantile(&first, 0.99)
    );
    target::print("many-first-record-p99-ms", quantile(&first, 0.99), Limit::AtMost(1000.0));
    send(&producer, INPUT, &mut reader, WARM_UP, outputs.len());
    let count = (seconds as f64 / PAUSE.as_secs_f64()) as usize;
    let before = Cpu::of(host, broker)?;
    let latencies_ms = send(&producer, INPUT, &mut reader, count, outputs.len());
    let (host_percent, broker_percent) = before.percent(Cpu::of(host, broker)?);
    let p99 = quantile(&latencies_ms, 0.99);
    println!(
        "trickle: host {host_percent:.1} % of a core, broker {broker_percent:.1} %; p50 {:.0} ms, p99 {p99:.0} ms; {} threads",
        quantile(&latencies_ms, 0.5),
        Memory::of(host)?.threads
    );
    let scale = outputs.len() as f64 / LIMITS_ARE_FOR;
    target::print("many-trickle-host-cpu-percent", host_percent, Limit::AtMost(30.0 * scale));
    target::print("many-trickle-broker-cpu-percent", broker_percent, Limit::AtMost(15.0 * scale));
    target::print("many-trickle-p99-ms", p99, Limit::AtMost(400.0));
    Ok(())
}
