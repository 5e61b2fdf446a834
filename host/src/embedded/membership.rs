//! A session as a member of its group, from its first poll until it leaves, is evicted, or is fenced.
//!
//! Owned by one session. The group itself is in the metadata, whose lock the session holds when it passes that in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Condvar;

use super::group::{AssignmentChange, MemberId};
use super::metadata::Metadata;
use super::store::{PartitionId, Topic};
use crate::model::codes::Code;
use crate::ports::{Rebalance, SessionError, SessionOptions, TopicPartition};

pub struct Membership {
    id: MemberId,
    /// Rung when something may have changed for this member.
    pub bell: Arc<Condvar>,
    fenced: Arc<AtomicBool>,
    group: String,
    transactional_id: String,
    co_partitioned: bool,
    inputs: Vec<Topic>,
    joined: bool,
}

impl Membership {
    /// Fences an older session of the same transactional id. The group is joined with the first poll.
    pub fn new(metadata: &mut Metadata, options: &SessionOptions) -> Result<Self, SessionError> {
        let inputs = options.inputs.iter().map(|name| metadata.topic(name)).collect::<Result<Vec<_>, _>>()?;
        let (id, bell) = metadata.add_bell();
        let fenced = metadata.fence(&options.transactional_id, id, &options.group);
        Ok(Self {
            id,
            bell,
            fenced,
            group: options.group.clone(),
            transactional_id: options.transactional_id.clone(),
            co_partitioned: options.co_partitioned,
            inputs,
            joined: false,
        })
    }

    pub fn group(&self) -> &str {
        &self.group
    }

    /// Fails once a newer session of the same transactional id has opened.
    pub fn check_fence(&self) -> Result<(), SessionError> {
        if self.fenced.load(Ordering::Acquire) {
            let id = &self.transactional_id;
            let message = format!("fenced: another session has opened with transactional id {id:?}");
            return Err(SessionError::Ended { code: Code::Fenced, message });
        }
        Ok(())
    }

    /// Keeps this session a member of its group while it polls. Returns the next change of its partitions: all of `owned` are
    /// lost where it was evicted.
    pub fn rebalance(
        &mut self,
        metadata: &mut Metadata,
        now: Instant,
        poll_interval_max: Duration,
        owned: impl FnOnce() -> Vec<TopicPartition>,
    ) -> Option<Rebalance> {
        let group = metadata.groups.entry(self.group.clone()).or_default();
        group.note_poll(self.id, None);
        let mut changed = group.evict(now, poll_interval_max);
        if group.generation(self.id).is_none() {
            let lost = owned();
            if self.joined && !lost.is_empty() {
                return Some(Rebalance::Lost(lost));
            }
            let topics = self.inputs.iter().map(|topic| (topic.id, topic.partitions)).collect();
            group.join(self.id, topics, self.co_partitioned);
            self.joined = true;
            changed = true;
        }
        let change = group.next_change(self.id);
        if changed {
            metadata.ring_group(&self.group);
        }
        let partitions = |ids: Vec<PartitionId>| ids.into_iter().filter_map(|id| self.partition(id)).collect();
        change.map(|change| match change {
            AssignmentChange::Assign(ids) => Rebalance::Assign(partitions(ids)),
            AssignmentChange::Revoke(ids) => Rebalance::Revoke(partitions(ids)),
        })
    }

    /// The time at which the next member of the group will have been silent for too long.
    pub fn next_eviction(&self, metadata: &Metadata, poll_interval_max: Duration) -> Option<Instant> {
        metadata.groups.get(&self.group)?.next_eviction(poll_interval_max)
    }

    /// Notes that a poll is over.
    pub fn end_poll(&self, metadata: &mut Metadata) {
        if let Some(group) = metadata.groups.get_mut(&self.group) {
            group.note_poll(self.id, Some(Instant::now()));
        }
    }

    /// The generation of the group, while this session is a member.
    pub fn generation(&self, metadata: &Metadata) -> Option<u64> {
        metadata.groups.get(&self.group).and_then(|group| group.generation(self.id))
    }

    pub fn owns(&self, metadata: &Metadata, id: PartitionId) -> bool {
        metadata.groups.get(&self.group).is_some_and(|group| group.owns(self.id, id))
    }

    /// Takes a partition over, unless it went to another member meanwhile. Returns true if this session owns it now.
    pub fn take(&self, metadata: &mut Metadata, id: PartitionId) -> bool {
        let taken = metadata.groups.get_mut(&self.group).is_some_and(|group| group.take(self.id, id));
        if taken {
            metadata.watch(self.id, id);
        }
        taken
    }

    /// Gives partitions up.
    pub fn release(&self, metadata: &mut Metadata, ids: &[PartitionId]) {
        for &id in ids {
            metadata.unwatch(self.id, id);
            if let Some(group) = metadata.groups.get_mut(&self.group) {
                group.release(self.id, id);
            }
        }
        metadata.ring_group(&self.group);
    }

    /// Leaves the group, with the partitions that this session still reads.
    pub fn leave(&self, metadata: &mut Metadata, watched: impl Iterator<Item = PartitionId>) {
        for id in watched {
            metadata.unwatch(self.id, id);
        }
        metadata.leave(&self.group, self.id);
        metadata.remove_bell(self.id);
        if metadata.producers.get(&self.transactional_id).is_some_and(|producer| producer.session == self.id) {
            metadata.producers.remove(&self.transactional_id);
        }
    }

    fn partition(&self, id: PartitionId) -> Option<TopicPartition> {
        let input = self.inputs.iter().position(|topic| topic.id == id.topic)?;
        Some(TopicPartition { input: input as u32, partition: id.partition })
    }

    pub fn id_of(&self, partition: TopicPartition) -> Result<PartitionId, SessionError> {
        let topic = self.inputs.get(partition.input as usize);
        topic
            .filter(|topic| (0..topic.partitions).contains(&partition.partition))
            .map(|topic| PartitionId { topic: topic.id, partition: partition.partition })
            .ok_or_else(|| SessionError::Abort(format!("there is no input partition {partition:?}")))
    }

    pub fn ids_of(&self, partitions: &[TopicPartition]) -> Result<Vec<PartitionId>, SessionError> {
        partitions.iter().map(|&partition| self.id_of(partition)).collect()
    }
}
