//! A consumer group: its members, its generation, and the member that reads each partition. A plain value; time is passed in.
//!
//! A partition has a target (the member that shall read it) and an owner (the member that reads it). They differ while it
//! moves:
//! ```text
//!   owner = A, target = A  --membership changes-->  owner = A, target = B   A has to Revoke
//!     ^                                                | A gives it up
//!     +----  B takes it (now A in the picture)  ----  owner = -, target = B   B has to Assign
//! ```
//! A partition never has two owners. A member's next change follows from this state alone, so it is the same until the member
//! has carried it out. Every change of membership begins a new generation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::store::PartitionId;

pub type MemberId = u64;

/// The next change that a member has to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssignmentChange {
    Assign(Vec<PartitionId>),
    Revoke(Vec<PartitionId>),
}

#[derive(Debug)]
struct Member {
    /// Topics it reads: id and number of partitions.
    topics: Vec<(u32, i32)>,
    /// True if partitions of the same number go to one member.
    co_partitioned: bool,
    /// The end of its last poll; None while it is in a poll.
    polled_at: Option<Instant>,
}

#[derive(Debug, Default)]
pub struct Group {
    generation: u64,
    members: BTreeMap<MemberId, Member>,
    owners: BTreeMap<PartitionId, MemberId>,
    targets: BTreeMap<PartitionId, MemberId>,
}

impl Group {
    /// Adds a member that is about to poll.
    pub fn join(&mut self, id: MemberId, topics: Vec<(u32, i32)>, co_partitioned: bool) {
        self.members.insert(id, Member { topics, co_partitioned, polled_at: None });
        self.rebalance();
    }

    /// Removes a member with all that it owns. Returns true if it was there.
    pub fn leave(&mut self, id: MemberId) -> bool {
        if self.members.remove(&id).is_none() {
            return false;
        }
        self.owners.retain(|_, owner| *owner != id);
        self.rebalance();
        true
    }

    /// Removes the members that have not polled for `poll_interval_max`. Returns true if there were any.
    pub fn evict(&mut self, now: Instant, poll_interval_max: Duration) -> bool {
        let late =
            |member: &Member| member.polled_at.is_some_and(|at| now.saturating_duration_since(at) > poll_interval_max);
        let evicted: Vec<MemberId> = self.members.iter().filter(|(_, member)| late(member)).map(|(id, _)| *id).collect();
        for &id in &evicted {
            self.leave(id);
        }
        !evicted.is_empty()
    }

    /// The time at which the next member will have been silent for too long.
    pub fn next_eviction(&self, poll_interval_max: Duration) -> Option<Instant> {
        self.members.values().filter_map(|member| member.polled_at).min().and_then(|at| at.checked_add(poll_interval_max))
    }

