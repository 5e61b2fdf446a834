//! `sandbar-bench many`: the cost of many transforms that have little or nothing to do.
//!
//! One host runs TRANSFORMS (200) transforms, each with an output of its own, and all read one topic. First nothing
//! arrives. Then the topic gets 2 records a second, and a reader of committed records takes the time of each output from the
//! timestamp of its record to its arrival. Last, the host gets SIGTERM. The figures are the kernel's, of the whole process
//! of the host and of the broker's JVM.
//!
//! SECONDS (30) is the length of each phase. The limits of CPU time are for 200 transforms, and are scaled to the number.
//! QUICK=1 measures 60 transforms for 10 s.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use sandbar_harness::{Api, Host, KafkaCluster, LiveReader, Message, Producer, guests, topics, wait};
use serde_json::{Value, json};

use crate::figures::cpu_ns;
use crate::target::{self, Limit};
use crate::{quick, variable};

const CLUSTER: &str = "bench-many";
const INPUT: &str = "bench.many.in";
/// Time between two records of the trickle.
const PAUSE: Duration = Duration::from_millis(500);
/// Time after the deployment until the host rests: its producers are closed by then.
const SETTLES_WITHIN: Duration = Duration::from_secs(40);
/// The first records find no producer, and a reader that begins; they are not measured.
const WARM_UP: usize = 6;
/// The number of transforms that the limits of CPU time are for.
const LIMITS_ARE_FOR: f64 = 200.0;

/// The use of a process, or the difference of two.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    host_ns: u64,
    broker_ns: u64,
    at: Instant,
}

pub fn run() -> anyhow::Result<()> {
    let transforms: usize = variable("TRANSFORMS", if quick() { 60 } else { 200 })?;
    let seconds: u64 = variable("SECONDS", if quick() { 10 } else { 30 })?;
    println!("starting Apache Kafka");
    let kafka = KafkaCluster::start(1);
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
    let first = send(&producer, &mut reader, 1, outputs.len());
    println!(
        "the first record after the silence: p50 {:.0} ms, p99 {:.0} ms",
        quantile(&first, 0.5),
        quantile(&first, 0.99)
    );
    target::print("many-first-record-p99-ms", quantile(&first, 0.99), Limit::AtMost(1000.0));
    send(&producer, &mut reader, WARM_UP, outputs.len());
    let count = (seconds as f64 / PAUSE.as_secs_f64()) as usize;
    let before = Cpu::of(host, broker)?;
    let latencies_ms = send(&producer, &mut reader, count, outputs.len());
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

/// Sends `count` records at the pace of the trickle, and returns the sorted latencies of all outputs.
fn send(producer: &Producer, reader: &mut LiveReader, count: usize, outputs: usize) -> Vec<f64> {
    let started = Instant::now();
    let mut latencies_ms = Vec::new();
    let mut sent = 0;
    while latencies_ms.len() < count * outputs {
        while sent < count && started.elapsed() >= PAUSE * sent as u32 {
            producer.send(INPUT, &Message::new(sent.to_string(), now_ms().to_string()));
            producer.flush();
            sent += 1;
        }
        for record in reader.poll(Duration::from_millis(2)) {
            let created: f64 = record.value_text().parse().expect("the time at which it was sent");
            latencies_ms.push(now_ms() - created);
        }
        assert!(started.elapsed() < 2 * wait::PATIENCE, "{} of {} outputs arrived", latencies_ms.len(), count * outputs);
    }
    latencies_ms.sort_by(f64::total_cmp);
    latencies_ms
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q) as usize]
}

// === impl Cpu ===

impl Cpu {
    fn of(host: u32, broker: u32) -> anyhow::Result<Self> {
        Ok(Self { host_ns: cpu_ns(host)?, broker_ns: cpu_ns(broker)?, at: Instant::now() })
    }

    /// The parts of a core that host and broker used until `after`.
    fn percent(self, after: Self) -> (f64, f64) {
        let elapsed = (after.at - self.at).as_nanos() as f64 / 100.0;
        ((after.host_ns - self.host_ns) as f64 / elapsed, (after.broker_ns - self.broker_ns) as f64 / elapsed)
    }
}

/// The memory of a process now, with its threads and open descriptors.
struct Memory {
    rss_mib: f64,
    threads: f64,
    descriptors: usize,
}

impl Memory {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
            value.with_context(|| format!("{name} in /proc/PID/status"))
        };
        let rss_kib: f64 = number("VmRSS:")?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Self { rss_mib: rss_kib / 1024.0, threads: number("Threads:")?, descriptors })
    }
}

#[expect(clippy::disallowed_methods, reason = "the time at which a record is made and read, in this process")]
fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() * 1000.0
}
