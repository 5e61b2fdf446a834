//! The budgets of a host's stores: hot entries and memory stores of all teams, disk of each team, and the disk's rest.
//!
//! A store that has no room for its hot entries works without them. The other budgets refuse: a store is not restored, and
//! a transaction by which stores would grow is not committed. It is tried again, so all goes on once there is room.
//! The disk is measured now and then; what a store writes in between is not counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::StoreLimits;
use crate::model::names::TeamName;
use crate::model::units::Bytes;
use crate::ports::OpenError;
use crate::telemetry::metrics::StateMetrics;

/// A store gets this part of the memory for hot entries that is left, at most: so there is some for every other.
const HOT_DIVISOR: u64 = 16;

/// The budgets of a host's stores, shared by all of them.
pub(super) struct Budgets {
    limits: StoreLimits,
    /// The folder of the local stores.
    folder: PathBuf,
    metrics: StateMetrics,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    hot_bytes: u64,
    memory_bytes: u64,
    /// The disk of each team, as it was measured last.
    disk_bytes: BTreeMap<TeamName, u64>,
}

/// Memory for the hot entries of one store. Dropped, it is given back.
pub(super) struct HotShare {
    budgets: Arc<Budgets>,
    pub bytes: u64,
}

/// The bytes of one memory store. Dropped, they are given back.
pub(super) struct MemoryShare {
    budgets: Arc<Budgets>,
    bytes: u64,
}

impl Budgets {
    pub fn new(folder: &Path, limits: StoreLimits, metrics: StateMetrics) -> Self {
        Self { limits, folder: folder.to_owned(), metrics, used: Mutex::default() }
    }

    /// Most disk of a team's stores; None without a limit.
    pub fn disk_bytes_max(&self, _team: &TeamName) -> Option<u64> {
        self.limits.team_disk_bytes_max
    }

    /// Sets memory aside for the hot entries of one store: the most that it may have, or a part of the rest.
    pub fn hot_share(self: &Arc<Self>) -> HotShare {
        let mut used = self.used.lock();
        let rest = self.limits.hot_total_bytes_max.saturating_sub(used.hot_bytes);
        let bytes = self.limits.hot_bytes_max.min(rest / HOT_DIVISOR);
        used.hot_bytes += bytes;
        self.metrics.hot(used.hot_bytes);
        HotShare { budgets: self.clone(), bytes }
    }

    pub fn memory_share(self: &Arc<Self>) -> MemoryShare {
        MemoryShare { budgets: self.clone(), bytes: 0 }
    }

    /// Refuses memory stores that grow by so many bytes, if all together are over their budget then.
    pub fn check_memory(&self, more: u64) -> Result<(), OpenError> {
        let used = self.used.lock().memory_bytes;
        let limit = self.limits.memory_bytes_max;
        if used.saturating_add(more) <= limit {
            return Ok(());
        }
        let used = Bytes(used);
        let limit = Bytes(limit);
        let message = format!("the memory stores of this host have {used}, their limit is {limit} (--state-memory-max)");
        Err(OpenError::NoMemory(message))
    }

    /// Refuses local stores of a team that grow, if the team or the disk has no room for it.
    pub fn check_disk(&self, team: &TeamName) -> Result<(), OpenError> {
        self.check_free()?;
        let used = self.used.lock().disk_bytes.get(team).copied().unwrap_or(0);
        let Some(limit) = self.disk_bytes_max(team).filter(|&limit| used > limit) else { return Ok(()) };
        let used = Bytes(used);
        let limit = Bytes(limit);
        let message = format!(
            "the stores of team {team} have {used} on this host, their limit is {limit} (--state-disk-per-team-max)"
        );
        Err(OpenError::OverTeamDisk(message))
    }

    /// Refuses local stores that grow on a disk that is almost full: the stores of all teams break if one fills it.
    pub fn check_free(&self) -> Result<(), OpenError> {
        let Some(free) = self.free_bytes() else { return Ok(()) };
        self.metrics.disk_free(free);
        let least = self.limits.disk_free_bytes_min;
        if free >= least {
            return Ok(());
        }
        let folder = self.folder.display();
        let free = Bytes(free);
        let least = Bytes(least);
        Err(OpenError::DiskFull(format!(
            "{folder} has {free} left, and stores may grow above {least} (--state-disk-free-min)"
        )))
    }

