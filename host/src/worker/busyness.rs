//! The part of its time in which a worker has work to do: all but its waits for records.

use std::time::Duration;

use crate::model::clock::Monotonic;

/// Time over which a worker's busyness is taken.
const WINDOW: Duration = Duration::from_secs(2);

/// The busyness of a worker. A plain value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Busyness {
    since: Option<Monotonic>,
    waited: Duration,
    percent: u8,
}

impl Busyness {
    /// Takes a poll that began at `from` and ended at `to`, having waited for records or not.
    pub fn polled(&mut self, from: Monotonic, to: Monotonic, has_waited: bool) {
        let since = *self.since.get_or_insert(from);
        if has_waited {
            self.waited += to.since(from);
        }
        let time = to.since(since);
        if time < WINDOW {
            return;
        }
        let waited_percent = self.waited.as_millis() * 100 / time.as_millis();
        self.percent = u8::try_from(100u128.saturating_sub(waited_percent)).unwrap_or(100);
        self.since = Some(to);
        self.waited = Duration::ZERO;
    }

    /// Returns the busyness in the last whole window.
    pub fn percent(&self) -> u8 {
        self.percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes polls of so many ms, which wait or not, without a break.
    #[track_caller]
    fn check(polls: &[(u64, bool)], expected: u8) {
        let mut busyness = Busyness::default();
        let mut at = 0;
        for &(ms, has_waited) in polls {
            busyness.polled(Monotonic::from_millis(at), Monotonic::from_millis(at + ms), has_waited);
            at += ms;
        }
        assert_eq!(busyness.percent(), expected, "{polls:?}");
    }

    #[test]
    fn waits_for_records_are_no_work() {
        check(&[], 0);
        check(&[(1000, false)], 0);
        check(&[(1000, false), (1000, false)], 100);
        check(&[(500, false), (1500, true)], 25);
        check(&[(2000, true)], 0);
        // The window before counts no more.
        check(&[(2000, false), (2000, true)], 0);
    }
}