    /// Notes that a member is in a poll (None), or was in one until now.
    pub fn note_poll(&mut self, id: MemberId, polled_at: Option<Instant>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.polled_at = polled_at;
        }
    }

    /// The generation, if `id` is a member.
    pub fn generation(&self, id: MemberId) -> Option<u64> {
        self.members.contains_key(&id).then_some(self.generation)
    }

    pub fn members(&self) -> impl Iterator<Item = MemberId> {
        self.members.keys().copied()
    }

    pub fn owns(&self, id: MemberId, partition: PartitionId) -> bool {
        self.owners.get(&partition) == Some(&id)
    }

    /// The next change of a member: it gives partitions up before it takes others.
    pub fn next_change(&self, id: MemberId) -> Option<AssignmentChange> {
        let target = |partition: &PartitionId| self.targets.get(partition) == Some(&id);
        let owned = self.owners.iter().filter(|(_, owner)| **owner == id).map(|(partition, _)| *partition);
        let release: Vec<PartitionId> = owned.filter(|partition| !target(partition)).collect();
        if !release.is_empty() {
            return Some(AssignmentChange::Revoke(release));
        }
        let free = |partition: &&PartitionId| target(partition) && !self.owners.contains_key(partition);
        let take: Vec<PartitionId> = self.targets.keys().filter(free).copied().collect();
        (!take.is_empty()).then_some(AssignmentChange::Assign(take))
    }

    /// Makes a member the owner of a partition that is free (or its own). Returns true if it is.
    pub fn take(&mut self, id: MemberId, partition: PartitionId) -> bool {
        let known = self.members.contains_key(&id) && self.targets.contains_key(&partition);
        known && *self.owners.entry(partition).or_insert(id) == id
    }

    pub fn release(&mut self, id: MemberId, partition: PartitionId) {
        if self.owns(id, partition) {
            self.owners.remove(&partition);
        }
    }

    /// Begins a generation: spreads the partitions evenly over the members that read them, and moves as few as it can.
    fn rebalance(&mut self) {
        self.generation += 1;
        let reads = |members: &BTreeMap<MemberId, Member>, id: MemberId, partition: &PartitionId| {
            members.get(&id).is_some_and(|member| member.topics.iter().any(|(topic, _)| *topic == partition.topic))
        };
        let all: BTreeSet<PartitionId> = self.members.values().flat_map(|member| partitions(&member.topics)).collect();
        if self.members.values().any(|member| member.co_partitioned) {
            self.targets = by_number(&all, self.members.keys().copied().collect());
            return;
        }
        let mut targets: BTreeMap<PartitionId, MemberId> = BTreeMap::new();
        let mut load: BTreeMap<MemberId, usize> = self.members.keys().map(|id| (*id, 0)).collect();
        // Each member keeps its partitions: those that it reads, or else those that it shall read.
        for partition in &all {
            let keeper = self.owners.get(partition).or_else(|| self.targets.get(partition));
            if let Some(&keeper) = keeper.filter(|keeper| reads(&self.members, **keeper, partition)) {
                targets.insert(*partition, keeper);
                *load.entry(keeper).or_default() += 1;
            }
        }
        // The others go to the member that has least.
        for partition in &all {
            let candidates = load.iter().filter(|(id, _)| reads(&self.members, **id, partition));
            let Some((&least, _)) = candidates.min_by_key(|(_, n)| **n) else { continue };
            if !targets.contains_key(partition) {
                targets.insert(*partition, least);
                *load.entry(least).or_default() += 1;
            }
        }
        // Then from those who have two more than somebody who could read it; first where a topic is spread worst.
        // Each move evens out, so this ends.
        loop {
            let moves = targets.iter().filter_map(|(partition, from)| {
                let candidates = load.iter().filter(|(id, _)| reads(&self.members, **id, partition));
                let (to, n) = candidates.min_by_key(|(_, n)| **n)?;
                let of_topic = |id| targets.iter().filter(|(p, owner)| p.topic == partition.topic && *owner == id).count();
                (load[from] >= n + 2).then(|| (of_topic(to).wrapping_sub(of_topic(from)) as isize, *partition, *from, *to))
            });
            let Some((_, partition, from, to)) = moves.min() else { break };
            targets.insert(partition, to);
            *load.entry(from).or_default() -= 1;
            *load.entry(to).or_default() += 1;
        }
        self.targets = targets;
    }
}

/// Partitions of the same number go to the same member, whatever their topic.
fn by_number(all: &BTreeSet<PartitionId>, members: Vec<MemberId>) -> BTreeMap<PartitionId, MemberId> {
    let of = |id: &PartitionId| members.get(id.partition as usize % members.len().max(1)).map(|member| (*id, *member));
    all.iter().filter_map(of).collect()
}

fn partitions(topics: &[(u32, i32)]) -> impl Iterator<Item = PartitionId> {
    topics.iter().flat_map(|&(topic, partitions)| (0..partitions).map(move |partition| PartitionId { topic, partition }))
}

#[cfg(test)]
mod tests;
