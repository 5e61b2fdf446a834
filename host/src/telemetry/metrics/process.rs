//! The metrics of the process.
//!
//! The crate `prometheus` has a collector of its own for these. It counts CPU time in whole seconds, which is too coarse
//! for the cost of a record, and needs a second version of `rustix`; so the host asks the system itself.

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntGauge};

use super::gauge_value;

/// CPU time and memory of this process, as the system tells them when they are read; they are 0 where it does not say.
pub(super) struct ProcessMetrics {
    cpu: Counter,
    memory: IntGauge,
}

impl ProcessMetrics {
    pub fn new() -> Self {
        let cpu = Counter::new("process_cpu_seconds_total", "CPU time of the process");
        let memory = IntGauge::new("process_resident_memory_bytes", "Resident memory of the process");
        Self { cpu: cpu.expect("a valid name"), memory: memory.expect("a valid name") }
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        [self.cpu.desc(), self.memory.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Readers at one time have metrics of their own: a counter cannot be set.
        let Self { cpu, memory } = Self::new();
        cpu.inc_by(cpu_time().as_secs_f64());
        memory.set(gauge_value(resident_bytes()));
        [cpu.collect(), memory.collect()].concat()
    }
}

#[expect(unsafe_code, reason = "a question to the system that std does not ask")]
pub(super) fn cpu_time() -> Duration {
    // SAFETY: getrusage fills the struct it is given; zeroed is a valid value of it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
