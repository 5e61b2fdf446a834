//! The times of a task's ticks: whole multiples of their interval since the Unix epoch, on the wall clock.
//!
//! A tick is due once the wall clock shows its time. If that clock is set forward, the times that it leaves out have no
//! tick. If it is set back, ticks go on at half of their rate, with the times that follow, until the clock has caught up:
//! no time comes twice, and ticks never stand still.

use std::time::Duration;

use crate::model::clock::{Monotonic, Now};
use crate::model::units::Timestamp;

/// The next tick of a task, and the last one.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// None without ticks, or before the clock was first read.
    next: Option<Next>,
    /// The time of the last tick.
    last: Option<Timestamp>,
    /// The time of a tick whose call was begun, until its outcome is known.
    called: Option<Timestamp>,
    /// The time of the first tick whose work is in the open transaction.
    uncommitted: Option<Timestamp>,
}

/// The next tick.
#[derive(Debug, Clone, Copy)]
struct Next {
    at: Timestamp,
    /// The moment at which it is due, whatever the wall clock shows: two intervals after it was planned.
    latest: Monotonic,
}

impl Ticks {
    /// The next tick is the first one after `now` and after the last one.
    pub fn plan(&mut self, interval: Option<Duration>, now: Now) {
        let last = self.last;
        self.next = interval.map(|interval| {
            let every = interval.as_millis() as i64;
            let after = last.map_or(now.wall, |last| last.max(now.wall));
            let at = Timestamp((after.0.div_euclid(every) + 1).saturating_mul(every));
            Next { at, latest: now.mono.after(2 * interval) }
        });
    }

    /// As [`Ticks::plan`], for another revision. A tick that is due is left to it.
    pub fn replan(&mut self, interval: Option<Duration>, now: Now) {
        if interval.is_none() || !self.is_due(now) {
            self.plan(interval, now);
        }
    }

    /// The time until the next tick is due.
    pub fn time_left(&self, now: Now) -> Option<Duration> {
        let Next { at, latest } = self.next?;
        Some(Duration::from_millis(at.millis_since(now.wall)).min(latest.since(now.mono)))
    }

    pub fn is_due(&self, now: Now) -> bool {
        self.next.is_some_and(|next| next.at <= now.wall || next.latest <= now.mono)
    }

    /// Takes the tick that is due, and plans the one after it. Returns the time for its call: the clock's, but no earlier
    /// than its own.
    pub fn take(&mut self, interval: Option<Duration>, now: Now) -> Timestamp {
        let at = self.next.map_or(now.wall, |next| next.at.max(now.wall));
        self.last = Some(at);
        self.called = Some(at);
        self.plan(interval, now);
        at
    }

    /// The open transaction has the work of the tick of `at`. An abort takes back all of its ticks.
    pub fn note_work(&mut self, at: Timestamp) {
        self.called = None;
        self.uncommitted = self.uncommitted.or(Some(at));
    }

    /// The guest failed: the tick has done nothing, and is not made again.
    pub fn note_failure(&mut self) {
        self.called = None;
    }

    /// The call of the tick was cut short, through no fault of the guest: the tick is due again.
    pub fn put_back(&mut self) {
        if let Some(at) = self.called.take() {
            self.next = Some(Next { at, latest: Monotonic::PAST });
        }
    }

    pub fn has_uncommitted(&self) -> bool {
        self.uncommitted.is_some()
    }

    pub fn committed(&mut self) {
        self.uncommitted = None;
    }

