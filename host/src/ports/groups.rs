//! Consumer groups, seen and changed from outside.

use super::topic::LogError;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;

/// The offset that a consumer group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    pub topic: TopicName,
    pub partition: i32,
    pub next_offset: i64,
    pub metadata: String,
}

/// Committed offsets, seen and changed from outside of their group. Every call is one exchange with the log, and may fail
/// with any [`LogError`].
pub trait Groups {
    /// The committed offsets of a group for these topics, by topic and partition. Waits for transactions that may still
    /// change them. Leaves out partitions without an offset.
    fn group_offsets(&self, group: &str, topics: &[TopicName]) -> Result<Vec<GroupOffset>, LogError>;

    /// The number of members of a group; 0 for one that does not exist.
    fn group_members(&self, group: &str) -> Result<usize, LogError>;

    /// Commits offsets for a group without members. For a group with members it is [`LogError::Refused`], and nothing
    /// is changed.
    fn commit_for_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), LogError>;

    /// Puts off the day on which the log forgets the offsets of a group without members for these topics. Does nothing
    /// for a group with members.
    fn keep_group(&self, group: &str, topics: &[TopicName], co_partitioned: bool) -> Result<(), LogError> {
        let _ = (group, topics, co_partitioned);
        Ok(())
    }

    /// Forgets every offset of a group without members, of any topic. Refused as in [`Groups::commit_for_group`].
    fn delete_group(&self, group: &str) -> Result<(), LogError>;

    /// For each partition of a topic, the first offset whose record is not older than `at`; None if all are older.
    fn offsets_at(&self, topic: &TopicName, at: Timestamp) -> Result<Vec<Option<i64>>, LogError>;
}
