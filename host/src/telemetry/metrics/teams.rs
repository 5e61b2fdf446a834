//! The metrics of teams: their limits, and their use of them.

use prometheus::{IntGauge, IntGaugeVec};

use super::gauge_value;
use super::registrar::Registrar;
use crate::model::names::TeamName;
use crate::model::team::{Ceiling, TeamLimits};

/// The team label of uploads that name no team.
const NO_TEAM: &str = "-";

/// The limits of the teams that have transforms, or that the file names. Cloning shares them.
#[derive(Clone)]
pub struct TeamMetrics {
    used: IntGaugeVec,
    ceilings: IntGaugeVec,
    cpu_weight: IntGaugeVec,
    file_refused: IntGauge,
}

impl TeamMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let by_ceiling = &["team", "ceiling"];
        let weight = "Share of the host's CPU, relative to the weights of the other teams";
        let refused = "1 while the newest content of the file of teams is not used, because it is not valid";
        Self {
            used: r.gauges("sandbar_team_used", "Use of a team, by ceiling, in the ceiling's unit", by_ceiling),
            ceilings: r.gauges("sandbar_team_ceiling", "Ceilings of a team, each in its unit", by_ceiling),
            cpu_weight: r.gauges("sandbar_team_cpu_weight", weight, &["team"]),
            file_refused: r.gauge("sandbar_teams_file_refused", refused),
        }
    }

    /// Sets the limits of a team.
    pub fn limits(&self, team: &TeamName, limits: &TeamLimits) {
        for ceiling in Ceiling::ALL {
            self.ceiling(team.as_str(), ceiling, limits.ceiling(ceiling));
        }
        self.cpu_weight.with_label_values(&[team.as_str()]).set(i64::from(limits.cpu_weight));
    }

    /// Sets the use of a team under one ceiling.
    pub fn used(&self, team: &TeamName, ceiling: Ceiling, amount: u64) {
        self.used.with_label_values(&[team.as_str(), ceiling.key()]).set(gauge_value(amount));
    }

    /// Sets one ceiling of the uploads that name no team, and their use of it.
    pub fn uploads_without_team(&self, ceiling: Ceiling, amount: u64, most: u64) {
        self.used.with_label_values(&[NO_TEAM, ceiling.key()]).set(gauge_value(amount));
        self.ceiling(NO_TEAM, ceiling, most);
    }

    fn ceiling(&self, team: &str, ceiling: Ceiling, most: u64) {
        self.ceilings.with_label_values(&[team, ceiling.key()]).set(gauge_value(most));
    }

    pub fn file_refused(&self, is_refused: bool) {
        self.file_refused.set(i64::from(is_refused));
    }

    /// Takes away the metrics of a team that is gone.
    pub fn forget(&self, team: &TeamName) {
        // An error says that the gauge is not there.
        for ceiling in Ceiling::ALL {
            let labels = &[team.as_str(), ceiling.key()];
            let _ = self.used.remove_label_values(labels);
            let _ = self.ceilings.remove_label_values(labels);
        }
        let _ = self.cpu_weight.remove_label_values(&[team.as_str()]);
    }
}
