//! The log that a host works on: topics, and sessions on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::bulk::BulkWriter;
use super::exclusive::{ExclusiveError, ExclusiveWriter};
use super::groups::{GroupOffset, Groups};
use super::session::{Session, SessionError, SessionOptions};
use super::topic::{LogError, LogRecord, NewTopic, Page, TopicInfo, TopicSize};
use crate::model::batch::RecordRef;
use crate::model::names::{TeamName, TopicName};
use crate::model::spec::Start;

/// The ends of partitions: one past the last committed record of each.
pub type PartitionEnds = Arc<BTreeMap<(TopicName, i32), i64>>;

/// Reads partitions of a topic, outside of any group.
pub trait TopicReader: Send {
    /// Waits up to `wait` for committed records, then hands over those that are there: partition and record.
    /// After an error a new reader is needed.
    fn poll(&mut self, wait: Duration, on_record: &mut dyn FnMut(i32, &RecordRef<'_>)) -> Result<(), LogError>;

    /// The offset to go on from, of each of its partitions: past control records that were read, too.
    fn positions(&self) -> &BTreeMap<i32, i64>;

    /// The number of offsets of its partitions that it has not read yet. A partition from which no answer has come counts as
    /// one at least: it may be one that must not be read.
    fn behind(&self) -> Result<u64, LogError>;
}

/// The log that a host works on: topics, and sessions on them. Every call blocks for one exchange with the log, within its
/// configured timeouts, unless it says otherwise; a failed one is classed by [`LogError`].
pub trait Log: Groups + Send + Sync + 'static {
    /// Opens a worker's session. Fences an earlier one with the same transactional id.
    fn open(&self, options: &SessionOptions) -> Result<Box<dyn Session>, SessionError>;

    /// Opens a session as [`Log::open`] does, and gives up soon after `is_stopped` returns true.
    fn open_unless_stopped(
        &self,
        options: &SessionOptions,
        _is_stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Box<dyn Session>, SessionError> {
        self.open(options)
    }

    /// The log with a team's own rights, if the team has credentials of its own: see [`log_of`].
    fn of_team(&self, _team: &TeamName) -> Option<Arc<dyn Log>> {
        None
    }

    /// The topic, or [`LogError::NoTopic`].
    fn topic(&self, name: &TopicName) -> Result<TopicInfo, LogError>;

    /// The number of partitions of a topic. Cheaper than [`Log::topic`], for frequent questions.
    fn partitions(&self, name: &TopicName) -> Result<i32, LogError>;

    /// Identity and size of these topics, asked all at once. Leaves out those that do not exist.
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

    /// The principals, beside the host's own, that the log's rules allow to write to a topic. `None`: there are no rules, or
    /// the host may not ask for them.
    fn foreign_writers(&self, _topic: &TopicName) -> Result<Option<BTreeSet<String>>, LogError> {
        Ok(None)
    }

    /// All topics except the log's own internal ones.
    fn topics(&self) -> Result<Vec<(TopicName, TopicInfo)>, LogError>;

    /// Creates a topic. Leaves one that exists already unchanged. On Kafka the topic has a replica on each of up to three
    /// brokers and, with three, `min.insync.replicas=2`.
    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError>;

    /// Appends records in order; each to the partition that its key hashes to (murmur2, as Java clients do), or to
    /// `partition` if given. Returns when they are durable. After an error a first part of them may be there.
    fn append(&self, topic: &TopicName, partition: Option<i32>, records: Vec<LogRecord>) -> Result<(), LogError>;

    /// Becomes the one writer of `id`, over all processes: an older one is fenced, and a transaction that it left open is
    /// over when this returns.
    fn exclusive(&self, id: &str) -> Result<Box<dyn ExclusiveWriter>, ExclusiveError>;

    /// Begins one transaction of any size as the one writer of `id`, as in [`Log::exclusive`]. The log aborts it by itself if it
    /// is not over after `time_max`.
    fn bulk(&self, id: &str, time_max: Duration) -> Result<Box<dyn BulkWriter>, ExclusiveError> {
        let _ = (id, time_max);
        Err(LogError::Refused("this log takes no transaction in parts".into()).into())
    }

    /// Reads committed records from `offset` on (from the first that is left, if that is later). Waits up to `wait` for
    /// the first, then returns the records that are there, about `bytes_max` at most.
    fn read(
        &self,
        topic: &TopicName,
        partition: i32,
        offset: i64,
        wait: Duration,
        bytes_max: usize,
    ) -> Result<Page, LogError>;

    /// A reader of the partitions that `from` names, each from its offset on; None: of all, from their starts.
    fn follow(&self, topic: &TopicName, from: Option<&BTreeMap<i32, i64>>) -> Result<Box<dyn TopicReader>, LogError>;

    /// First and end offset of a partition (committed records).
    fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError>;

    /// One past the last committed record of a partition to which the writers of one id write, and nobody else. Unlike the
    /// end in [`Log::offsets`] it does not count the control record of the last transaction, of which a reader learns late.
    fn written_end(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        Ok(self.offsets(topic, partition)?.1)
    }

    /// First and end offset of every partition of a topic (committed records), by number.
    fn bounds(&self, topic: &TopicName) -> Result<Vec<(i64, i64)>, LogError> {
        (0..self.partitions(topic)?).map(|partition| self.offsets(topic, partition)).collect()
    }

    /// The ends of these partitions (committed records), as [`Log::offsets`] tells them. Leaves out those that are not known.
    fn ends(&self, partitions: &[(TopicName, i32)]) -> Result<PartitionEnds, LogError> {
        let end = |at: &(TopicName, i32)| Some((at.clone(), self.offsets(&at.0, at.1).ok()?.1));
        Ok(Arc::new(partitions.iter().filter_map(end).collect()))
    }

    /// One past the last record of a partition, committed or not (Kafka's high watermark).
    fn high_watermark(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError>;

    /// The offset in each partition of a topic that `start` means now.
    fn start_offsets(&self, topic: &TopicName, start: &Start) -> Result<Vec<GroupOffset>, LogError> {
        let found = start.moment().map(|at| self.offsets_at(topic, at)).transpose()?.unwrap_or_default();
        let offset = |(partition, bounds): (i32, (i64, i64))| {
            let found = found.get(partition as usize).copied().flatten();
            let next_offset = start.offset(topic, partition, bounds, found);
            GroupOffset { topic: topic.clone(), partition, next_offset, metadata: String::new() }
        };
        Ok((0..).zip(self.bounds(topic)?).map(offset).collect())
    }
}

/// The log as a team sees it: every topic and group of a team's transforms is asked for, read and written through this one.
/// The log refuses what the team may not do. Without credentials of the team it is the host's own.
pub fn log_of(log: &Arc<dyn Log>, team: &TeamName) -> Arc<dyn Log> {
    log.of_team(team).unwrap_or_else(|| log.clone())
}
