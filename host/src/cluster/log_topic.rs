//! The topics of the transforms' log lines and events, which stay for a day, and of samples of records, for minutes.
//!
//! | topic | key | value |
//! |---|---|---|
//! | `_sandbar.<cluster>.logs` | `<team>/<name>` | [`LogEntry`](crate::model::log_entry::LogEntry) as JSON |
//! | `_sandbar.<cluster>.samples` | `<team>/<name>` | [`SampleValue`](super::sample::SampleValue) as JSON |
//!
//! Any host reads them for whoever asks it. A reader's place is an offset that the client has, so the host holds
//! nothing for it: a client that comes back, to whichever host, goes on where it was. All of a transform is in one
//! partition, that of its key. Nothing but the API's answers depends on these topics.

use std::sync::Arc;
use std::time::Duration;

use crate::model::murmur2::partition_for;
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError, LogRecord, NewTopic};

use super::tail_subscriptions::TailSubscriptions;

/// Time that log lines and events stay by default (`logs_retention`).
pub const LOGS_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// Lines of one transform are found without reading those of all others; eight are few to create on each cluster.
const PARTITIONS: i32 = 8;
/// Samples are for whoever looks now.
const SAMPLES_RETENTION: Duration = Duration::from_secs(600);
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The topics, as a host reads and writes them.
#[derive(Clone)]
pub struct LogTopics {
    pub logs: LogTopic,
    pub samples: LogTopic,
    /// The clients that look at samples through this host.
    pub tails: Arc<TailSubscriptions>,
}

/// One of the topics.
#[derive(Clone)]
pub struct LogTopic {
    log: Arc<dyn Log>,
    topic: TopicName,
    retention: Duration,
}

/// A place in one of the topics, for one transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPosition {
    partition: i32,
    offset: i64,
    key: Vec<u8>,
}

/// The records of one read.
pub struct LogPage {
    /// The records of the transform that have values.
    pub records: Vec<LogRecord>,
    /// The end of the partition at the time of the read.
    pub end_offset: i64,
}

// === impl LogTopics ===

impl LogTopics {
    /// Log lines are kept for `retention`.
    pub fn new(log: &Arc<dyn Log>, cluster: &ClusterName, retention: Duration) -> Self {
        let topic_of = |name: &str, retention| LogTopic { log: log.clone(), topic: cluster.control_topic(name), retention };
        Self { logs: topic_of("logs", retention), samples: topic_of("samples", SAMPLES_RETENTION), tails: Arc::default() }
    }

    /// Creates the topics that are missing.
    pub fn ensure(&self) -> Result<(), LogError> {
        self.logs.ensure()?;
        self.samples.ensure()
    }
}

// === impl LogPosition ===

impl LogPosition {
    /// Moves to the record at `offset`.
    pub fn at(self, offset: i64) -> Self {
        Self { offset, ..self }
    }

    /// Moves behind the record at `offset`.
    pub fn after(self, offset: i64) -> Self {
        self.at(offset.saturating_add(1))
    }

    pub fn offset(&self) -> i64 {
        self.offset
    }
}

// === impl LogTopic ===

impl LogTopic {
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    fn ensure(&self) -> Result<(), LogError> {
        match self.log.topic(&self.topic) {
            Err(LogError::NoTopic(_)) => {
                tracing::info!(topic = %self.topic, "creating control topic");
                let name = self.topic.clone();
                let retention = Some(self.retention);
                self.log.create_topic(&NewTopic { name, partitions: PARTITIONS, compacted: false, retention })
            }
            found => found.map(drop),
        }
    }

    pub fn append(&self, records: Vec<LogRecord>) -> Result<(), LogError> {
        self.log.append(&self.topic, None, records)
    }

    /// The place of a transform's first record from `since` on; without `since`, of its next record.
    pub fn position(&self, id: &TransformId, since: Option<Timestamp>) -> Result<LogPosition, LogError> {
        let key = id.to_string().into_bytes();
        let partition = partition_for(&key, self.log.topic(&self.topic)?.partitions);
        let found = match since {
            Some(since) => self.log.offsets_at(&self.topic, since)?.get(partition as usize).copied().flatten(),
            None => None,
        };
        let offset = found.map_or_else(|| Ok(self.log.offsets(&self.topic, partition)?.1), Ok)?;
        Ok(LogPosition { partition, offset, key })
    }

    /// The present end of a position's partition.
    pub fn end_offset(&self, position: &LogPosition) -> Result<i64, LogError> {
        Ok(self.log.offsets(&self.topic, position.partition)?.1)
    }

    /// Reads on, and moves the position: waits up to `wait` for a first record, of whichever transform.
    pub fn read(&self, position: &mut LogPosition, wait: Duration) -> Result<LogPage, LogError> {
        let page = self.log.read(&self.topic, position.partition, position.offset, wait, PAGE_BYTES_MAX)?;
        // A topic that was recreated begins again.
        let is_recreated = page.records.is_empty() && page.end_offset < position.offset;
        position.offset = if is_recreated { page.end_offset } else { page.next_offset };
        let ours = |record: &LogRecord| record.key.as_ref() == Some(&position.key) && record.value.is_some();
        Ok(LogPage { records: page.records.into_iter().filter(ours).collect(), end_offset: page.end_offset })
    }
}
