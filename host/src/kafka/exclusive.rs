//! The one writer of an id over all hosts: a producer that writes a transaction, or a few.
//!
//! Initialising its transactional id fences every older producer of that id, and waits until a transaction that one of them
//! left open is over. So the end that is asked for after that is past all that they will ever have written. A producer that is
//! used again may have been fenced since; then its commit fails.
//! A producer that was made later has another epoch, so a delayed EndTxn of the one before cannot end its transaction
//! (librdkafka#5423). A producer is used again only if none of its EndTxn can be on its way: the end of its transaction was
//! answered fast, and no connection was lost meanwhile.

use std::time::{Duration, Instant};

use super::config::EXCLUSIVE_TIMEOUT;
use super::credentials::Connection;
use super::deliver::deliver;
use super::error::{at_commit, before_commit, is_fenced, unavailable};
use super::raw::{Client, GroupMetadata, PartitionList, RawError};
use super::retry::{led, resumed};
use crate::model::names::TopicName;
use crate::ports::{ExclusiveError, ExclusiveWriter, GroupOffset, LogError, PartitionWrite};

/// Longest time of one call to a broker: shorter than elsewhere, since a whole change of the catalog waits for it.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A transaction whose end took longer may have left an EndTxn on its way.
const SLOW_END: Duration = Duration::from_secs(1);

pub(super) struct KafkaExclusive {
    client: Client,
    connection: Connection,
    /// The generation of the client's properties.
    generation: u64,
}

impl KafkaExclusive {
    pub fn open(connection: &Connection, id: &str) -> Result<Self, ExclusiveError> {
        let generation = connection.generation();
        let client = connection.exclusive(id).map_err(unavailable)?;
        let deadline = Instant::now() + 2 * EXCLUSIVE_TIMEOUT;
        resumed(&client, deadline, || client.init_transactions(CALL_TIMEOUT)).map_err(before_commit)?;
        Ok(Self { client, connection: connection.clone(), generation })
    }

    /// Writes records, and offsets of a group if there are any, in one transaction.
    fn write(&self, writes: &[PartitionWrite], offsets: Option<(&str, &[GroupOffset])>) -> Result<(), ExclusiveError> {
        let client = &self.client;
        client.begin_transaction().map_err(before_commit)?;
        let mut sent = writes.iter().try_for_each(|PartitionWrite { topic, partition, records }| {
            let handle = client.topic(topic.as_str())?;
            deliver(client, &handle, Some(*partition), records)
        });
        if let (Ok(()), Some((group, offsets))) = (&sent, offsets) {
            sent = send_offsets(client, group, offsets);
        }
        self.end(sent)
    }

    /// Commits what was sent, or aborts.
    fn end(&self, sent: Result<(), RawError>) -> Result<(), ExclusiveError> {
        let client = &self.client;
        if let Err(error) = sent {
            if !is_fenced(&error) && !error.fatal {
                // Else it would hold readers back until its time-out, or the next writer.
                let _ = client.abort_transaction(CALL_TIMEOUT);
            }
            return Err(before_commit(error));
        }
        let deadline = Instant::now() + EXCLUSIVE_TIMEOUT;
        resumed(client, deadline, || client.commit_transaction(CALL_TIMEOUT)).map_err(|error| at_commit(&error))
    }
}

/// Makes offsets a part of the open transaction. A broker takes them from whoever is no member also while the group has
/// members.
pub(super) fn send_offsets(client: &Client, group: &str, offsets: &[GroupOffset]) -> Result<(), RawError> {
    if offsets.is_empty() {
        return Ok(());
    }
    let mut list = PartitionList::new();
    for offset in offsets {
        list.add(offset.topic.as_str(), offset.partition, offset.next_offset, &offset.metadata);
    }
    let outsider = GroupMetadata::of_outsider(group);
    let deadline = Instant::now() + EXCLUSIVE_TIMEOUT;
    resumed(client, deadline, || client.send_offsets(&list, &outsider, CALL_TIMEOUT))
}

impl ExclusiveWriter for KafkaExclusive {
    fn end_offset(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        let ask = || self.client.query_watermarks(topic.as_str(), partition, CALL_TIMEOUT);
        let (_, last_stable) = led(&self.client, ask).map_err(unavailable)?;
        // The last place is the marker that ended the last transaction. A reader learns that it is past it only when a
        // fetch came back empty, after fetch.wait.max.ms.
        Ok((last_stable - 1).max(0))
    }

    fn commit(self: Box<Self>, writes: &[PartitionWrite]) -> Result<Option<Box<dyn ExclusiveWriter>>, ExclusiveError> {
        let started = Instant::now();
        let disconnects = self.client.disconnects();
        self.write(writes, None)?;
        let is_over = started.elapsed() < SLOW_END && self.client.disconnects() == disconnects;
        let is_current = self.connection.generation() == self.generation;
        Ok((is_over && is_current).then_some(self as Box<dyn ExclusiveWriter>))
    }

    fn commit_with_offsets(
        self: Box<Self>,
        writes: &[PartitionWrite],
        group: &str,
        offsets: &[GroupOffset],
    ) -> Result<(), ExclusiveError> {
        self.write(writes, Some((group, offsets)))
    }
}
