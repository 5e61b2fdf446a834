//! The number of hosts of a transform: by its spec or, if that says none, by its partitions and its load.

use std::fmt;
use std::time::Duration;

use crate::model::clock::Monotonic;
use crate::model::revision::Deployment;
use crate::model::spec::Hosts;

/// Least hosts of a transform that says nothing: a second one takes over within the group's session time.
pub const HOSTS_MIN: u32 = 2;
/// Partitions for which one host more is taken, whatever the load is: each has an instance in the memory of its host.
const PARTITIONS_PER_HOST: u32 = 16;
/// Workers that are busy for so much of their time ask for more hosts.
const BUSY_PERCENT: u8 = 90;
/// Workers that are busy for so much at most do without half of the hosts.
const IDLE_PERCENT: u8 = 30;
/// Time for which workers are busy without a break before they ask for more hosts.
const BUSY_TIME: Duration = Duration::from_secs(30);
/// Time for which workers are idle without a break before hosts are given up.
const IDLE_TIME: Duration = Duration::from_secs(600);

/// The number of a transform's hosts, with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// The spec says `all`.
    All,
    /// A host of the cluster knows no placement, so each runs all transforms.
    OlderHosts,
    /// The spec says a number.
    Spec(u32),
    /// The number by the partitions.
    Partitions(u32),
    /// The number by the load, which is more than by the partitions.
    Load(u32),
}

impl Count {
    /// Counts the hosts of a deployment. `level` is the number that busy hosts ask for.
    pub fn of(deployment: &Deployment, level: Option<u32>) -> Self {
        match deployment.spec.hosts {
            Some(Hosts::All) => Self::All,
            // A spec that nobody has checked may say none.
            Some(Hosts::Number(number)) => Self::Spec(number.max(1)),
            None => {
                let partitions = deployment.partitions.unwrap_or(0);
                let base = automatic(partitions);
                // A host without a partition has nothing to do.
                match level.map(|level| level.min(partitions)) {
                    Some(level) if level > base => Self::Load(level),
                    _ => Self::Partitions(base),
                }
            }
        }
    }

    pub fn number(self) -> usize {
        match self {
            Self::All | Self::OlderHosts => usize::MAX,
            Self::Spec(number) | Self::Partitions(number) | Self::Load(number) => number as usize,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("every host (hosts: all)"),
            Self::OlderHosts => f.write_str("every host, while a host of the cluster is of an older version"),
            Self::Spec(number) => write!(f, "{number} (hosts: {number})"),
            Self::Partitions(number) => write!(f, "{number}, by its partitions"),
            Self::Load(number) => write!(f, "{number}, by its load"),
        }
    }
}

/// The hosts of a transform with so many partitions, before anything is known of its load.
pub fn automatic(partitions: u32) -> u32 {
    partitions.div_ceil(PARTITIONS_PER_HOST).max(HOSTS_MIN)
}

/// The load of a transform's workers on this host over time, and the number of hosts that they ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelMeter {
    level: Option<u32>,
    busy_since: Option<Monotonic>,
    idle_since: Option<Monotonic>,
}

/// The workers of a transform on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// The part of their time in which they do not wait for records, on average.
    pub busy_percent: u8,
    pub partitions: usize,
}

impl LevelMeter {
    /// Takes a measure, of a transform that is on `hosts` hosts now. Returns the number of hosts to ask for, if any.
    pub fn take(&mut self, load: Load, hosts: u32, now: Monotonic) -> Option<u32> {
        // Another host takes no part of a single partition.
        let is_busy = load.busy_percent >= BUSY_PERCENT && load.partitions > 1;
        let is_idle = load.busy_percent <= IDLE_PERCENT;
        if lasts(&mut self.busy_since, is_busy, BUSY_TIME, now) {
            self.level = Some(hosts.saturating_mul(2).max(self.level.unwrap_or(0)));
        } else if lasts(&mut self.idle_since, is_idle, IDLE_TIME, now) {
            self.level = self.level.map(|level| level / 2).filter(|level| *level > HOSTS_MIN);
        }
        self.level
    }
}

/// Returns true each time that a condition has held for so long.
fn lasts(since: &mut Option<Monotonic>, holds: bool, time: Duration, now: Monotonic) -> bool {
    let began = *since.get_or_insert(now);
    if !holds {
        *since = None;
        return false;
    }
    let is_over = now.since(began) >= time;
    if is_over {
        *since = Some(now);
    }
    is_over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_grow_with_the_partitions() {
        #[track_caller]
        fn check(partitions: u32, hosts: u32) {
            assert_eq!(automatic(partitions), hosts, "{partitions}");
        }
        check(0, 2);
        check(1, 2);
        check(12, 2);
        check(33, 3);
        check(1000, 63);
        check(u32::MAX, u32::MAX / 16 + 1);
    }

    /// Measures one load in each second; the levels that came in turn, with the seconds at which they did.
    #[track_caller]
    fn check(loads: &[(u8, u64)], partitions: usize, expected: &[(u64, Option<u32>)]) {
        let mut meter = LevelMeter::default();
        let mut levels = Vec::new();
        let mut second = 0;
        let mut last = None;
        for &(busy_percent, seconds) in loads {
            for _ in 0..seconds {
                let now = Monotonic::from_millis(second * 1000);
                let hosts = last.unwrap_or(HOSTS_MIN);
                let level = meter.take(Load { busy_percent, partitions }, hosts, now);
                if level != last {
                    levels.push((second, level));
                    last = level;
                }
                second += 1;
            }
        }
        assert_eq!(levels, expected, "{loads:?}");
    }

    #[test]
    fn a_lasting_load_doubles_the_hosts_and_a_long_rest_halves_them() {
        check(&[(100, 30)], 6, &[]);
        check(&[(100, 40)], 6, &[(30, Some(4))]);
        check(&[(100, 70)], 6, &[(30, Some(4)), (60, Some(8))]);
        check(&[(100, 40)], 1, &[]);
        // A break begins the time again, and half a load changes nothing.
        check(&[(100, 29), (50, 1), (100, 29)], 6, &[]);
        check(&[(100, 31), (50, 2000)], 6, &[(30, Some(4))]);
        check(&[(100, 61), (10, 2000)], 6, &[(30, Some(4)), (60, Some(8)), (661, Some(4)), (1261, None)]);
    }

    #[test]
    fn a_flickering_load_moves_nothing() {
        let flicker: Vec<(u8, u64)> = (0..100).flat_map(|_| [(100, 20), (0, 20)]).collect();
        check(&flicker, 6, &[]);
    }
}
