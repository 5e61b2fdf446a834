//! The metrics of compiled modules and their instances.

use std::time::Duration;

use prometheus::{Histogram, IntCounterVec, IntGauge, IntGaugeVec};

use super::gauge_value;
use super::registrar::{Registrar, buckets};

/// Compiled modules, compilers, and the address space of instances. Cloning shares them.
#[derive(Clone)]
pub struct ModuleMetrics {
    compiled: IntCounterVec,
    compile_time: Histogram,
    compilers_running: IntGauge,
    compiles_waiting: IntGaugeVec,
    in_memory_bytes: IntGauge,
    address_space: IntGauge,
    guest_memory: IntGauge,
}

impl ModuleMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let running = "Modules being compiled (limit: --compilers-max)";
        let space = "Address space that the instances of all transforms reserve (limit: --guest-address-space-max)";
        let memory = "Memory of the instances of all transforms (limit: --guest-memory-max)";
        Self {
            compiled: r.counters("sandbar_modules_compiled_total", "Modules compiled, by result", &["result"]),
            // From 50 ms, a small module, to 51 s: the default limit is 60 s.
            compile_time: r.histogram("sandbar_module_compile_seconds", "Time to compile a module", buckets(0.05, 2.0, 11)),
            compilers_running: r.gauge("sandbar_compilers_running", running),
            compiles_waiting: r.gauges("sandbar_compiles_waiting", "Compilations that wait for a compiler", &["queue"]),
            in_memory_bytes: r.gauge("sandbar_compiled_modules_bytes", "Bytes of the compiled modules in memory"),
            address_space: r.gauge("sandbar_guest_address_space_bytes", space),
            guest_memory: r.gauge("sandbar_guest_memory_total_bytes", memory),
        }
    }

    /// Counts a module that was compiled, or loaded from the cache.
    pub fn compiled(&self, result: &'static str, took: Duration) {
        self.compiled.with_label_values(&[result]).inc();
        self.compile_time.observe(took.as_secs_f64());
    }

    /// Counts a request for a module that was neither compiled nor loaded.
    pub fn not_compiled(&self, result: &'static str) {
        self.compiled.with_label_values(&[result]).inc();
    }

    pub fn compilers_running(&self, count: usize) {
        self.compilers_running.set(gauge_value(count as u64));
    }

    pub fn compiles_waiting(&self, queue: &str, count: usize) {
        self.compiles_waiting.with_label_values(&[queue]).set(gauge_value(count as u64));
    }

    /// Sets the bytes of the compiled modules in memory.
    pub fn in_memory(&self, bytes: u64) {
        self.in_memory_bytes.set(gauge_value(bytes));
    }

    /// Sets the memory that all instances have.
    pub fn guest_memory(&self, bytes: u64) {
        self.guest_memory.set(gauge_value(bytes));
    }

    /// Sets the address space that all instances reserve.
    pub fn address_space(&self, bytes: u64) {
        self.address_space.set(gauge_value(bytes));
    }
}
