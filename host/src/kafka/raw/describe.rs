//! Describing topics: one request for any number of them, answered with their ids.

use std::collections::BTreeSet;
use std::ffi::{CString, c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client as CrateClient;

use super::convert::{c_string, ms, text};
use super::error::{CodeName, ErrorCode, RawError, check};
use super::sys::*;

/// The id of a topic whose broker knows no ids: 16 bytes of 0.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// One topic of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    pub topic: String,
    /// The topic's id, as Kafka's own tools write it. A recreated topic has another one. Empty: the broker does not tell.
    pub id: String,
    pub partitions: i32,
    /// The rights of this client's principal, if they were asked for.
    pub rights: BTreeSet<Right>,
}

/// A right over a topic that Sandbar needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    Read,
    Write,
    DescribeConfigs,
}

/// Describes the topics that exist; those that do not are left out.
pub fn describe_topics<C: ClientContext>(
    client: &CrateClient<C>,
    topics: &[&str],
    with_rights: bool,
    timeout: Duration,
) -> Result<Vec<TopicDescription>, RawError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<CString> = topics.iter().map(|topic| c_string(topic)).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let rk = client.native_ptr();
    let mut refusal = [0 as c_char; 512];
    // SAFETY: `rk` is live as long as `client`; every object that is made here is destroyed at the end of the block, the
    // answer's parts before the answer; the request copies the names.
    unsafe {
        let options = rd_kafka_AdminOptions_new(rk, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let set = rd_kafka_AdminOptions_set_request_timeout(options, ms(timeout), refusal.as_mut_ptr(), refusal.len());
        if let Err(error) = check("describe_topics", set) {
            rd_kafka_AdminOptions_destroy(options);
            return Err(error);
        }
        if with_rights {
            // This kind of request has the option: there is no error.
            let error = rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
            debug_assert!(error.is_null());
        }
        let queue = rd_kafka_queue_new(rk);
        let collection = rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        rd_kafka_DescribeTopics(rk, collection, options, queue);
        // The request itself times out before.
        let event = rd_kafka_queue_poll(queue, ms(timeout + timeout));
        let answer = if event.is_null() {
            Err(RawError::of("describe_topics", CodeName::RD_KAFKA_RESP_ERR__TIMED_OUT))
        } else {
            answer_of(event)
        };
        if !event.is_null() {
            rd_kafka_event_destroy(event);
        }
        rd_kafka_TopicCollection_destroy(collection);
        rd_kafka_queue_destroy(queue);
        rd_kafka_AdminOptions_destroy(options);
        answer
    }
}

/// Reads the answer to a request.
///
/// # Safety
/// `event` is live.
unsafe fn answer_of(event: *mut rd_kafka_event_t) -> Result<Vec<TopicDescription>, RawError> {
    // SAFETY: the caller's promise; the parts of an event live as long as the event.
    unsafe {
        check("describe_topics", rd_kafka_event_error(event))?;
        let result = rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RawError::of("describe_topics", CodeName::RD_KAFKA_RESP_ERR__BAD_MSG));
        }
        let mut count = 0;
        let first = rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let mut described = Vec::with_capacity(count);
        for index in 0..count {
            let topic = *first.add(index);
            let error = rd_kafka_TopicDescription_error(topic);
            let code = if error.is_null() { 0 } else { rd_kafka_error_code(error) };
            if is_missing(ErrorCode::new(code)) {
                continue;
            }
            check("describe_topics", code)?;
            let mut partitions = 0;
            let _ = rd_kafka_TopicDescription_partitions(topic, &mut partitions);
            described.push(TopicDescription {
                topic: text(rd_kafka_TopicDescription_name(topic)),
                id: id_of(rd_kafka_TopicDescription_topic_id(topic)),
                partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
                rights: rights_of(topic),
            });
        }
        Ok(described)
    }
}

/// Reads the rights over a topic; there are none if they were not asked for.
///
/// # Safety
/// `topic` is live.
unsafe fn rights_of(topic: *const rd_kafka_TopicDescription_t) -> BTreeSet<Right> {
    let mut count = 0;
    // SAFETY: the caller's promise; the operations live as long as the topic, and there are `count` of them unless there
    // are none at all.
    let operations = unsafe {
        let first = rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        if first.is_null() { &[] } else { std::slice::from_raw_parts(first, count) }
    };
    operations.iter().filter_map(|operation| Right::of(*operation)).collect()
}

impl Right {
    fn of(operation: c_int) -> Option<Self> {
        use rd_kafka_AclOperation_t::*;
        let rights = [
            (RD_KAFKA_ACL_OPERATION_READ, Self::Read),
            (RD_KAFKA_ACL_OPERATION_WRITE, Self::Write),
            (RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS, Self::DescribeConfigs),
        ];
        rights.into_iter().find(|(known, _)| *known as c_int == operation).map(|(_, right)| right)
    }
}

/// Returns true if there is no such topic.
fn is_missing(code: ErrorCode) -> bool {
    use CodeName::{RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART};
    matches!(code.name(), Some(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART | RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION))
}

/// Writes an id as Kafka's own tools do.
///
/// # Safety
/// `id` is null or live.
unsafe fn id_of(id: *const rd_kafka_Uuid_t) -> String {
    // SAFETY: the caller's promise; the text is the id's own.
    let text = unsafe { text(if id.is_null() { ptr::null() } else { rd_kafka_Uuid_base64str(id) }) };
    if text == NO_ID { String::new() } else { text }
}
