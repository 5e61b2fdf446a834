//! The seams between the core and the world. Each has a real implementation and an in-memory one.
//!
//! | seam | real | without a broker |
//! |---|---|---|
//! | [`Log`], [`Groups`], [`Session`] | `kafka` | `embedded` (durable), the simulation's broker (tests) |
//! | [`GuestFactory`], [`Guest`] | `guest` (wasmtime) | the simulation's guests (tests) |
//! | [`States`], [`Opening`] | `stores` (fjall, or memory; threads) | the simulation's (tests) |
//!
//! The data plane is synchronous: every call here may block, none is made from tokio.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::batch::{Batch, HeaderRef, Output, RecordRef};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::spec::{Delivery, Start};
use crate::model::units::Timestamp;
use crate::state::State;

/// A partition of one of a transform's inputs. `input` is an index into the spec's `inputs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    pub input: u32,
    pub number: i32,
}

/// What a worker is told to open.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Consumer group.
    pub group: String,
    /// Stable over restarts: the same id fences what is left of an earlier owner.
    pub transactional_id: String,
    pub inputs: Vec<TopicName>,
    /// Every topic that will be written, in the order in which [`Outgoing::topic`] counts.
    pub outputs: Vec<TopicName>,
    pub delivery: Delivery,
    /// The place at which an input begins that the group never had: whoever opens sessions commits it before
    /// (`positions`).
    pub start: Start,
    /// The number of partitions of each input that have had an offset: a lower one without an offset has lost it.
    pub begun: BTreeMap<TopicName, i32>,
    /// Partitions of the same number go to the same member: they share their state.
    pub co_partitioned: bool,
}

/// A record on its way out.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Index into [`SessionOptions::outputs`].
    pub topic: usize,
    /// None: where its key belongs.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [HeaderRef<'a>],
    /// In ms since the Unix epoch; -1: the log's own time.
    pub timestamp: i64,
}

/// The next offset of a partition, and what is stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffset {
    pub partition: Partition,
    pub next_offset: i64,
    pub metadata: String,
}

/// The offset that a group had committed for a partition: reading begins there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    pub partition: Partition,
    pub next_offset: i64,
    pub metadata: String,
}

/// A partition that a session took over and does not read: nobody knows where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaced {
    pub partition: Partition,
    pub reason: NoPlace,
}

/// The reason for which a partition has no place to be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPlace {
    /// The group has no offset for it, and never had one: somebody is about to give it one.
    Unbegun,
    /// The group had an offset for it, and has none any more.
    Forgotten,
    /// The committed offset is outside of `first..=end`, which is all that the partition has.
    Outside { next_offset: i64, first: i64, end: i64 },
}

/// A change of a worker's partitions. It waits: it takes effect only when the worker calls [`Session::assign`] or
/// [`Session::unassign`], so the worker ends its transaction first and never loses a partition in mid-transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    Assign(Vec<Partition>),
    Revoke(Vec<Partition>),
    /// Already owned by someone else: nothing uncommitted may be committed.
    Lost(Vec<Partition>),
}

/// The property of a record for which a topic refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Size,
    Timestamp,
    /// Key, value or headers: a null key in a compacted topic, say.
    Content,
}

/// A record that its topic refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit {
    /// Counts the calls of [`Session::send`] since `begin`, from 0.
    pub send: u64,
    pub cause: Cause,
    pub reason: String,
}

/// Records of the open transaction that were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Empty where the culprits cannot be told from the records that were refused with them.
    pub culprits: Vec<Culprit>,
    /// None where nobody knows that a record is to blame.
    pub cause: Option<Cause>,
    pub reason: String,
}

/// A failed session call, by its remedy.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// The transaction cannot succeed. Abort it, forget what was not committed, and go back to the committed offsets.
    #[error("{0}")]
    Abort(String),
    /// Topics refuse records for what these are. Abort, and send the same records no more.
    #[error("{}", .0.reason)]
    Rejected(Rejection),
    /// The call cannot be carried out now, for this reason: a topic is gone, say, or the host may not write it. No record is to
    /// blame. Abort, say so, and try again.
    #[error("{message}")]
    Withheld { code: Code, message: String },
    /// The transaction holds more than the log takes at once. Abort it, and do less in the next.
    #[error("{0}")]
    TooLarge(String),
    /// The session is of no more use: fenced, fatal, or nobody knows how the commit ended. Close it and open another,
    /// which reads the committed offsets again.
    #[error("{0}")]
    Restart(String),
}

