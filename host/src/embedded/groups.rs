//! Committed offsets, seen and changed from outside of their group: [`Groups`].
//!
//! A change holds the writer's lock: whoever takes a partition over holds it too, so a member that comes in the meantime
//! sees all of the change or makes it fail.

use super::broker::Writer;
use super::commit::{self, OffsetWrite};
use super::error::unavailable;
use super::group::Group;
use super::log::EmbeddedLog;
use super::outputs::Outputs;
use super::store::PartitionId;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::{GroupOffset, Groups, LogError};

impl EmbeddedLog {
    /// The right to write, while `group` has no member.
    fn writer_without_members(&self, group: &str) -> Result<parking_lot::MutexGuard<'_, Writer>, LogError> {
        let writer = self.broker.writer();
        match self.group_members(group)? {
            0 => Ok(writer),
            members => Err(LogError::Refused(format!("group {group} has {members} members"))),
        }
    }
}

impl Groups for EmbeddedLog {
    fn group_offsets(&self, group: &str, topics: &[TopicName]) -> Result<Vec<GroupOffset>, LogError> {
        let mut offsets = Vec::new();
        for name in topics {
            let topic = self.broker.find(name)?;
            for partition in 0..topic.partitions {
                let id = PartitionId { topic: topic.id, partition };
                if let Some((next_offset, metadata)) = self.broker.store.committed(group, id).map_err(unavailable)? {
                    offsets.push(GroupOffset { topic: name.clone(), partition, next_offset, metadata });
                }
            }
        }
        Ok(offsets)
    }

    fn group_members(&self, group: &str) -> Result<usize, LogError> {
        Ok(self.broker.metadata().groups.get(group).map_or(0, |group: &Group| group.members().count()))
    }

    fn commit_for_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), LogError> {
        let mut written = Vec::new();
        for GroupOffset { topic, partition, next_offset, metadata } in offsets {
            let id = self.broker.find_partition(topic, *partition)?;
            written.push(OffsetWrite { group, id, next_offset: *next_offset, metadata });
        }
        let mut writer = self.writer_without_members(group)?;
        commit::commit(&self.broker, &mut writer, &mut Outputs::default(), &written).map_err(unavailable)
    }

    fn delete_group(&self, group: &str) -> Result<(), LogError> {
        let mut writer = self.writer_without_members(group)?;
        let all: Vec<PartitionId> = self.broker.metadata().partitions.keys().copied().collect();
        commit::delete_offsets(&self.broker, &mut writer, group, &all).map_err(unavailable)
    }

    fn offsets_at(&self, topic: &TopicName, at: Timestamp) -> Result<Vec<Option<i64>>, LogError> {
        let topic = self.broker.find(topic)?;
        let look_up = |partition| self.broker.offset_at(PartitionId { topic: topic.id, partition }, at).map_err(unavailable);
        (0..topic.partitions).map(look_up).collect()
    }
}
