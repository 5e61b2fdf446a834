//! The times of a task's ticks: whole multiples of their interval since the Unix epoch.

use std::time::Duration;

use crate::model::units::Timestamp;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// The time of the next tick; None without ticks, or before the clock was first read.
    next_at: Option<Timestamp>,
    /// The time of the first tick whose work is in the open transaction.
    uncommitted: Option<Timestamp>,
}

impl Ticks {
    /// The next tick is the first one after `now`.
    pub fn plan(&mut self, interval: Option<Duration>, now: Timestamp) {
        let every = interval.map(|every| every.as_millis() as i64);
        self.next_at = every.map(|every| Timestamp((now.0.div_euclid(every) + 1) * every));
    }

    pub fn next_at(&self) -> Option<Timestamp> {
        self.next_at
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next_at.is_some_and(|at| at <= now)
    }

    /// The open transaction has the work of the tick of `at`.
    pub fn note_work(&mut self, at: Option<Timestamp>) {
        self.uncommitted = self.uncommitted.or(at);
    }

    pub fn has_uncommitted(&self) -> bool {
        self.uncommitted.is_some()
    }

    pub fn committed(&mut self) {
        self.uncommitted = None;
    }

    /// Undoes the ticks of an aborted transaction: the first of them is due again.
    pub fn rewind(&mut self) {
        self.next_at = self.uncommitted.take().or(self.next_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aborted_tick_is_due_again() {
        let every = Some(Duration::from_secs(1));
        let mut ticks = Ticks::default();
        ticks.plan(every, Timestamp(1500));
        assert_eq!(ticks.next_at(), Some(Timestamp(2000)));
        for now in [2000, 3100] {
            let due = ticks.next_at();
            assert!(ticks.is_due(Timestamp(now)));
            ticks.plan(every, Timestamp(now));
            ticks.note_work(due);
        }
        assert_eq!(ticks.next_at(), Some(Timestamp(4000)));
        ticks.rewind();
        assert_eq!((ticks.next_at(), ticks.has_uncommitted()), (Some(Timestamp(2000)), false));
        ticks.rewind();
        assert_eq!(ticks.next_at(), Some(Timestamp(2000)));
    }
}
