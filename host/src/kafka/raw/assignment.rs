//! The answers to a rebalance: partitions are taken over or given up.
//!
//! Callbacks, a closing client and the owner of a client give them, so they work on librdkafka's handle.

use std::ptr;

use super::convert::text;
use super::error::{RawError, check};
use super::sys::*;

/// Takes partitions over.
///
/// # Safety
/// Both are live.
pub(super) unsafe fn assign(
    rk: *mut rd_kafka_t,
    partitions: *const rd_kafka_topic_partition_list_t,
) -> Result<(), RawError> {
    // SAFETY: the caller's promise.
    if unsafe { is_eager(rk) } {
        // An eager rebalance brings all partitions at once.
        // SAFETY: the caller's promise.
        return check("assign", unsafe { rd_kafka_assign(rk, partitions) });
    }
    // SAFETY: the caller's promise; the error object is taken over.
    unsafe { RawError::check("incremental_assign", rd_kafka_incremental_assign(rk, partitions)) }
}

/// Gives partitions up: all that there are, where rebalances are eager.
///
/// # Safety
/// Both are live.
pub(super) unsafe fn unassign(
    rk: *mut rd_kafka_t,
    partitions: *const rd_kafka_topic_partition_list_t,
) -> Result<(), RawError> {
    // SAFETY: the caller's promise.
    if unsafe { is_eager(rk) } {
        // SAFETY: null stands for none.
        return check("unassign", unsafe { rd_kafka_assign(rk, ptr::null()) });
    }
    // SAFETY: the caller's promise; the error object is taken over.
    unsafe { RawError::check("incremental_unassign", rd_kafka_incremental_unassign(rk, partitions)) }
}

/// Returns true if a rebalance of this consumer's group takes all partitions away before it deals them out again.
///
/// # Safety
/// `rk` is live.
unsafe fn is_eager(rk: *mut rd_kafka_t) -> bool {
    // SAFETY: the caller's promise; the answer is a static string.
    unsafe { text(rd_kafka_rebalance_protocol(rk)) == "EAGER" }
}
