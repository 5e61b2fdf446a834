//! Offsets: a consumer's positions, the committed offsets of its group, and the bounds of partitions.

use std::ffi::CStr;
use std::ptr;
use std::time::Duration;

use super::client::Client;
use super::convert::{c_string, ms};
use super::error::{RawError, check};
use super::list::PartitionList;
use super::sys::*;
use crate::model::units::Timestamp;

impl Client {
    /// Fills the list with the offsets after the last record that was handed over, control records included. Negative for
    /// a partition of which nothing was handed over since it was assigned or sought.
    pub fn position(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: both handles are live; the list is filled in place.
        check("position", unsafe { rd_kafka_position(self.rk, partitions.ptr()) })
    }

    /// Fills the list with committed offsets and their metadata.
    pub fn committed(&self, partitions: &PartitionList, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: both handles are live; the list is filled in place.
        check("committed", unsafe { rd_kafka_committed(self.rk, partitions.ptr(), ms(timeout)) })?;
        partitions.first_error("committed")
    }

    pub fn commit_sync(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: both handles are live.
        check("commit", unsafe { rd_kafka_commit(self.rk, partitions.ptr(), 0) })?;
        partitions.first_error("commit")
    }

    /// First offset and end of a partition, asked of its leader.
    pub fn query_watermarks(&self, topic: &str, partition: i32, timeout: Duration) -> Result<(i64, i64), RawError> {
        let mut low = 0;
        let mut high = 0;
        let name = c_string(topic);
        // SAFETY: live handle, NUL-terminated name, valid out pointers.
        let code =
            unsafe { rd_kafka_query_watermark_offsets(self.rk, name.as_ptr(), partition, &mut low, &mut high, ms(timeout)) };
        check("query_watermarks", code).map(|()| (low, high))
    }

    /// For each of these partitions the first offset whose record is not older than `at`, asked of their leaders; None
    /// where all are older.
    pub fn offsets_at(
        &self,
        topic: &str,
        partitions: std::ops::Range<i32>,
        at: Timestamp,
        timeout: Duration,
    ) -> Result<Vec<Option<i64>>, RawError> {
        let mut list = PartitionList::new();
        for partition in partitions {
            // Below 0 a time has another meaning to a broker: one of the partition's ends.
            list.add(topic, partition, at.0.max(0), "");
        }
        self.look_up_offsets(&list, timeout)?;
        Ok(list.entries().iter().map(|position| Some(position.offset).filter(|offset| *offset >= 0)).collect())
    }

    /// Fills the list, which holds times or one of [`super::FIRST`] and [`super::END`], with offsets, asked of the
    /// partitions' leaders.
    pub fn look_up_offsets(&self, list: &PartitionList, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: live handle; the list is filled in place.
        check("offsets_for_times", unsafe { rd_kafka_offsets_for_times(self.rk, list.ptr(), ms(timeout)) })?;
        list.first_error("offsets_for_times")
    }

    /// Asks for the metadata of all topics that this client knows.
    pub fn refresh_metadata(&self, timeout: Duration) -> Result<(), RawError> {
        let mut metadata = ptr::null();
        // SAFETY: live handle, valid out pointer; null stands for no single topic. The answer is ours to destroy.
        unsafe {
            let code = rd_kafka_metadata(self.rk, 0, ptr::null_mut(), &mut metadata, ms(timeout));
            if !metadata.is_null() {
                rd_kafka_metadata_destroy(metadata);
            }
            check("metadata", code)
        }
    }

    /// The end of a partition as the last fetch saw it.
    pub fn known_end(&self, topic: &CStr, partition: i32) -> Option<i64> {
        let mut low = 0;
        let mut high = 0;
        // SAFETY: live handle, NUL-terminated name, valid out pointers.
        let code = unsafe { rd_kafka_get_watermark_offsets(self.rk, topic.as_ptr(), partition, &mut low, &mut high) };
        (code == 0 && high >= 0).then_some(high)
    }
}
