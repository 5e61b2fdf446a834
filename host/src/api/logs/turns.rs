//! Turns of those who read logs and samples: so many on a host, and so many for one team's transforms, so that whoever
//! follows one team's leaves room for the others'.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::problem::Refusal;
use crate::model::codes::Code;
use crate::model::names::TeamName;

/// See the module.
pub struct Turns {
    host: Arc<Semaphore>,
    of_team_max: usize,
    /// Turns that are taken, of teams that have some.
    teams: Mutex<BTreeMap<TeamName, usize>>,
}

/// A reader's turn, until this is dropped. It goes where the work is done: a client that is gone has its turn for as long
/// as something still runs for it.
pub struct Turn {
    turns: Arc<Turns>,
    team: TeamName,
    _host: OwnedSemaphorePermit,
}

// === impl Turns ===

impl Turns {
    /// Makes turns: so many on the host, and so many of a team.
    pub fn new(of_host_max: usize, of_team_max: usize) -> Arc<Self> {
        Arc::new(Self { host: Arc::new(Semaphore::new(of_host_max)), of_team_max, teams: Mutex::default() })
    }

    pub fn take(self: &Arc<Self>, team: &TeamName) -> Result<Turn, Refusal> {
        let host = self.host.clone().try_acquire_owned();
        let host = host.map_err(|_| busy("too many read logs or samples already (follows_max)".into()))?;
        let mut teams = self.teams.lock();
        let taken = teams.entry(team.clone()).or_insert(0);
        if *taken >= self.of_team_max {
            return Err(busy(format!("too many read logs or samples of team {team} already (follows_per_team_max)")));
        }
        *taken += 1;
        Ok(Turn { turns: self.clone(), team: team.clone(), _host: host })
    }
}

fn busy(message: String) -> Refusal {
    Refusal::new(Code::Busy, message)
}

// === impl Turn ===

impl Drop for Turn {
    fn drop(&mut self) {
        let mut teams = self.turns.teams.lock();
        if let Some(taken) = teams.get_mut(&self.team) {
            *taken -= 1;
            if *taken == 0 {
                teams.remove(&self.team);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str) -> TeamName {
        name.parse().expect("valid")
    }

    #[track_caller]
    fn check(turns: &Arc<Turns>, name: &str, limit: Option<&str>) -> Option<Turn> {
        let taken = turns.take(&team(name));
        let refused = taken.as_ref().err().map(|refusal| (refusal.code(), refusal.detail().to_owned()));
        match limit {
            Some(limit) => {
                assert!(refused.is_some_and(|(code, detail)| code == Code::Busy && detail.contains(limit)), "{name}")
            }
            None => assert_eq!(refused, None, "{name}"),
        }
        taken.ok()
    }

    #[test]
    fn a_team_leaves_turns_for_others_and_gives_them_back() {
        let turns = Turns::new(3, 2);
        let first = check(&turns, "a", None);
        let second = check(&turns, "a", None);
        check(&turns, "a", Some("follows_per_team_max"));
        let other = check(&turns, "b", None);
        check(&turns, "c", Some("follows_max"));
        drop(first);
        check(&turns, "c", None);
        drop((second, other));
        assert!(turns.teams.lock().is_empty());
        check(&turns, "a", None);
    }
}
