//! Permits for readers of logs and samples. A host has a number of them, and a smaller number for the transforms of one
//! team, so that the readers of one team leave room for others.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::codes::Code;
use crate::model::names::TeamName;
use crate::model::team::Ceiling;
use crate::telemetry::metrics::TeamMetrics;

use super::problem::Refusal;

/// The permits of a host.
pub struct FollowPermits {
    host: Arc<Semaphore>,
    metrics: TeamMetrics,
    /// The number of taken permits, of each team that has some.
    teams: Mutex<BTreeMap<TeamName, u64>>,
}

/// The permit of one reader, until it is dropped. It moves to where the work is done: a client that is gone keeps its
/// permit for as long as something still runs for it.
pub struct FollowPermit {
    permits: Arc<FollowPermits>,
    team: TeamName,
    _host: OwnedSemaphorePermit,
}

// === impl FollowPermits ===

impl FollowPermits {
    /// Makes the permits of a host.
    pub fn new(of_host_max: usize, metrics: TeamMetrics) -> Arc<Self> {
        Arc::new(Self { host: Arc::new(Semaphore::new(of_host_max)), metrics, teams: Mutex::default() })
    }

    /// Takes a permit, of which the team may have `of_team_max` at once, or refuses at once.
    pub fn take(self: &Arc<Self>, team: &TeamName, of_team_max: u64) -> Result<FollowPermit, Refusal> {
        let host = self.host.clone().try_acquire_owned();
        let host = host.map_err(|_| busy("too many read logs or samples already (follows_max)".into()))?;
        let mut teams = self.teams.lock();
        let taken = teams.entry(team.clone()).or_insert(0);
        if *taken >= of_team_max {
            if *taken == 0 {
                teams.remove(team);
            }
            return Err(busy(format!("too many read logs or samples of team {team} already (follows_per_team_max)")));
        }
        *taken += 1;
        self.metrics.used(team, Ceiling::Follows, *taken);
        Ok(FollowPermit { permits: self.clone(), team: team.clone(), _host: host })
    }

    /// The permits that a team has taken.
    pub fn taken(&self, team: &TeamName) -> u64 {
        self.teams.lock().get(team).copied().unwrap_or(0)
    }
}

fn busy(message: String) -> Refusal {
    Refusal::new(Code::Busy, message)
}

// === impl FollowPermit ===

impl Drop for FollowPermit {
    fn drop(&mut self) {
        let mut teams = self.permits.teams.lock();
        if let Some(taken) = teams.get_mut(&self.team) {
            *taken -= 1;
            self.permits.metrics.used(&self.team, Ceiling::Follows, *taken);
            if *taken == 0 {
                teams.remove(&self.team);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    fn team(name: &str) -> TeamName {
        name.parse().expect("valid")
    }

    #[track_caller]
    fn check(permits: &Arc<FollowPermits>, name: &str, limit: Option<&str>) -> Option<FollowPermit> {
        let taken = permits.take(&team(name), 2);
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
    fn a_team_leaves_permits_for_others_and_gives_them_back() {
        let permits = FollowPermits::new(3, Metrics::new().teams);
        let first = check(&permits, "a", None);
        let second = check(&permits, "a", None);
        check(&permits, "a", Some("follows_per_team_max"));
        let other = check(&permits, "b", None);
        check(&permits, "c", Some("follows_max"));
        drop(first);
        check(&permits, "c", None);
        drop((second, other));
        assert!(permits.teams.lock().is_empty());
        let last = check(&permits, "a", None);
        assert_eq!(["a", "b"].map(|name| permits.taken(&team(name))), [1, 0]);
        // The number of a team may change while it has some, and be 0.
        assert!(permits.take(&team("a"), 1).is_err() && permits.take(&team("b"), 0).is_err());
        assert!(permits.take(&team("a"), 2).is_ok());
        drop(last);
        assert!(permits.teams.lock().is_empty());
    }
}
