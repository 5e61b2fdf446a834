//! The embedded log: an in-process, durable [`Log`] for `sandbar dev`, the demo and tests without a broker.
//!
//! One transaction's outputs and offsets are one atomic write of fjall, so there is no open transaction that a crash
//! could leave behind. It survives `kill -9` of the process. A power cut may lose the last moments, always as whole
//! transactions: nothing is synced to the disk. It is for one process: Kafka clients cannot connect, and a second
//! process that opens the directory is refused.
//!
//! | file | duty |
//! |---|---|
//! | `broker` | what sessions share, and the two locks |
//! | `session` | a worker's session |
//! | `exclusive` | the one writer of an id |
//! | `follow` | a reader of a whole topic |
//! | `group` | membership and assignment, a plain value |
//! | `offsets` | committed offsets, from outside of their group |
//! | `reader` | reading ahead, fair over partitions |
//! | `outputs`, `block` | a transaction in memory, and its form on disk |
//! | `store` | keys and values in fjall |
//! | `cleanup` | retention and compaction |
//!
//! Rules that users see:
//! * A partition without a committed offset is not read: whoever opens sessions commits its first offset before.
//! * Retention may delete records that a group has not read, as with Kafka: that partition is not read on.
//! * What a worker's transaction is too large for is done in smaller ones; a record whose own outputs are too large fails
//!   with E105.
//! * `at-least-once` gives exactly-once here: the path is the same.

pub(crate) mod block;
mod broker;
mod cleanup;
mod exclusive;
mod follow;
mod group;
mod offsets;
mod outputs;
mod reader;
mod session;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::model::names::TopicName;
use crate::ports::{
    ExclusiveError, ExclusiveWriter, Log, LogError, LogRecord, NewTopic, Page, Session, SessionError, SessionOptions,
    TopicInfo, TopicReader,
};
use block::{Entry, Records};
use broker::Broker;
use exclusive::EmbeddedExclusive;
use follow::EmbeddedTopicReader;
use session::EmbeddedSession;
use store::Topic;

/// Most partitions of a topic.
pub const PARTITIONS_MAX: i32 = 256;
/// Most topics of a log.
pub const TOPICS_MAX: usize = 10_000;

/// How an embedded log is set up. [`Options::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it lives; created if missing.
    pub dir: PathBuf,
    /// A partition that is larger loses its oldest records, unless its topic is compacted. Default: 1 GiB.
    pub retention_bytes: u64,
    /// Records that are older are deleted, unless their topic is compacted. Default: 7 days.
    pub retention_time: Duration,
    /// How long a compacted topic keeps the tombstone of a deleted key. Default: 24 hours.
    pub tombstone_retention: Duration,
    /// A group's member that does not poll for longer is evicted. Default: 45 s.
    pub poll_interval_max: Duration,
    /// Most that one transaction writes, in bytes, since it waits in memory; an append that is larger becomes several.
    /// Default: 64 MiB.
    pub transaction_bytes_max: usize,
    /// Largest record (key + value + headers), in bytes. Default: 1 MiB.
    pub record_bytes_max: usize,
    /// fjall's cache of blocks, in bytes. Default: 32 MiB.
    pub cache_bytes: u64,
}

impl Options {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            retention_bytes: 1024 * 1024 * 1024,
            retention_time: Duration::from_secs(7 * 24 * 3600),
            tombstone_retention: Duration::from_secs(24 * 3600),
            poll_interval_max: Duration::from_secs(45),
            transaction_bytes_max: 64 * 1024 * 1024,
            record_bytes_max: 1024 * 1024,
            cache_bytes: 32 * 1024 * 1024,
        }
    }
}

/// Why the embedded log failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{} is in use by another process: an embedded log is for one process at a time", dir.display())]
    Locked { dir: PathBuf },
    #[error("{} was written by another version of Sandbar: move it away, or use that version", dir.display())]
    Format { dir: PathBuf },
    #[error("the embedded log failed: {0}")]
    Storage(String),
    /// After a failed write nobody knows what is on disk; opening the log again finds out.
    #[error("the embedded log takes no more writes after a failed one; restart the process ({0})")]
    Failed(String),
}

impl Error {
    fn corrupt(what: &str) -> Self {
        Self::Storage(format!("{what} is corrupt on disk"))
    }
}

impl From<fjall::Error> for Error {
    fn from(error: fjall::Error) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<block::Corrupt> for Error {
    fn from(error: block::Corrupt) -> Self {
        Self::Storage(error.to_string())
    }
}

/// A durable log in this process.
pub struct EmbeddedLog {
    broker: Arc<Broker>,
    /// Where appended records without a key go on, round the partitions.
    turn: AtomicUsize,
}

impl EmbeddedLog {
    /// Opens the log in `options.dir`, or creates it. Cleans up what is due.
    pub fn open(options: Options) -> Result<Self, Error> {
        Ok(Self { broker: Arc::new(Broker::open(options)?), turn: AtomicUsize::new(0) })
    }

    pub fn dir(&self) -> &Path {
        &self.broker.options.dir
    }

    /// Bytes on disk, journals and all.
    pub fn disk_bytes(&self) -> Result<u64, Error> {
        self.broker.store.disk_bytes()
    }

