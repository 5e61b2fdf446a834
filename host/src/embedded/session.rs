//! A worker's session on the embedded log: [`crate::ports::Session`].
//!
//! Owned by one thread. It is a member of its group from its first poll until it is dropped, evicted or fenced. Its
//! transaction is a buffer in memory, so there is never an open transaction to abort: commit writes outputs and offsets
//! as one, and any other end of a session leaves nothing behind. Commits are refused
//!
//! * after a newer session opened with the same transactional id (Ended),
//! * after the group's generation changed since `begin` (Withheld), or for a partition of somebody else (Abort).
//!
//! At-least-once runs on the same path and gives the stronger guarantee.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::commit::{self, OffsetWrite};
use super::error::Error;
use super::membership::Membership;
use super::reader::Reader;
use super::store::{Extent, PartitionId};
use super::transaction::Transaction;
use crate::model::batch::RecordRef;
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::{
    CommitOffset, NoPlace, ProducerRecord, Rebalance, Session, SessionError, SessionOptions, TopicPartition,
    UnplacedPartition,
};

/// Longest metadata of a committed offset, in bytes: Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;
/// Longest that one poll waits, whatever it was told.
const POLL_MAX: Duration = Duration::from_secs(3600);

pub struct EmbeddedSession {
    broker: Arc<Broker>,
    member: Membership,
    /// The number of partitions that have had an offset, by input.
    begun: Vec<i32>,
    reader: Reader,
    unplaced: Vec<UnplacedPartition>,
    transaction: Transaction,
}

/// The reason why a poll stops waiting.
enum Wakeup {
    Rebalance(Rebalance),
    Records,
    Timeout,
}

impl EmbeddedSession {
    /// Opens a session and fences an older one with the same transactional id.
    pub fn open(broker: Arc<Broker>, options: &SessionOptions) -> Result<Self, SessionError> {
        // A commit of the session that is fenced must be in or out before this one reads committed offsets.
        let writer = broker.writer();
        let mut metadata = broker.metadata();
        let transaction = Transaction::new(&broker, &metadata, &options.outputs)?;
        let member = Membership::new(&mut metadata, options)?;
        drop((metadata, writer));
        Ok(Self {
            broker,
            member,
            begun: options.inputs.iter().map(|name| options.begun.get(name).copied().unwrap_or(0)).collect(),
            reader: Reader::default(),
            unplaced: Vec::new(),
            transaction,
        })
    }

    /// Waits for something to do.
    fn wait(&mut self, deadline: Instant) -> Result<Wakeup, SessionError> {
        let broker = Arc::clone(&self.broker);
        let poll_interval_max = broker.options.poll_interval_max;
        let mut metadata = broker.metadata();
        loop {
            self.member.check_fence()?;
            let now = Instant::now();
            let unplaced = self.unplaced.iter().map(|unplaced| unplaced.partition);
            let owned = self.reader.partitions().map(|(partition, _)| partition).chain(unplaced);
            if let Some(rebalance) = self.member.rebalance(&mut metadata, now, poll_interval_max, || owned.collect()) {
                return Ok(Wakeup::Rebalance(rebalance));
            }
            if self.reader.refresh(|id| metadata.extent(id)) {
                return Ok(Wakeup::Records);
            }
            if now >= deadline {
                return Ok(Wakeup::Timeout);
            }
            let eviction = self.member.next_eviction(&metadata, poll_interval_max);
            // A little later than the eviction is due, so that it is due then.
            let eviction = eviction.and_then(|at| at.checked_add(Duration::from_millis(1)));
            self.member.bell.wait_until(&mut metadata, eviction.map_or(deadline, |at| at.min(deadline)));
        }
    }

    /// Checks that the open transaction may commit `offsets`.
    fn check_commit<'a>(&'a self, offsets: &'a [CommitOffset]) -> Result<Vec<OffsetWrite<'a>>, SessionError> {
        let metadata = self.broker.metadata();
        self.member.check_fence()?;
        let group = self.member.group();
        if self.transaction.generation()? != self.member.generation(&metadata) {
            let message = format!("group {group} was rebalanced since the transaction began");
            return Err(SessionError::Withheld { code: Code::Fenced, message });
        }
        let check = |offset: &'a CommitOffset| {
            let id = self.member.id_of(offset.partition)?;
            if !self.member.owns(&metadata, id) {
                return Err(SessionError::Abort(format!("partition {:?} is not owned by this session", offset.partition)));
            }
            let bytes = offset.metadata.len();
            if bytes > METADATA_BYTES_MAX {
                let message = format!("offset metadata has {bytes} bytes, the limit is {METADATA_BYTES_MAX}");
                return Err(SessionError::Abort(message));
            }
            Ok(OffsetWrite { group, id, next_offset: offset.next_offset, metadata: &offset.metadata })
        };
        offsets.iter().map(check).collect()
    }

    /// Finds the offset at which this group begins a partition, or the reason why it does not.
    fn start_of(&self, partition: TopicPartition, id: PartitionId) -> Result<Result<CommitOffset, NoPlace>, Error> {
        let Extent { start: first, end, .. } = self.broker.metadata().extent(id);
        Ok(match self.broker.store.committed(self.member.group(), id)? {
            Some((next_offset, metadata)) if (first..=end).contains(&next_offset) => {
                Ok(CommitOffset { partition, next_offset, metadata })
            }
            Some((next_offset, _)) => Err(NoPlace::Outside { next_offset, first, end }),
            None if self.begun.get(partition.input as usize).is_some_and(|&begun| id.partition < begun) => {
                Err(NoPlace::Forgotten)
            }
            None => Err(NoPlace::Unbegun),
        })
    }

    fn not_read(&self, partition: TopicPartition) -> SessionError {
        SessionError::Abort(format!("partition {partition:?} is not assigned to this session"))
    }
}

