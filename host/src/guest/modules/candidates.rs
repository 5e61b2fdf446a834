//! The memory of the candidates of each team: instances that check a deployment, or that a dry run makes.
//!
//! A candidate takes its memory from the budget of the host, as every instance does. It takes it from a budget of its team
//! here as well, half as large as the host's. So the candidates of one team, of which several may run at once, always leave
//! the other half to transforms, and no start of another team fails because of them. A transform that is deployed never
//! counts here.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::super::budget::Budget;
use crate::model::names::TeamName;

/// The budgets of teams whose candidates run now.
pub(super) struct CandidateBudgets {
    bytes_max: u64,
    teams: Mutex<BTreeMap<TeamName, Weak<Budget>>>,
}

impl CandidateBudgets {
    /// The budgets on a host whose instances may have this memory together.
    pub fn of_host(memory_bytes_max: u64) -> Self {
        Self { bytes_max: memory_bytes_max / 2, teams: Mutex::default() }
    }

    /// The budget of a team, which all of its candidates share.
    pub fn of(&self, team: &TeamName) -> Arc<Budget> {
        let mut teams = self.teams.lock();
        // Names of teams are anybody's: those without a candidate are forgotten.
        teams.retain(|_, budget| budget.strong_count() > 0);
        if let Some(budget) = teams.get(team).and_then(Weak::upgrade) {
            return budget;
        }
        let budget = Arc::new(Budget::new(self.bytes_max, |_| {}));
        teams.insert(team.clone(), Arc::downgrade(&budget));
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_a_team_share_half_of_the_memory_of_the_host() {
        let budgets = CandidateBudgets::of_host(100);
        let [a, b] = ["a", "b"].map(|name| name.parse::<TeamName>().expect("valid"));
        let [first, second, other] = [&a, &a, &b].map(|team| budgets.of(team));
        let mut held = first.share();
        held.grow(30).expect("there is room");
        assert!(second.share().grow(21).is_err(), "it is of the same team");
        other.share().grow(50).expect("there is room for another team");
        // A share keeps the count of its team, also without the candidate's factory.
        drop((first, second, other));
        assert!(budgets.of(&a).share().grow(21).is_err());
        assert_eq!(budgets.teams.lock().len(), 1, "teams without a candidate are forgotten");
        drop(held);
        budgets.of(&a).share().grow(50).expect("all was given back");
    }
}
