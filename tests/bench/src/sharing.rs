//! `sandbar-bench sharing`: the clients of many small transforms, own ones and shared ones, without a host around them.
//!
//! TRANSFORMS (200) groups read one topic, and each writes what it reads to an output of its own, exactly once. The shapes
//! ([`Shape`]) differ in who has a consumer and a producer. The phases and figures are those of `sandbar-bench many`: a
//! silence, then 2 records a second. docs/adr/0031 has the figures and the conclusions.
//!
//! SECONDS (20) is the length of each phase. QUICK=1 measures 60 transforms for 10 s.

mod clients;
mod shape;

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use sandbar_harness::child::Process;
use sandbar_harness::{KafkaCluster, LiveReader, Producer, dirs, topics};

pub use clients::run as run_clients;
pub use shape::Shape;

use crate::process_use::{Cpu, Memory};
use crate::trickle::{PAUSE, quantile, send};
use crate::{broker, quick, variable};

pub const SUBCOMMAND: &str = "sharing-clients";

const INPUT: &str = "bench.sharing.in";
/// Time until all have joined their groups, with 200 of them.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// The first records find no producers; they are not measured.
const WARM_UP: usize = 4;

pub fn run() -> anyhow::Result<()> {
    let transforms: usize = variable("TRANSFORMS", if quick() { 60 } else { 200 })?;
    let seconds: u64 = variable("SECONDS", if quick() { 10 } else { 20 })?;
    let kafka = broker::start()?;
    topics::create(&kafka, &[INPUT], 1);
    println!(
        "{:16} {:>8} {:>9} {:>8} {:>8} {:>9} {:>11} {:>7} {:>7}",
        "clients", "threads", "RSS MiB", "idle %", "broker %", "trickle %", "broker %", "p50 ms", "p99 ms"
    );
    for shape in Shape::ALL {
        measure(&kafka, shape, transforms, Duration::from_secs(seconds))?;
    }
    Ok(())
}

fn measure(kafka: &KafkaCluster, shape: Shape, transforms: usize, phase: Duration) -> anyhow::Result<()> {
    let outputs: Vec<String> = (0..transforms).map(|number| output(shape.name(), number)).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    topics::create(kafka, &outputs, 1);
    let mut command = Command::new(std::env::current_exe()?);
    command.args([SUBCOMMAND, shape.name(), kafka.brokers(), INPUT, &transforms.to_string()]);
    let process = Process::start(shape.name(), command, &dirs::fresh(shape.name()).join("log"));
    let pids = (process.pid(), kafka.pid(1).context("the broker runs")?);
    let look = || Cpu::of(pids.0, pids.1);
    sleep(SETTLES_WITHIN);

    let before = look()?;
    sleep(phase);
    let idle = before.percent(look()?);

    let producer = Producer::new(kafka);
    let mut reader = LiveReader::at_ends(kafka, &outputs);
    send(&producer, INPUT, &mut reader, WARM_UP, transforms);
    let count = (phase.as_secs_f64() / PAUSE.as_secs_f64()) as usize;
    let started = Instant::now();
    let before = look()?;
    let latencies_ms = send(&producer, INPUT, &mut reader, count, transforms);
    // What comes late is late; the rate stays that of the records.
    sleep(phase.saturating_sub(started.elapsed()));
    let trickle = before.percent(look()?);
    let used = Memory::of(pids.0)?;
    println!(
        "{:16} {:8} {:9.0} {:8.1} {:8.1} {:9.1} {:11.1} {:7.0} {:7.0}",
        shape.name(),
        used.threads,
        used.rss_mib,
        idle.0,
        idle.1,
        trickle.0,
        trickle.1,
        quantile(&latencies_ms, 0.5),
        quantile(&latencies_ms, 0.99),
    );
    drop(process);
    Ok(())
}

fn output(shape: &str, transform: usize) -> String {
    format!("bench.sharing.{shape}-{transform}")
}
