//! Rates of text: the lines and bytes that a transform, and all of its team together, may write in a second on this host.
//!
//! A guest, or a spec that fails for ever, decides how much is written. A line over the rate is dropped before it costs
//! anything: before it is formatted, written to stderr or queued. The clock is the host's own monotonic one, so neither
//! records nor guests have a part in it, and neither a new instance nor a new revision gets a full bucket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::names::{TeamName, TransformId};

/// Lines and bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub lines: u32,
    pub bytes: u64,
}

/// Log lines of all guests of a team on a host, by default (`team_log_lines_max`, `team_log_bytes_max`): ten times the
/// default of one transform.
pub const TEAM_LOG_RATE: Rate = Rate { lines: 1000, bytes: 256 * 1024 };

/// The rates of a host's transforms. Cloning shares them.
#[derive(Clone)]
pub struct Rates(Arc<Shared>);

struct Shared {
    /// Seconds of a rate that may be used at once, after as long a silence.
    burst: u32,
    known: Mutex<RateTable>,
}

/// The rates of teams: all transforms of a team together.
#[derive(Debug, Clone)]
pub struct TeamRates {
    pub default: Rate,
    /// The teams that have another rate.
    pub teams: BTreeMap<TeamName, Rate>,
}

struct RateTable {
    team_rates: TeamRates,
    teams: BTreeMap<TeamName, Arc<Mutex<TeamBucket>>>,
    transforms: BTreeMap<TransformId, Arc<Allowance>>,
    /// Number of transforms at which they are looked through again.
    looked_through_at: usize,
}

/// The lines that a transform may still write, over all of its revisions and instances on this host.
pub struct Allowance {
    rates: Rates,
    team: Arc<Mutex<TeamBucket>>,
    own: Mutex<Bucket>,
}

/// The bucket of a team, with its rate as it is now and the lines that have passed.
#[derive(Debug)]
struct TeamBucket {
    rate: Rate,
    bucket: Bucket,
    passed: Passed,
}

/// Lines and bytes that have passed since the host started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    pub lines: u64,
    pub bytes: u64,
}

/// A token bucket, which is full at first. It may be overdrawn by one line, so that a long one passes too.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    left: Option<Tokens>,
}

#[derive(Debug, Clone, Copy)]
struct Tokens {
    lines: f64,
    bytes: f64,
    at: Instant,
}

// === impl Rates ===

impl Rates {
    pub fn new(team: Rate, burst: u32) -> Self {
        let team_rates = TeamRates { default: team, teams: BTreeMap::new() };
        let known = RateTable { team_rates, teams: BTreeMap::new(), transforms: BTreeMap::new(), looked_through_at: 0 };
        Self(Arc::new(Shared { burst, known: Mutex::new(known) }))
    }

    /// Changes the rates of all teams, from the next line on.
    pub fn set_team_rates(&self, rates: TeamRates) {
        let mut known = self.0.known.lock();
        for (team, bucket) in &known.teams {
            bucket.lock().rate = rates.of(team);
        }
        known.team_rates = rates;
    }

    /// The lines and bytes of each team that have passed, as far as it still has transforms here.
    pub fn passed(&self) -> BTreeMap<TeamName, Passed> {
        let known = self.0.known.lock();
        known.teams.iter().map(|(team, bucket)| (team.clone(), bucket.lock().passed)).collect()
    }

    /// Returns the allowance of a transform: the same one to all who ask while anybody has it.
    pub fn of(&self, id: &TransformId) -> Arc<Allowance> {
        let mut known = self.0.known.lock();
        if let Some(allowance) = known.transforms.get(id) {
            return allowance.clone();
        }
        known.forget(self.0.burst);
        let rate = known.team_rates.of(&id.team);
        let team = known.teams.entry(id.team.clone()).or_insert_with(|| TeamBucket::shared(rate)).clone();
        let allowance = Arc::new(Allowance { rates: self.clone(), team, own: Mutex::default() });
        known.transforms.insert(id.clone(), allowance.clone());
        allowance
    }

