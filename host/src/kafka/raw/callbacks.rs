//! The functions that librdkafka calls back: they add to a client's [`Events`], and log.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use super::assignment::unassign;
use super::convert::text;
use super::error::{CodeName, ErrorCode};
use super::events::{Events, FailedDelivery, RebalanceEvent, RebalanceKind};
use super::list;
use super::message::RawMessage;
use super::sys::*;
use super::tokens;
use crate::kafka::oversize::Size;
use crate::model::batch::header_bytes;

/// Failures whose sizes are looked at: that takes as long as to compress them.
const SIZES_MAX: usize = 16;

/// Sets the callbacks of a configuration.
///
/// # Safety
/// `conf` and `events` are live, and `events` outlives every client that is made from it.
pub(super) unsafe fn set(conf: *mut rd_kafka_conf_t, events: *mut Events, is_consumer: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        rd_kafka_conf_set_opaque(conf, events.cast());
        rd_kafka_conf_set_log_cb(conf, Some(on_log));
        rd_kafka_conf_set_error_cb(conf, Some(on_error));
        rd_kafka_conf_set_closesocket_cb(conf, Some(on_close));
        if is_consumer {
            rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance));
        } else {
            rd_kafka_conf_set_dr_msg_cb(conf, Some(on_delivery));
        }
        if (*events).refresh().is_some() {
            tokens::ask_in_background(conf, on_token);
        }
    }
}

unsafe extern "C" fn on_rebalance(
    rk: *mut rd_kafka_t,
    code: c_int,
    partitions: *mut rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: opaque is the client's Events.
    let events = unsafe { &*opaque.cast::<Events>() };
    let is_assignment = ErrorCode::new(code) == CodeName::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if events.is_closing() {
        // Nobody will read the event: give the partitions up at once, or closing waits for ever.
        // SAFETY: librdkafka lends handle and list for the call.
        unsafe {
            if is_assignment {
                rd_kafka_assign(rk, ptr::null());
            } else {
                drop(unassign(rk, partitions));
            }
        }
        return;
    }
    // SAFETY: live handle.
    let is_lost = || unsafe { rd_kafka_assignment_lost(rk) } != 0;
    let kind = if is_assignment {
        RebalanceKind::Assign
    } else if is_lost() {
        RebalanceKind::Lost
    } else {
        RebalanceKind::Revoke
    };
    // SAFETY: librdkafka lends the list for the call.
    events.add_rebalance(RebalanceEvent { kind, partitions: unsafe { list::names(partitions) } });
}

unsafe extern "C" fn on_delivery(_: *mut rd_kafka_t, message: *const rd_kafka_message_t, opaque: *mut c_void) {
    // SAFETY: opaque is the client's Events; librdkafka lends the message for the call.
    unsafe {
        let events = &*opaque.cast::<Events>();
        let code = ErrorCode::read(&raw const (*message).err);
        if !code.is_success() {
            events.add_failure(|count| failure(message, code, count));
        } else if (*message).offset >= 0 {
            events.add_delivery((*message).rkt as usize, (*message).partition, (*message).offset);
        }
    }
}

/// # Safety
/// `message` is live, was not delivered, and has this code.
unsafe fn failure(message: *const rd_kafka_message_t, code: ErrorCode, count: usize) -> FailedDelivery {
    let is_too_large = code == CodeName::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    // SAFETY: the caller's promise. A reference is made only where the code has a name; the text is not read.
    unsafe {
        FailedDelivery {
            number: (*message)._private as u64,
            topic_id: (*message).rkt as usize,
            partition: (*message).partition,
            code,
            has_key: !(*message).key.is_null(),
            size: (is_too_large && count < SIZES_MAX).then(|| size(&*message)),
            text_id: rd_kafka_message_produce_errstr(message) as usize,
        }
    }
}

/// The size of a record that was handed to the producer.
fn size(message: &rd_kafka_message_t) -> Size {
    let mut headers = Vec::new();
    let raw = RawMessage::new(message);
    raw.headers(&mut headers);
    Size::of(raw.key(), raw.value(), header_bytes(&headers))
}

/// Blocks while a token is had: a thread of its own calls it.
unsafe extern "C" fn on_token(rk: *mut rd_kafka_t, _: *const c_char, opaque: *mut c_void) {
    // SAFETY: opaque is the client's Events.
    let events = unsafe { &*opaque.cast::<Events>() };
    if let Some(refresh) = events.refresh() {
        // SAFETY: librdkafka lends the handle for the call.
        unsafe { tokens::answer(rk, &refresh()) };
    }
}

unsafe extern "C" fn on_error(_: *mut rd_kafka_t, code: c_int, reason: *const c_char, _: *mut c_void) {
    // SAFETY: NUL-terminated text, lent for the call.
    let reason = unsafe { text(reason) };
    tracing::debug!(code, reason, "librdkafka error");
}

unsafe extern "C" fn on_close(socket: c_int, opaque: *mut c_void) -> c_int {
    // SAFETY: opaque is the client's Events; the socket is librdkafka's own, and it leaves closing it to this.
    unsafe {
        (*opaque.cast::<Events>()).add_disconnect();
        libc::close(socket)
    }
}

unsafe extern "C" fn on_log(_: *const rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    // SAFETY: NUL-terminated text, lent for the call.
    let (facility, line) = unsafe { (text(facility), text(line)) };
    log_line(level, &facility, &line);
}

/// Logs a line of librdkafka's.
pub(super) fn log_line(level: c_int, facility: &str, line: &str) {
    // Syslog levels. Broken connections are routine here: results and worker states show those that matter.
    match level {
        0..=2 => tracing::error!(target: "librdkafka", facility, "{line}"),
        3 | 4 => tracing::debug!(target: "librdkafka", facility, "{line}"),
        _ => tracing::trace!(target: "librdkafka", facility, "{line}"),
    }
}
