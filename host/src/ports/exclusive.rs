//! The right to write, held by the newest writer of an id.

use super::groups::GroupOffset;
use super::topic::{LogError, LogRecord};
use crate::model::names::TopicName;

/// A failed call of an [`ExclusiveWriter`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExclusiveError {
    /// A newer writer took over. A commit whose answer was lost before that may be in the log all the same.
    #[error("{0}")]
    Fenced(String),
    /// Nobody knows how the commit ended. A newer writer of the same id ends it, one way or the other.
    #[error("{0}")]
    Unknown(String),
    /// Nothing was written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Records for one partition, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionWrite {
    pub topic: TopicName,
    pub partition: i32,
    pub records: Vec<LogRecord>,
}

/// The right to write, held by the newest writer of an id: see [`crate::ports::Log::exclusive`].
pub trait ExclusiveWriter: Send {
    /// One past the last committed record of a partition that only writers of this id write to. While this writer is the
    /// newest one, which a commit shows, a reader that has read up to there knows every record that earlier writers will ever
    /// have written.
    fn end_offset(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError>;

    /// Writes the records in one transaction: all of them, or none. Returns itself for the next transaction, which is fenced
    /// if a newer writer took over meanwhile; None if nothing rules out that a request of this one is still on its way.
    fn commit(self: Box<Self>, writes: &[PartitionWrite]) -> Result<Option<Box<dyn ExclusiveWriter>>, ExclusiveError>;

    /// Writes records, if there are any, and commits offsets for a group in the same transaction. The group may have members.
    fn commit_with_offsets(
        self: Box<Self>,
        writes: &[PartitionWrite],
        group: &str,
        offsets: &[GroupOffset],
    ) -> Result<(), ExclusiveError>;
}