/// A record that could be read only in part: it must not pass as if that were all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub partition: Partition,
    pub offset: i64,
    pub reason: String,
}

/// One worker's place in the log: its consumer (a member of the transform's group) and its producer.
///
/// Owned by one thread. A transaction is `begin`, any number of `poll` and `send`, then `commit` or `abort`. Dropping
/// a session leaves the group and abandons an open transaction.
pub trait Session {
    /// Waits up to `timeout` for a first record, then hands over what is there, `records_max` at most, in order within
    /// a partition. Repeats and records of partitions that were just given up may be among them.
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(Partition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError>;

    /// Takes over partitions that [`Rebalance::Assign`] named; says where each begins that has a place to begin at.
    fn assign(&mut self, partitions: &[Partition]) -> Result<Vec<Assigned>, SessionError>;

    /// Partitions that were taken over and have no place to begin at.
    fn unplaced(&self) -> &[Unplaced] {
        &[]
    }

    /// Tells whether a partition of [`NoPlace::Unbegun`] or [`NoPlace::Forgotten`] has an offset by now: a session that is
    /// opened anew reads it.
    fn finds_places(&mut self) -> Result<bool, SessionError> {
        Ok(false)
    }

    /// Looks for partitions that the inputs have got since; where there are any, a rebalance follows.
    fn look_for_partitions(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    /// The reason for which a partition cannot be read on, if an earlier poll met one: what the session has is to be
    /// committed, and a session that is opened anew says more.
    fn interrupted(&self) -> Option<&str> {
        None
    }

    /// Gives up partitions that [`Rebalance::Revoke`] or [`Rebalance::Lost`] named.
    fn unassign(&mut self, partitions: &[Partition]) -> Result<(), SessionError>;

    /// The next record of `partition` is the one at `offset` (or the first after it).
    fn seek(&mut self, partition: Partition, offset: i64) -> Result<(), SessionError>;

    /// Stops delivering a partition's records. What was fetched already may still come.
    fn pause(&mut self, partition: Partition) -> Result<(), SessionError>;

    fn resume(&mut self, partition: Partition) -> Result<(), SessionError>;

    /// Where a partition ends, as far as it is known without asking: one past its last committed record.
    fn end_offset(&self, partition: Partition) -> Option<i64>;

    /// Partitions that the last `poll` found to be read to their end, with the offset to go on from: past trailing
    /// control records, which no record ever shows.
    fn consumed_ends(&self) -> &[(Partition, i64)];

    /// Records of the last `poll` that were handed over in part.
    fn damaged(&self) -> &[Damage] {
        &[]
    }

    /// Opens a transaction. The group's generation is captured here, once: a commit after a rebalance is refused.
    fn begin(&mut self) -> Result<(), SessionError>;

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), SessionError>;

    /// From now on each record is sent alone, or together with others again: a refusal then is of one record.
    fn isolate(&mut self, _alone: bool) {}

    /// Tells whether [`Session::foresee`] may know of a refusal; nearly always it does not.
    fn is_wary(&self) -> bool {
        false
    }

    /// A refusal that is sure to follow if this record is sent.
    fn foresee(&self, _record: &Outgoing<'_>) -> Option<(Cause, String)> {
        None
    }

    /// Tells whether the open transaction takes about as much again as it holds: if not, it is better committed.
    fn has_room(&self) -> bool {
        true
    }

    /// Waits until all that was sent is in the log.
    fn flush(&mut self) -> Result<(), SessionError>;

    /// One past the last record that this session has in that partition of an output: of this transaction after a
    /// flush, or at least after its commit; None where that is not known.
    fn written_end(&self, topic: usize, partition: i32) -> Option<i64>;

    /// Commits what was sent together with `offsets`. Ok means: it will never be undone or repeated.
    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), SessionError>;

    fn abort(&mut self) -> Result<(), SessionError>;

