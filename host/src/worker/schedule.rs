//! The order of a worker's steps. Among the tasks that are ready, the one comes next that has used the least time: a slow
//! guest has its part of the thread, and no more.
//!
//! A task that had nothing to do does not save up its time: it catches up with the others by [`CATCH_UP`] at most.
//!
//! All tasks are looked at once for many steps, and a step looks at its own task alone: with a thousand partitions, a look
//! at all of them costs more than a batch. A plain value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ports::TopicPartition;

/// The longest time by which a task may be behind the others: about one transaction.
const CATCH_UP: Duration = Duration::from_millis(100);
/// The least charge of a step, so that steps that are too short for the clock count as well.
const CHARGE_MIN: Duration = Duration::from_micros(1);

/// The order of one worker's steps.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The time that each task has used, or was given for its time without work.
    used: BTreeMap<TopicPartition, Duration>,
    /// The most that any task had used when it came.
    level: Duration,
    /// The ready tasks that the last look found and that have not come yet, with their used time.
    ready: BTreeSet<(Duration, TopicPartition)>,
    /// True if that look was for tasks with any record, not with a full batch.
    is_for_all: bool,
}

impl Schedule {
    /// Forgets the last look, since records have come.
    pub fn clear(&mut self) {
        self.ready.clear();
    }

    /// Takes over the ready tasks of a look at all.
    pub fn fill(&mut self, ready: impl Iterator<Item = TopicPartition>, is_for_all: bool) {
        let least = self.level.saturating_sub(CATCH_UP);
        self.is_for_all = is_for_all;
        self.ready.clear();
        for partition in ready {
            let used = self.used.entry(partition).or_default();
            *used = (*used).max(least);
            self.ready.insert((*used, partition));
        }
    }

    /// Returns true if the last look was for tasks with any record.
    pub fn is_for_all(&self) -> bool {
        self.is_for_all
    }

    /// Returns the task that comes next; None if another look is needed.
    pub fn next(&mut self, is_for_all: bool) -> Option<TopicPartition> {
        if self.is_for_all != is_for_all {
            return None;
        }
        let (used, next) = self.ready.pop_first()?;
        self.level = self.level.max(used);
        Some(next)
    }

    /// Charges a task for a step that took `time`. `is_ready`: it has more to do, in its turn.
    pub fn charge(&mut self, partition: TopicPartition, time: Duration, is_ready: bool) {
        let used = self.used.entry(partition).or_default();
        *used += time.max(CHARGE_MIN);
        if is_ready {
            self.ready.insert((*used, partition));
        }
    }

    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        self.used.retain(|partition, _| !partitions.contains(partition));
        self.ready.retain(|(_, partition)| !partitions.contains(partition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition { input: 0, partition }
    }

    /// Runs `count` steps of tasks that are always ready, each with steps of its time, after one look at all. Returns the
    /// steps of each.
    fn run(schedule: &mut Schedule, times: &[Duration], count: u32) -> Vec<u32> {
        let mut steps = vec![0; times.len()];
        schedule.fill((0..times.len()).map(|partition| at(partition as i32)), true);
        for _ in 0..count {
            let next = schedule.next(true).expect("all are ready");
            steps[next.partition as usize] += 1;
            schedule.charge(next, times[next.partition as usize], true);
        }
        steps
    }

    #[track_caller]
    fn check(times_ms: &[u64], count: u32, expected: &[u32]) {
        let times: Vec<Duration> = times_ms.iter().map(|&ms| Duration::from_millis(ms)).collect();
        assert_eq!(run(&mut Schedule::default(), &times, count), expected);
    }

    #[test]
    fn tasks_get_the_same_time() {
        check(&[1000, 1], 2002, &[2, 2000]);
        check(&[1, 2, 4], 700, &[400, 200, 100]);
        check(&[0, 0, 0], 9, &[3, 3, 3]);
    }

    #[test]
    fn a_look_ends_with_its_tasks_or_with_its_reason() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(false), None);
        schedule.fill([at(1), at(2), at(3)].into_iter(), false);
        assert_eq!(schedule.next(false), Some(at(1)));
        schedule.charge(at(1), Duration::ZERO, false);
        schedule.forget(&[at(2)]);
        assert_eq!([true, false, false].map(|is_for_all| schedule.next(is_for_all)), [None, Some(at(3)), None]);
        schedule.fill([at(1)].into_iter(), true);
        schedule.clear();
        assert_eq!((schedule.next(true), schedule.is_for_all()), (None, true));
    }

    #[test]
    fn a_task_that_was_idle_catches_up_for_a_moment_only() {
        let mut schedule = Schedule::default();
        for _ in 0..10 {
            schedule.fill([at(1)].into_iter(), true);
            assert_eq!(schedule.next(true), Some(at(1)));
            schedule.charge(at(1), Duration::from_secs(1), false);
        }
        let steps = run(&mut schedule, &[Duration::from_millis(10); 2], 40);
        assert!(steps[0] > steps[1], "{steps:?}");
        assert!(run(&mut schedule, &[Duration::from_millis(10); 2], 300)[1] > 90, "the idle time is saved up");
    }
}
