//! The committed offsets of a group, asked once: an offset that an open transaction is about to change is told as such.
//!
//! `rd_kafka_committed` asks again and again until no transaction is open, for all partitions together, and goes on with
//! that after its own time-out.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use super::client::Client;
use super::convert::{c_string, ms};
use super::error::{CodeName, ErrorCode, RawError, check};
use super::list::{PartitionList, Position, coded_entries};
use super::sys::*;

/// The committed offset of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommittedOffset {
    /// Negative for none.
    Stable(Position),
    /// An open transaction may change the offset; its own is not told.
    Unstable(Position),
}

impl Client {
    /// Asks the group's coordinator for the offsets of these partitions. Without `stable` it tells the committed ones even
    /// while an open transaction may change them.
    pub fn group_offsets(
        &self,
        group: &str,
        partitions: &PartitionList,
        stable: bool,
        timeout: Duration,
    ) -> Result<Vec<CommittedOffset>, RawError> {
        let name = c_string(group);
        let mut refusal = [0 as c_char; 512];
        // SAFETY: `rk` is live; every object that is made here is destroyed at the end of the block, the answer's parts before
        // the answer; the request copies the name and the list.
        unsafe {
            let options =
                rd_kafka_AdminOptions_new(self.rk, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
            let set = rd_kafka_AdminOptions_set_request_timeout(options, ms(timeout), refusal.as_mut_ptr(), refusal.len());
            let stable = rd_kafka_AdminOptions_set_require_stable_offsets(options, c_int::from(stable));
            let set = check("group_offsets", set).and(RawError::check("group_offsets", stable));
            if let Err(error) = set {
                rd_kafka_AdminOptions_destroy(options);
                return Err(error);
            }
            let queue = rd_kafka_queue_new(self.rk);
            let mut request = rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), partitions.ptr());
            rd_kafka_ListConsumerGroupOffsets(self.rk, &mut request, 1, options, queue);
            // The request itself times out before.
            let event = rd_kafka_queue_poll(queue, ms(timeout + timeout));
            let answer = if event.is_null() {
                Err(RawError::of("group_offsets", CodeName::RD_KAFKA_RESP_ERR__TIMED_OUT))
            } else {
                answer_of(event)
            };
            if !event.is_null() {
                rd_kafka_event_destroy(event);
            }
            rd_kafka_ListConsumerGroupOffsets_destroy(request);
            rd_kafka_queue_destroy(queue);
            rd_kafka_AdminOptions_destroy(options);
            answer
        }
    }
}

/// Reads the answer to a request.
///
/// # Safety
/// `event` is live.
unsafe fn answer_of(event: *mut rd_kafka_event_t) -> Result<Vec<CommittedOffset>, RawError> {
    let broken = || RawError::of("group_offsets", CodeName::RD_KAFKA_RESP_ERR__BAD_MSG);
    // SAFETY: the caller's promise; the parts of an event live as long as the event.
    let entries = unsafe {
        check("group_offsets", rd_kafka_event_error(event))?;
        let result = rd_kafka_event_ListConsumerGroupOffsets_result(event);
        let mut count = 0;
        if result.is_null() {
            return Err(broken());
        }
        let groups = rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
        if count != 1 {
            return Err(broken());
        }
        let group = *groups;
        let error = rd_kafka_group_result_error(group);
        if !error.is_null() {
            check("group_offsets", rd_kafka_error_code(error))?;
        }
        let offsets = rd_kafka_group_result_partitions(group);
        if offsets.is_null() {
            return Err(broken());
        }
        coded_entries(offsets.cast_mut())
    };
    let offset = |(code, position): (ErrorCode, Position)| match code {
        code if code.is_success() => Ok(CommittedOffset::Stable(position)),
        code if code == CodeName::RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT => Ok(CommittedOffset::Unstable(position)),
        code => Err(RawError::of("group_offsets", code)),
    };
    entries.into_iter().map(offset).collect()
}
