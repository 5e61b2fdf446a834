//! One transaction of any size, written part by part.

use super::exclusive::{ExclusiveError, PartitionWrite};
use super::groups::GroupOffset;

/// A transaction of the newest writer of an id: see [`crate::ports::Log::bulk`]. Dropping it aborts the transaction. After an
/// error it is of no more use.
pub trait BulkWriter: Send {
    /// Writes records as a part of the transaction. Returns when the log has them; nobody sees them before the commit.
    fn write(&mut self, part: PartitionWrite) -> Result<(), ExclusiveError>;

    /// Makes offsets of a group a part of the transaction.
    fn write_offsets(&mut self, group: &str, offsets: &[GroupOffset]) -> Result<(), ExclusiveError>;

    /// Ends the transaction: everything is there, or nothing.
    fn commit(self: Box<Self>) -> Result<(), ExclusiveError>;
}