    fn info(&self, topic: &Topic) -> TopicInfo {
        TopicInfo {
            partitions: topic.partitions,
            record_bytes_max: self.broker.options.record_bytes_max,
            sent_bytes_max: self.broker.options.record_bytes_max,
            compacted: Some(topic.compacted),
            needs_keys: Some(topic.compacted),
            tombstones_kept: None,
            deleted_after: None,
            // Topics are numbered as they are made, and no number is used again.
            id: Some(topic.id.to_string()),
        }
    }
}

fn unavailable(error: impl Into<Error>) -> LogError {
    LogError::Unavailable(error.into().to_string())
}

// === impl Log ===

impl Log for EmbeddedLog {
    fn open(&self, options: &SessionOptions) -> Result<Box<dyn Session>, SessionError> {
        Ok(Box::new(EmbeddedSession::open(Arc::clone(&self.broker), options)?))
    }

    fn topic(&self, name: &TopicName) -> Result<TopicInfo, LogError> {
        Ok(self.info(&self.broker.find(name)?))
    }

    fn partitions(&self, name: &TopicName) -> Result<i32, LogError> {
        Ok(self.topic(name)?.partitions)
    }

    fn topics(&self) -> Result<Vec<(TopicName, TopicInfo)>, LogError> {
        Ok(self.broker.state().topics.iter().map(|(name, topic)| (name.clone(), self.info(topic))).collect())
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        if !(1..=PARTITIONS_MAX).contains(&topic.partitions) {
            let message = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {}", topic.partitions);
            return Err(LogError::Refused(message));
        }
        if self.broker.find(&topic.name).is_err() && self.broker.state().topics.len() >= TOPICS_MAX {
            return Err(LogError::Refused(format!("the embedded log has {TOPICS_MAX} topics, which is the limit")));
        }
        self.broker.create_topic(&topic.name, topic.partitions, topic.compacted).map_err(unavailable)
    }

    fn append(&self, name: &TopicName, partition: Option<i32>, records: Vec<LogRecord>) -> Result<(), LogError> {
        let mut turn = self.turn.fetch_add(records.len(), Ordering::Relaxed);
        let mut left = records.as_slice();
        loop {
            let (mut outputs, taken) = self.broker.outputs(name, partition, left, turn)?;
            self.broker.write(&mut self.broker.writer(), &mut outputs, &[]).map_err(unavailable)?;
            left = &left[taken..];
            turn = turn.wrapping_add(taken);
            if left.is_empty() {
                return Ok(());
            }
        }
    }

    fn exclusive(&self, id: &str) -> Result<Box<dyn ExclusiveWriter>, ExclusiveError> {
        Ok(Box::new(EmbeddedExclusive::open(Arc::clone(&self.broker), id)))
    }

    fn read(
        &self,
        topic: &TopicName,
        partition: i32,
        offset: i64,
        wait: Duration,
        bytes_max: usize,
    ) -> Result<Page, LogError> {
        let id = self.broker.find_partition(topic, partition)?;
        let deadline = Instant::now() + wait.min(Duration::from_secs(3600));
        let extent = self.broker.wait_for(id, offset, deadline);
        let mut page = Page { records: Vec::new(), next_offset: offset.max(extent.start), end_offset: extent.end };
        let mut bytes = 0;
        while page.next_offset < extent.end && bytes < bytes_max.max(1) {
            let blocks = self.broker.read(id, page.next_offset, extent.end, 1).map_err(unavailable)?;
            let Some(block) = blocks.front() else {
                page.next_offset = extent.end;
                break;
            };
            let (mut records, mut headers) = (Records::new(&block.bytes, 0), Vec::new());
            let from = page.next_offset;
            page.next_offset = block.last + 1;
            while let Some(record) = records.next(&mut headers).map_err(unavailable)? {
                let offset = block.first + i64::from(record.delta);
                if offset < from {
                    continue;
                }
                if bytes >= bytes_max.max(1) {
                    page.next_offset = offset;
                    break;
                }
                let entry = Entry { timestamp: record.timestamp, key: record.key, value: record.value, headers: &headers };
                bytes += block::entry_bytes(&entry);
                page.records.push(owned(offset, &entry));
            }
        }
        Ok(page)
    }

    fn follow(&self, topic: &TopicName) -> Result<Box<dyn TopicReader>, LogError> {
        let partitions = self.topic(topic)?.partitions;
        let log = Self { broker: Arc::clone(&self.broker), turn: AtomicUsize::new(0) };
        Ok(Box::new(EmbeddedTopicReader::new(log, topic, partitions)))
    }

    fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError> {
        let id = self.broker.find_partition(topic, partition)?;
        let extent = self.broker.state().extent(id);
        Ok((extent.start, extent.end))
    }

    /// Nothing is ever written that is not committed.
    fn high_watermark(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        Ok(self.offsets(topic, partition)?.1)
    }
}

fn owned(offset: i64, entry: &Entry<'_>) -> LogRecord {
    LogRecord {
        offset,
        timestamp: entry.timestamp,
        key: entry.key.map(<[u8]>::to_vec),
        value: entry.value.map(<[u8]>::to_vec),
        headers: entry.headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect(),
    }
}

#[cfg(test)]
#[path = "embedded/tests.rs"]
mod tests;
