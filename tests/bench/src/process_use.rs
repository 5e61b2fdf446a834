//! The use of processes, by the kernel: CPU time between two looks, memory, threads and descriptors.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::figures::cpu_ns;

/// The CPU time that a process and the broker have used by now.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    process_ns: u64,
    broker_ns: u64,
    at: Instant,
}

/// The memory of a process now, with its threads and open descriptors.
pub struct Memory {
    pub rss_mib: f64,
    pub threads: f64,
    pub descriptors: usize,
}

/// The CPU time that this machine takes to end a sleep of a thread, and to begin the next one: an idle host does little else.
pub fn wake_us() -> anyhow::Result<f64> {
    const SLEEPS: u32 = 100;
    let used_ns = || -> anyhow::Result<u64> {
        let schedule = fs::read_to_string("/proc/thread-self/schedstat")?;
        Ok(schedule.split_whitespace().next().context("the time on a processor")?.parse()?)
    };
    let before = used_ns()?;
    for _ in 0..SLEEPS {
        sleep(Duration::from_millis(20));
    }
    Ok((used_ns()? - before) as f64 / 1000.0 / f64::from(SLEEPS))
}

// === impl Memory ===

impl Memory {
    pub fn of(pid: u32) -> anyhow::Result<Self> {
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

// === impl Cpu ===

impl Cpu {
    pub fn of(process: u32, broker: u32) -> anyhow::Result<Self> {
        Ok(Self { process_ns: cpu_ns(process)?, broker_ns: cpu_ns(broker)?, at: Instant::now() })
    }

    /// The parts of a core that the process and the broker used until `after`.
    pub fn percent(self, after: Self) -> (f64, f64) {
        let elapsed = (after.at - self.at).as_nanos() as f64 / 100.0;
        ((after.process_ns - self.process_ns) as f64 / elapsed, (after.broker_ns - self.broker_ns) as f64 / elapsed)
    }
}
