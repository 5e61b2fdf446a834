//! A worker's place in the log: its consumer and its producer together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::rejection::{Cause, Rejection};
use crate::model::batch::{HeaderRef, OutRecord, RecordRef};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::spec::{Delivery, Start};

/// A partition of one of a transform's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Index of the topic in the spec's `inputs`.
    pub input: u32,
    pub partition: i32,
}

/// The settings with which a worker opens its session.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Consumer group.
    pub group: String,
    /// Stable over restarts: a session fences the earlier sessions of its id.
    pub transactional_id: String,
    pub inputs: Vec<TopicName>,
    /// Every topic that the session writes. [`ProducerRecord::topic`] is an index into them.
    pub outputs: Vec<TopicName>,
    pub delivery: Delivery,
    /// The log aborts a transaction that is open for longer.
    pub transaction_timeout: Duration,
    /// The place at which the group begins an input that it never had. `positions` commits it before a session opens.
    pub start: Start,
    /// The number of partitions of each input that have had an offset: a lower one without an offset has lost it.
    pub begun: BTreeMap<TopicName, i32>,
    /// True if the partitions i of all inputs go to one member, since they share their state.
    pub co_partitioned: bool,
}

/// A record on its way out.
#[derive(Debug, Clone, Copy)]
pub struct ProducerRecord<'a> {
    /// Index into [`SessionOptions::outputs`].
    pub topic: usize,
    /// None: the partition that its key hashes to.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [HeaderRef<'a>],
    /// In ms since the Unix epoch; -1: the log's own time.
    pub timestamp: i64,
}

impl<'a> ProducerRecord<'a> {
    /// The form in which an output record of a guest is sent.
    pub fn of(output: &'a OutRecord<'_>) -> Self {
        let &OutRecord { target, timestamp, key, value, ref headers, .. } = output;
        Self { topic: target as usize, partition: None, key, value, headers, timestamp }
    }
}

/// The next offset of a partition that a group commits, or has committed, and the metadata that is stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffset {
    pub partition: TopicPartition,
    pub next_offset: i64,
    pub metadata: String,
}

/// A partition that a session took over and does not read, since nobody knows from which offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnplacedPartition {
    pub partition: TopicPartition,
    pub reason: NoPlace,
}

/// The reason for which a partition has no place to be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPlace {
    /// The group has no offset for it, and never had one: a host is about to commit one.
    Unbegun,
    /// An open transaction may commit another offset for it: the work of an earlier owner is not over. The session takes the
    /// partition over with [`Session::settle`].
    Unsettled,
    /// The group had an offset for it, and has none any more.
    Forgotten,
    /// The committed offset is outside of `first..=end`, the offsets of the partition.
    Outside { next_offset: i64, first: i64, end: i64 },
}

/// A change of a worker's partitions. It takes effect only when the worker calls [`Session::assign`] or
/// [`Session::unassign`], so the worker ends its transaction first and never loses a partition in mid-transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
    /// Another member may own them already: no uncommitted work of theirs may be committed.
    Lost(Vec<TopicPartition>),
}

/// A failed session call, by its remedy.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// The transaction cannot succeed. Abort it, forget its work, and go back to the committed offsets.
    #[error("{0}")]
    Abort(String),
    /// Topics refuse records for their content. Abort, and do not send the same records again.
    #[error("{}", .0.reason)]
    Rejected(Rejection),
    /// The call cannot be carried out now: a topic is gone, for example, or the host may not write it. No record is to
    /// blame. Abort, show the reason, and try again.
    #[error("{message}")]
    Withheld { code: Code, message: String },
    /// The transaction holds more than the log takes at once. Abort it, and do less in the next.
    #[error("{0}")]
    TooLarge(String),
    /// The session is of no more use: the log is away, or nobody knows how the commit ended. Close it and open another,
    /// which reads the committed offsets again.
    #[error("{0}")]
    Restart(String),
    /// The session is of no more use, for a reason that has a code: it was fenced, say, or may not join its group. Close it,
    /// show the reason, and open another.
    #[error("{message}")]
    Ended { code: Code, message: String },
}

impl SessionError {
    /// The code that a status shows. Without one of its own, the error passes by itself.
    pub fn code(&self) -> Code {
        match self {
            Self::Withheld { code, .. } | Self::Ended { code, .. } => *code,
            Self::Rejected(_) => Code::LogRefused,
            Self::Abort(_) | Self::TooLarge(_) | Self::Restart(_) => Code::LogUnavailable,
        }
    }
}

/// A record that the session could read only in part: it must not pass for the whole record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub partition: TopicPartition,
    pub offset: i64,
    pub reason: String,
}

/// Ends a wait in [`Session::poll`], from any thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// One worker's place in the log: its consumer (a member of the transform's group) and its producer.
///
/// One thread owns it. A transaction is `begin`, any number of `poll` and `send`, then `commit` or `abort`. Dropping a
/// session leaves the group and abandons an open transaction. Every call may fail with any [`SessionError`], unless it
/// says otherwise; the error's remedy is the caller's duty.
pub trait Session {
    /// Waits up to `timeout` for a first record, then hands over the records that are there, `records_max` at most, in
    /// order within a partition. Repeats, and records of partitions that were just given up, may be among them.
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError>;

