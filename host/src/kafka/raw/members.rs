//! The members of a group, as its coordinator tells them.

use std::ffi::c_char;
use std::time::Duration;

use super::client::Client;
use super::convert::{c_string, ms, text};
use super::error::{CodeName, RawError, check};
use super::sys::*;

impl Client {
    /// The client ids of a group's members. One that the group is about to wait for no longer is among them until then.
    pub fn members(&self, group: &str, timeout: Duration) -> Result<Vec<String>, RawError> {
        let name = c_string(group);
        let mut pointers = [name.as_ptr()];
        let mut refusal = [0 as c_char; 512];
        // SAFETY: `rk` is live; every object that is made here is destroyed at the end of the block, the answer's parts before
        // the answer; the request copies the name.
        unsafe {
            let options = rd_kafka_AdminOptions_new(self.rk, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
            let set = rd_kafka_AdminOptions_set_request_timeout(options, ms(timeout), refusal.as_mut_ptr(), refusal.len());
            if let Err(error) = check("describe_group", set) {
                rd_kafka_AdminOptions_destroy(options);
                return Err(error);
            }
            let queue = rd_kafka_queue_new(self.rk);
            rd_kafka_DescribeConsumerGroups(self.rk, pointers.as_mut_ptr(), pointers.len(), options, queue);
            // The request itself times out before.
            let event = rd_kafka_queue_poll(queue, ms(timeout + timeout));
            let answer = if event.is_null() {
                Err(RawError::of("describe_group", CodeName::RD_KAFKA_RESP_ERR__TIMED_OUT))
            } else {
                answer_of(event)
            };
            if !event.is_null() {
                rd_kafka_event_destroy(event);
            }
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
unsafe fn answer_of(event: *mut rd_kafka_event_t) -> Result<Vec<String>, RawError> {
    let broken = || RawError::of("describe_group", CodeName::RD_KAFKA_RESP_ERR__BAD_MSG);
    // SAFETY: the caller's promise; the parts of an event live as long as the event.
    unsafe {
        check("describe_group", rd_kafka_event_error(event))?;
        let result = rd_kafka_event_DescribeConsumerGroups_result(event);
        let mut count = 0;
        if result.is_null() {
            return Err(broken());
        }
        let groups = rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        if count != 1 {
            return Err(broken());
        }
        let group = *groups;
        let error = rd_kafka_ConsumerGroupDescription_error(group);
        if !error.is_null() {
            check("describe_group", rd_kafka_error_code(error))?;
        }
        let members = 0..rd_kafka_ConsumerGroupDescription_member_count(group);
        let client_id = |index: usize| {
            let member = rd_kafka_ConsumerGroupDescription_member(group, index);
            text(rd_kafka_MemberDescription_client_id(member))
        };
        Ok(members.map(client_id).collect())
    }
}