    /// Free bytes of the file system with the local stores; None if it does not say.
    fn free_bytes(&self) -> Option<u64> {
        // The folder is made with the first store.
        let found = self.folder.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Takes over a measurement of the disk. Returns the teams that are over their limit.
    pub fn measured(&self, disk_bytes: BTreeMap<TeamName, u64>) -> Vec<TeamName> {
        if let Some(free) = self.free_bytes() {
            self.metrics.disk_free(free);
        }
        let mut used = self.used.lock();
        used.disk_bytes
            .keys()
            .filter(|team| !disk_bytes.contains_key(team))
            .for_each(|team| self.metrics.disk(team.as_str(), None));
        disk_bytes.iter().for_each(|(team, &bytes)| self.metrics.disk(team.as_str(), Some(bytes)));
        used.disk_bytes = disk_bytes;
        let is_over = |(team, bytes): &(&TeamName, &u64)| self.disk_bytes_max(team).is_some_and(|limit| **bytes > limit);
        used.disk_bytes.iter().filter(is_over).map(|(team, _)| team.clone()).collect()
    }
}

impl Drop for HotShare {
    fn drop(&mut self) {
        let mut used = self.budgets.used.lock();
        used.hot_bytes -= self.bytes;
        self.budgets.metrics.hot(used.hot_bytes);
    }
}

impl MemoryShare {
    /// Sets the bytes of the store.
    pub fn set(&mut self, bytes: u64) {
        let mut used = self.budgets.used.lock();
        used.memory_bytes = used.memory_bytes - self.bytes + bytes;
        self.bytes = bytes;
        self.budgets.metrics.memory(used.memory_bytes);
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    fn budgets(limits: StoreLimits) -> Arc<Budgets> {
        Arc::new(Budgets::new(Path::new("/nowhere/state"), limits, Metrics::new().state))
    }

    fn team(name: &str) -> TeamName {
        name.parse().expect("valid")
    }

    #[test]
    fn every_store_gets_memory_for_hot_entries_and_gives_it_back() {
        let budgets = budgets(StoreLimits { hot_bytes_max: 400, hot_total_bytes_max: 9600, ..StoreLimits::default() });
        let shares: Vec<HotShare> = (0..60).map(|_| budgets.hot_share()).collect();
        let bytes: Vec<u64> = shares.iter().map(|share| share.bytes).collect();
        assert!(bytes[..8].iter().all(|&bytes| bytes == 400) && bytes[59] > 0, "{bytes:?}");
        assert!(bytes.iter().sum::<u64>() <= 9600);
        drop(shares);
        assert_eq!(budgets.hot_share().bytes, 400);
    }

    #[test]
    fn memory_stores_have_one_budget() {
        let budgets = budgets(StoreLimits { memory_bytes_max: 100, ..StoreLimits::default() });
        let mut one = budgets.memory_share();
        let mut other = budgets.memory_share();
        one.set(60);
        other.set(30);
        assert_eq!((budgets.check_memory(10), budgets.check_memory(11).is_err()), (Ok(()), true));
        one.set(10);
        assert_eq!(budgets.check_memory(60), Ok(()));
        drop(other);
        assert_eq!(budgets.check_memory(90), Ok(()));
        one.set(200);
        let refused = budgets.check_memory(0).expect_err("over");
        assert_eq!(refused.code().as_str(), "E232");
        assert!(refused.to_string().contains("have 200B, their limit is 100B (--state-memory-max)"), "{refused}");
    }

    #[test]
    fn a_team_over_its_disk_holds_up_no_other() {
        let limits = StoreLimits { team_disk_bytes_max: Some(100), disk_free_bytes_min: 0, ..StoreLimits::default() };
        let budgets = budgets(limits);
        let over = budgets.measured([(team("a"), 101), (team("b"), 100)].into());
        assert_eq!(over, [team("a")]);
        let refused = budgets.check_disk(&team("a")).expect_err("over");
        assert_eq!(refused.code().as_str(), "E231");
        assert!(refused.to_string().contains("team a have 101B"), "{refused}");
        assert_eq!([team("b"), team("c")].map(|team| budgets.check_disk(&team)), [Ok(()), Ok(())]);
        assert!(budgets.measured(BTreeMap::new()).is_empty());
        assert_eq!(budgets.check_disk(&team("a")), Ok(()));
    }

    #[test]
    fn no_store_grows_on_a_disk_that_is_almost_full() {
        let budgets = budgets(StoreLimits { disk_free_bytes_min: u64::MAX, ..StoreLimits::default() });
        let refused = budgets.check_disk(&team("a")).expect_err("no disk has that much");
        assert_eq!(refused.code().as_str(), "E212");
        assert!(refused.to_string().contains("--state-disk-free-min"), "{refused}");
    }
}
