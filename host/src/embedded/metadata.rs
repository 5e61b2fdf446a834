//! The metadata of an embedded log, in memory: topics, the extents of partitions, groups, and who may write.
//!
//! A plain value; the broker holds it behind its metadata lock. Whoever waits for something has a bell, which is rung when
//! that may have come.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Condvar;

use super::group::{Group, MemberId};
use super::store::{Extent, PartitionId, Topic};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::SessionError;

/// The topics, partitions, groups and writers of an embedded log.
#[derive(Default)]
pub struct Metadata {
    pub topics: BTreeMap<TopicName, Topic>,
    pub partitions: HashMap<PartitionId, PartitionMetadata>,
    pub groups: HashMap<String, Group>,
    /// The newest session of each transactional id.
    pub producers: HashMap<String, Producer>,
    /// The number of exclusive writers that each id has had: the last one may write.
    pub exclusive: HashMap<String, u64>,
    bells: HashMap<u64, Arc<Condvar>>,
    last_id: u64,
}

/// A partition of a topic.
pub struct PartitionMetadata {
    extent: Extent,
    compacted: bool,
    /// The bells that are rung when records come.
    readers: Vec<u64>,
}

/// The session that may write with a transactional id.
pub struct Producer {
    pub session: MemberId,
    pub group: String,
    pub fenced: Arc<AtomicBool>,
}

impl PartitionMetadata {
    pub fn new(extent: Extent, compacted: bool) -> Self {
        Self { extent, compacted, readers: Vec::new() }
    }
}

impl Metadata {
    pub fn topic(&self, name: &TopicName) -> Result<Topic, SessionError> {
        let topic = self.topics.get(name).copied();
        topic.ok_or_else(|| SessionError::Ended { code: Code::TopicGone, message: format!("there is no topic {name}") })
    }

    pub fn extent(&self, id: PartitionId) -> Extent {
        self.partitions.get(&id).map_or_else(Extent::default, |partition| partition.extent)
    }

    pub fn is_compacted(&self, id: PartitionId) -> bool {
        self.partitions.get(&id).is_some_and(|partition| partition.compacted)
    }

    /// Makes extents visible that were written, and wakes the readers.
    pub fn publish(&mut self, extents: &[(PartitionId, Extent)]) {
        for (id, extent) in extents {
            let Some(partition) = self.partitions.get_mut(id) else { continue };
            let grown = extent.end > partition.extent.end;
            partition.extent = *extent;
            if grown {
                for bell in partition.readers.iter().filter_map(|reader| self.bells.get(reader)) {
                    bell.notify_all();
                }
            }
        }
    }

    /// Makes an id, with a bell that wakes its owner. The owner waits with the metadata's lock.
    pub fn add_bell(&mut self) -> (u64, Arc<Condvar>) {
        self.last_id += 1;
        let bell = Arc::new(Condvar::new());
        self.bells.insert(self.last_id, Arc::clone(&bell));
        (self.last_id, bell)
    }

    pub fn remove_bell(&mut self, id: u64) {
        self.bells.remove(&id);
    }

    pub fn watch(&mut self, reader: u64, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id).filter(|partition| !partition.readers.contains(&reader)) {
            partition.readers.push(reader);
        }
    }

    pub fn unwatch(&mut self, reader: u64, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.readers.retain(|other| *other != reader);
        }
    }

    /// Wakes a group's members, after something changed for them.
    pub fn ring_group(&self, group: &str) {
        let members = self.groups.get(group).into_iter().flat_map(Group::members);
        for bell in members.filter_map(|member| self.bells.get(&member)) {
            bell.notify_all();
        }
    }

    /// Takes a member out of its group, if it is still in it.
    pub fn leave(&mut self, group: &str, member: MemberId) {
        if self.groups.get_mut(group).is_some_and(|group| group.leave(member)) {
            self.ring_group(group);
        }
    }

    /// Makes `session` the only one that may write as `transactional_id`. The one before it also leaves its group.
    pub fn fence(&mut self, transactional_id: &str, session: MemberId, group: &str) -> Arc<AtomicBool> {
        let fenced = Arc::new(AtomicBool::new(false));
        let producer = Producer { session, group: group.to_owned(), fenced: Arc::clone(&fenced) };
        if let Some(older) = self.producers.insert(transactional_id.to_owned(), producer) {
            older.fenced.store(true, Ordering::Release);
            self.leave(&older.group, older.session);
            if let Some(bell) = self.bells.get(&older.session) {
                bell.notify_all();
            }
        }
        fenced
    }
}
