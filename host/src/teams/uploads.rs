//! Counts the modules that each team uploaded to this host within the last 24 hours, and their bytes.
//!
//! The counts are this host's own, and begin at 0 when it starts. The caller says which uploads count: a module that is
//! stored for the team costs no bytes, and one that stays in any case costs nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::model::names::TeamName;
use crate::model::team::{Ceiling, TeamLimits, Unit};

/// Hours whose uploads count: the current one and those before it.
const HOURS: usize = 24;
const HOUR_SECONDS: u64 = 3600;

/// The counts by team; uploads without a team have a count together.
pub(super) struct Uploads {
    started: Instant,
    teams: Mutex<BTreeMap<Option<TeamName>, Hours>>,
}

/// An amount of uploads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UploadAmount {
    pub modules: u64,
    pub bytes: u64,
    /// Partitions of created topics.
    pub partitions: u64,
}

/// Amounts by the hour of the uploads.
#[derive(Debug, Clone, Default)]
struct Hours {
    newest: u64,
    amounts: [UploadAmount; HOURS],
}

/// An upload that counts, until this is dropped, or for good if it was kept.
#[must_use]
pub struct Reservation {
    uploads: Arc<Uploads>,
    team: Option<TeamName>,
    hour: u64,
    /// The part that counts no more once this is dropped.
    amount: UploadAmount,
}

/// An upload that would go over one of its ceilings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadExcess {
    pub team: Option<TeamName>,
    pub ceiling: Ceiling,
    pub used: u64,
    pub added: u64,
    pub max: u64,
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
        limits: &TeamLimits,
        now: Instant,
    ) -> Result<Reservation, UploadExcess> {
        Self::reserve_amount(this, team, UploadAmount { modules: 1, bytes, partitions: 0 }, limits, now)
    }

    /// Counts an amount, if it fits under every ceiling.
    pub fn reserve_amount(
        this: &Arc<Self>,
        team: Option<&TeamName>,
        amount: UploadAmount,
        limits: &TeamLimits,
        now: Instant,
    ) -> Result<Reservation, UploadExcess> {
        let hour = this.hour(now);
        let team = team.cloned();
        let mut teams = this.teams.lock();
        // Names of teams are anybody's: those without a count are forgotten.
        teams.retain(|_, hours| hours.used(hour) != UploadAmount::default());
        let used = teams.get(&team).map(|hours| hours.used(hour)).unwrap_or_default();
        for ((ceiling, used), (_, added)) in used.by_ceiling().into_iter().zip(amount.by_ceiling()) {
            let max = limits.ceiling(ceiling);
            if added > 0 && used.saturating_add(added) > max {
                return Err(UploadExcess { team, ceiling, used, added, max });
            }
        }
        teams.entry(team.clone()).or_default().add(hour, amount);
        drop(teams);
        Ok(Reservation { uploads: this.clone(), team, hour, amount })
    }

    pub fn used(&self, team: Option<&TeamName>, now: Instant) -> UploadAmount {
        let hour = self.hour(now);
        self.teams.lock().get(&team.cloned()).map(|hours| hours.used(hour)).unwrap_or_default()
    }

    fn hour(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() / HOUR_SECONDS
    }
}

// === impl UploadAmount ===

impl UploadAmount {
    /// The amount under each ceiling of uploads.
    pub fn by_ceiling(self) -> [(Ceiling, u64); 3] {
        let Self { modules, bytes, partitions } = self;
        [(Ceiling::Uploads, modules), (Ceiling::UploadBytes, bytes), (Ceiling::CreatedPartitions, partitions)]
    }

    fn plus(self, other: Self) -> Self {
        Self {
            modules: self.modules.saturating_add(other.modules),
            bytes: self.bytes.saturating_add(other.bytes),
            partitions: self.partitions.saturating_add(other.partitions),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            modules: self.modules.saturating_sub(other.modules),
            bytes: self.bytes.saturating_sub(other.bytes),
            partitions: self.partitions.saturating_sub(other.partitions),
        }
    }
}

// === impl Hours ===

impl Hours {
    fn used(&self, hour: u64) -> UploadAmount {
        let first = hour.max(self.newest).saturating_sub(HOURS as u64 - 1);
        let counted = (first..=self.newest).map(|hour| self.amounts[index(hour)]);
        counted.fold(UploadAmount::default(), UploadAmount::plus)
    }

    fn add(&mut self, hour: u64, amount: UploadAmount) {
        for passed in (self.newest + 1..=hour).rev().take(HOURS) {
            self.amounts[index(passed)] = UploadAmount::default();
        }
        self.newest = self.newest.max(hour);
        let counted = &mut self.amounts[index(hour)];
        *counted = counted.plus(amount);
    }

    fn remove(&mut self, hour: u64, amount: UploadAmount) {
        // By now the hour may be forgotten.
        if hour + HOURS as u64 > self.newest {
            let counted = &mut self.amounts[index(hour)];
            *counted = counted.minus(amount);
        }
    }
}

fn index(hour: u64) -> usize {
    (hour % HOURS as u64) as usize
}

// === impl Reservation ===

impl Reservation {
    /// Counts the upload for good. Its bytes count if it is new to whoever uploads.
    pub fn keep(mut self, is_new: bool) {
        let bytes = if is_new { 0 } else { self.amount.bytes };
        self.amount = UploadAmount { bytes, ..UploadAmount::default() };
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(hours) = self.uploads.teams.lock().get_mut(&self.team) {
            hours.remove(self.hour, self.amount);
        }
    }
}

