//! Counts the bytes of modules that this host stored for each team within the last 24 hours.
//!
//! The counts are this host's own, and begin at 0 when it starts. A module that the log holds already costs nothing, so
//! repeated deployments of one module do not count.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::model::names::TeamName;
use crate::model::team::Ceiling;

/// Hours whose uploads count: the current one and those before it.
const HOURS: usize = 24;
const HOUR_SECONDS: u64 = 3600;

/// The counts by team; uploads without a team have a count together.
pub(super) struct Uploads {
    started: Instant,
    teams: Mutex<BTreeMap<Option<TeamName>, Hours>>,
}

/// Bytes by the hour in which they were stored.
#[derive(Debug, Clone, Default)]
struct Hours {
    newest: u64,
    bytes: [u64; HOURS],
}

/// An upload that counts, until this is dropped, or for good if it was kept.
#[must_use]
pub struct Reservation {
    uploads: Arc<Uploads>,
    team: Option<TeamName>,
    hour: u64,
    bytes: u64,
    is_kept: bool,
}

/// An upload that would go over its ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadExcess {
    pub team: Option<TeamName>,
    pub used: u64,
    pub bytes: u64,
    pub bytes_max: u64,
}

// === impl Uploads ===

impl Default for Uploads {
    fn default() -> Self {
        Self { started: Instant::now(), teams: Mutex::default() }
    }
}

impl Uploads {
    pub fn reserve(
        this: &Arc<Self>,
        team: Option<&TeamName>,
        bytes: u64,
        bytes_max: u64,
        now: Instant,
    ) -> Result<Reservation, UploadExcess> {
        let hour = this.hour(now);
        let team = team.cloned();
        let mut teams = this.teams.lock();
        // Names of teams are anybody's: those without a count are forgotten.
        teams.retain(|_, hours| hours.used(hour) > 0);
        let used = teams.get(&team).map_or(0, |hours| hours.used(hour));
        if used.saturating_add(bytes) > bytes_max {
            return Err(UploadExcess { team, used, bytes, bytes_max });
        }
        teams.entry(team.clone()).or_default().add(hour, bytes);
        drop(teams);
        Ok(Reservation { uploads: this.clone(), team, hour, bytes, is_kept: false })
    }

    pub fn used(&self, team: Option<&TeamName>, now: Instant) -> u64 {
        let hour = self.hour(now);
        self.teams.lock().get(&team.cloned()).map_or(0, |hours| hours.used(hour))
    }

    fn hour(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() / HOUR_SECONDS
    }
}

// === impl Hours ===

impl Hours {
    fn used(&self, hour: u64) -> u64 {
        let first = hour.max(self.newest).saturating_sub(HOURS as u64 - 1);
        (first..=self.newest).map(|hour| self.bytes[index(hour)]).fold(0, u64::saturating_add)
    }

    fn add(&mut self, hour: u64, bytes: u64) {
        for passed in (self.newest + 1..=hour).rev().take(HOURS) {
            self.bytes[index(passed)] = 0;
        }
        self.newest = self.newest.max(hour);
        let counted = &mut self.bytes[index(hour)];
        *counted = counted.saturating_add(bytes);
    }

    fn remove(&mut self, hour: u64, bytes: u64) {
        // By now the hour may be forgotten.
        if hour + HOURS as u64 > self.newest {
            let counted = &mut self.bytes[index(hour)];
            *counted = counted.saturating_sub(bytes);
        }
    }
}

fn index(hour: u64) -> usize {
    (hour % HOURS as u64) as usize
}

// === impl Reservation ===

impl Reservation {
    /// Counts the upload for good: the module is stored.
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_kept
            && let Some(hours) = self.uploads.teams.lock().get_mut(&self.team)
        {
            hours.remove(self.hour, self.bytes);
        }
    }
}

impl fmt::Display for UploadExcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { team, used, bytes, bytes_max } = self;
        let key = Ceiling::UploadBytes.key();
        match team {
            Some(team) => write!(f, "team {team} has stored {used} bytes of modules")?,
            None => write!(f, "uploads without a team have {used} bytes together")?,
        }
        write!(f, " on this host within 24 hours; with {bytes} more they are above {bytes_max} ({key})")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CEILING: u64 = 100;

    fn uploads() -> (Arc<Uploads>, Instant) {
        let uploads = Arc::new(Uploads::default());
        let start = uploads.started;
        (uploads, start)
    }

    fn after(start: Instant, hours: u64) -> Instant {
        start + Duration::from_secs(hours * HOUR_SECONDS)
    }

    /// Makes uploads, each of an hour and of bytes. `fits` says which of them are below the ceiling.
    #[track_caller]
    fn check(steps: &[(u64, u64)], fits: &[bool], used: u64) {
        let (uploads, start) = uploads();
        let team: TeamName = "orders".parse().expect("valid");
        let mut last = 0;
        let mut reserve = |&(hour, bytes): &(u64, u64)| {
            last = hour;
            let reserved = Uploads::reserve(&uploads, Some(&team), bytes, CEILING, after(start, hour));
            reserved.map(Reservation::keep).is_ok()
        };
        let found: Vec<bool> = steps.iter().map(&mut reserve).collect();
        assert_eq!(found, fits, "{steps:?}");
        assert_eq!(uploads.used(Some(&team), after(start, last)), used, "{steps:?}");
    }

    #[test]
    fn uploads_count_for_a_day() {
        check(&[(0, 60), (0, 40), (0, 1)], &[true, true, false], 100);
        check(&[(0, 101)], &[false], 0);
        check(&[(0, 60), (1, 60), (23, 60), (24, 60)], &[true, false, false, true], 60);
        check(&[(0, 50), (12, 50), (24, 50), (35, 1), (36, 50)], &[true, true, true, false, true], 100);
        check(&[(0, 100), (1000, 100), (1023, 1), (1024, 1)], &[true, true, false, true], 1);
        check(&[(5, 30), (5, 30), (28, 40), (29, 60)], &[true, true, true, true], 100);
    }

    #[test]
    fn an_upload_that_failed_does_not_count_and_teams_have_counts_of_their_own() {
        let (uploads, start) = uploads();
        let names = ["a", "b"].map(|name| name.parse::<TeamName>().expect("valid"));
        let [a, b] = [Some(&names[0]), Some(&names[1])];
        let reserved = Uploads::reserve(&uploads, a, 100, CEILING, start).expect("fits");
        assert_eq!([a, b, None].map(|team| uploads.used(team, start)), [100, 0, 0]);
        let refused = Uploads::reserve(&uploads, a, 1, CEILING, start).err().expect("over");
        assert_eq!(refused, UploadExcess { team: a.cloned(), used: 100, bytes: 1, bytes_max: CEILING });
        drop(reserved);
        Uploads::reserve(&uploads, None, 100, CEILING, start).expect("fits").keep();
        Uploads::reserve(&uploads, b, 99, CEILING, start).expect("fits").keep();
        assert_eq!([a, b, None].map(|team| uploads.used(team, start)), [0, 99, 100]);
        // A reservation that ends a day later takes nothing from the uploads of its hour's successor.
        let late = Uploads::reserve(&uploads, b, 1, CEILING, start).expect("fits");
        Uploads::reserve(&uploads, b, 50, CEILING, after(start, 24)).expect("fits").keep();
        drop(late);
        assert_eq!(uploads.used(b, after(start, 24)), 50);
        assert_eq!(uploads.teams.lock().len(), 1, "those without a count are forgotten");
    }
}