    /// Undoes the ticks of an aborted transaction: the first of them is due again, also if its call was not ended.
    pub fn rewind(&mut self) {
        let called = self.called.take();
        if let Some(at) = self.uncommitted.take().or(called) {
            self.next = Some(Next { at, latest: Monotonic::PAST });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Option<Duration> = Some(Duration::from_secs(1));
    const HOUR_MS: i64 = 3_600_000;

    fn now(wall_ms: i64, mono_ms: u64) -> Now {
        Now { wall: Timestamp(wall_ms), mono: Monotonic::from_millis(mono_ms) }
    }

    fn next_at(ticks: &Ticks) -> Option<i64> {
        ticks.next.map(|next| next.at.0)
    }

    #[test]
    fn an_aborted_tick_is_due_again() {
        let mut ticks = Ticks::default();
        ticks.plan(EVERY, now(1500, 0));
        assert_eq!(next_at(&ticks), Some(2000));
        for (at, mono) in [(2000, 500), (3100, 1600)] {
            assert!(ticks.is_due(now(at, mono)));
            let tick = ticks.take(EVERY, now(at, mono));
            ticks.note_work(tick);
        }
        assert_eq!(next_at(&ticks), Some(4000));
        ticks.rewind();
        assert_eq!((next_at(&ticks), ticks.has_uncommitted()), (Some(2000), false));
        assert!(ticks.is_due(now(1900, 1700)), "the wall clock was set back meanwhile");
        ticks.rewind();
        assert_eq!(next_at(&ticks), Some(2000));
    }

    #[test]
    fn a_tick_is_made_again_unless_the_guest_failed() {
        let taken = || {
            let mut ticks = Ticks::default();
            ticks.plan(EVERY, now(1500, 0));
            assert_eq!(ticks.take(EVERY, now(2000, 500)), Timestamp(2000));
            ticks
        };
        // Its call was not ended, or an output could not be sent.
        let mut ticks = taken();
        ticks.rewind();
        assert_eq!(next_at(&ticks), Some(2000));
        let mut ticks = taken();
        ticks.note_failure();
        ticks.rewind();
        assert_eq!(next_at(&ticks), Some(3000));
        let mut ticks = taken();
        ticks.put_back();
        assert_eq!((next_at(&ticks), ticks.has_uncommitted()), (Some(2000), false));
        assert!(ticks.is_due(now(1900, 600)), "the wall clock was set back meanwhile");
        ticks.committed();
        assert_eq!(ticks.take(EVERY, now(2100, 700)), Timestamp(2100));
        assert_eq!(next_at(&ticks), Some(3000));
    }

    #[test]
    fn a_tick_that_is_due_outlives_a_swap() {
        let swapped = |interval, at: Now| {
            let mut ticks = Ticks::default();
            ticks.plan(EVERY, now(1500, 0));
            ticks.replan(interval, at);
            next_at(&ticks)
        };
        let early_and_due = [now(1900, 400), now(2100, 600)];
        let other = Some(Duration::from_secs(5));
        for (interval, expected) in
            [(EVERY, [Some(2000), Some(2000)]), (other, [Some(5000), Some(2000)]), (None, [None, None])]
        {
            assert_eq!(early_and_due.map(|at| swapped(interval, at)), expected);
        }
    }

    /// Ten seconds in steps of 100 ms, with the wall clock set by `step_ms` after five. Returns the times of the ticks.
    fn ticks_around(step_ms: i64) -> Vec<i64> {
        let mut ticks = Ticks::default();
        ticks.plan(EVERY, now(10 * HOUR_MS, 0));
        let moments =
            (1..=100).map(|step| now(10 * HOUR_MS + 100 * step + if step > 50 { step_ms } else { 0 }, 100 * step as u64));
        let mut times = Vec::new();
        for now in moments {
            assert!(ticks.time_left(now).expect("planned") <= Duration::from_secs(2));
            if ticks.is_due(now) {
                assert_eq!(ticks.time_left(now), Some(Duration::ZERO));
                times.push(ticks.take(EVERY, now).0 - 10 * HOUR_MS);
            }
        }
        times
    }

    #[test]
    fn a_step_of_the_wall_clock_neither_stops_ticks_nor_repeats_or_floods_them() {
        let seconds = |times: &[i64]| times.iter().map(|second| 1000 * second).collect::<Vec<_>>();
        assert_eq!(ticks_around(0), seconds(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
        assert_eq!(ticks_around(-HOUR_MS), seconds(&[1, 2, 3, 4, 5, 6, 7]), "at half of the rate");
        let forward = ticks_around(HOUR_MS);
        assert_eq!(forward[..5], seconds(&[1, 2, 3, 4, 5]));
        assert_eq!(
            forward[5..],
            [HOUR_MS + 5100, HOUR_MS + 6000, HOUR_MS + 7000, HOUR_MS + 8000, HOUR_MS + 9000, HOUR_MS + 10_000]
        );
    }
}
