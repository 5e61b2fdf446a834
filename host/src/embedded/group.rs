//! A consumer group: its members, its generation, and who reads which partition. A plain value; time is passed in.
//!
//! A partition has a target (who shall read it) and an owner (who reads it). They differ while it moves:
//! ```text
//!   owner = A, target = A  --membership changes-->  owner = A, target = B   A is told Revoke
//!     ^                                                | A releases it
//!     +----  B takes it (now A in the picture)  ----  owner = -, target = B   B is told Assign
//! ```
//! A partition never has two owners. What a member is told follows from this state alone, so it is told again until it
//! has done it. Every change of membership begins a new generation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::store::PartitionId;

pub type MemberId = u64;

/// What a member has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Take(Vec<PartitionId>),
    Release(Vec<PartitionId>),
}

#[derive(Debug)]
struct Member {
    /// Topics it reads: id and number of partitions.
    topics: Vec<(u32, i32)>,
    /// It wants partitions of the same number together.
    co_partitioned: bool,
    /// When it was last seen polling; None while it is in a poll.
    seen: Option<Instant>,
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
        self.members.insert(id, Member { topics, co_partitioned, seen: None });
        self.rebalance();
    }

    /// Removes a member with all that it owns. Returns whether it was there.
    pub fn leave(&mut self, id: MemberId) -> bool {
        if self.members.remove(&id).is_none() {
            return false;
        }
        self.owners.retain(|_, owner| *owner != id);
        self.rebalance();
        true
    }

    /// Removes the members that have not polled for `poll_interval_max`. Returns whether there were any.
    pub fn evict(&mut self, now: Instant, poll_interval_max: Duration) -> bool {
        let late = |member: &Member| member.seen.is_some_and(|seen| now.saturating_duration_since(seen) > poll_interval_max);
        let evicted: Vec<MemberId> = self.members.iter().filter(|(_, member)| late(member)).map(|(id, _)| *id).collect();
        for &id in &evicted {
            self.leave(id);
        }
        !evicted.is_empty()
    }

    /// When the next member will have been silent for too long.
    pub fn next_eviction(&self, poll_interval_max: Duration) -> Option<Instant> {
        self.members.values().filter_map(|member| member.seen).min().and_then(|seen| seen.checked_add(poll_interval_max))
    }

    /// A member is in a poll (None), or was until now.
    pub fn saw(&mut self, id: MemberId, seen: Option<Instant>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.seen = seen;
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

    /// What `id` has to do next: releasing comes first.
    pub fn next_change(&self, id: MemberId) -> Option<Change> {
        let target = |partition: &PartitionId| self.targets.get(partition) == Some(&id);
        let owned = self.owners.iter().filter(|(_, owner)| **owner == id).map(|(partition, _)| *partition);
        let release: Vec<PartitionId> = owned.filter(|partition| !target(partition)).collect();
        if !release.is_empty() {
            return Some(Change::Release(release));
        }
        let free = |partition: &&PartitionId| target(partition) && !self.owners.contains_key(partition);
        let take: Vec<PartitionId> = self.targets.keys().filter(free).copied().collect();
        (!take.is_empty()).then_some(Change::Take(take))
    }

    /// Makes a member the owner of a partition that is free (or its own). Returns whether it is.
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
        // Everybody keeps what is theirs: what they read, or else what they were promised.
        for partition in &all {
            let keeper = self.owners.get(partition).or_else(|| self.targets.get(partition));
            if let Some(&keeper) = keeper.filter(|keeper| reads(&self.members, **keeper, partition)) {
                targets.insert(*partition, keeper);
                *load.entry(keeper).or_default() += 1;
            }
        }
        // What is left goes to whoever has least.
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
    let of = |id: &PartitionId| members.get(id.number as usize % members.len().max(1)).map(|member| (*id, *member));
    all.iter().filter_map(of).collect()
}

fn partitions(topics: &[(u32, i32)]) -> impl Iterator<Item = PartitionId> {
    topics.iter().flat_map(|&(topic, partitions)| (0..partitions).map(move |number| PartitionId { topic, number }))
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
