//! The topics of what transforms say: log lines and events for a day, samples of records for minutes.
//!
//! | topic | key | value |
//! |---|---|---|
//! | `_sandbar.<cluster>.logs` | `<team>/<name>` | [`LogEntry`](crate::model::log_entry::LogEntry) as JSON |
//! | `_sandbar.<cluster>.samples` | `<team>/<name>` | [`Sampled`](super::sampled::Sampled) as JSON |
//!
//! Any host reads them for whoever asks it. A reader's place is an offset that the client has, so the host holds
//! nothing for it: a client that comes back, to whichever host, goes on where it was. All of a transform is in one
//! partition, that of its key. Nothing depends on these topics but what people see.

use std::sync::Arc;
use std::time::Duration;

use crate::model::murmur2::partition_for;
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError, LogRecord, NewTopic};

use super::tail_subscriptions::TailSubscriptions;

/// Time that log lines and events stay by default (`logs_retention`).
pub const LOGS_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// So that one transform's lines are found without reading those of all others.
const PARTITIONS: i32 = 8;
/// Samples are for whoever looks now.
const SAMPLES_RETENTION: Duration = Duration::from_secs(600);
const PAGE_BYTES_MAX: usize = 1 << 20;

/// What a host reads and writes of them.
#[derive(Clone)]
pub struct LogTopics {
    pub logs: LogTopic,
    pub samples: LogTopic,
    /// Who looks at samples through this host.
    pub tails: Arc<TailSubscriptions>,
}

/// One of the topics.
#[derive(Clone)]
pub struct LogTopic {
    log: Arc<dyn Log>,
    topic: TopicName,
    retention: Duration,
}

/// A place in a feed, for one transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    partition: i32,
    offset: i64,
    key: Vec<u8>,
}

/// What a read found.
pub struct Found {
    /// Those of the transform, with values.
    pub records: Vec<LogRecord>,
    /// Where the partition ended.
    pub end_offset: i64,
}

// === impl LogTopics ===

impl LogTopics {
    /// Log lines are kept for `retention`.
    pub fn new(log: &Arc<dyn Log>, cluster: &ClusterName, retention: Duration) -> Self {
        let feed = |name: &str, retention| {
            let topic = format!("_sandbar.{cluster}.{name}").parse().expect("a cluster's name fits into a topic's");
            LogTopic { log: log.clone(), topic, retention }
        };
        Self { logs: feed("logs", retention), samples: feed("samples", SAMPLES_RETENTION), tails: Arc::default() }
    }

    /// Creates what is missing.
    pub fn ensure(&self) -> Result<(), LogError> {
        self.logs.ensure()?;
        self.samples.ensure()
    }
}

// === impl Position ===

impl Position {
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
                let (name, retention) = (self.topic.clone(), Some(self.retention));
                self.log.create_topic(&NewTopic { name, partitions: PARTITIONS, compacted: false, retention })
            }
            found => found.map(drop),
        }
    }

    pub fn append(&self, records: Vec<LogRecord>) -> Result<(), LogError> {
        self.log.append(&self.topic, None, records)
    }

    /// Where a transform's records from `since` on begin; without, those that are still to come.
    pub fn position(&self, id: &TransformId, since: Option<Timestamp>) -> Result<Position, LogError> {
        let key = id.to_string().into_bytes();
        let partition = partition_for(&key, self.log.topic(&self.topic)?.partitions);
        let found = match since {
            Some(since) => self.log.offsets_at(&self.topic, since)?.get(partition as usize).copied().flatten(),
            None => None,
        };
        let offset = found.map_or_else(|| Ok(self.log.offsets(&self.topic, partition)?.1), Ok)?;
        Ok(Position { partition, offset, key })
    }

    /// Where the partition of a position ends now.
    pub fn end_offset(&self, position: &Position) -> Result<i64, LogError> {
        Ok(self.log.offsets(&self.topic, position.partition)?.1)
    }

    /// Reads on, and moves the position: waits up to `wait` for a first record, of whichever transform.
    pub fn read(&self, position: &mut Position, wait: Duration) -> Result<Found, LogError> {
        let page = self.log.read(&self.topic, position.partition, position.offset, wait, PAGE_BYTES_MAX)?;
        // A topic that was made anew begins again.
        let anew = page.records.is_empty() && page.end_offset < position.offset;
        position.offset = if anew { page.end_offset } else { page.next_offset };
        let ours = |record: &LogRecord| record.key.as_ref() == Some(&position.key) && record.value.is_some();
        Ok(Found { records: page.records.into_iter().filter(ours).collect(), end_offset: page.end_offset })
    }
}