/// The log itself failed: which transactions are committed is known only after a restart.
fn broken(error: Error) -> SessionError {
    SessionError::Restart(error.to_string())
}

// === impl Session ===

impl Session for EmbeddedSession {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        let deadline = Instant::now() + timeout.min(POLL_MAX);
        let rebalance = loop {
            let wakeup = self.wait(deadline);
            self.member.end_poll(&mut self.broker.metadata());
            match wakeup? {
                Wakeup::Rebalance(rebalance) => break Some(rebalance),
                Wakeup::Timeout => break None,
                Wakeup::Records => {}
            }
            if self.reader.deliver(&self.broker.store, records_max.max(1), on_record).map_err(broken)? > 0 {
                break None;
            }
        };
        self.reader.find_ends();
        Ok(rebalance)
    }

    /// Partitions that went to another member in the meantime are left out of the answer.
    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<CommitOffset>, SessionError> {
        self.member.check_fence()?;
        let ids = self.member.ids_of(partitions)?;
        let broker = Arc::clone(&self.broker);
        // A commit of the earlier owner must be in or out before its offsets are read.
        let _writer = broker.writer();
        self.unplaced.retain(|unplaced| !partitions.contains(&unplaced.partition));
        let mut taken: Vec<(TopicPartition, PartitionId)> = partitions.iter().copied().zip(ids).collect();
        {
            let mut metadata = broker.metadata();
            taken.retain(|&(_, id)| self.member.take(&mut metadata, id));
        }
        let mut assigned = Vec::new();
        for (partition, id) in taken {
            match self.start_of(partition, id).map_err(broken)? {
                Ok(start) => {
                    self.reader.add(partition, id, start.next_offset);
                    assigned.push(start);
                }
                Err(reason) => self.unplaced.push(UnplacedPartition { partition, reason }),
            }
        }
        Ok(assigned)
    }

    fn unplaced(&self) -> &[UnplacedPartition] {
        &self.unplaced
    }

    fn finds_places(&mut self) -> Result<bool, SessionError> {
        for unplaced in &self.unplaced {
            let id = self.member.id_of(unplaced.partition)?;
            let waits = !matches!(unplaced.reason, NoPlace::Outside { .. });
            if waits && self.broker.store.committed(self.member.group(), id).map_err(broken)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        let ids = self.member.ids_of(partitions)?;
        for &partition in partitions {
            self.reader.remove(partition);
        }
        self.unplaced.retain(|unplaced| !partitions.contains(&unplaced.partition));
        self.member.release(&mut self.broker.metadata(), &ids);
        Ok(())
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), SessionError> {
        if self.reader.seek(partition, offset) { Ok(()) } else { Err(self.not_read(partition)) }
    }

    fn pause(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        if self.reader.pause(partition, true) { Ok(()) } else { Err(self.not_read(partition)) }
    }

    fn resume(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        if self.reader.pause(partition, false) { Ok(()) } else { Err(self.not_read(partition)) }
    }

    fn end_offset(&self, partition: TopicPartition) -> Option<i64> {
        let id = self.member.id_of(partition).ok()?;
        Some(self.broker.metadata().extent(id).end)
    }

    fn consumed_ends(&self) -> &[(TopicPartition, i64)] {
        self.reader.ends()
    }

    fn interrupted(&self) -> Option<&str> {
        self.reader.is_overtaken().then_some("retention deleted records before they were read")
    }

    fn begin(&mut self) -> Result<(), SessionError> {
        self.member.check_fence()?;
        let generation = self.member.generation(&self.broker.metadata());
        self.transaction.begin(generation)
    }

    fn send(&mut self, record: &ProducerRecord<'_>) -> Result<(), SessionError> {
        self.member.check_fence()?;
        self.transaction.send(record)
    }

    fn has_room(&self) -> bool {
        self.transaction.has_room()
    }

    /// Records get their offsets with the commit, so there is nothing to wait for.
    fn flush(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    /// Only its writer has written there since.
    fn written_end(&self, topic: usize, partition: i32) -> Option<i64> {
        let id = self.transaction.written_partition(topic, partition)?;
        Some(self.broker.metadata().extent(id).end)
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), SessionError> {
        let broker = Arc::clone(&self.broker);
        // Whoever takes a partition over, or fences, holds this lock too: it sees all of this commit, or prevents it.
        let mut writer = broker.writer();
        let mut outputs = std::mem::take(self.transaction.outputs());
        let checked = self.check_commit(offsets);
        let committed =
            checked.and_then(|offsets| commit::commit(&broker, &mut writer, &mut outputs, &offsets).map_err(broken));
        *self.transaction.outputs() = outputs;
        committed?;
        self.transaction.end();
        Ok(())
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        self.transaction.abort();
        Ok(())
    }

    fn set_outputs(&mut self, topics: &[TopicName]) -> Result<(), SessionError> {
        self.transaction.set_outputs(&self.broker, topics)
    }
}

impl Drop for EmbeddedSession {
    fn drop(&mut self) {
        self.member.leave(&mut self.broker.metadata(), self.reader.partitions().map(|(_, id)| id));
    }
}
