//! Transactions of a producer. Each call may be made again where its error is retriable: librdkafka resumes it.

use std::ptr;
use std::time::Duration;

use super::client::Client;
use super::convert::ms;
use super::error::RawError;
use super::list::PartitionList;
use super::membership::GroupMetadata;
use super::sys::*;

impl Client {
    pub fn init_transactions(&self, timeout: Duration) -> Result<(), RawError> {
        self.connect(timeout);
        // SAFETY: live handle; the error object is taken over. So for the calls below.
        unsafe { RawError::check("init_transactions", rd_kafka_init_transactions(self.rk, ms(timeout))) }
    }

    /// Waits until a broker is connected, or for `timeout`: the next call says why none is. librdkafka 2.12 looks for
    /// one to find the transaction coordinator by, and if none is connected yet, looks again after 500 ms. The first answer
    /// may be of the bootstrap server, whose connection ends with it; so this asks twice.
    fn connect(&self, timeout: Duration) {
        for _ in 0..2 {
            let mut metadata = ptr::null();
            // SAFETY: live handle, valid out pointer; no topic is asked for.
            let code = unsafe { rd_kafka_metadata(self.rk, 0, ptr::null_mut(), &mut metadata, ms(timeout)) };
            if code != 0 {
                return;
            }
            // SAFETY: made by the call above, destroyed once.
            unsafe { rd_kafka_metadata_destroy(metadata) };
        }
    }

    pub fn begin_transaction(&self) -> Result<(), RawError> {
        // SAFETY: see init_transactions.
        unsafe { RawError::check("begin_transaction", rd_kafka_begin_transaction(self.rk)) }
    }

    pub fn send_offsets(&self, offsets: &PartitionList, group: &GroupMetadata, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: see init_transactions; list and metadata are only read.
        let error = unsafe { rd_kafka_send_offsets_to_transaction(self.rk, offsets.ptr(), group.ptr(), ms(timeout)) };
        // SAFETY: see init_transactions.
        unsafe { RawError::check("send_offsets", error) }
    }

    pub fn commit_transaction(&self, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: see init_transactions.
        unsafe { RawError::check("commit_transaction", rd_kafka_commit_transaction(self.rk, ms(timeout))) }
    }

    pub fn abort_transaction(&self, timeout: Duration) -> Result<(), RawError> {
        // SAFETY: see init_transactions.
        unsafe { RawError::check("abort_transaction", rd_kafka_abort_transaction(self.rk, ms(timeout))) }
    }
}
