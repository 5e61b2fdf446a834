//! The embedded log as a [`Log`]: opens sessions, writers and readers, and appends outside of sessions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::broker::Broker;
use super::bulk::EmbeddedBulk;
use super::error::{Error, unavailable};
use super::exclusive::EmbeddedExclusive;
use super::options::Options;
use super::outputs::Outputs;
use super::session::EmbeddedSession;
use super::store::Topic;
use super::topic_reader::EmbeddedTopicReader;
use super::{cleanup, commit, page};
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::{
    BulkWriter, ExclusiveError, ExclusiveWriter, Log, LogError, LogRecord, NewTopic, PARTITIONS_MAX, Page, Session,
    SessionError, SessionOptions, TopicInfo, TopicReader,
};

/// Most topics of a log.
pub const TOPICS_MAX: usize = 10_000;

/// A durable log in this process.
pub struct EmbeddedLog {
    pub(super) broker: Arc<Broker>,
    /// The partition of the next appended record without a key, counted on and on.
    turn: AtomicUsize,
}

impl EmbeddedLog {
    /// Opens the log in `options.dir`, or creates it. Cleans it up where that is due.
    pub fn open(options: Options) -> Result<Self, Error> {
        let broker = Broker::open(options)?;
        cleanup::all(&broker, &mut broker.writer(), Timestamp::now())?;
        Ok(Self { broker: Arc::new(broker), turn: AtomicUsize::new(0) })
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
        Ok(self.broker.metadata().topics.iter().map(|(name, topic)| (name.clone(), self.info(topic))).collect())
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        if !(1..=PARTITIONS_MAX).contains(&topic.partitions) {
            let message = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {}", topic.partitions);
            return Err(LogError::Full(message));
        }
        if self.broker.find(&topic.name).is_err() && self.broker.metadata().topics.len() >= TOPICS_MAX {
            return Err(LogError::Full(format!("the embedded log has {TOPICS_MAX} topics, which is the limit")));
        }
        self.broker.create_topic(&topic.name, topic.partitions, topic.compacted).map_err(unavailable)
    }

    fn append(&self, name: &TopicName, partition: Option<i32>, records: Vec<LogRecord>) -> Result<(), LogError> {
        let mut turn = self.turn.fetch_add(records.len(), Ordering::Relaxed);
        let mut left = records.as_slice();
        loop {
            let mut outputs = Outputs::new(&self.broker.options);
            let taken = commit::buffer(&self.broker, &mut outputs, name, partition, left, turn)?;
            commit::commit(&self.broker, &mut self.broker.writer(), &mut outputs, &[]).map_err(unavailable)?;
            left = &left[taken..];
            turn = turn.wrapping_add(taken);
            if left.is_empty() {
                return Ok(());
            }
        }
    }

    fn bulk(&self, id: &str, _: Duration) -> Result<Box<dyn BulkWriter>, ExclusiveError> {
        Ok(Box::new(EmbeddedBulk::open(Arc::clone(&self.broker), id)))
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
        page::read(&self.broker, (topic, partition, offset), wait, bytes_max)
    }

    fn follow(&self, topic: &TopicName, from: Option<&BTreeMap<i32, i64>>) -> Result<Box<dyn TopicReader>, LogError> {
        let partitions = self.topic(topic)?.partitions;
        let from = from.cloned().unwrap_or_else(|| (0..partitions).map(|partition| (partition, 0)).collect());
        Ok(Box::new(EmbeddedTopicReader::new(Arc::clone(&self.broker), topic, from)))
    }

    fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError> {
        let id = self.broker.find_partition(topic, partition)?;
        let extent = self.broker.metadata().extent(id);
        Ok((extent.start, extent.end))
    }

    /// Nothing is ever written that is not committed.
    fn high_watermark(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        Ok(self.offsets(topic, partition)?.1)
    }
}
