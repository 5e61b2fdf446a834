//! A consumer as a member of its group: subscription, rebalances, and the membership that a transaction commits under.

use super::assignment;
use super::client::Client;
use super::convert::c_string;
use super::error::{RawError, check};
use super::events::RebalanceEvent;
use super::list::PartitionList;
use super::sys::*;

/// A captured membership: a transaction commits under it.
pub struct GroupMetadata(*mut rd_kafka_consumer_group_metadata_t);

// SAFETY: an owned copy without ties to a thread.
unsafe impl Send for GroupMetadata {}

impl GroupMetadata {
    /// The membership of whoever never joined a group.
    pub fn of_outsider(group: &str) -> Self {
        let name = c_string(group);
        // SAFETY: NUL-terminated name, which is copied; the metadata is owned by the value made here.
        Self(unsafe { rd_kafka_consumer_group_metadata_new(name.as_ptr()) })
    }

    pub(super) fn ptr(&self) -> *const rd_kafka_consumer_group_metadata_t {
        self.0
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

impl Client {
    pub fn subscribe(&self, topics: &PartitionList) -> Result<(), RawError> {
        // SAFETY: both handles are live; the list is copied.
        check("subscribe", unsafe { rd_kafka_subscribe(self.rk, topics.ptr()) })
    }

    /// The oldest rebalance that was not taken yet; to be answered with `assign` or `unassign`.
    pub fn next_rebalance(&self) -> Option<RebalanceEvent> {
        self.events().next_rebalance()
    }

    /// Reads these partitions and no others, outside of any group.
    pub fn assign_only(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: both handles are live; the list is copied.
        check("assign", unsafe { rd_kafka_assign(self.rk, partitions.ptr()) })
    }

    /// Answers a rebalance that assigns: takes these partitions over.
    pub fn assign(&self, partitions: &PartitionList) -> Result<(), RawError> {
        self.events().answer();
        // SAFETY: both handles are live.
        unsafe { assignment::assign(self.rk, partitions.ptr()) }
    }

    /// Answers a rebalance that revokes: gives these partitions up.
    pub fn unassign(&self, partitions: &PartitionList) -> Result<(), RawError> {
        self.events().answer();
        // SAFETY: both handles are live.
        unsafe { assignment::unassign(self.rk, partitions.ptr()) }
    }

    /// Returns true if the group has given this member's partitions to others, and the member does not know it yet.
    pub fn is_assignment_lost(&self) -> bool {
        // SAFETY: live handle.
        unsafe { rd_kafka_assignment_lost(self.rk) != 0 }
    }

    /// The group's metadata as it is now; None while this consumer is not a member.
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        // SAFETY: live consumer; the metadata is owned by the value made here.
        unsafe {
            let metadata = rd_kafka_consumer_group_metadata(self.rk);
            if metadata.is_null() {
                return None;
            }
            let metadata = GroupMetadata(metadata);
            (rd_kafka_consumer_group_metadata_generation_id(metadata.0) >= 0).then_some(metadata)
        }
    }
}
