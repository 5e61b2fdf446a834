//! The metrics of a host's stores together: their budgets, and the restores that wait.

use prometheus::{IntGauge, IntGaugeVec};

use super::gauge_value;
use super::registrar::Registrar;

/// Use of the budgets of state. Cloning shares them.
#[derive(Clone)]
pub struct StateMetrics {
    disk: IntGaugeVec,
    disk_free: IntGauge,
    memory: IntGauge,
    hot: IntGauge,
    buffered: IntGauge,
    restores_waiting: IntGaugeVec,
}

impl StateMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let team = &["team"];
        let disk = "Disk of a team's stores on this host, unused copies included (limit: --state-disk-per-team-max)";
        let disk_free = "Free disk under the stores (stores grow while it is above --state-disk-free-min)";
        let memory = "Memory of all memory stores on this host (limit: --state-memory-max)";
        let hot = "Memory that is set aside for hot entries (limit: --state-hot-total-max)";
        let buffered = "Committed changes of stores that wait to be written to disk (limit: --state-buffers-max)";
        let waiting = "Restores of partitions that wait for their turn (at once: --state-restores-max)";
        Self {
            disk: r.gauges("sandbar_state_disk_bytes", disk, team),
            disk_free: r.gauge("sandbar_state_disk_free_bytes", disk_free),
            memory: r.gauge("sandbar_state_memory_bytes", memory),
            hot: r.gauge("sandbar_state_hot_bytes", hot),
            buffered: r.gauge("sandbar_state_buffered_bytes", buffered),
            restores_waiting: r.gauges("sandbar_state_restores_waiting", waiting, team),
        }
    }

    /// Sets the disk of a team's stores; `None` takes the gauge away.
    pub fn disk(&self, team: &str, bytes: Option<u64>) {
        set_or_remove(&self.disk, team, bytes);
    }

    pub fn disk_free(&self, bytes: u64) {
        self.disk_free.set(gauge_value(bytes));
    }

    pub fn memory(&self, bytes: u64) {
        self.memory.set(gauge_value(bytes));
    }

    pub fn hot(&self, bytes: u64) {
        self.hot.set(gauge_value(bytes));
    }

    pub fn buffered(&self, bytes: u64) {
        self.buffered.set(gauge_value(bytes));
    }

    /// Sets the number of a team's restores that wait; `None` takes the gauge away.
    pub fn restores_waiting(&self, team: &str, restores: Option<u64>) {
        set_or_remove(&self.restores_waiting, team, restores);
    }
}

fn set_or_remove(gauges: &IntGaugeVec, team: &str, value: Option<u64>) {
    if let Some(value) = value {
        gauges.with_label_values(&[team]).set(gauge_value(value));
    } else {
        // An error says that the gauge is not there.
        let _ = gauges.remove_label_values(&[team]);
    }
}
