//! Fetching messages, and where and whether a partition is fetched.

use std::ptr;
use std::time::Duration;

use super::client::Client;
use super::convert::ms;
use super::error::{RawError, check};
use super::list::PartitionList;
use super::message::{QueueMessage, hand_over};
use super::sys::*;

/// A buffer for [`Client::consume`], which is used again by each call.
#[derive(Default)]
pub struct FetchBuffer(Vec<*mut rd_kafka_message_t>);

// SAFETY: its pointers are used within one call of consume() only.
unsafe impl Send for FetchBuffer {}

impl Client {
    /// Waits up to `timeout` for a first message, then hands over all that are there, `max` at most. Returns their number.
    /// A call of [`super::QueueWaker::wake`] ends the wait.
    pub fn consume(
        &self,
        buffer: &mut FetchBuffer,
        timeout: Duration,
        max: usize,
        on_message: &mut dyn FnMut(QueueMessage<'_>),
    ) -> usize {
        let FetchBuffer(buffer) = buffer;
        buffer.resize(max, ptr::null_mut());
        // rd_kafka_consume_batch_queue with a time-out waits until the batch is full, so: drain, else wait for one.
        let mut taken = self.drain(buffer, on_message);
        let waker = self.events().waker();
        if taken == 0 && !timeout.is_zero() && !waker.take() {
            // SAFETY: the queue is live; the message is destroyed in hand_over().
            let first = unsafe { rd_kafka_consume_queue(self.queue, ms(timeout)) };
            if !first.is_null() {
                // SAFETY: librdkafka just gave it to us.
                unsafe { hand_over(first, on_message) };
                buffer.truncate(max - 1);
                taken = 1 + self.drain(buffer, on_message);
            }
            // The caller looks for the reason after this.
            waker.take();
        }
        taken
    }

    fn drain(&self, buffer: &mut [*mut rd_kafka_message_t], on_message: &mut dyn FnMut(QueueMessage<'_>)) -> usize {
        // SAFETY: the buffer has room for as many pointers as is said.
        let taken = unsafe { rd_kafka_consume_batch_queue(self.queue, 0, buffer.as_mut_ptr(), buffer.len()) };
        let taken = usize::try_from(taken).unwrap_or(0);
        for &message in &buffer[..taken] {
            // SAFETY: librdkafka just gave it to us.
            unsafe { hand_over(message, on_message) };
        }
        taken
    }

    pub fn seek(&self, partitions: &PartitionList, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: both handles are live; the error object is taken over.
        unsafe { RawError::check("seek", rd_kafka_seek_partitions(self.rk, partitions.ptr(), ms(timeout))) }?;
        partitions.first_error("seek")
    }

    pub fn pause(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: both handles are live.
        check("pause", unsafe { rd_kafka_pause_partitions(self.rk, partitions.ptr()) })
    }

    pub fn resume(&self, partitions: &PartitionList) -> Result<(), RawError> {
        // SAFETY: both handles are live.
        check("resume", unsafe { rd_kafka_resume_partitions(self.rk, partitions.ptr()) })
    }
}