    /// From now on these topics are written, in the order in which [`Outgoing::topic`] counts. Call only between two
    /// transactions.
    fn set_outputs(&mut self, outputs: &[TopicName]) -> Result<(), SessionError>;
}

/// A topic, as far as the host needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub partitions: i32,
    /// Largest record (key + value + headers) that the topic takes, in bytes; a larger one only where it is compressed.
    pub record_bytes_max: usize,
    /// Largest record that is sent to it at all: the topic may refuse it.
    pub sent_bytes_max: usize,
    /// Whether it keeps the last value of each key, and nothing is deleted by age. `None`: not asked, or not permitted.
    pub compacted: Option<bool>,
    /// True where it refuses records without a key, since it is compacted (and deleted by age, or not). `None`: not known.
    pub needs_keys: Option<bool>,
    /// How long a compacted topic shows, at least, that a key was deleted. `None`: not known.
    pub tombstones_kept: Option<Duration>,
    /// How old records get before they are deleted for their age. `None`: they are not, or it is not known.
    pub deleted_after: Option<Duration>,
    /// Tells the topic from one of the same name that was made before or after it. `None`: not asked.
    pub id: Option<String>,
}

/// A topic by its identity and its size: cheap to ask for many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSize {
    /// See [`TopicInfo::id`]. Empty where the log knows no ids.
    pub id: String,
    pub partitions: i32,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub name: TopicName,
    pub partitions: i32,
    /// Keep the last value of each key (`cleanup.policy=compact`) instead of deleting by age.
    pub compacted: bool,
    /// How long records are kept; of a compacted topic, also the last value of a key. None: as the log does it, or for
    /// ever if compacted.
    pub retention: Option<Duration>,
}

/// A record outside a session, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A part of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub records: Vec<LogRecord>,
    /// Where the next page begins.
    pub next_offset: i64,
    /// One past the last committed record, as it was when this page was read.
    pub end_offset: i64,
}

/// A failed call of [`Log`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    #[error("there is no topic {0}")]
    NoTopic(String),
    /// Not reachable or not willing now: ask again.
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Refused(String),
}

/// What a consumer group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    pub topic: TopicName,
    pub partition: i32,
    pub next_offset: i64,
    pub metadata: String,
}

/// Committed offsets, seen and changed from outside of their group.
pub trait Groups {
    /// What a group has committed for these topics, by topic and partition. Waits for transactions that may still change
    /// it. A partition without an offset is left out.
    fn group_offsets(&self, group: &str, topics: &[TopicName]) -> Result<Vec<GroupOffset>, LogError>;

    /// How many members a group has; 0 for one that does not exist.
    fn group_members(&self, group: &str) -> Result<usize, LogError>;

    /// Commits offsets for a group without members. With members it is [`LogError::Refused`], and nothing is changed.
    fn commit_for_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), LogError>;

    /// Puts off the day on which the log forgets what a group without members has committed for these topics. With
    /// members it does nothing.
    fn keep_group(&self, group: &str, topics: &[TopicName], co_partitioned: bool) -> Result<(), LogError> {
        let _ = (group, topics, co_partitioned);
        Ok(())
    }

    /// Forgets everything that a group without members has committed, for whatever topic. Refused as above.
    fn delete_group(&self, group: &str) -> Result<(), LogError>;

    /// For each partition of a topic, the first offset whose record is not older than `at`; None where all are older.
    fn offsets_at(&self, topic: &TopicName, at: Timestamp) -> Result<Vec<Option<i64>>, LogError>;
}

/// A failed call of an [`ExclusiveWriter`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExclusiveError {
    /// A newer writer took over. A commit whose answer was lost before that may be in the log all the same.
    #[error("{0}")]
    Fenced(String),
    /// Nobody knows how the commit ended. A newer writer of the same id ends it, one way or the other.
    #[error("{0}")]
    Unknown(String),
    /// Nothing was written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The right to write, held by the newest writer of an id: see [`Log::exclusive`].
