//! The memory of the tables of a host: of each, of those of a team, and of all.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::names::TeamName;
use crate::telemetry::metrics::TableMetrics;

/// Most memory of tables, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct TableLimits {
    /// The limit for one table (`table_bytes_max`).
    pub table: usize,
    /// The limit for the tables that one team was the first to use (`table_memory_per_team_max`).
    pub team: usize,
    /// The limit for all tables of the host (`table_memory_max`).
    pub host: usize,
}

/// The memory that tables have. Shared by all of them.
pub(super) struct TableBudget {
    limits: TableLimits,
    metrics: TableMetrics,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    host: usize,
    teams: BTreeMap<TeamName, usize>,
}

/// The memory of one table, of a team that was the first to use it. Dropped, it is given back.
pub(super) struct TableShare {
    budget: Arc<TableBudget>,
    team: TeamName,
    bytes: usize,
}

impl TableBudget {
    pub fn new(limits: TableLimits, metrics: TableMetrics) -> Self {
        Self { limits, metrics, used: Mutex::default() }
    }

    pub fn share(self: &Arc<Self>, team: &TeamName) -> TableShare {
        TableShare { budget: self.clone(), team: team.clone(), bytes: 0 }
    }
}

impl TableShare {
    /// Sets the memory of a table: that of its content, and `more` for an old content that is still looked up while a new one
    /// is read. A share that grows over a limit stays as it was, and the error names the limit.
    pub fn resize(&mut self, bytes: usize, more: usize) -> Result<(), String> {
        let TableBudget { limits, metrics, used } = &*self.budget;
        let used = &mut *used.lock();
        let total = bytes.saturating_add(more);
        let of_team = used.teams.get(&self.team).copied().unwrap_or(0).saturating_sub(self.bytes).saturating_add(total);
        let of_host = used.host.saturating_sub(self.bytes).saturating_add(total);
        if bytes > limits.table {
            return Err(format!("it has {bytes} bytes, the limit is {} (table_bytes_max)", limits.table));
        }
        if total > self.bytes && of_team > limits.team {
            let Self { team, .. } = self;
            let limit = limits.team;
            return Err(format!(
                "with it the tables of team {team} have {of_team} bytes, the limit is {limit} (table_memory_per_team_max)"
            ));
        }
        if total > self.bytes && of_host > limits.host {
            return Err(format!(
                "with it all tables of the host have {of_host} bytes, the limit is {} (table_memory_max)",
                limits.host
            ));
        }
        self.bytes = total;
        used.host = of_host;
        if of_team == 0 {
            used.teams.remove(&self.team);
        } else {
            used.teams.insert(self.team.clone(), of_team);
        }
        metrics.memory(of_host);
        Ok(())
    }
}

impl Drop for TableShare {
    fn drop(&mut self) {
        self.resize(0, 0).expect("nothing is within every limit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn each_limit_is_kept_and_memory_is_given_back() {
        let limits = TableLimits { table: 100, team: 150, host: 220 };
        let budget = Arc::new(TableBudget::new(limits, Metrics::new().tables));
        let share = |team: &str| budget.share(&team.parse().expect("valid"));
        let [mut first, mut second, mut other] = [share("greedy"), share("greedy"), share("modest")];
        let refused = |result: Result<(), String>| result.expect_err("over a limit");
        assert!(refused(first.resize(101, 0)).contains("(table_bytes_max)"));
        // What is beside a table for a time is no part of its own limit.
        first.resize(100, 40).expect("within all");
        assert!(refused(second.resize(11, 0)).contains("of team greedy have 151 bytes, the limit is 150"));
        first.resize(100, 0).expect("less");
        second.resize(50, 0).expect("what the team has left");
        assert!(refused(other.resize(71, 0)).contains("have 221 bytes, the limit is 220 (table_memory_max)"));
        other.resize(70, 0).expect("what the host has left");
        drop((first, second));
        other.resize(100, 0).expect("it was given back");
        drop(other);
        let used = budget.used.lock();
        assert!(used.host == 0 && used.teams.is_empty());
    }
}
