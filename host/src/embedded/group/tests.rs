//! Tests of [`super::Group`]: the changes of its members, and that a partition never has two owners.

use super::*;

fn p(partition: i32) -> PartitionId {
    PartitionId { topic: 1, partition }
}

/// Lets a member carry out its changes until there are no more.
fn settle(group: &mut Group, id: MemberId) {
    while let Some(change) = group.next_change(id) {
        match change {
            AssignmentChange::Assign(partitions) => {
                partitions.iter().for_each(|&partition| assert!(group.take(id, partition)))
            }
            AssignmentChange::Revoke(partitions) => partitions.iter().for_each(|&partition| group.release(id, partition)),
        }
    }
}

fn owned(group: &Group, id: MemberId) -> Vec<i32> {
    group.owners.iter().filter(|(_, owner)| **owner == id).map(|(partition, _)| partition.partition).collect()
}

#[test]
fn a_partition_moves_only_after_its_owner_released_it() {
    let mut group = Group::default();
    group.join(1, vec![(1, 4)], false);
    assert_eq!(group.next_change(1), Some(AssignmentChange::Assign((0..4).map(p).collect())));
    settle(&mut group, 1);
    group.join(2, vec![(1, 4)], false);
    assert_eq!(group.next_change(2), None, "1 still owns all");
    let Some(AssignmentChange::Revoke(released)) = group.next_change(1) else { panic!("nothing to release") };
    assert_eq!(released.len(), 2);
    assert_eq!(group.next_change(1), Some(AssignmentChange::Revoke(released.clone())), "the same until it is done");
    assert!(!group.take(2, released[0]), "not free yet");
    group.release(1, released[0]);
    assert_eq!(group.next_change(2), Some(AssignmentChange::Assign(vec![released[0]])));
    settle(&mut group, 1);
    settle(&mut group, 2);
    assert_eq!((owned(&group, 1).len(), owned(&group, 2).len()), (2, 2));
}

#[test]
fn a_leaver_is_replaced_and_nothing_else_moves() {
    let mut group = Group::default();
    (1..=3).for_each(|id| group.join(id, vec![(1, 9)], false));
    for _ in 0..3 {
        (1..=3).for_each(|id| settle(&mut group, id));
    }
    let before = (owned(&group, 1), owned(&group, 2));
    assert!(group.leave(3));
    assert!(!group.leave(3));
    (1..=2).for_each(|id| settle(&mut group, id));
    let after = (owned(&group, 1), owned(&group, 2));
    assert!(before.0.iter().all(|kept| after.0.contains(kept)) && before.1.iter().all(|kept| after.1.contains(kept)));
    assert_eq!(after.0.len() + after.1.len(), 9);
    assert!(after.0.len().abs_diff(after.1.len()) <= 1);
}

#[test]
fn every_change_begins_a_generation_and_only_members_have_one() {
    let mut group = Group::default();
    assert_eq!(group.generation(1), None);
    group.join(1, vec![(1, 1)], false);
    let first = group.generation(1);
    group.join(2, vec![(1, 1)], false);
    assert!(group.generation(1) > first);
    group.leave(1);
    assert_eq!(group.generation(1), None);
}

#[test]
fn silent_members_are_evicted_and_polling_ones_never() {
    let start = Instant::now();
    let max = Duration::from_secs(45);
    let mut group = Group::default();
    group.join(1, vec![(1, 2)], false);
    group.join(2, vec![(1, 2)], false);
    group.note_poll(1, Some(start));
    assert_eq!(group.next_eviction(max), Some(start + max));
    assert!(!group.evict(start + max, max));
    assert!(group.evict(start + max + Duration::from_millis(1), max));
    assert_eq!(group.members().collect::<Vec<_>>(), [2]);
    assert!(!group.evict(start + 10 * max, max), "2 is in a poll");
}

/// Members come, go and change their topics at random; after each step the invariants hold, and all is spread in the end.
#[test]
fn random_memberships_keep_the_invariants() {
    for seed in 1..200u64 {
        let mut random = seed;
        let mut next = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let mut group = Group::default();
        for _ in 0..60 {
            let id = next(5);
            match next(4) {
                0 => group.join(id, vec![(1, 5)], false),
                1 => group.join(id, vec![(1, 5), (2, 3)], false),
                2 => assert_eq!(group.generation(id).is_some(), group.leave(id)),
                _ => settle(&mut group, id),
            }
            let known = |id: &MemberId| group.members.contains_key(id);
            assert!(group.owners.values().all(known) && group.targets.values().all(known), "seed {seed}");
        }
        for _ in 0..5 {
            (0..5).for_each(|id| settle(&mut group, id));
        }
        assert_eq!(group.owners, group.targets, "seed {seed}");
        let read: BTreeSet<_> = group.members.values().flat_map(|member| partitions(&member.topics)).collect();
        assert_eq!(group.owners.keys().copied().collect::<BTreeSet<_>>(), read, "seed {seed}");
    }
}
