//! The metrics of the process.
//!
//! The crate `prometheus` has a collector of its own for these. It counts CPU time in whole seconds, which is too coarse
//! for the cost of a record, and needs a second version of `rustix`; so the host asks the system itself.

use std::time::Duration;

use prometheus::{Gauge, IntGauge};

use super::gauge_value;
use super::registrar::Registrar;

/// CPU time and memory of this process. Cloning shares them.
#[derive(Clone)]
pub(super) struct ProcessMetrics {
    cpu: Gauge,
    memory: IntGauge,
}

impl ProcessMetrics {
    pub fn new(r: &Registrar) -> Self {
        Self {
            cpu: r.float_gauge("process_cpu_seconds_total", "CPU time of the process"),
            memory: r.gauge("process_resident_memory_bytes", "Resident memory of the process"),
        }
    }

    /// Asks the system for the values of now; they are 0 where it does not say.
    pub fn update(&self) {
        self.cpu.set(cpu_time().as_secs_f64());
        self.memory.set(gauge_value(resident_bytes()));
    }
}

#[expect(unsafe_code, reason = "a question to the system that std does not ask")]
fn cpu_time() -> Duration {
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
