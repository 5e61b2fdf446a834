//! The logs of teams: each asks, reads and writes with the team's own rights.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::names::TeamName;

/// Time for which the log of a team stays that nobody holds: its clients have threads of their own.
const KEPT: Duration = Duration::from_secs(300);
/// Logs that nobody holds, at most: requests name teams as they like.
const UNHELD_MAX: usize = 64;

/// The logs that were used last. A log makes its clients when it is first asked.
pub(super) struct TeamLogs<L>(Mutex<Logs<L>>);

/// Each with the time of its last use.
type Logs<L> = BTreeMap<TeamName, (Instant, Arc<L>)>;

impl<L> Default for TeamLogs<L> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<L> TeamLogs<L> {
    pub fn get(&self, team: &TeamName, now: Instant, make: impl FnOnce() -> L) -> Arc<L> {
        let mut logs = self.0.lock();
        let (used, log) = logs.entry(team.clone()).or_insert_with(|| (now, Arc::new(make())));
        *used = now;
        let log = log.clone();
        let dropped = take_unheld(&mut logs, now);
        drop(logs);
        // Closing clients takes a moment: not while others wait for the lock.
        drop(dropped);
        log
    }
}

/// Takes out the logs that nobody holds and that were not used of late, or are too many.
fn take_unheld<L>(logs: &mut Logs<L>, now: Instant) -> Vec<Arc<L>> {
    let unheld = logs.iter().filter(|(_, (_, log))| Arc::strong_count(log) == 1);
    let mut by_use: Vec<(Instant, TeamName)> = unheld.map(|(team, (used, _))| (*used, team.clone())).collect();
    by_use.sort();
    let surplus = by_use.len().saturating_sub(UNHELD_MAX);
    let is_old = |(index, (used, _)): &(usize, &(Instant, TeamName))| *index < surplus || now - *used > KEPT;
    let old: Vec<TeamName> = by_use.iter().enumerate().filter(is_old).map(|(_, (_, team))| team.clone()).collect();
    old.iter().filter_map(|team| logs.remove(team)).map(|(_, log)| log).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(number: usize) -> TeamName {
        format!("t{number}").parse().expect("valid")
    }

    #[test]
    fn logs_that_nobody_holds_are_dropped_in_the_end() {
        let logs = TeamLogs::default();
        let start = Instant::now();
        let held = logs.get(&team(0), start, || 0);
        for number in 1..=UNHELD_MAX + 10 {
            logs.get(&team(number), start + Duration::from_millis(number as u64), || number);
        }
        // The newest one was held while the others were counted.
        assert_eq!(logs.0.lock().len(), UNHELD_MAX + 2);
        let later = start + KEPT + Duration::from_secs(1);
        assert!(Arc::ptr_eq(&held, &logs.get(&team(0), later, || 1)), "a team has one log");
        assert_eq!(logs.0.lock().len(), 1);
    }
}
