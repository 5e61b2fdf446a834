//! The C functions and types of librdkafka, with error codes as plain numbers.
//!
//! The bindings have the error codes as a Rust enum. A broker that is newer than this librdkafka may answer with a code that
//! the enum does not have, and a value outside of an enum is undefined behaviour. So each function that returns or takes a
//! code or a word that a broker may have sent is declared here with a `c_int`, which is passed in the same way (the enum is
//! `repr(i32)`). Everything else comes from the bindings.

use std::ffi::{c_char, c_int, c_void};

pub use rdkafka_sys::bindings::*;

/// The client, the socket, the broker's name and id, the request's key, version and number, the response's bytes, the time
/// that it took in microseconds, and its code.
pub type OnResponseReceived = unsafe extern "C" fn(
    *mut rd_kafka_t,
    c_int,
    *const c_char,
    i32,
    i16,
    i16,
    i32,
    usize,
    i64,
    c_int,
    *mut c_void,
) -> rd_kafka_resp_err_t;

unsafe extern "C" {
    pub fn rd_kafka_AclBinding_operation(acl: *const rd_kafka_AclBinding_t) -> c_int;
    pub fn rd_kafka_AclBinding_permission_type(acl: *const rd_kafka_AclBinding_t) -> c_int;
    pub fn rd_kafka_AdminOptions_set_request_timeout(
        options: *mut rd_kafka_AdminOptions_t,
        timeout_ms: c_int,
        reason: *mut c_char,
        reason_size: usize,
    ) -> c_int;
    pub fn rd_kafka_TopicDescription_authorized_operations(
        topic: *const rd_kafka_TopicDescription_t,
        count: *mut usize,
    ) -> *const c_int;
    pub fn rd_kafka_assign(rk: *mut rd_kafka_t, partitions: *const rd_kafka_topic_partition_list_t) -> c_int;
    pub fn rd_kafka_commit(rk: *mut rd_kafka_t, offsets: *const rd_kafka_topic_partition_list_t, is_async: c_int) -> c_int;
    pub fn rd_kafka_committed(
        rk: *mut rd_kafka_t,
        partitions: *mut rd_kafka_topic_partition_list_t,
        timeout_ms: c_int,
    ) -> c_int;
    pub fn rd_kafka_conf_set_rebalance_cb(
        conf: *mut rd_kafka_conf_t,
        callback: Option<unsafe extern "C" fn(*mut rd_kafka_t, c_int, *mut rd_kafka_topic_partition_list_t, *mut c_void)>,
    );
    pub fn rd_kafka_consumer_close(rk: *mut rd_kafka_t) -> c_int;
    pub fn rd_kafka_err2str(code: c_int) -> *const c_char;
    pub fn rd_kafka_error_code(error: *const rd_kafka_error_t) -> c_int;
    pub fn rd_kafka_event_error(event: *mut rd_kafka_event_t) -> c_int;
    pub fn rd_kafka_flush(rk: *mut rd_kafka_t, timeout_ms: c_int) -> c_int;
    pub fn rd_kafka_get_watermark_offsets(
        rk: *mut rd_kafka_t,
        topic: *const c_char,
        partition: i32,
        low: *mut i64,
        high: *mut i64,
    ) -> c_int;
    pub fn rd_kafka_header_get(
        headers: *const rd_kafka_headers_t,
        index: usize,
        name: *const c_char,
        value: *mut *const c_void,
        size: *mut usize,
    ) -> c_int;
    pub fn rd_kafka_header_get_all(
        headers: *const rd_kafka_headers_t,
        index: usize,
        name: *mut *const c_char,
        value: *mut *const c_void,
        size: *mut usize,
    ) -> c_int;
    pub fn rd_kafka_interceptor_add_on_response_received(
        rk: *mut rd_kafka_t,
        name: *const c_char,
        callback: Option<OnResponseReceived>,
        opaque: *mut c_void,
    ) -> rd_kafka_resp_err_t;
    pub fn rd_kafka_last_error() -> c_int;
    pub fn rd_kafka_message_headers(message: *const rd_kafka_message_t, headers: *mut *mut rd_kafka_headers_t) -> c_int;
    pub fn rd_kafka_metadata(
        rk: *mut rd_kafka_t,
        all_topics: c_int,
        only_topic: *mut rd_kafka_topic_t,
        metadata: *mut *const rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> c_int;
    pub fn rd_kafka_oauthbearer_set_token(
        rk: *mut rd_kafka_t,
        token: *const c_char,
        lifetime_ms: i64,
        principal: *const c_char,
        extensions: *mut *const c_char,
        extension_size: usize,
        reason: *mut c_char,
        reason_size: usize,
    ) -> c_int;
    pub fn rd_kafka_oauthbearer_set_token_failure(rk: *mut rd_kafka_t, reason: *const c_char) -> c_int;
    pub fn rd_kafka_offsets_for_times(
        rk: *mut rd_kafka_t,
        offsets: *mut rd_kafka_topic_partition_list_t,
        timeout_ms: c_int,
    ) -> c_int;
    pub fn rd_kafka_pause_partitions(rk: *mut rd_kafka_t, partitions: *mut rd_kafka_topic_partition_list_t) -> c_int;
    pub fn rd_kafka_poll_set_consumer(rk: *mut rd_kafka_t) -> c_int;
    pub fn rd_kafka_position(rk: *mut rd_kafka_t, partitions: *mut rd_kafka_topic_partition_list_t) -> c_int;
    pub fn rd_kafka_purge(rk: *mut rd_kafka_t, flags: c_int) -> c_int;
    pub fn rd_kafka_query_watermark_offsets(
        rk: *mut rd_kafka_t,
        topic: *const c_char,
        partition: i32,
        low: *mut i64,
        high: *mut i64,
        timeout_ms: c_int,
    ) -> c_int;
    pub fn rd_kafka_resume_partitions(rk: *mut rd_kafka_t, partitions: *mut rd_kafka_topic_partition_list_t) -> c_int;
    pub fn rd_kafka_subscribe(rk: *mut rd_kafka_t, topics: *const rd_kafka_topic_partition_list_t) -> c_int;
}
