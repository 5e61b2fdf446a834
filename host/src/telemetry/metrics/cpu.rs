//! The metrics of the processors that the teams of a host share.

use std::time::Duration;

use prometheus::{Counter, CounterVec};

use super::registrar::Registrar;
use crate::model::names::TeamName;

/// CPU time and waits by team. Cloning shares them.
#[derive(Clone)]
pub struct CpuMetrics {
    used: CounterVec,
    waited: CounterVec,
}

/// The metrics of one team. Cloning shares them.
#[derive(Clone)]
pub struct TeamCpuMetrics {
    used: Counter,
    waited: Counter,
}

impl CpuMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let used = "CPU time of the threads that run the team's guests";
        let waited = "Time for which threads of the team waited for a processor (limit: --guest-calls-max)";
        Self {
            used: r.float_counters("sandbar_team_cpu_seconds_total", used, &["team"]),
            waited: r.float_counters("sandbar_team_cpu_wait_seconds_total", waited, &["team"]),
        }
    }

    pub fn team(&self, team: &TeamName) -> TeamCpuMetrics {
        let of_team = |counters: &CounterVec| counters.with_label_values(&[team.as_str()]);
        TeamCpuMetrics { used: of_team(&self.used), waited: of_team(&self.waited) }
    }

    /// Takes away the counters of a team that has no transform here any more.
    pub(super) fn forget(&self, team: &TeamName) {
        for counters in [&self.used, &self.waited] {
            // An error says that the counter is not there.
            let _ = counters.remove_label_values(&[team.as_str()]);
        }
    }
}

impl TeamCpuMetrics {
    /// Counts CPU time.
    pub fn used(&self, time: Duration) {
        self.used.inc_by(time.as_secs_f64());
    }

    /// Counts the time of a wait.
    pub fn waited(&self, time: Duration) {
        self.waited.inc_by(time.as_secs_f64());
    }
}
