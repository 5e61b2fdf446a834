//! An owned `rd_kafka_topic_partition_list_t`.

use std::ffi::{CStr, c_int};

use rdkafka_sys::bindings::*;

use super::{Err, RawError, c_string, check, text};

pub(in super::super) struct PartitionList(*mut rd_kafka_topic_partition_list_t);

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Position {
    pub topic: String,
    pub partition: i32,
    /// A real offset, or one of librdkafka's negative markers.
    pub offset: i64,
    pub metadata: String,
}

impl PartitionList {
    pub fn new() -> Self {
        // SAFETY: plain allocation.
        Self(unsafe { rd_kafka_topic_partition_list_new(16) })
    }

    pub fn add(&mut self, topic: &str, partition: i32, offset: i64, metadata: &str) {
        let name = c_string(topic);
        // SAFETY: the list copies the name; metadata is allocated with the C allocator that will free it.
        unsafe {
            let entry = rd_kafka_topic_partition_list_add(self.0, name.as_ptr(), partition);
            (*entry).offset = offset;
            if !metadata.is_empty() {
                let copy = libc::malloc(metadata.len()).cast::<u8>();
                if !copy.is_null() {
                    std::ptr::copy_nonoverlapping(metadata.as_ptr(), copy, metadata.len());
                    (*entry).metadata = copy.cast();
                    (*entry).metadata_size = metadata.len();
                }
            }
        }
    }

    pub fn ptr(&self) -> *mut rd_kafka_topic_partition_list_t {
        self.0
    }

    pub fn entries(&self) -> Vec<Position> {
        entries(self.0)
            .iter()
            .map(|entry| {
                // SAFETY: pointers and sizes of the list's own entries.
                let metadata = unsafe { super::bytes(entry.metadata, entry.metadata_size) }.unwrap_or_default();
                Position {
                    // SAFETY: every entry has a NUL-terminated name.
                    topic: unsafe { text(entry.topic) },
                    partition: entry.partition,
                    offset: entry.offset,
                    metadata: String::from_utf8_lossy(metadata).into_owned(),
                }
            })
            .collect()
    }

    /// The first error that a call left in an entry.
    pub fn first_error(&self, call: &'static str) -> Result<(), RawError> {
        let failed = entries(self.0).iter().find(|entry| entry.err != Err::RD_KAFKA_RESP_ERR_NO_ERROR);
        failed.map_or(Ok(()), |entry| check(call, entry.err))
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

fn entries<'a>(list: *mut rd_kafka_topic_partition_list_t) -> &'a [rd_kafka_topic_partition_t] {
    // SAFETY: `list` is live while its owner is, and says itself how many entries it has.
    unsafe {
        let count = usize::try_from((*list).cnt as c_int).unwrap_or(0);
        if count == 0 { &[] } else { std::slice::from_raw_parts((*list).elems, count) }
    }
}

/// Topics and partitions of a list that librdkafka lends.
///
/// # Safety
/// `list` is null or live.
pub(super) unsafe fn names(list: *mut rd_kafka_topic_partition_list_t) -> Vec<(String, i32)> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: every entry has a NUL-terminated name.
    entries(list)
        .iter()
        .map(|entry| (unsafe { CStr::from_ptr(entry.topic) }.to_string_lossy().into_owned(), entry.partition))
        .collect()
}
