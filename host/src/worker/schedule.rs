//! The order of a worker's steps. Among the tasks that are ready, the one comes next that has used the least time: a slow
//! guest has its part of the thread, and no more.
//!
//! A task that had nothing to do does not save up its time: it catches up with the others by [`CATCH_UP`] at most. A plain
//! value.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ports::TopicPartition;

/// The longest time by which a task may be behind the others: about one transaction.
const CATCH_UP: Duration = Duration::from_millis(100);
/// The least charge of a step, so that steps that are too short for the clock count as well.
const CHARGE_MIN: Duration = Duration::from_micros(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The time that each task has used, or was given for its time without work.
    used: BTreeMap<TopicPartition, Duration>,
    /// The most that any task had used when it came.
    level: Duration,
}

impl Schedule {
    /// Returns the task that comes next; None if none is ready.
    pub fn next(&mut self, ready: impl Iterator<Item = TopicPartition>) -> Option<TopicPartition> {
        let least = self.level.saturating_sub(CATCH_UP);
        let used = ready.map(|partition| {
            let used = self.used.entry(partition).or_default();
            *used = (*used).max(least);
            (*used, partition)
        });
        let (used, next) = used.min()?;
        self.level = self.level.max(used);
        Some(next)
    }

    /// Charges a task for a step that took `time`.
    pub fn charge(&mut self, partition: TopicPartition, time: Duration) {
        *self.used.entry(partition).or_default() += time.max(CHARGE_MIN);
    }

    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        self.used.retain(|partition, _| !partitions.contains(partition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition { input: 0, partition }
    }

    /// Runs `count` steps of tasks that are always ready, each with steps of its time. Returns the steps of each.
    fn run(schedule: &mut Schedule, times: &[Duration], count: u32) -> Vec<u32> {
        let mut steps = vec![0; times.len()];
        for _ in 0..count {
            let ready = (0..times.len()).map(|partition| at(partition as i32));
            let next = schedule.next(ready).expect("all are ready");
            steps[next.partition as usize] += 1;
            schedule.charge(next, times[next.partition as usize]);
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
        assert_eq!(Schedule::default().next(std::iter::empty()), None);
    }

    #[test]
    fn a_task_that_was_idle_catches_up_for_a_moment_only() {
        let mut schedule = Schedule::default();
        for _ in 0..10 {
            assert_eq!(schedule.next([at(1)].into_iter()), Some(at(1)));
            schedule.charge(at(1), Duration::from_secs(1));
        }
        let steps = run(&mut schedule, &[Duration::from_millis(10); 2], 40);
        assert!(steps[0] > steps[1], "{steps:?}");
        assert!(run(&mut schedule, &[Duration::from_millis(10); 2], 300)[1] > 90, "the idle time is saved up");
    }
}
