//! Asking for the ACLs of a topic.

use std::collections::BTreeSet;
use std::ffi::{c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client as CrateClient;

use super::convert::{c_string, ms, text};
use super::error::{CodeName, RawError, check};
use super::sys::*;

const ALLOW: c_int = rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW as c_int;
const WRITING: [c_int; 2] = [
    rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ALL as c_int,
    rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE as c_int,
];

/// The principals that ACLs allow to write to a topic, by its name, a prefix or all names. Denials are not taken off.
pub fn writers_of<C: ClientContext>(
    client: &CrateClient<C>,
    topic: &str,
    timeout: Duration,
) -> Result<BTreeSet<String>, RawError> {
    let name = c_string(topic);
    let rk = client.native_ptr();
    let mut refusal = [0 as c_char; 512];
    // SAFETY: `rk` is live as long as `client`; every object that is made here is destroyed at the end of the block, the
    // answer's parts before the answer; the filter copies the name, and null stands for any principal and host.
    unsafe {
        let options = rd_kafka_AdminOptions_new(rk, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEACLS);
        let set = rd_kafka_AdminOptions_set_request_timeout(options, ms(timeout), refusal.as_mut_ptr(), refusal.len());
        if let Err(error) = check("describe_acls", set) {
            rd_kafka_AdminOptions_destroy(options);
            return Err(error);
        }
        let filter = rd_kafka_AclBindingFilter_new(
            rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
            name.as_ptr(),
            rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_MATCH,
            ptr::null(),
            ptr::null(),
            rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ANY,
            rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
            refusal.as_mut_ptr(),
            refusal.len(),
        );
        if filter.is_null() {
            rd_kafka_AdminOptions_destroy(options);
            let message = text(refusal.as_ptr());
            return Err(RawError { message, ..RawError::of("describe_acls", CodeName::RD_KAFKA_RESP_ERR__INVALID_ARG) });
        }
        let queue = rd_kafka_queue_new(rk);
        rd_kafka_DescribeAcls(rk, filter, options, queue);
        // The request itself times out before.
        let event = rd_kafka_queue_poll(queue, ms(timeout + timeout));
        let answer = if event.is_null() {
            Err(RawError::of("describe_acls", CodeName::RD_KAFKA_RESP_ERR__TIMED_OUT))
        } else {
            answer_of(event)
        };
        if !event.is_null() {
            rd_kafka_event_destroy(event);
        }
        rd_kafka_AclBinding_destroy(filter);
        rd_kafka_queue_destroy(queue);
        rd_kafka_AdminOptions_destroy(options);
        answer
    }
}

/// Reads the answer to a request.
///
/// # Safety
/// `event` is live.
unsafe fn answer_of(event: *mut rd_kafka_event_t) -> Result<BTreeSet<String>, RawError> {
    // SAFETY: the caller's promise; the parts of an event live as long as the event.
    unsafe {
        check("describe_acls", rd_kafka_event_error(event))?;
        let result = rd_kafka_event_DescribeAcls_result(event);
        if result.is_null() {
            return Err(RawError::of("describe_acls", CodeName::RD_KAFKA_RESP_ERR__BAD_MSG));
        }
        let mut count = 0;
        let first = rd_kafka_DescribeAcls_result_acls(result, &mut count);
        let mut writers = BTreeSet::new();
        for index in 0..count {
            let acl = *first.add(index);
            if rd_kafka_AclBinding_permission_type(acl) == ALLOW && WRITING.contains(&rd_kafka_AclBinding_operation(acl)) {
                writers.insert(text(rd_kafka_AclBinding_principal(acl)));
            }
        }
        Ok(writers)
    }
}
