//! The partitions that are not read on for a while, since their pending records take too much memory.
//!
//! ```text
//!   above half of the limit, and above its share of that ---+
//!   above the limit, all of them ---------------------------+--> held --(below half of its share, and
//!                                                                        below three quarters of the limit)--> read on
//! ```
//!
//! So a partition whose guest is slow does not keep the others from being read. A partition is read on later than it was
//! held, since a session drops the records that it has fetched of a held partition. A plain value.

use std::collections::BTreeSet;

use crate::ports::TopicPartition;

/// Pending bytes of all tasks above which no partition is read on.
pub(super) const PENDING_BYTES_MAX: usize = 8 << 20;

/// The partitions that are not read on.
#[derive(Debug, Default)]
pub(super) struct Holds {
    held: BTreeSet<TopicPartition>,
}

impl Holds {
    /// Looks at the pending bytes of the tasks that work. (Those of a waiting task do not grow.)
    pub fn update(&mut self, pending: &[(TopicPartition, usize)]) {
        let total: usize = pending.iter().map(|(_, bytes)| bytes).sum();
        let share = PENDING_BYTES_MAX / 2 / pending.len().max(1);
        let is_held = |partition: TopicPartition, bytes: usize| {
            let is_crowded = total > PENDING_BYTES_MAX / 2 && bytes > share;
            let may_go_on = total <= PENDING_BYTES_MAX / 4 * 3 && bytes <= share / 2;
            total > PENDING_BYTES_MAX || is_crowded || (self.held.contains(&partition) && !may_go_on)
        };
        let held = pending.iter().filter(|&&(partition, bytes)| is_held(partition, bytes));
        self.held = held.map(|(partition, _)| *partition).collect();
    }

    pub fn is_held(&self, partition: TopicPartition) -> bool {
        self.held.contains(&partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// The partitions that are held, after the pending MiB of each look.
    #[track_caller]
    fn check(looks: &[&[usize]], expected: &[&[i32]]) {
        let mut holds = Holds::default();
        let held = looks.iter().map(|pending| {
            let partitions = (0..).map(|partition| TopicPartition { input: 0, partition });
            let pending: Vec<_> = partitions.zip(pending.iter().map(|mib| mib * MIB)).collect();
            holds.update(&pending);
            let held = pending.iter().filter(|(partition, _)| holds.is_held(*partition));
            held.map(|(partition, _)| partition.partition).collect::<Vec<_>>()
        });
        assert_eq!(held.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_partition_is_held_until_its_records_are_fewer() {
        check(&[&[4], &[5], &[3], &[2], &[4]], &[&[], &[0], &[0], &[], &[]]);
    }

    #[test]
    fn a_slow_partition_holds_up_no_other() {
        check(&[&[5, 0], &[5, 1], &[2, 1], &[1, 1]], &[&[0], &[0], &[0], &[]]);
    }

    #[test]
    fn above_the_limit_all_are_held() {
        check(&[&[9, 0], &[7, 0], &[6, 0], &[1, 0]], &[&[0, 1], &[0, 1], &[0], &[]]);
    }
}
