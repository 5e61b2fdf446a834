//! The order in which suspects are started: after all others, one at a time, the most suspicious first.
//!
//! A turn ends when its suspect has committed, when it is up and makes no calls, or when it has run for so long that no
//! crash loop is seen. A plain value: the time is passed in, of a clock that nobody sets back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::model::names::TransformId;

/// Time without a call after which a suspect that is up leaves its turn to the next.
const QUIET: Duration = Duration::from_secs(5);
/// Time after which a suspect without partitions does: longer than a dead member stays in its group, and keeps them.
const WITHOUT_PARTITIONS: Duration = Duration::from_secs(60);
/// The longest turn.
const TURN_MAX: Duration = Duration::from_secs(120);
/// Shortest and longest time that suspects wait for all others: everybody has asked by then, and nobody holds them up.
const OTHERS_MIN: Duration = Duration::from_secs(2);
const OTHERS_MAX: Duration = Duration::from_secs(30);
/// Time for which a suspect that could not be started lets the others go first.
const SET_BACK: Duration = Duration::from_secs(10);

/// The phase of a transform that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPhase {
    Starting,
    /// The transform has partitions, and all of them work or wait for records.
    Running,
    WithoutPartitions,
}

/// The activity of a suspect that has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    pub phase: StartPhase,
    /// Calls that it has made in all.
    pub calls: u64,
    pub is_in_call: bool,
}

/// The suspects that wait for their start, and those that have had a turn.
#[derive(Debug)]
pub struct StartQueue {
    began: Instant,
    /// Suspects that wait, by their counts, and since when they may be chosen.
    waiting: BTreeMap<TransformId, (u32, Instant)>,
    /// Suspects that have had their turn.
    done: BTreeSet<TransformId>,
    /// Others whose first start is under way, and those that have had it. Suspects wait for them up to [`OTHERS_MAX`], so
    /// none are kept after that: deleted ones would pile up.
    starting: BTreeSet<TransformId>,
    settled: BTreeSet<TransformId>,
    turn: Option<Turn>,
}

#[derive(Debug)]
struct Turn {
    id: TransformId,
    since: Instant,
    /// Its calls, and since when there were no more.
    quiet: Option<(u64, Instant)>,
}