    /// Returns an allowance that no transform has a part in.
    pub fn apart(&self) -> Arc<Allowance> {
        let team = TeamBucket::shared(self.0.known.lock().team_rates.default);
        Arc::new(Allowance { rates: self.clone(), team, own: Mutex::default() })
    }
}

impl TeamRates {
    fn of(&self, team: &TeamName) -> Rate {
        self.teams.get(team).copied().unwrap_or(self.default)
    }
}

impl Passed {
    /// The lines and bytes a second since an earlier count.
    pub fn since(self, earlier: Self, time: Duration) -> Self {
        let a_second =
            |now: u64, then: u64| (now.saturating_sub(then) as f64 / time.as_secs_f64().max(0.001)).round() as u64;
        Self { lines: a_second(self.lines, earlier.lines), bytes: a_second(self.bytes, earlier.bytes) }
    }
}

impl TeamBucket {
    fn shared(rate: Rate) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { rate, bucket: Bucket::default(), passed: Passed::default() }))
    }
}

impl RateTable {
    /// Forgets transforms that are gone: they would pile up. One that is full again is as good as a new one.
    fn forget(&mut self, burst: u32) {
        if self.transforms.len() < self.looked_through_at {
            return;
        }
        let now = Instant::now();
        self.transforms.retain(|_, own| Arc::strong_count(own) > 1 || !own.own.lock().is_rested(burst, now));
        self.teams.retain(|_, team| Arc::strong_count(team) > 1);
        self.looked_through_at = 64.max(self.transforms.len() * 2);
    }
}

// === impl Allowance ===

impl Allowance {
    /// Takes a line of this length, if neither the transform (which may have `rate`) nor its team is over its rate. Returns
    /// false otherwise.
    pub fn take(&self, rate: Rate, bytes: usize, now: Instant) -> bool {
        let burst = self.rates.0.burst;
        let mut own = self.own.lock();
        let mut team = self.team.lock();
        let team_rate = team.rate;
        let passes = own.has_room(rate, burst, now) && team.bucket.has_room(team_rate, burst, now);
        if passes {
            own.take(bytes);
            team.bucket.take(bytes);
            team.passed.lines += 1;
            team.passed.bytes += bytes as u64;
        }
        passes
    }
}

// === impl Bucket ===

impl Bucket {
    /// Adds the lines and bytes that came back since the last look. Returns true if any are left.
    pub fn has_room(&mut self, rate: Rate, burst: u32, now: Instant) -> bool {
        let Rate { lines, bytes } = rate;
        let lines = f64::from(lines);
        let bytes = bytes as f64;
        let burst = f64::from(burst);
        let full = Tokens { lines: lines * burst, bytes: bytes * burst, at: now };
        let left = self.left.map_or(full, |left| {
            let seconds = now.saturating_duration_since(left.at).as_secs_f64();
            Tokens {
                lines: (left.lines + lines * seconds).min(full.lines),
                bytes: (left.bytes + bytes * seconds).min(full.bytes),
                at: left.at.max(now),
            }
        });
        self.left = Some(left);
        left.lines > 0.0 && left.bytes > 0.0
    }

    /// Returns true if nobody has taken a line for so long that the bucket is full.
    pub fn is_rested(&self, burst: u32, now: Instant) -> bool {
        let long = Duration::from_secs(u64::from(burst) * 2);
        self.left.is_none_or(|left| now.saturating_duration_since(left.at) > long)
    }

