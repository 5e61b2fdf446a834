//! An owned `rd_kafka_topic_partition_list_t`.

use super::convert::{bytes, c_string, text};
use super::error::{ErrorCode, RawError};
use super::sys::*;

/// Stands for the first offset of a partition where a time is asked for.
pub const FIRST: i64 = RD_KAFKA_OFFSET_BEGINNING as i64;
/// Stands for a partition's end: the last stable offset, to a client that reads committed records.
pub const END: i64 = RD_KAFKA_OFFSET_END as i64;
/// Stands for a missing offset.
pub const NO_OFFSET: i64 = RD_KAFKA_OFFSET_INVALID as i64;

pub struct PartitionList(*mut rd_kafka_topic_partition_list_t);

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
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

    pub(super) fn ptr(&self) -> *mut rd_kafka_topic_partition_list_t {
        self.0
    }

    pub fn entries(&self) -> Vec<Position> {
        // SAFETY: entries of the live list.
        entries(self.0).map(|entry| unsafe { position(entry) }).collect()
    }

    /// The first error that a call left in an entry.
    pub(super) fn first_error(&self, call: &'static str) -> Result<(), RawError> {
        // SAFETY: an entry of the live list.
        let code = |entry: *const rd_kafka_topic_partition_t| unsafe { ErrorCode::read(&raw const (*entry).err) };
        let failed = entries(self.0).map(code).find(|code| !code.is_success());
        failed.map_or(Ok(()), |code| Err(RawError::of(call, code)))
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// Copies an entry. Its code is not looked at.
///
/// # Safety
/// `entry` is an entry of a live list, with pointers and sizes of its own.
unsafe fn position(entry: *const rd_kafka_topic_partition_t) -> Position {
    // SAFETY: the caller's promise.
    unsafe {
        let metadata = bytes((*entry).metadata, (*entry).metadata_size).unwrap_or_default();
        Position {
            topic: text((*entry).topic),
            partition: (*entry).partition,
            offset: (*entry).offset,
            metadata: String::from_utf8_lossy(metadata).into_owned(),
        }
    }
}

/// Copies the entries of a list that librdkafka lends, each with its code.
///
/// # Safety
/// `list` is live.
pub(super) unsafe fn coded_entries(list: *mut rd_kafka_topic_partition_list_t) -> Vec<(ErrorCode, Position)> {
    // SAFETY: entries of the live list.
    entries(list).map(|entry| unsafe { (ErrorCode::read(&raw const (*entry).err), position(entry)) }).collect()
}

/// The entries of a live list, as pointers: a reference would vouch for the code that is in each.
fn entries(list: *mut rd_kafka_topic_partition_list_t) -> impl Iterator<Item = *const rd_kafka_topic_partition_t> {
    // SAFETY: `list` is live while its owner is, and says itself how many entries it has.
    let (first, count) = unsafe { ((*list).elems.cast_const(), usize::try_from((*list).cnt).unwrap_or(0)) };
    // SAFETY: within the list.
    (0..count).map(move |index| unsafe { first.add(index) })
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
    entries(list).map(|entry| unsafe { (text((*entry).topic), (*entry).partition) }).collect()
}
