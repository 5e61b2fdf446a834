//! One run's figures, taken from outside: the kernel's for the process, and the commits of its group.
//!
//! The window opens with the first commit that is seen and closes with the last, so that starting (clients, joining the
//! group, loading a module) and stopping count for nobody. Both ends lag behind the work by an equal time: records that
//! were fetched ahead when the window opened are not in it, for any contender. A second window opens when half of the
//! records are committed: by then a JVM has compiled its hot code.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use sandbar_harness::Progress;

const SAMPLE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub whole: Window,
    pub second_half: Window,
    pub rss_mib: f64,
}

/// The figures between two commits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// CPU time of the process for each record, in ns.
    pub cpu_ns: f64,
    pub records_per_second: f64,
}

/// A look at the process and its group.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    cpu_ns: u64,
    records: u64,
}

/// Watches process `pid` until its group has committed all `records`.
pub fn watch(pid: u32, progress: &Progress, records: u64) -> anyhow::Result<Figures> {
    watch_from(pid, progress, 0, records)
}

/// Watches like [`watch`], but the window opens with the first commit past `from`.
pub fn watch_from(pid: u32, progress: &Progress, from: u64, records: u64) -> anyhow::Result<Figures> {
    let started = Instant::now();
    let mut first = None;
    let mut half = None;
    loop {
        // The clocks are read before the commits: what is done meanwhile is counted as done later.
        let cpu_ns = cpu_ns(pid)?;
        let at = Instant::now();
        let look = Look { at, cpu_ns, records: progress.total() as u64 };
        if look.records > from {
            let first = *first.get_or_insert(look);
            if look.records >= from.midpoint(records) {
                half.get_or_insert(look);
            }
            if look.records >= records {
                let half = half.unwrap_or(first);
                let rss_mib = rss_peak_mib(pid)?;
                ensure!(
                    half.records < records,
                    "the work was done before it was seen: it needs more records than {records}"
                );
                return Ok(Figures { whole: first.until(look), second_half: half.until(look), rss_mib });
            }
        }
        if started.elapsed() > PATIENCE {
            bail!("{} of {records} records after {PATIENCE:?}", look.records);
        }
        std::thread::sleep(SAMPLE);
    }
}

// === impl Look ===

impl Look {
    fn until(self, end: Self) -> Window {
        let records = (end.records - self.records) as f64;
        Window {
            cpu_ns: (end.cpu_ns - self.cpu_ns) as f64 / records,
            records_per_second: records / (end.at - self.at).as_secs_f64(),
        }
    }
}

// === impl Figures ===

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whole, second_half, rss_mib } = self;
        write!(f, "{whole}, second half {second_half}, {rss_mib:>4.0} MiB")
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.0} ns CPU/record {:>7.0} records/s", self.cpu_ns, self.records_per_second)
    }
}

/// User and system time of all threads of a process, dead ones too.
#[expect(unsafe_code, reason = "a constant of the system")]
pub fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the contender has ended")?;
    // The name, in parentheses, may have spaces: fields are counted after it.
    let fields: Vec<&str> = stat.rsplit_once(')').context("/proc/PID/stat")?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).context("/proc/PID/stat");
    // SAFETY: reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    Ok((ticks(11)? + ticks(12)?) * (1_000_000_000 / per_second))
}

pub fn rss_peak_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_only_the_records_between_its_looks() {
        let at = Instant::now();
        let first = Look { at, cpu_ns: 5_000, records: 100 };
        let last = Look { at: at + Duration::from_millis(500), cpu_ns: 405_000, records: 300 };
        assert_eq!(first.until(last), Window { cpu_ns: 2_000.0, records_per_second: 400.0 });
    }
}