    /// Takes a line out. Call after [`Self::has_room`].
    pub fn take(&mut self, bytes: usize) {
        if let Some(left) = &mut self.left {
            left.lines -= 1.0;
            left.bytes -= bytes as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEAM: Rate = Rate { lines: 20, bytes: 10_000 };
    const OWN: Rate = Rate { lines: 10, bytes: 4000 };

    fn id(name: &str) -> TransformId {
        name.parse().expect("valid")
    }

    /// Tries lines of `bytes` each, `tries` for each of the transforms in turn, at each of the times, and counts those that
    /// pass.
    #[track_caller]
    fn check(names: &[&str], tries: usize, bytes: usize, at_ms: &[u64], passed: usize) {
        let rates = Rates::new(TEAM, 1);
        let start = Instant::now();
        let allowances: Vec<_> = names.iter().map(|name| rates.of(&id(name))).collect();
        let mut count = 0;
        for at in at_ms {
            let now = start + Duration::from_millis(*at);
            for allowance in &allowances {
                count += (0..tries).filter(|_| allowance.take(OWN, bytes, now)).count();
            }
        }
        assert_eq!(count, passed, "{names:?}, {tries} x {bytes} bytes at {at_ms:?} ms");
    }

    #[test]
    fn a_transform_and_its_team_have_lines_and_bytes_by_the_second() {
        check(&["t/a"], 100, 1, &[0], 10);
        check(&["t/a"], 100, 1, &[0, 1000, 1500], 10 + 10 + 5);
        check(&["t/a"], 100, 1, &[0, 500_000], 10 + 10);
        check(&["t/a"], 100, 1000, &[0], 4);
        // One line of more than a second's worth is a debt.
        check(&["t/a"], 100, 8000, &[0, 500, 999, 1001], 2);
        // Fifty transforms are no way around.
        check(&["t/a", "t/b", "t/c", "t/d"], 100, 1, &[0], 20);
        check(&["t/a", "t/b", "t/c", "t/d"], 100, 1000, &[0], 10);
        check(&["t/a", "u/b", "v/c"], 100, 1, &[0], 30);
        // A clock that is asked out of order changes nothing.
        check(&["t/a"], 100, 1, &[1000, 0, 1000], 10);
    }

    #[test]
    fn rates_of_teams_change_while_lines_are_written() {
        let rates = Rates::new(TEAM, 1);
        let start = Instant::now();
        let [early, other] = [rates.of(&id("t/a")), rates.of(&id("u/a"))];
        let own = Rate { lines: 1000, ..TEAM };
        let count = |allowance: &Allowance, second: u64| {
            let now = start + Duration::from_secs(second);
            (0..100).filter(|_| allowance.take(own, 1, now)).count()
        };
        assert_eq!([count(&early, 0), count(&other, 0)], [20, 20]);
        let of_t = TeamRates { default: TEAM, teams: [("t".parse().expect("valid"), Rate { lines: 3, ..TEAM })].into() };
        rates.set_team_rates(of_t);
        let late = rates.of(&id("t/b"));
        assert_eq!([count(&early, 10), count(&late, 10), count(&other, 10)], [3, 0, 20]);
        rates.set_team_rates(TeamRates { default: Rate { lines: 50, ..TEAM }, teams: BTreeMap::new() });
        assert_eq!([count(&late, 20), count(&other, 20), count(&rates.of(&id("v/a")), 20)], [50, 50, 50]);
        let passed: Vec<u64> = rates.passed().values().map(|passed| passed.lines).collect();
        assert_eq!(passed, [20 + 3 + 50, 20 + 20 + 50, 50]);
        let [earlier, later] = [Passed { lines: 10, bytes: 100 }, Passed { lines: 25, bytes: 1100 }];
        assert_eq!(later.since(earlier, Duration::from_secs(5)), Passed { lines: 3, bytes: 200 });
    }

    #[test]
    fn all_instances_of_a_transform_share_its_allowance_and_a_rate_of_zero_is_silence() {
        let rates = Rates::new(TEAM, 1);
        let now = Instant::now();
        let [one, other] = [rates.of(&id("t/a")), rates.of(&id("t/a"))];
        assert_eq!((0..10).filter(|_| one.take(OWN, 1, now)).count(), 10);
        assert!(!other.take(OWN, 1, now), "it is the same transform's");
        assert!(!rates.of(&id("t/b")).take(Rate { lines: 0, ..OWN }, 1, now + Duration::from_secs(60)));
        // What nobody has any more, and is full, is forgotten: not what was used a moment ago.
        drop((one, other));
        (0..200).for_each(|i| drop(rates.of(&id(&format!("u/a{i}")))));
        let known = rates.0.known.lock().transforms.len();
        assert!(known < 150, "{known} are known");
        assert!(!rates.of(&id("t/a")).take(OWN, 1, now), "it has no more for that");
    }
}