pub trait ExclusiveWriter: Send {
    /// One past the last record of a partition that only writers of this id write to, whether it can be read already or
    /// not. Whoever has read up to there knows all that earlier ones will ever have written.
    fn end_offset(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError>;

    /// Writes the records, in order and in one transaction: all of them, or none.
    fn commit(self: Box<Self>, topic: &TopicName, partition: i32, records: Vec<LogRecord>) -> Result<(), ExclusiveError>;

    /// Writes a record, and commits offsets for a group in the same transaction, whether the group has members or not.
    fn commit_with_offsets(
        self: Box<Self>,
        topic: &TopicName,
        partition: i32,
        record: LogRecord,
        group: &str,
        offsets: &[GroupOffset],
    ) -> Result<(), ExclusiveError>;
}

/// Reads every partition of a topic from its start on, outside of any group.
pub trait TopicReader: Send {
    /// Waits up to `wait` for committed records, then hands over what is there: partition and record, without headers.
    fn poll(&mut self, wait: Duration, on_record: &mut dyn FnMut(i32, &RecordRef<'_>)) -> Result<(), LogError>;

    /// How many places of the topic it has not read yet.
    fn behind(&self) -> Result<u64, LogError>;
}

/// The log that a host works on: topics, and sessions on them.
pub trait Log: Groups + Send + Sync + 'static {
    /// Opens a worker's session. Fences an earlier one with the same transactional id.
    fn open(&self, options: &SessionOptions) -> Result<Box<dyn Session>, SessionError>;

    /// The topic, or [`LogError::NoTopic`].
    fn topic(&self, name: &TopicName) -> Result<TopicInfo, LogError>;

    /// How many partitions a topic has: cheaper than [`Log::topic`], for what is asked often.
    fn partitions(&self, name: &TopicName) -> Result<i32, LogError>;

    /// Identity and size of these topics, asked all at once; those that do not exist are left out.
    fn sizes(&self, names: &[TopicName]) -> Result<BTreeMap<TopicName, TopicSize>, LogError> {
        let mut sizes = BTreeMap::new();
        for name in names {
            match self.topic(name) {
                Ok(TopicInfo { partitions, id, .. }) => {
                    sizes.insert(name.clone(), TopicSize { id: id.unwrap_or_default(), partitions });
                }
                Err(LogError::NoTopic(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sizes)
    }

    /// All topics except the log's own internal ones.
    fn topics(&self) -> Result<Vec<(TopicName, TopicInfo)>, LogError>;

    /// Creates a topic; one that exists already is left as it is. On Kafka it has a replica on each of up to three brokers
    /// and, with three, `min.insync.replicas=2`.
    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError>;

    /// Appends records in order; each to the partition that its key hashes to (murmur2, as Java clients do), or to
    /// `partition` if given. Returns when they are durable. After an error a first part of them may be there.
    fn append(&self, topic: &TopicName, partition: Option<i32>, records: Vec<LogRecord>) -> Result<(), LogError>;

    /// Becomes the one writer of `id`, over all processes: an older one is fenced, and a transaction that it left open is
    /// over when this returns.
    fn exclusive(&self, id: &str) -> Result<Box<dyn ExclusiveWriter>, ExclusiveError>;

    /// Reads committed records from `offset` on (from the first that is left, if that is later): waits up to `wait`
    /// for the first, then returns what is there, about `bytes_max` at most.
    fn read(
        &self,
        topic: &TopicName,
        partition: i32,
        offset: i64,
        wait: Duration,
        bytes_max: usize,
    ) -> Result<Page, LogError>;

    /// A reader of the whole topic.
    fn follow(&self, topic: &TopicName) -> Result<Box<dyn TopicReader>, LogError>;

    /// First and end offset of a partition (committed records).
    fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError>;

    /// One past the last record of a partition, whether it is committed already or not (Kafka's high watermark).
    fn high_watermark(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError>;

    /// The offset in each partition of a topic that `start` means now.
    fn start_offsets(&self, topic: &TopicName, start: &Start) -> Result<Vec<GroupOffset>, LogError> {
        let partitions = self.partitions(topic)?;
        let found = start.moment().map(|at| self.offsets_at(topic, at)).transpose()?.unwrap_or_default();
        let offset = |partition: i32| {
            let found = found.get(partition as usize).copied().flatten();
            let next_offset = start.offset(topic, partition, self.offsets(topic, partition)?, found);
            Ok(GroupOffset { topic: topic.clone(), partition, next_offset, metadata: String::new() })
        };
        (0..partitions).map(offset).collect()
    }
}

/// Why a guest gave no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// It returned an error. The instance lives on, but what it holds in memory may be half done.
    #[error("{0}")]
    Returned(String),
    /// It trapped; the instance is gone.
    #[error("{message}")]
    Trapped { kind: TrapKind, message: String },
    /// Its output breaks the contract or a limit; the instance is not to be trusted.
    #[error("{message}")]
    Output { limit: bool, message: String },
    /// `init` refused the configuration.
    #[error("init refused the configuration: {0}")]
    Init(String),
    /// The host's own fault: no memory for an instance, say.
    #[error("{0}")]
    Host(String),
}

/// What ended a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrapKind {
    /// A panic, an index out of bounds, a stack overflow, ...
    Trap,
    /// Over `limits.batch_time`.
    Timeout,
    /// Over `limits.memory`.
    Memory,
    /// Over a limit of a store.
    State,
}

/// Where and when a batch runs.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub partition: Partition,
    pub now: Timestamp,
}

/// One instance of a module, for one task. Dropped after any error. Made on any thread, then used on one.
pub trait Guest: Send {
    /// What it writes to `state` counts once its caller ends the call: see [`State::end_call`].
    fn process(&mut self, batch: &Batch, call: Call, state: &mut State) -> Result<Output, GuestError>;

    /// Between batches, in the intervals that the spec says. The output is as that of one row without data.
    fn tick(&mut self, call: Call, state: &mut State) -> Result<Output, GuestError>;

    /// Memory in use, in bytes: all that counts against `limits.memory`.
    fn memory_bytes(&self) -> usize;
}

/// Makes instances of one revision's module, with its config. Shared by the workers of a transform.
pub trait GuestFactory: Send + Sync {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError>;

    /// A transaction with its instances' work on these partitions was committed.
    fn committed(&self, _partitions: &[Partition]) {}
}

/// Changelog positions that were committed with the offsets of a partition, by the store's name.
pub type Positions = BTreeMap<String, i64>;

/// Opens the state of one transform's partitions on this host.
pub trait States: Send + Sync {
    /// Begins to bring the state of a partition number up to date with its changelogs. `committed`: they reach at least
    /// that far, or something of them was lost. `afresh`: what this host still has of it is not to be trusted.
    ///
    /// Call it when everything that earlier owners of the partition may have committed is over (their offsets are read).
    fn open(&self, number: i32, committed: Positions, afresh: bool) -> Box<dyn Opening>;

    /// Whether every input still has the partitions that the changelogs have, as the log says now: else keys may be where
    /// their state is not ([`OpenError::Partitions`]).
    fn check_inputs(&self) -> Result<(), OpenError>;
}

/// A state on its way. Dropping it gives up.
pub trait Opening: Send {
    /// The state, once it is up to date, or why it never will be. Returns at once; after that there is nothing more.
    fn poll(&mut self) -> Option<Result<State, OpenError>>;

    /// Records of changelogs that were read so far, and about how many there are.
    fn progress(&self) -> (u64, u64);
}

/// Why a state could not be opened. It is tried again after a while.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A changelog topic does not reach as far as what was committed with it: it was deleted, or made anew.
    #[error("{0}")]
    Lost(String),
    /// An input has other partitions than the changelog topics.
    #[error("{0}")]
    Partitions(String),
    /// Kafka or the local disk failed.
    #[error("{0}")]
    Unavailable(String),
    /// A changelog topic has what a newer host wrote.
    #[error("{0}")]
    Newer(String),
}

impl OpenError {
    pub fn code(&self) -> Code {
        match self {
            Self::Lost(_) => Code::StateLost,
            Self::Partitions(_) => Code::PartitionsChanged,
            Self::Unavailable(_) => Code::StateUnavailable,
            Self::Newer(_) => Code::NewerFormat,
        }
    }
}

/// A compacted topic as a look-up: the last value of each key. Shared by all transforms that use it.
pub trait Table: Send + Sync {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
}
