//! A Kafka cluster as a [`Log`]: opens sessions, writers and readers, and appends outside of sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bulk::KafkaBulk;
use super::client_pool::ClientPool;
use super::config::{CALL_TIMEOUT, READER_GROUP};
use super::credentials::{Connection, Credentials};
use super::deliver::deliver;
use super::departed::Departed;
use super::error::{of_topic, unavailable};
use super::exclusive::KafkaExclusive;
use super::options::KafkaConfig;
use super::raw::{Client, END, FIRST, PartitionList, Position, RawError};
use super::reader::ReaderCache;
use super::retry::led;
use super::session::KafkaSession;
use super::team_logs::TeamLogs;
use super::topic_reader::KafkaTopicReader;
use super::topics::Topics;
use crate::model::codes::Code;
use crate::model::names::{TeamName, TopicName};
use crate::ports::{
    BulkWriter, ExclusiveError, ExclusiveWriter, Log, LogError, LogRecord, NewTopic, Page, PartitionEnds, Session,
    SessionError, SessionOptions, TopicInfo, TopicReader, TopicSize,
};

/// A client that is kept for the next call, with the generation of its properties.
type Kept = Mutex<Option<(u64, Client)>>;

/// Partitions of one question for their ends.
const ENDS_AT_ONCE: usize = 256;

/// A Kafka cluster, with the rights of the host or of one team.
pub struct KafkaLog {
    pub(super) connection: Connection,
    teams: TeamLogs<Self>,
    pub(super) topics: Topics,
    readers: ReaderCache,
    departed: Departed,
    /// A writer for each topic that is appended to, which are a few control topics: one that takes nothing holds up no
    /// other.
    writers: Mutex<BTreeMap<TopicName, Arc<Kept>>>,
    /// Asks for ends as one that reads committed records.
    ends: Kept,
    /// Clients that ask for offsets of groups, and for the bounds of topics: such a question waits for a leader, and holds up
    /// no other.
    pub(super) outsiders: ClientPool,
    /// Clients that ask for ends as one that reads uncommitted records.
    watermarks: ClientPool,
}

impl KafkaLog {
    /// Reads the properties and follows them; the brokers need not be there yet.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        let credentials = Credentials::open(&config)?;
        Credentials::follow(&credentials).map_err(|error| LogError::Unavailable(error.to_string()))?;
        let log = Self::on(Connection::new(&config.brokers, &credentials, None));
        // Properties that librdkafka does not take are told at the start. A source of tokens may come up later.
        match log.topics.admin() {
            Ok(_) | Err(LogError::NoToken(_)) => Ok(log),
            Err(error) => Err(error),
        }
    }

    pub(super) fn on(connection: Connection) -> Self {
        Self {
            topics: Topics::new(connection.clone()),
            departed: Departed::new(connection.clone()),
            connection,
            teams: TeamLogs::default(),
            readers: ReaderCache::default(),
            writers: Mutex::default(),
            ends: Mutex::default(),
            outsiders: ClientPool::default(),
            watermarks: ClientPool::default(),
        }
    }
}

