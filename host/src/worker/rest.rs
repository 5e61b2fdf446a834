//! The rest of a worker for which nothing has come: it pauses all of its partitions, so that its log is asked for nothing,
//! until [`Rests`] wakes it.
//!
//! A plain value beside its place among those that rest. A worker rests once nothing has come for [`REST_AFTER`], so a
//! steady trickle never meets the delay of being woken.

use std::time::Duration;

use super::bell::Bell;
use super::rests::{RestingPartition, RestingPlace, Rests};
use crate::model::clock::Monotonic;
use crate::model::names::TeamName;

/// Time without work after which a worker rests.
const REST_AFTER: Duration = Duration::from_secs(5);

/// The rest of one worker.
#[derive(Default)]
pub(super) struct Rest {
    /// None for a worker that nobody could wake.
    among: Option<Among>,
    /// The last time that there was work.
    worked_at: Monotonic,
    place: Option<RestingPlace>,
    is_stirred: bool,
}

/// The others that rest, and the bell that this worker is woken by.
pub struct Among {
    pub rests: Rests,
    pub team: TeamName,
    pub bell: Bell,
}

impl Rest {
    pub fn among(among: Among) -> Self {
        Self { among: Some(among), ..Self::default() }
    }

    pub fn is_on(&self) -> bool {
        self.place.is_some()
    }

    /// Ends the rest with the next update: other partitions are to be read from now on.
    pub fn stir(&mut self) {
        self.is_stirred = true;
    }

    /// Ends the rest if it is over, or there is work now. Returns true if it may begin.
    pub fn update(&mut self, is_quiet: bool, now: Monotonic) -> bool {
        let is_over = self.place.as_ref().is_some_and(|place| place.is_over(now));
        let is_stirred = std::mem::take(&mut self.is_stirred);
        if !is_quiet || is_over || is_stirred {
            self.worked_at = now;
            self.place = None;
        }
        self.among.is_some() && self.place.is_none() && now >= self.worked_at.after(REST_AFTER)
    }

    /// Begins the rest. `positions` are those of all partitions that are read otherwise.
    pub fn begin(&mut self, positions: Vec<RestingPartition>, now: Monotonic) {
        if let Some(Among { rests, team, bell }) = &self.among {
            self.place = Some(rests.enter(team, positions, bell, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::worker::rests::LOOKED_AT_WITHIN;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    #[test]
    fn a_worker_rests_when_nothing_came_for_a_while_and_until_something_does() {
        let rests = Rests::default();
        let team: TeamName = "shop".parse().expect("valid");
        let mut rest = Rest::among(Among { rests: rests.clone(), team: team.clone(), bell: Bell::default() });
        let position = (("in".parse().expect("valid"), 0), 7);
        let mut is_on = |is_quiet, ms| {
            if rest.update(is_quiet, at(ms)) {
                rest.begin(vec![position.clone()], at(ms));
            }
            rest.is_on()
        };
        assert_eq!([is_on(false, 1000), is_on(true, 5999), is_on(true, 6000)], [false, false, true]);
        assert!(is_on(true, 7000) && rests.partitions().contains_key(&team));
        rests.wake(std::slice::from_ref(&team), rests.entered(), &Arc::default(), at(7001));
        assert_eq!([is_on(true, 7001), is_on(true, 12_000), is_on(true, 12_001)], [false, false, true]);
        assert!(!is_on(false, 12_002) && rests.partitions().is_empty());
        assert!(is_on(true, 17_002));
        let unseen_at = at(17_003).after(LOOKED_AT_WITHIN);
        rest.update(true, unseen_at);
        assert!(!rest.is_on(), "nobody looks");
    }

    #[test]
    fn a_worker_that_nobody_can_wake_does_not_rest() {
        let mut rest = Rest::default();
        assert!(!rest.update(true, at(1 << 40)) && !rest.is_on());
    }
}
