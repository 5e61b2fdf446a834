//! The presence of one transform on this host: a pure function of its placement and the time. A host joins at once and
//! leaves late, so a status that comes late makes no worker stop and start.
//!
//! ```text
//!   away ----- placed ------> here <----- placed ----+
//!    ^  ^                      |                     |
//!    |  +-- no worker yet -----+-- not placed --> leaving
//!    +---------- others have it, and the time is over --+
//! ```

use std::time::Duration;

use crate::model::clock::Monotonic;

/// Time for which workers go on after their place was given away, at least.
pub const LEAVE_AFTER: Duration = Duration::from_secs(30);
/// Longest time on top of it. It differs from transform to transform, so that hosts do not leave hundreds of groups at once.
pub const LEAVE_SPREAD: Duration = Duration::from_secs(20);

/// The presence of one transform on this host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    #[default]
    Away,
    Here,
    Leaving {
        since: Monotonic,
    },
}

/// The facts that decide a presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceFacts {
    pub is_placed: bool,
    /// True if workers of the transform run here.
    pub has_workers: bool,
    /// True if all placed hosts work on the transform, or cannot.
    pub is_taken_up: bool,
    /// Time for which the workers go on at least after their place was given away.
    pub leave_after: Duration,
}

impl Presence {
    pub fn next(self, facts: PresenceFacts, now: Monotonic) -> Self {
        let PresenceFacts { is_placed, has_workers, is_taken_up, leave_after } = facts;
        match self {
            _ if is_placed => Self::Here,
            // Its workers may still be stopping.
            Self::Away => Self::Away,
            _ if !has_workers => Self::Away,
            Self::Leaving { since } if is_taken_up && now.since(since) >= leave_after => Self::Away,
            Self::Leaving { since } => Self::Leaving { since },
            Self::Here => Self::Leaving { since: now },
        }
    }

    /// Returns true if the transform's workers run here, or should.
    pub fn is_here(self) -> bool {
        self != Self::Away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes steps of (second, placed, has workers, taken up); the presence after each: `H`ere, `L`eaving, `A`way.
    #[track_caller]
    fn check(steps: &[(u64, bool, bool, bool)], expected: &str) {
        let mut presence = Presence::Away;
        let mut seen = String::new();
        for &(second, is_placed, has_workers, is_taken_up) in steps {
            let facts = PresenceFacts { is_placed, has_workers, is_taken_up, leave_after: LEAVE_AFTER };
            presence = presence.next(facts, Monotonic::from_millis(second * 1000));
            seen.push(match presence {
                Presence::Away => 'A',
                Presence::Here => 'H',
                Presence::Leaving { .. } => 'L',
            });
        }
        assert_eq!(seen, expected, "{steps:?}");
    }

    #[test]
    fn a_host_joins_at_once_and_leaves_late() {
        check(&[(0, false, false, true), (1, true, false, true), (2, true, true, true)], "AHH");
        check(&[(0, true, true, true), (1, false, true, true), (30, false, true, true), (31, false, true, true)], "HLLA");
        // Workers that are stopping are not started again.
        check(&[(0, true, true, true), (1, false, true, true), (31, false, true, true), (32, false, true, true)], "HLAA");
        // A start that has not come to workers is given up at once.
        check(&[(0, true, false, false), (1, false, false, false)], "HA");
    }

    #[test]
    fn a_place_that_comes_back_moves_nothing() {
        check(&[(0, true, true, true), (1, false, true, true), (9, true, true, true), (40, false, true, true)], "HLHL");
    }

    #[test]
    fn a_host_stays_until_others_have_the_work() {
        check(&[(0, true, true, true), (1, false, true, false), (99, false, true, false), (100, false, true, true)], "HLLA");
    }
}