impl StartQueue {
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            waiting: BTreeMap::new(),
            done: BTreeSet::new(),
            starting: BTreeSet::new(),
            settled: BTreeSet::new(),
            turn: None,
        }
    }

    /// A transform that is no suspect is about to be started.
    pub fn start_other(&mut self, id: &TransformId, now: Instant) {
        if self.may_wait_for_others(now) && !self.settled.contains(id) {
            self.starting.insert(id.clone());
        }
    }

    /// An attempt to start it is over, well or not.
    pub fn settle(&mut self, id: &TransformId, now: Instant) {
        self.starting.remove(id);
        if self.may_wait_for_others(now) {
            self.settled.insert(id.clone());
        } else {
            self.starting.clear();
            self.settled.clear();
        }
    }

    /// Decides whether a suspect with this count may be started now.
    pub fn may_start(&mut self, id: &TransformId, count: u32, now: Instant) -> bool {
        if self.done.contains(id) {
            return true;
        }
        match &self.turn {
            Some(turn) if turn.id == *id => return true,
            Some(turn) if now < turn.since + TURN_MAX => {}
            Some(_) => self.end_turn(),
            None => {}
        }
        self.waiting.entry(id.clone()).or_insert((count, now)).0 = count;
        let others_are_up = self.starting.is_empty() || !self.may_wait_for_others(now);
        if self.turn.is_some() || !others_are_up || now < self.began + OTHERS_MIN {
            return false;
        }
        let ready = self.waiting.iter().filter(|(_, (_, from))| now >= *from);
        // The first of those that share the highest count.
        let chosen = ready.max_by(|(a, (fewer, _)), (b, (more, _))| fewer.cmp(more).then_with(|| b.cmp(a)));
        let is_chosen = chosen.is_some_and(|(chosen, _)| chosen == id);
        if is_chosen {
            self.waiting.remove(id);
            self.turn = Some(Turn { id: id.clone(), since: now, quiet: None });
        }
        is_chosen
    }

    /// Takes a look at a suspect. Returns true if this ends its turn.
    pub fn look(&mut self, id: &TransformId, activity: Activity, now: Instant) -> bool {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.id == *id) else { return false };
        let since = match turn.quiet {
            Some((calls, since))
                if calls == activity.calls && !activity.is_in_call && activity.phase != StartPhase::Starting =>
            {
                since
            }
            _ => now,
        };
        turn.quiet = Some((activity.calls, since));
        let quiet = match activity.phase {
            StartPhase::Starting => None,
            StartPhase::Running => Some(QUIET),
            StartPhase::WithoutPartitions => Some(WITHOUT_PARTITIONS),
        };
        let is_over = quiet.is_some_and(|quiet| now >= since + quiet) || now >= turn.since + TURN_MAX;
        if is_over {
            self.end_turn();
        }
        is_over
    }

    /// A suspect is none any more.
    pub fn clear(&mut self, id: &TransformId) {
        self.waiting.remove(id);
        self.done.insert(id.clone());
        if self.turn.as_ref().is_some_and(|turn| turn.id == *id) {
            self.turn = None;
        }
    }

    /// A suspect could not be started, or is not to run: the others go first.
    pub fn set_back(&mut self, id: &TransformId, now: Instant) {
        self.waiting.remove(id);
        if let Some(turn) = self.turn.take_if(|turn| turn.id == *id) {
            self.waiting.insert(turn.id, (0, now + SET_BACK));
        }
    }

    /// Returns true while suspects wait for others whose first start is under way.
    fn may_wait_for_others(&self, now: Instant) -> bool {
        now < self.began + OTHERS_MAX
    }

    fn end_turn(&mut self) {
        self.done.extend(self.turn.take().map(|turn| turn.id));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn id(name: &str) -> TransformId {
        format!("t/{name}").parse().expect("valid")
    }

    fn at(seconds: u64) -> Instant {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        *BEGAN + Duration::from_secs(seconds)
    }

    fn activity(phase: StartPhase, calls: u64, is_in_call: bool) -> Activity {
        Activity { phase, calls, is_in_call }
    }

    /// The suspects that may start at a time: all of them ask, twice, since the first asks before it knows of the others.
    #[track_caller]
    fn check(queue: &mut StartQueue, suspects: &[(&str, u32)], seconds: u64, expected: &str) {
        let mut started = Vec::new();
        for _ in 0..2 {
            started = suspects.iter().filter(|(name, count)| queue.may_start(&id(name), *count, at(seconds))).collect();
        }
        let names: Vec<_> = started.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.join(" "), expected, "at {seconds} s");
    }

    #[test]
    fn suspects_wait_for_the_others() {
        let mut queue = StartQueue::new(at(0));
        queue.start_other(&id("x"), at(0));
        for (seconds, expected) in [(0, ""), (2, ""), (29, "")] {
            check(&mut queue, &[("a", 1)], seconds, expected);
        }
        queue.settle(&id("x"), at(29));
        queue.start_other(&id("x"), at(29));
        check(&mut queue, &[("a", 1)], 29, "a");
        let mut queue = StartQueue::new(at(0));
        queue.start_other(&id("never-ends"), at(0));
        check(&mut queue, &[("a", 1)], 30, "a");
    }

    #[test]
    fn transforms_that_come_and_go_leave_nothing() {
        let mut queue = StartQueue::new(at(0));
        queue.start_other(&id("early"), at(0));
        queue.settle(&id("early"), at(1));
        queue.start_other(&id("never-ends"), at(1));
        for number in 0..100 {
            let preview = id(&format!("preview-{number}"));
            queue.start_other(&preview, at(30 + number));
            queue.settle(&preview, at(31 + number));
            // It is deleted, and no suspect.
            queue.set_back(&preview, at(31 + number));
        }
        assert!(queue.starting.is_empty() && queue.settled.is_empty() && queue.waiting.is_empty(), "{queue:?}");
    }

    #[test]
    fn the_most_suspicious_goes_first_and_one_at_a_time() {
        let all = [("a", 1), ("b", 2), ("c", 2)];
        let mut queue = StartQueue::new(at(0));
        for (name, count) in all {
            assert!(!queue.may_start(&id(name), count, at(0)));
        }
        check(&mut queue, &all, 2, "b");
        queue.clear(&id("b"));
        check(&mut queue, &all, 3, "b c");
        queue.clear(&id("c"));
        check(&mut queue, &all, 4, "a b c");
    }

    #[test]
    fn a_turn_ends_when_its_suspect_is_quiet() {
        for (phase, looks) in [
            (StartPhase::Running, &[(2, 0, false, false), (7, 0, false, true)][..]),
            (
                StartPhase::Running,
                &[(2, 0, false, false), (6, 1, false, false), (10, 1, false, false), (11, 1, false, true)],
            ),
            // A call that does not end is not quiet.
            (StartPhase::Running, &[(2, 1, true, false), (30, 1, true, false), (31, 1, false, false), (36, 1, false, true)]),
            (StartPhase::Starting, &[(2, 0, false, false), (100, 0, false, false), (122, 0, false, true)]),
            (StartPhase::WithoutPartitions, &[(2, 0, false, false), (61, 0, false, false), (62, 0, false, true)]),
        ] {
            let mut queue = StartQueue::new(at(0));
            check(&mut queue, &[("a", 1), ("b", 1)], 2, "a");
            for &(seconds, calls, is_in_call, ends) in looks {
                let activity = activity(phase, calls, is_in_call);
                assert_eq!(queue.look(&id("a"), activity, at(seconds)), ends, "{activity:?} at {seconds} s");
                check(&mut queue, &[("a", 1), ("b", 1)], seconds, if ends { "a b" } else { "a" });
            }
        }
    }

    #[test]
    fn no_suspect_holds_up_the_others() {
        let all = [("a", 1), ("b", 1)];
        let mut queue = StartQueue::new(at(0));
        check(&mut queue, &all, 2, "a");
        // It could not be started, or was paused.
        queue.set_back(&id("a"), at(3));
        check(&mut queue, &all, 3, "b");
        queue.clear(&id("b"));
        check(&mut queue, &all, 12, "b");
        check(&mut queue, &all, 13, "a b");
        // Nobody looked at it any more.
        let mut queue = StartQueue::new(at(0));
        check(&mut queue, &all, 2, "a");
        check(&mut queue, &[("b", 1)], 121, "");
        check(&mut queue, &[("b", 1)], 122, "b");
    }
}