/// Calls a client that is kept for the next call, unless the call fails.
fn with_client<T>(
    kept: &Kept,
    generation: u64,
    open: impl FnOnce() -> Result<Client, RawError>,
    call: impl FnOnce(&Client) -> Result<T, LogError>,
) -> Result<T, LogError> {
    let mut kept = kept.lock();
    let usable = kept.take().filter(|(of, _)| *of == generation);
    let client = match usable.map(|(_, client)| client) {
        Some(client) => client,
        None => open().map_err(unavailable)?,
    };
    let answer = call(&client)?;
    *kept = Some((generation, client));
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
            Err(LogError::Unauthorized(message)) => {
                return Err(SessionError::Ended { code: Code::Unauthorized, message });
            }
            Err(LogError::NoToken(message)) => return Err(SessionError::Ended { code: Code::KafkaToken, message }),
            Err(_) if is_stopped() => return Err(SessionError::Restart("the opening was stopped".into())),
            // The producer says more of the outage.
            Err(_) => usize::MAX,
        };
        Ok(Box::new(KafkaSession::open(&self.connection, &self.departed, options, batch_bytes, is_stopped)?))
    }

    fn of_team(&self, team: &TeamName) -> Option<Arc<dyn Log>> {
        let connection = self.connection.of_team(team)?;
        Some(self.teams.get(team, Instant::now(), || Self::on(connection)))
    }

    fn topic(&self, name: &TopicName) -> Result<TopicInfo, LogError> {
        self.topics.info(name)
    }

    fn sizes(&self, names: &[TopicName]) -> Result<BTreeMap<TopicName, TopicSize>, LogError> {
        self.topics.sizes(names)
    }

    fn foreign_writers(&self, topic: &TopicName) -> Result<Option<BTreeSet<String>>, LogError> {
        let properties = self.connection.properties().map_err(unavailable)?;
        self.topics.foreign_writers(topic, properties.get("sasl.username"))
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
            self.connection.generation(),
            || self.connection.writer(),
            |client| {
                let handle = client.topic(topic.as_str()).map_err(unavailable)?;
                deliver(client, &handle, partition, &records).map_err(|error| of_topic(topic, error))
            },
        )
    }

    fn exclusive(&self, id: &str) -> Result<Box<dyn ExclusiveWriter>, ExclusiveError> {
        Ok(Box::new(KafkaExclusive::open(&self.connection, id)?))
    }

    fn bulk(&self, id: &str, time_max: Duration) -> Result<Box<dyn BulkWriter>, ExclusiveError> {
        Ok(Box::new(KafkaBulk::open(&self.connection, id, time_max)?))
    }

    fn read(
        &self,
        topic: &TopicName,
        partition: i32,
        offset: i64,
        wait: Duration,
        bytes_max: usize,
    ) -> Result<Page, LogError> {
        let ask_end = || Ok(self.offsets(topic, partition)?.1);
        self.readers.read(&self.connection, (topic, partition, offset), wait, bytes_max, ask_end)
    }

    fn follow(&self, topic: &TopicName, from: Option<&BTreeMap<i32, i64>>) -> Result<Box<dyn TopicReader>, LogError> {
        let from = match from {
            Some(from) => from.clone(),
            None => (0..).zip(self.bounds(topic)?).map(|(partition, (first, _))| (partition, first)).collect(),
        };
        Ok(Box::new(KafkaTopicReader::open(&self.connection, topic, from)?))
    }

    fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError> {
        self.topics.offsets(topic, partition)
    }

    /// The last stable offset is the place after a control record: transactions of one id do not overlap.
    fn written_end(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        let (_, end_offset) = self.offsets(topic, partition)?;
        Ok((end_offset - 1).max(0))
    }

    /// Two requests to each leader, for whatever number of partitions.
    fn bounds(&self, topic: &TopicName) -> Result<Vec<(i64, i64)>, LogError> {
        let partitions = self.partitions(topic)?;
        let open = || self.connection.reader(READER_GROUP);
        let asked = self.outsiders.with(self.connection.generation(), open, |client| {
            let ask = |bound: i64| {
                let mut list = PartitionList::new();
                (0..partitions).for_each(|partition| list.add(topic.as_str(), partition, bound, ""));
                client.look_up_offsets(&list, CALL_TIMEOUT)?;
                Ok(list.entries().into_iter().map(|position| position.offset))
            };
            let ask = |bound| led(client, || ask(bound));
            Ok(ask(FIRST)?.zip(ask(END)?).collect())
        });
        asked.map_err(|error| of_topic(topic, error))
    }

    /// One request to each leader for every few hundred partitions: librdkafka looks for each of a list from its beginning. A
    /// partition without a leader is not known.
    fn ends(&self, partitions: &[(TopicName, i32)]) -> Result<PartitionEnds, LogError> {
        with_client(
            &self.ends,
            self.connection.generation(),
            || self.connection.reader(READER_GROUP),
            |client| {
                let mut ends = BTreeMap::new();
                for part in partitions.chunks(ENDS_AT_ONCE) {
                    let mut list = PartitionList::new();
                    part.iter().for_each(|(topic, partition)| list.add(topic.as_str(), *partition, END, ""));
                    let asked = client.look_up_offsets(&list, CALL_TIMEOUT);
                    let known = list.entries().into_iter().filter(|position| position.offset >= 0);
                    let end =
                        |position: Position| Some(((position.topic.parse().ok()?, position.partition), position.offset));
                    let before = ends.len();
                    ends.extend(known.filter_map(end));
                    if let Err(error) = asked
                        && ends.len() == before
                    {
                        return Err(unavailable(error));
                    }
                }
                Ok(Arc::new(ends))
            },
        )
    }

    fn high_watermark(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        let open = || self.connection.uncommitted();
        let asked = self.watermarks.with(self.connection.generation(), open, |client| {
            led(client, || client.query_watermarks(topic.as_str(), partition, CALL_TIMEOUT))
        });
        asked.map(|(_, end)| end).map_err(unavailable)
    }
}
