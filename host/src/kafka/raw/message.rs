//! Messages of a consumer's queue: a record, a partition's end, or an error.

use std::ffi::CStr;
use std::ptr;

use super::convert::{bytes, text};
use super::error::{CodeName, ErrorCode, RawError};
use super::sys::*;
use crate::model::batch::{HeaderRef, RecordRef};

/// One fetched record, valid until the callback returns.
pub struct RawMessage<'a> {
    message: &'a rd_kafka_message_t,
}

/// One message of a consumer's queue.
pub enum QueueMessage<'a> {
    Record(RawMessage<'a>),
    /// The partition has nothing after this offset.
    End {
        partition: i32,
        offset: i64,
    },
    /// An error. The position of a partition with one may have moved past a record that was never handed over.
    Error {
        error: RawError,
        of_partition: bool,
    },
}

/// Hands a message over, and destroys it.
///
/// # Safety
/// `message` is owned, and is not used after this.
pub(super) unsafe fn hand_over(message: *mut rd_kafka_message_t, on_message: &mut dyn FnMut(QueueMessage<'_>)) {
    // SAFETY: the caller's promise. A reference is made only where the code has a name.
    unsafe {
        let code = ErrorCode::read(&raw const (*message).err);
        if code.is_success() {
            on_message(QueueMessage::Record(RawMessage { message: &*message }));
        } else if code == CodeName::RD_KAFKA_RESP_ERR__PARTITION_EOF {
            on_message(QueueMessage::End { partition: (*message).partition, offset: (*message).offset });
        } else {
            let of_partition = !(*message).rkt.is_null();
            let topic = if of_partition { text(rd_kafka_topic_name((*message).rkt)) } else { String::new() };
            let reason = text(rd_kafka_message_errstr(message));
            let message = format!("{topic}[{}] at {}: {reason}", (*message).partition, (*message).offset);
            let error = RawError { message, ..RawError::of("consume", code) };
            on_message(QueueMessage::Error { error, of_partition });
        }
        rd_kafka_message_destroy(message);
    }
}

impl<'a> RawMessage<'a> {
    pub(super) fn new(message: &'a rd_kafka_message_t) -> Self {
        Self { message }
    }

    /// Identifies the topic as long as one of its [`super::TopicHandle`]s lives in the same client.
    pub fn topic_id(&self) -> usize {
        self.message.rkt as usize
    }

    pub fn topic(&self) -> String {
        // SAFETY: a record's topic handle is live.
        unsafe { text(rd_kafka_topic_name(self.message.rkt)) }
    }

    pub fn partition(&self) -> i32 {
        self.message.partition
    }

    pub fn offset(&self) -> i64 {
        self.message.offset
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka gives pointer and length of bytes that live as long as the message.
        unsafe { bytes(self.message.key, self.message.key_len) }
    }

    pub fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka gives pointer and length of bytes that live as long as the message.
        unsafe { bytes(self.message.payload, self.message.len) }
    }

    /// In ms since the Unix epoch; -1 where there is none.
    pub fn timestamp(&self) -> i64 {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: live message, valid out pointer.
        unsafe { rd_kafka_message_timestamp(self.message, &mut kind) }
    }

    /// The whole record, with headers that `headers` has read.
    pub fn with_headers<'h>(&self, headers: &'h [HeaderRef<'a>]) -> RecordRef<'h>
    where
        'a: 'h,
    {
        RecordRef { offset: self.offset(), timestamp: self.timestamp(), key: self.key(), value: self.value(), headers }
    }

    /// Appends the headers to `out`. Returns the reason where they could be read only in part: names are text in Kafka, and
    /// librdkafka shows them as C strings.
    pub fn headers(&self, out: &mut Vec<(&'a str, Option<&'a [u8]>)>) -> Option<&'static str> {
        let mut headers = ptr::null_mut();
        // SAFETY: live message, valid out pointer.
        let code = ErrorCode::new(unsafe { rd_kafka_message_headers(self.message, &mut headers) });
        if code == CodeName::RD_KAFKA_RESP_ERR__NOENT {
            return None;
        }
        if !code.is_success() {
            return Some("its headers are not encoded as Kafka encodes them");
        }
        let mut damage = None;
        let mut name = ptr::null();
        let mut value = ptr::null();
        let mut size = 0;
        let mut index = 0;
        // SAFETY: the message's own headers; names and values live as long as the message.
        while unsafe { rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) } == 0 {
            // SAFETY: librdkafka ends each name with a NUL.
            let shown = unsafe { CStr::from_ptr(name) }.to_bytes();
            // A value lies right behind the NUL that librdkafka puts after its name.
            let ends = name.wrapping_add(shown.len() + 1);
            if !value.is_null() && value.cast() != ends {
                damage = Some("the name of a header has a NUL byte in it");
            }
            let valid = shown.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            if valid.len() != shown.len() {
                damage = Some("the name of a header is not UTF-8");
            }
            // SAFETY: librdkafka gives pointer and length of bytes that live as long as the message.
            out.push((valid, unsafe { bytes(value, size) }));
            index += 1;
        }
        damage
    }
}
