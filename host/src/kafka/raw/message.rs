//! Messages of a consumer's queue: a record, a partition's end, or an error.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ptr;

use super::convert::{bytes, text};
use super::error::{CodeName, ErrorCode, RawError};
use super::sys::*;
use crate::model::batch::{HeaderRef, RecordRef};

/// The damage of a record with such a name.
const NUL_IN_NAME: &str = "the name of a header has a NUL byte in it";
/// The most comparisons of names that one record's headers may cost, about a millisecond: see [`hidden_name`].
const COMPARISONS_MAX: usize = 1 << 20;

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
        // SAFETY: the message's own headers, which live as long as the message.
        unsafe { read_headers(headers, out) }
    }
}

/// Appends headers to `out`. Returns the reason where they could be read only in part: see [`RawMessage::headers`].
///
/// # Safety
/// `headers` are live for `'a`, and are not changed meanwhile.
unsafe fn read_headers<'a>(
    headers: *const rd_kafka_headers_t,
    out: &mut Vec<(&'a str, Option<&'a [u8]>)>,
) -> Option<&'static str> {
    let before = out.len();
    let mut damage = None;
    let mut has_null = false;
    let mut name = ptr::null();
    let mut value = ptr::null();
    let mut size = 0;
    let mut index = 0;
    // SAFETY: the caller's promise; names and values live as long as the headers.
    while unsafe { rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) } == 0 {
        // SAFETY: librdkafka ends each name with a NUL.
        let shown = unsafe { CStr::from_ptr(name) }.to_bytes();
        // A value lies right behind the NUL that librdkafka puts after its name.
        let ends = name.wrapping_add(shown.len() + 1);
        has_null |= value.is_null();
        if !value.is_null() && value.cast() != ends {
            damage = Some(NUL_IN_NAME);
        }
        let valid = shown.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        if valid.len() != shown.len() {
            damage = Some("the name of a header is not UTF-8");
        }
        // SAFETY: librdkafka gives pointer and length of bytes that live as long as the headers.
        out.push((valid, unsafe { bytes(value, size) }));
        index += 1;
    }
    if damage.is_some() || !has_null {
        return damage;
    }
    // SAFETY: the caller's promise. Each name of `out` is whole, so the NUL is behind it that ended it.
    unsafe { hidden_name(headers, &out[before..]) }
}

/// Looks for a NUL in the name of a header without a value, of which no pointer tells where the name ends. librdkafka finds
/// headers by their whole names: where it finds fewer with a name than show it, one has more than it shows.
///
/// # Safety
/// `shown` are these headers. Their names are librdkafka's own, with a NUL behind each, or empty.
unsafe fn hidden_name(headers: *const rd_kafka_headers_t, shown: &[HeaderRef<'_>]) -> Option<&'static str> {
    let nulls = shown.iter().filter(|(_, value)| value.is_none());
    let mut counts: BTreeMap<&str, usize> = nulls.map(|(name, _)| (*name, 0)).collect();
    // Each search looks at every header, and a hostile record has a hundred thousand.
    if counts.len().saturating_mul(shown.len()) > COMPARISONS_MAX {
        return Some("it has too many headers without a value to tell their names");
    }
    for (name, _) in shown {
        if let Some(count) = counts.get_mut(name) {
            *count += 1;
        }
    }
    let is_hidden = |(name, count): (&str, usize)| {
        let mut value = ptr::null();
        let mut size = 0;
        // An empty text may lie anywhere.
        let name = if name.is_empty() { c"".as_ptr() } else { name.as_ptr().cast() };
        // SAFETY: the caller's promise; valid out pointers.
        unsafe { rd_kafka_header_get(headers, count - 1, name, &mut value, &mut size) != 0 }
    };
    counts.into_iter().any(is_hidden).then_some(NUL_IN_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name and value of a header.
    type Header<'h> = (&'h [u8], Option<&'h [u8]>);
    type OwnedHeader = (String, Option<Vec<u8>>);

    /// Headers as librdkafka holds them: names, and values or null. Returns what of them is read, and the damage.
    fn read(all: &[Header<'_>]) -> (Vec<OwnedHeader>, Option<&'static str>) {
        // SAFETY: names and values are copied; the headers live until they are destroyed at the end.
        unsafe {
            let headers = rd_kafka_headers_new(all.len());
            for (name, value) in all {
                let start = value.map_or(ptr::null(), <[u8]>::as_ptr);
                let size = value.map_or(0, <[u8]>::len) as isize;
                rd_kafka_header_add(headers, name.as_ptr().cast(), name.len() as isize, start.cast(), size);
            }
            let mut out = Vec::new();
            let damage = read_headers(headers, &mut out);
            let owned = out.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect();
            rd_kafka_headers_destroy(headers);
            (owned, damage)
        }
    }

    #[track_caller]
    fn check(headers: &[Header<'_>], damage: Option<&str>) {
        let (read, found) = read(headers);
        assert_eq!(found, damage, "{headers:?}");
        assert_eq!(read.len(), headers.len());
        if damage.is_none() {
            let same = |((name, value), (own, own_value)): (&OwnedHeader, &Header<'_>)| {
                name.as_bytes() == *own && value.as_deref() == *own_value
            };
            assert!(read.iter().zip(headers).all(same), "{read:?}");
        }
    }

    #[test]
    fn a_name_is_whole_or_its_record_is_damaged() {
        let some = Some(&b"v"[..]);
        let empty = Some(&b""[..]);
        check(&[], None);
        check(&[(b"a", some), (b"a", None), (b"", None), (b"a", empty), (b"ab", None), (b"a", None)], None);
        for value in [some, empty, None] {
            check(&[(b"a\0b", value)], Some(NUL_IN_NAME));
            check(&[(b"\0", value)], Some(NUL_IN_NAME));
            check(&[(b"a\0", value), (b"a", None), (b"a", some)], Some(NUL_IN_NAME));
            check(&[(b"a", None), (b"b", None), (b"a\0b", value)], Some(NUL_IN_NAME));
            check(&[(b"\xff", value)], Some("the name of a header is not UTF-8"));
        }
    }

    #[test]
    fn the_search_for_a_name_has_an_end() {
        let names: Vec<String> = (0..1025).map(|n| n.to_string()).collect();
        let without: Vec<(&[u8], Option<&[u8]>)> = names.iter().map(|name| (name.as_bytes(), None)).collect();
        check(&without[..1024], None);
        check(&without, Some("it has too many headers without a value to tell their names"));
        // Names that are the same are looked for once.
        check(&vec![(&b"a"[..], None); 100_000], None);
    }
}
