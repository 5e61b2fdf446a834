//! One transaction of any size, sent in parts: a part is in the log before the next one is read, so the memory of a writer
//! does not grow with its transaction.
//!
//! Its id is a writer's of `exclusive`: each fences the other, and the newer one ends the transaction of the older.

use std::time::{Duration, Instant};

use super::config::{CALL_TIMEOUT, EXCLUSIVE_TIMEOUT};
use super::credentials::Connection;
use super::deliver::deliver;
use super::error::{at_commit, before_commit, unavailable};
use super::exclusive::send_offsets;
use super::raw::Client;
use super::retry::resumed;
use crate::ports::{BulkWriter, ExclusiveError, GroupOffset, PartitionWrite};

pub(super) struct KafkaBulk {
    client: Client,
    is_open: bool,
}

impl KafkaBulk {
    pub fn open(connection: &Connection, id: &str, time_max: Duration) -> Result<Self, ExclusiveError> {
        let client = connection.bulk(id, time_max).map_err(unavailable)?;
        let deadline = Instant::now() + 2 * EXCLUSIVE_TIMEOUT;
        resumed(&client, deadline, || client.init_transactions(CALL_TIMEOUT)).map_err(before_commit)?;
        client.begin_transaction().map_err(before_commit)?;
        Ok(Self { client, is_open: true })
    }
}

impl BulkWriter for KafkaBulk {
    fn write(&mut self, part: PartitionWrite) -> Result<(), ExclusiveError> {
        let PartitionWrite { topic, partition, records } = part;
        let handle = self.client.topic(topic.as_str()).map_err(before_commit)?;
        deliver(&self.client, &handle, Some(partition), &records).map_err(before_commit)
    }

    fn write_offsets(&mut self, group: &str, offsets: &[GroupOffset]) -> Result<(), ExclusiveError> {
        send_offsets(&self.client, group, offsets).map_err(before_commit)
    }

    fn commit(mut self: Box<Self>) -> Result<(), ExclusiveError> {
        let deadline = Instant::now() + 2 * EXCLUSIVE_TIMEOUT;
        // Its end is nobody else's business from here on: an abort could meet a commit that is on its way.
        self.is_open = false;
        resumed(&self.client, deadline, || self.client.commit_transaction(CALL_TIMEOUT)).map_err(|error| at_commit(&error))
    }
}

impl Drop for KafkaBulk {
    /// Else the transaction would hold readers back until its time is over, or until the next writer.
    fn drop(&mut self) {
        if self.is_open {
            // A failure leaves it to the broker, or to the next writer.
            let _ = self.client.abort_transaction(CALL_TIMEOUT);
        }
    }
}
