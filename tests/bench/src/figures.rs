//! One run's figures, taken from outside: the kernel's for the process, and the commits of its group.
//!
//! The window opens with the first commit that is seen and closes with the last, so that starting (clients, joining the
//! group, loading a module) and stopping count for nobody. Both ends lag behind the work by an equal time: records that
//! were fetched ahead when the window opened are not in it, for any contender.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sandbar_harness::Progress;

const SAMPLE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub cpu_ns: f64,
    pub records_per_second: f64,
    pub rss_mib: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_ns, records_per_second, rss_mib } = self;
        write!(f, "{cpu_ns:>6.0} ns CPU/record  {records_per_second:>8.0} records/s  {rss_mib:>5.0} MiB")
    }
}

/// Watches process `pid` until its group has committed all `records`.
pub fn watch(pid: u32, progress: &Progress, records: u64) -> anyhow::Result<Figures> {
    let started = Instant::now();
    let mut first = None;
    loop {
        let cpu = cpu_ns(pid)?;
        let at = Instant::now();
        let total = progress.total() as u64;
        if total > 0 {
            let (cpu_0, at_0, total_0) = *first.get_or_insert((cpu, at, total));
            if total >= records {
                let done = (records - total_0) as f64;
                return Ok(Figures {
                    cpu_ns: (cpu - cpu_0) as f64 / done,
                    records_per_second: done / (at - at_0).as_secs_f64(),
                    rss_mib: rss_peak_mib(pid)?,
                });
            }
        }
        if started.elapsed() > PATIENCE {
            bail!("{total} of {records} records after {PATIENCE:?}");
        }
        std::thread::sleep(SAMPLE);
    }
}

/// User and system time of all threads of a process, dead ones too.
#[expect(unsafe_code, reason = "a constant of the system")]
fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the contender has ended")?;
    // The name, in parentheses, may have spaces: fields are counted after it.
    let fields: Vec<&str> = stat.rsplit_once(')').context("/proc/PID/stat")?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).context("/proc/PID/stat");
    // SAFETY: reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    Ok((ticks(11)? + ticks(12)?) * (1_000_000_000 / per_second))
}

fn rss_peak_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024.0)
}
