//! A Kafka cluster as a [`Log`]: opens sessions, writers and readers, and appends outside of sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::config::{CALL_TIMEOUT, KafkaConfig, READER_GROUP};
use super::deliver::deliver;
use super::error::{of_topic, unavailable};
use super::exclusive::KafkaExclusive;
use super::raw::{Client, END, PartitionList, Position, RawError};
use super::reader::ReaderCache;
use super::session::KafkaSession;
use super::topic_reader::KafkaTopicReader;
use super::topics::Topics;
use crate::model::names::TopicName;
use crate::ports::{
    ExclusiveError, ExclusiveWriter, Log, LogError, LogRecord, NewTopic, Page, PartitionEnds, Session, SessionError,
    SessionOptions, TopicInfo, TopicReader, TopicSize,
};

/// A Kafka cluster.
pub struct KafkaLog {
    pub(super) config: KafkaConfig,
    pub(super) topics: Topics,
    readers: ReaderCache,
    /// A writer for each topic that is appended to, which are a few control topics: one that takes nothing holds up no
    /// other.
    writers: Mutex<BTreeMap<TopicName, Arc<Mutex<Option<Client>>>>>,
    /// Asks for ends as one that reads uncommitted records.
    watermarks: Mutex<Option<Client>>,
    /// Asks for ends as one that reads committed records.
    ends: Mutex<Option<Client>>,
}

impl KafkaLog {
    /// Makes the clients; the brokers need not be there yet.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        let topics = Topics::new(&config)?;
        Ok(Self {
            config,
            topics,
            readers: ReaderCache::default(),
            writers: Mutex::default(),
            watermarks: Mutex::default(),
            ends: Mutex::default(),
        })
    }
}

/// Calls a client that is kept for the next call, unless the call fails.
fn with_client<T>(
    kept: &Mutex<Option<Client>>,
    open: impl FnOnce() -> Result<Client, RawError>,
    call: impl FnOnce(&Client) -> Result<T, LogError>,
) -> Result<T, LogError> {
    let mut kept = kept.lock();
    let client = match kept.take() {
        Some(client) => client,
        None => open().map_err(unavailable)?,
    };
    let answer = call(&client)?;
    *kept = Some(client);
    Ok(answer)
}

impl Log for KafkaLog {
    fn open(&self, options: &SessionOptions) -> Result<Box<dyn Session>, SessionError> {
        self.open_unless_stopped(options, &mut || false)
    }

    fn open_unless_stopped(
        &self,
        options: &SessionOptions,
        is_stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Box<dyn Session>, SessionError> {
        let batch_bytes = match self.topics.wait_reachable(options.outputs.first(), is_stopped) {
            Ok(()) => self.topics.least_record_bytes_max(&options.outputs),
            Err(_) if is_stopped() => return Err(SessionError::Restart("the opening was stopped".into())),
            // The producer says more of the outage.
            Err(_) => usize::MAX,
        };
        Ok(Box::new(KafkaSession::open(&self.config, options, batch_bytes, is_stopped)?))
    }

    fn topic(&self, name: &TopicName) -> Result<TopicInfo, LogError> {
        self.topics.info(name)
    }

    fn sizes(&self, names: &[TopicName]) -> Result<BTreeMap<TopicName, TopicSize>, LogError> {
        self.topics.sizes(names)
    }

    fn partitions(&self, name: &TopicName) -> Result<i32, LogError> {
        self.topics.partitions(name)
    }

    fn topics(&self) -> Result<Vec<(TopicName, TopicInfo)>, LogError> {
        self.topics.list()
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        self.topics.create(topic)
    }

    fn append(&self, topic: &TopicName, partition: Option<i32>, records: Vec<LogRecord>) -> Result<(), LogError> {
        let writer = self.writers.lock().entry(topic.clone()).or_default().clone();
        with_client(
            &writer,
            || Client::producer(&self.config.writer()),
            |client| {
                let handle = client.topic(topic.as_str()).map_err(unavailable)?;
                deliver(client, &handle, partition, &records).map_err(|error| of_topic(topic, error))
            },
        )
    }

    fn exclusive(&self, id: &str) -> Result<Box<dyn ExclusiveWriter>, ExclusiveError> {
        Ok(Box::new(KafkaExclusive::open(&self.config, id)?))
    }

    fn read(
        &self,
        topic: &TopicName,
        partition: i32,
        offset: i64,
        wait: Duration,
        bytes_max: usize,
    ) -> Result<Page, LogError> {
        let page = self.readers.read(&self.config, (topic, partition, offset), wait, bytes_max)?;
        let (_, end_offset) = self.offsets(topic, partition)?;
        Ok(Page { end_offset, ..page })
    }

    fn follow(&self, topic: &TopicName) -> Result<Box<dyn TopicReader>, LogError> {
        let partitions = self.partitions(topic)?;
        Ok(Box::new(KafkaTopicReader::open(&self.config, topic, partitions)?))
    }

    fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError> {
        self.topics.offsets(topic, partition)
    }

    /// One request to each leader, for whatever number of partitions. One without a leader is not known.
    fn ends(&self, partitions: &[(TopicName, i32)]) -> Result<PartitionEnds, LogError> {
        let mut list = PartitionList::new();
        partitions.iter().for_each(|(topic, partition)| list.add(topic.as_str(), *partition, END, ""));
        with_client(
            &self.ends,
            || Client::consumer(&self.config.reader(READER_GROUP)),
            |client| {
                let asked = client.look_up_offsets(&list, CALL_TIMEOUT);
                let known = list.entries().into_iter().filter(|position| position.offset >= 0);
                let end = |position: Position| Some(((position.topic.parse().ok()?, position.partition), position.offset));
                let ends: BTreeMap<_, _> = known.filter_map(end).collect();
                match asked {
                    Err(error) if ends.is_empty() => Err(unavailable(error)),
                    _ => Ok(Arc::new(ends)),
                }
            },
        )
    }

    fn high_watermark(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        with_client(
            &self.watermarks,
            || Client::producer(&self.config.uncommitted()),
            |client| {
                let ends = client.query_watermarks(topic.as_str(), partition, CALL_TIMEOUT);
                ends.map(|(_, end)| end).map_err(unavailable)
            },
        )
    }
}