    /// Returns a function that ends a wait in [`Session::poll`], where there is one. The session tells of its rebalances
    /// without delay then, however long the wait is, and its log is asked for nothing while all of its partitions are paused.
    fn waker(&self) -> Option<Waker> {
        None
    }

    /// Returns true if the group has taken the session in. Until then it owns nothing, and may never do.
    fn is_member(&self) -> bool {
        true
    }

    /// Takes over partitions that [`Rebalance::Assign`] named. Returns the first offset of each that has one.
    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<CommitOffset>, SessionError>;

    /// Partitions that were taken over and have no place to begin at.
    fn unplaced(&self) -> &[UnplacedPartition] {
        &[]
    }

    /// Returns true if a partition of [`NoPlace::Unbegun`] or [`NoPlace::Forgotten`] has an offset by now. Only a new
    /// session reads it.
    fn finds_places(&mut self) -> Result<bool, SessionError> {
        Ok(false)
    }

    /// Takes over the partitions of [`NoPlace::Unsettled`] whose offset is settled by now. Returns their first offsets. Those
    /// of them that have another problem now stay unplaced, with that.
    fn settle(&mut self) -> Result<Vec<CommitOffset>, SessionError> {
        Ok(Vec::new())
    }

    /// The name that the metadata of committed offsets is to have, so that their next owner can end a transaction that this
    /// session leaves open: see [`crate::model::revision::Progress::worker`].
    fn name(&self) -> Option<&str> {
        None
    }

    /// Asks for partitions that the inputs have got since. A rebalance follows if there are any.
    fn look_for_partitions(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    /// The reason for which a partition cannot be read on, if an earlier poll met one. The worker commits its work, then
    /// opens a new session, which says more.
    fn interrupted(&self) -> Option<&str> {
        None
    }

    /// Gives up partitions that [`Rebalance::Revoke`] or [`Rebalance::Lost`] named.
    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError>;

    /// Makes the record at `offset` (or the first after it) the next one of `partition`.
    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), SessionError>;

    /// Seeks in several partitions at once.
    fn seek_all(&mut self, places: &[(TopicPartition, i64)]) -> Result<(), SessionError> {
        places.iter().try_for_each(|&(partition, offset)| self.seek(partition, offset))
    }

    /// Stops delivering a partition's records. Records that were fetched before may still come.
    fn pause(&mut self, partition: TopicPartition) -> Result<(), SessionError>;

    /// Delivers a paused partition's records again.
    fn resume(&mut self, partition: TopicPartition) -> Result<(), SessionError>;

    /// Has partitions read without delay that were just resumed.
    fn hasten(&mut self, _partitions: &[TopicPartition]) -> Result<(), SessionError> {
        Ok(())
    }

    /// One past the last committed record of a partition, as far as it is known without a request.
    fn end_offset(&self, partition: TopicPartition) -> Option<i64>;

    /// Partitions that the last `poll` found to be read to their end, with the offset to go on from: past trailing
    /// control records, which no record ever shows.
    fn consumed_ends(&self) -> &[(TopicPartition, i64)];

    /// Records of the last `poll` that were handed over in part.
    fn damaged(&self) -> &[Damage] {
        &[]
    }

    /// Does all that [`Session::begin`] would wait for a broker for, so that a caller who holds a processor does not wait.
    fn prepare(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    /// Opens a transaction. Captures the group's generation, once: a commit after a rebalance is refused.
    fn begin(&mut self) -> Result<(), SessionError>;

    /// Sends a record in the open transaction. Does not wait for its delivery: a later call tells of a failed one.
    fn send(&mut self, record: &ProducerRecord<'_>) -> Result<(), SessionError>;

    /// From now on sends each record alone, or together with others again. Alone, each refusal is of one record.
    fn isolate(&mut self, _alone: bool) {}

    /// Returns true if [`Session::foresee`] may know of a refusal; nearly always it does not.
    fn is_wary(&self) -> bool {
        false
    }

    /// The refusal that is sure to follow if this record is sent.
    fn foresee(&self, _record: &ProducerRecord<'_>) -> Option<(Cause, String)> {
        None
    }

    /// Returns true if the open transaction has room for about as much again as it holds. If not, commit it first.
    fn has_room(&self) -> bool {
        true
    }

    /// Waits until every sent record is in the log.
    fn flush(&mut self) -> Result<(), SessionError>;

    /// One past the last record that this session has in a partition of an output. It counts records of the open
    /// transaction after a flush, or at least after its commit. None if it is not known.
    fn written_end(&self, topic: usize, partition: i32) -> Option<i64>;

    /// Commits the sent records together with `offsets`. Ok means that the commit is never undone or repeated.
    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), SessionError>;

    /// Aborts the open transaction.
    fn abort(&mut self) -> Result<(), SessionError>;

    /// Replaces the topics that [`ProducerRecord::topic`] is an index into. Call only between two transactions.
    fn set_outputs(&mut self, outputs: &[TopicName]) -> Result<(), SessionError>;
}
