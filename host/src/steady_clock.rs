//! The clock of a host's workers: the wall clock without its steps.
//!
//! Somebody sets the wall clock by an hour, or NTP does. Time has not passed: no entry of a store is older for it, no
//! deadline is over and no tick is due. So this clock goes on at the pace of the time since boot, and follows the wall
//! clock slowly. A wall clock that was wrong by more than a day is corrected at once: nothing good comes from the old one.
//!
//! Invariant: it never goes back, except by such a correction.

use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::RwLock;

use crate::model::units::Timestamp;
use crate::system_clock;

/// The clock is at most a tenth faster or slower than time: it makes up for an hour in ten.
const PACE_DIVISOR: i64 = 10;
/// A difference above this is corrected at once.
const STEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The time between two looks at the wall clock.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

static CLOCK: LazyLock<RwLock<SteadyClock>> =
    LazyLock::new(|| RwLock::new(SteadyClock::new(Timestamp::now(), since_boot())));

/// Reads the host's steady clock.
pub fn now() -> Timestamp {
    let elapsed = since_boot();
    let (now, is_due) = {
        let clock = CLOCK.read();
        (clock.at(elapsed), clock.is_due(elapsed))
    };
    // Nobody waits for it: if another thread looks at the wall clock, this one need not.
    if is_due && let Some(mut clock) = CLOCK.try_write() {
        *clock = clock.look(Timestamp::now(), elapsed);
    }
    now
}

/// The clock as of one look at the wall clock; `elapsed` is the time since the machine was booted, sleep included.
#[derive(Debug, Clone, Copy)]
struct SteadyClock {
    looked_at: Duration,
    /// Its time at that moment.
    time: Timestamp,
    /// The milliseconds by which it goes faster until the next look; negative if it goes slower.
    correction_ms: i64,
}

impl SteadyClock {
    fn new(wall: Timestamp, elapsed: Duration) -> Self {
        Self { looked_at: elapsed, time: wall, correction_ms: 0 }
    }

    fn at(&self, elapsed: Duration) -> Timestamp {
        let interval_ms = LOOK_INTERVAL.as_millis() as i64;
        let passed_ms = elapsed.saturating_sub(self.looked_at).as_millis() as i64;
        let correction_ms = self.correction_ms * passed_ms.min(interval_ms) / interval_ms;
        Timestamp(self.time.0 + passed_ms + correction_ms)
    }

    fn is_due(&self, elapsed: Duration) -> bool {
        elapsed.saturating_sub(self.looked_at) >= LOOK_INTERVAL
    }

    /// The clock after a look at the wall clock.
    fn look(&self, wall: Timestamp, elapsed: Duration) -> Self {
        let time = self.at(elapsed);
        let difference_ms = wall.0.saturating_sub(time.0);
        if difference_ms.unsigned_abs() > STEP_MAX.as_millis() as u64 {
            tracing::warn!(difference_ms, "the wall clock was set by more than a day: workers follow it at once");
            return Self::new(wall, elapsed);
        }
        let most_ms = LOOK_INTERVAL.as_millis() as i64 / PACE_DIVISOR;
        Self { looked_at: elapsed, time, correction_ms: difference_ms.clamp(-most_ms, most_ms) }
    }
}

/// The time since the machine was booted. Unlike `Instant`, it goes on while a machine sleeps.
fn since_boot() -> Duration {
    system_clock::read(libc::CLOCK_BOOTTIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const DAY_MS: i64 = 24 * HOUR_MS;

    /// Runs a clock for `seconds` after the wall clock was set by `step_ms`. Returns the time by which it has gone on
    /// more than time itself.
    fn run(step_ms: i64, seconds: u64) -> i64 {
        let mut clock = SteadyClock::new(Timestamp(1_000_000_000_000), Duration::from_secs(5));
        let mut last = clock.at(Duration::from_secs(5));
        for tenth in 1..=seconds * 10 {
            let elapsed = Duration::from_millis(5000 + tenth * 100);
            let now = clock.at(elapsed);
            assert!(now >= last || step_ms < -DAY_MS, "it went back from {last:?} to {now:?}");
            last = now;
            if clock.is_due(elapsed) {
                clock = clock.look(Timestamp(1_000_000_000_000 + tenth as i64 * 100 + step_ms), elapsed);
            }
        }
        last.0 - 1_000_000_000_000 - seconds as i64 * 1000
    }

    #[track_caller]
    fn check(step_ms: i64, seconds: u64, ahead_ms: i64) {
        assert_eq!(run(step_ms, seconds), ahead_ms, "a step of {step_ms} ms, {seconds} s later");
    }

    #[test]
    fn it_follows_a_step_at_a_tenth_of_the_pace() {
        for step in [HOUR_MS, -HOUR_MS] {
            check(step, 1, 0);
            check(step, 11, step.signum() * 1000);
            check(step, 36_002, step);
            check(step, 40_000, step);
        }
        check(0, 100, 0);
        check(30, 3, 30);
    }

    #[test]
    fn it_follows_a_correction_of_more_than_a_day_at_once() {
        for step in [2 * DAY_MS, -2 * DAY_MS, -999_999_990_000] {
            check(step, 2, step);
        }
        check(DAY_MS, 2, 100);
    }

    #[test]
    fn the_hosts_clock_is_near_the_wall_clock() {
        assert!(Timestamp::now().0.abs_diff(now().0) < 10_000);
    }
}