impl fmt::Display for UploadExcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { team, ceiling, used, added, max } = self;
        if *ceiling == Ceiling::CreatedPartitions {
            let name = team.as_ref().map_or("-", TeamName::as_str);
            let text = "partitions of topics created on this host within 24 hours";
            return write!(f, "team {name} has {used} {text}; with {added} more they are above {max} ({})", ceiling.key());
        }
        let things = if ceiling.unit() == Unit::Bytes { "bytes of modules" } else { "modules" };
        match team {
            Some(team) => write!(f, "team {team} has uploaded {used} {things}")?,
            None => write!(f, "uploads without a team have {used} {things} together")?,
        }
        write!(f, " on this host within 24 hours; with {added} more they are above {max} ({})", ceiling.key())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits() -> TeamLimits {
        TeamLimits { upload_bytes_per_day_max: 100, uploads_per_day_max: 5, ..TeamLimits::default() }
    }

    fn uploads() -> (Arc<Uploads>, Instant) {
        let uploads = Arc::new(Uploads::default());
        let start = uploads.started;
        (uploads, start)
    }

    fn after(start: Instant, hours: u64) -> Instant {
        start + Duration::from_secs(hours * HOUR_SECONDS)
    }

    fn amount(modules: u64, bytes: u64) -> UploadAmount {
        UploadAmount { modules, bytes, partitions: 0 }
    }

    /// Makes uploads, each of an hour and of bytes. `fits` says which of them are below both ceilings.
    #[track_caller]
    fn check(steps: &[(u64, u64)], fits: &[bool], used: UploadAmount) {
        let (uploads, start) = uploads();
        let team: TeamName = "orders".parse().expect("valid");
        let mut last = 0;
        let mut reserve = |&(hour, bytes): &(u64, u64)| {
            last = hour;
            let reserved = Uploads::reserve(&uploads, Some(&team), bytes, &limits(), after(start, hour));
            reserved.map(|reservation| reservation.keep(true)).is_ok()
        };
        let found: Vec<bool> = steps.iter().map(&mut reserve).collect();
        assert_eq!(found, fits, "{steps:?}");
        assert_eq!(uploads.used(Some(&team), after(start, last)), used, "{steps:?}");
    }

    #[test]
    fn uploads_count_for_a_day() {
        check(&[(0, 60), (0, 40), (0, 1)], &[true, true, false], amount(2, 100));
        check(&[(0, 101)], &[false], amount(0, 0));
        check(&[(0, 60), (1, 60), (23, 60), (24, 60)], &[true, false, false, true], amount(1, 60));
        check(&[(0, 50), (12, 50), (24, 50), (35, 1), (36, 50)], &[true, true, true, false, true], amount(2, 100));
        check(&[(0, 100), (1000, 100), (1023, 1), (1024, 1)], &[true, true, false, true], amount(1, 1));
        check(&[(5, 30), (5, 30), (28, 40), (29, 60)], &[true, true, true, true], amount(2, 100));
    }

    /// Small modules cost as much memory as large ones.
    #[test]
    fn uploads_count_by_number_as_well() {
        let steps = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (24, 1)];
        check(&steps, &[true, true, true, true, true, false, true], amount(5, 5));
        // An upload without bytes fits also where their ceiling is reached.
        check(&[(0, 100), (0, 0), (0, 1)], &[true, true, false], amount(2, 100));
        let (uploads, start) = uploads();
        let reserve = || Uploads::reserve(&uploads, None, 1, &limits(), start);
        for is_new in [true, true, false, false, true] {
            reserve().expect("fits").keep(is_new);
        }
        assert_eq!(uploads.used(None, start), amount(5, 3), "bytes that were stored already do not count");
        let refused = reserve().err().expect("over");
        assert_eq!(refused, UploadExcess { team: None, ceiling: Ceiling::Uploads, used: 5, added: 1, max: 5 });
        assert!(refused.to_string().contains("5 modules together on this host"), "{refused}");
    }

    #[test]
    fn an_upload_that_failed_does_not_count_and_teams_have_counts_of_their_own() {
        let (uploads, start) = uploads();
        let names = ["a", "b"].map(|name| name.parse::<TeamName>().expect("valid"));
        let [a, b] = [Some(&names[0]), Some(&names[1])];
        let used = || [a, b, None].map(|team| uploads.used(team, start));
        let reserved = Uploads::reserve(&uploads, a, 100, &limits(), start).expect("fits");
        assert_eq!(used(), [amount(1, 100), amount(0, 0), amount(0, 0)]);
        let refused = Uploads::reserve(&uploads, a, 1, &limits(), start).err().expect("over");
        let excess = UploadExcess { team: a.cloned(), ceiling: Ceiling::UploadBytes, used: 100, added: 1, max: 100 };
        assert_eq!(refused, excess);
        drop(reserved);
        Uploads::reserve(&uploads, None, 100, &limits(), start).expect("fits").keep(true);
        Uploads::reserve(&uploads, b, 99, &limits(), start).expect("fits").keep(true);
        assert_eq!(used(), [amount(0, 0), amount(1, 99), amount(1, 100)]);
        // A reservation that ends a day later takes nothing from the uploads of its hour's successor.
        let late = Uploads::reserve(&uploads, b, 1, &limits(), start).expect("fits");
        Uploads::reserve(&uploads, b, 50, &limits(), after(start, 24)).expect("fits").keep(true);
        drop(late);
        assert_eq!(uploads.used(b, after(start, 24)), amount(1, 50));
        assert_eq!(uploads.teams.lock().len(), 1, "those without a count are forgotten");
    }
}
