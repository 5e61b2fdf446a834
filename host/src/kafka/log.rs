//! Topics, and reading and writing outside a session: what the catalog, the API and status need.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as RdNewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys::bindings::rd_kafka_resp_err_t as Code;

use super::config::{KafkaConfig, RECORD_BYTES_MAX};
use super::exclusive::KafkaExclusive;
use super::follow::KafkaTopicReader;
use super::raw::{
    CLIENT_THREADS, Client, Described, Fetched, PartitionList, Produced, RawError, TopicHandle, describe_topics,
};
use super::session::KafkaSession;
use crate::model::names::TopicName;
use crate::ports::{
    ExclusiveError, ExclusiveWriter, Log, LogError, LogRecord, NewTopic, Page, Session, SessionError, SessionOptions,
    TopicInfo, TopicReader, TopicSize,
};
use crate::threads;

pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// What a broker takes by default (`message.max.bytes`), less the batch's own header.
const RECORD_BYTES_DEFAULT: usize = 1_048_588 - 1024;
/// Messages that are taken from librdkafka at a time.
const FETCH_RECORDS_MAX: usize = 1024;
/// What a record of a page counts beside its key and value.
const RECORD_BYTES: usize = 16;
/// What a reader is called that belongs to no group.
pub(super) const READER_GROUP: &str = "sandbar-reader";
/// Readers that are kept for the next read; each is a client with threads of its own.
const READERS_MAX: usize = 24;
/// Replicas of a topic that Sandbar creates, where there are as many brokers; fewer brokers have one each.
const REPLICAS_MAX: usize = 3;
/// `min.insync.replicas` of a topic with so many replicas: one broker may be down, and what was acknowledged is on two.
const IN_SYNC_MIN: &str = "2";
/// `segment.bytes` of a compacted topic of Sandbar's own. Kafka compacts no segment that is written to, and its default of
/// 1 GiB would keep every change of a small store. Kafka Streams' changelogs have 50 MiB, too.
const SEGMENT_BYTES: &str = "52428800";

/// A Kafka cluster.
pub struct KafkaLog {
    pub(super) config: KafkaConfig,
    pub(super) admin: AdminClient<DefaultClientContext>,
    /// Readers between two reads, by where they go on: several may follow one partition. Those that were used last.
    readers: Mutex<HashMap<(TopicName, i32, i64), Reader>>,
    writer: Mutex<Option<Client>>,
    /// Asks for ends as one that reads uncommitted records.
    watermarks: Mutex<Option<Client>>,
}

struct Reader {
    client: Client,
    next_offset: i64,
    used: Instant,
    /// Fetched, and left over from a page that was full.
    left: VecDeque<LogRecord>,
    /// Where the partition was last seen to end.
    end_seen: i64,
    fetched: Vec<*mut rdkafka_sys::bindings::rd_kafka_message_t>,
}

// SAFETY: `fetched` is a buffer whose pointers are used within one call only.
#[expect(unsafe_code, reason = "a buffer of pointers that are null between calls")]
unsafe impl Send for Reader {}

impl KafkaLog {
    /// Makes the clients; the brokers need not be there yet.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        let admin = threads::with_room(CLIENT_THREADS, || config.admin().create());
        let admin = admin.map_err(|error| LogError::Unavailable(error.to_string()))?;
        let admin = admin.map_err(|error| LogError::Refused(error.to_string()))?;
        Ok(Self { config, admin, readers: Mutex::default(), writer: Mutex::default(), watermarks: Mutex::default() })
    }

    /// Keeps a reader for the next read, and drops the one that was not used for longest where there are too many.
    fn keep(&self, topic: &TopicName, partition: i32, reader: Reader) {
        let mut readers = self.readers.lock();
        readers.insert((topic.clone(), partition, reader.next_offset), Reader { used: Instant::now(), ..reader });
        let oldest = readers.iter().min_by_key(|(_, reader)| reader.used).map(|(place, _)| place.clone());
        let dropped = oldest.filter(|_| readers.len() > READERS_MAX).and_then(|place| readers.remove(&place));
        drop(readers);
        // Closing a client takes a moment: not while others wait for the lock.
        drop(dropped);
    }

    pub(super) fn options() -> AdminOptions {
        AdminOptions::new().request_timeout(Some(CALL_TIMEOUT)).operation_timeout(Some(CALL_TIMEOUT))
    }

    /// A topic's settings. Without the right to describe them, the defaults are assumed.
    fn described(&self, name: &TopicName, partitions: i32) -> TopicInfo {
        let (topic, options) = ([ResourceSpecifier::Topic(name.as_str())], Self::options());
        let answers = futures::executor::block_on(self.admin.describe_configs(&topic, &options)).unwrap_or_default();
        let resource = answers.into_iter().next().and_then(Result::ok);
        let setting = |name: &str| resource.as_ref()?.entry_map().get(name)?.value.clone();
        let bytes = setting("max.message.bytes").and_then(|value| value.parse::<usize>().ok());
        // -1: for ever.
        let time = |name| setting(name).and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let policy = setting("cleanup.policy");
        TopicInfo {
            partitions,
            record_bytes_max: bytes.map_or(RECORD_BYTES_DEFAULT, |bytes| bytes.saturating_sub(1024)),
            sent_bytes_max: RECORD_BYTES_MAX,
            deleted_after: policy.as_ref().filter(|policy| policy.contains("delete")).and_then(|_| time("retention.ms")),
            needs_keys: policy.as_ref().map(|policy| policy.contains("compact")),
            compacted: policy.map(|policy| policy == "compact"),
            tombstones_kept: time("delete.retention.ms"),
            id: None,
        }
    }

    /// The smallest limit of these topics, as far as it is known: a topic that is gone keeps nobody from writing the others.
    fn least_record_bytes_max(&self, topics: &[TopicName]) -> usize {
        let mut least = usize::MAX;
        for topic in topics {
            match self.topic(topic) {
                Ok(info) => least = least.min(info.record_bytes_max),
                Err(LogError::NoTopic(_) | LogError::Refused(_)) => {}
                // The same for each of the others, after a time-out.
                Err(LogError::Unavailable(_)) => break,
            }
        }
        least
    }

    fn reader(&self, topic: &TopicName, partition: i32, offset: i64) -> Result<Reader, LogError> {
        let kept = self.readers.lock().remove(&(topic.clone(), partition, offset));
        if let Some(reader) = kept {
            return Ok(reader);
        }
        let client = Client::consumer(&self.config.reader(READER_GROUP)).map_err(unavailable)?;
        let mut list = PartitionList::new();
        list.add(topic.as_str(), partition, offset, "");
        client.assign_only(&list).map_err(unavailable)?;
        let used = Instant::now();
        Ok(Reader { client, next_offset: offset, used, left: VecDeque::new(), end_seen: 0, fetched: Vec::new() })
    }
}

impl Reader {
    fn page(&mut self, wait: Duration, bytes_max: usize) -> Result<Page, RawError> {
        let deadline = Instant::now() + wait;
        // That the end was reached is news too: past records that are not shown.
        while self.left.is_empty() && self.end_seen <= self.next_offset {
            let time_left = deadline.saturating_duration_since(Instant::now());
            self.fetch(time_left)?;
            if time_left.is_zero() {
                break;
            }
        }
        let (mut page, mut bytes) = (Page::default(), 0);
        loop {
            while let Some(record) = self.left.pop_front_if(|_| bytes < bytes_max) {
                bytes += RECORD_BYTES + record.value.as_ref().map_or(0, Vec::len) + record.key.as_ref().map_or(0, Vec::len);
                self.next_offset = record.offset + 1;
                page.records.push(record);
            }
            // A page costs a question to the broker, so it takes what is there already. (An error drops this reader, and
            // the next read begins where this one did.)
            if bytes >= bytes_max || self.fetch(Duration::ZERO)? == 0 {
                break;
            }
        }
        if self.left.is_empty() {
            // Control records at the end are read too.
            self.next_offset = self.next_offset.max(self.end_seen);
        }
        page.next_offset = self.next_offset;
        Ok(page)
    }

    /// Returns how many messages there were: records, and ends.
    fn fetch(&mut self, wait: Duration) -> Result<usize, RawError> {
        let (left, end_seen, mut failed) = (&mut self.left, &mut self.end_seen, None);
        let taken = self.client.consume(&mut self.fetched, wait, FETCH_RECORDS_MAX, &mut |message| match message {
            Fetched::Record(record) => {
                let mut headers = Vec::new();
                record.headers(&mut headers);
                let owned = |raw: Option<&[u8]>| raw.map(<[u8]>::to_vec);
                left.push_back(LogRecord {
                    offset: record.offset(),
                    timestamp: record.timestamp(),
                    key: owned(record.key()),
                    value: owned(record.value()),
                    headers: headers.into_iter().map(|(name, value)| (name.to_owned(), owned(value))).collect(),
                });
            }
            Fetched::End { offset, .. } => *end_seen = offset,
            Fetched::Error { error, of_partition } if failed.is_none() || of_partition => {
                failed = Some((error, of_partition))
            }
            Fetched::Error { .. } => {}
        });
        match failed {
            // Records that came with it may be from behind a gap, whichever side of it they were taken from.
            Some((error, true)) => Err(error),
            Some((error, false)) if self.left.is_empty() => Err(error),
            Some(_) | None => Ok(taken),
        }
    }
}

impl Log for KafkaLog {
    fn open(&self, options: &SessionOptions) -> Result<Box<dyn Session>, SessionError> {
        let batch_bytes = self.least_record_bytes_max(&options.outputs);
        Ok(Box::new(KafkaSession::open(&self.config, options, batch_bytes)?))
    }

    fn topic(&self, name: &TopicName) -> Result<TopicInfo, LogError> {
        let described = self.described(name, self.partitions(name)?);
        let size = self.sizes(std::slice::from_ref(name))?.remove(name);
        let id = size.map(|size| size.id).filter(|id| !id.is_empty());
        Ok(TopicInfo { id, ..described })
    }

    fn sizes(&self, names: &[TopicName]) -> Result<BTreeMap<TopicName, TopicSize>, LogError> {
        let topics: Vec<&str> = names.iter().map(TopicName::as_str).collect();
        let described = describe_topics(self.admin.inner(), &topics, CALL_TIMEOUT).map_err(unavailable)?;
        let size = |topic: Described| {
            let name = topic.topic.parse().ok()?;
            // A topic that is being made has none yet.
            (topic.partitions > 0).then_some((name, TopicSize { id: topic.id, partitions: topic.partitions }))
        };
        Ok(described.into_iter().filter_map(size).collect())
    }

    fn partitions(&self, name: &TopicName) -> Result<i32, LogError> {
        let metadata = self
            .admin
            .inner()
            .fetch_metadata(Some(name.as_str()), CALL_TIMEOUT)
            .map_err(|error| LogError::Unavailable(format!("no answer from {}: {error}", self.config.brokers)))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name.as_str());
        let partitions = topic.filter(|topic| topic.error().is_none()).map_or(0, |topic| topic.partitions().len());
        if partitions == 0 {
            return Err(LogError::NoTopic(name.to_string()));
        }
        Ok(partitions as i32)
    }

    fn topics(&self) -> Result<Vec<(TopicName, TopicInfo)>, LogError> {
        let metadata = self
            .admin
            .inner()
            .fetch_metadata(None, CALL_TIMEOUT)
            .map_err(|error| LogError::Unavailable(format!("no answer from {}: {error}", self.config.brokers)))?;
        let topics = metadata.topics().iter().filter_map(|topic| {
            let name: TopicName = topic.name().parse().ok()?;
            let partitions = topic.partitions().len() as i32;
            let info = TopicInfo {
                partitions,
                record_bytes_max: RECORD_BYTES_DEFAULT,
                sent_bytes_max: RECORD_BYTES_MAX,
                compacted: None,
                needs_keys: None,
                tombstones_kept: None,
                deleted_after: None,
                id: None,
            };
            (!name.as_str().starts_with("__")).then_some((name, info))
        });
        Ok(topics.collect())
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        let metadata = self
            .admin
            .inner()
            .fetch_metadata(None, CALL_TIMEOUT)
            .map_err(|error| LogError::Unavailable(format!("no answer from {}: {error}", self.config.brokers)))?;
        let replicas = metadata.brokers().len().clamp(1, REPLICAS_MAX);
        let mut new = RdNewTopic::new(topic.name.as_str(), topic.partitions, TopicReplication::Fixed(replicas as i32));
        let retention = topic.retention.map(|time| [time, time / 6].map(|time| time.as_millis().to_string()));
        new = match (topic.compacted, &retention) {
            (true, None) => new.set("cleanup.policy", "compact"),
            (true, Some(_)) => new.set("cleanup.policy", "compact,delete"),
            (false, _) => new,
        };
        if let Some([retention, segment]) = &retention {
            // Only whole segments are dropped, and never the one that is written.
            new = new.set("retention.ms", retention).set("segment.ms", segment);
        }
        if replicas == REPLICAS_MAX {
            new = new.set("min.insync.replicas", IN_SYNC_MIN);
        }
        if topic.compacted && topic.name.is_internal() {
            new = new.set("segment.bytes", SEGMENT_BYTES);
        }
        let created = futures::executor::block_on(self.admin.create_topics(&[new], &Self::options()));
        let created = created.map_err(|error| LogError::Unavailable(error.to_string()))?;
        match created.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) | None => {}
            Some(Err((name, code))) => return Err(LogError::Refused(format!("creating topic {name}: {code}"))),
        }
        // A topic that was just created is not at once known to every broker.
        let deadline = Instant::now() + CALL_TIMEOUT;
        loop {
            match self.topic(&topic.name) {
                Err(LogError::NoTopic(_)) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                found => return found.map(drop),
            }
        }
    }

    fn append(&self, topic: &TopicName, partition: Option<i32>, records: Vec<LogRecord>) -> Result<(), LogError> {
        let mut kept = self.writer.lock();
        let client = match kept.take() {
            Some(client) => client,
            None => Client::producer(&self.config.writer()).map_err(unavailable)?,
        };
        let handle = client.topic(topic.as_str()).map_err(unavailable)?;
        deliver(&client, &handle, partition, &records).map_err(|error| of_topic(topic, error))?;
        drop(handle);
        *kept = Some(client);
        Ok(())
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
        let mut reader = self.reader(topic, partition, offset)?;
        let mut page = reader.page(wait, bytes_max).map_err(|error| of_topic(topic, error))?;
        self.keep(topic, partition, reader);
        // Not by the reader: its connection is busy with the next fetch, which waits for records.
        page.end_offset = self.offsets(topic, partition)?.1;
        Ok(page)
    }

    fn follow(&self, topic: &TopicName) -> Result<Box<dyn TopicReader>, LogError> {
        let partitions = self.partitions(topic)?;
        Ok(Box::new(KafkaTopicReader::open(&self.config, topic, partitions)?))
    }

    fn offsets(&self, topic: &TopicName, partition: i32) -> Result<(i64, i64), LogError> {
        // Asked as read_committed, the default: the last stable offset.
        let ask = || {
            let ends = self.admin.inner().fetch_watermarks(topic.as_str(), partition, CALL_TIMEOUT);
            ends.map_err(|error| match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition,
                ) => LogError::NoTopic(topic.to_string()),
                _ => LogError::Unavailable(error.to_string()),
            })
        };
        match ask() {
            // The client believes that for long, also where the topic was made meanwhile, unless it is asked about it.
            Err(LogError::NoTopic(_)) => self.partitions(topic).and_then(|_| ask()),
            answer => answer,
        }
    }

    fn high_watermark(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        let mut kept = self.watermarks.lock();
        let client = match kept.take() {
            Some(client) => client,
            None => Client::producer(&self.config.uncommitted()).map_err(unavailable)?,
        };
        let ends = client.query_watermarks(topic.as_str(), partition, CALL_TIMEOUT).map_err(unavailable)?;
        *kept = Some(client);
        Ok(ends.1)
    }
}

/// Sends the records and waits until each is delivered; the first failure otherwise.
pub(super) fn deliver(
    client: &Client,
    topic: &TopicHandle,
    partition: Option<i32>,
    records: &[LogRecord],
) -> Result<(), RawError> {
    for record in records {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        while let Produced::Full = client.produce(0, topic, partition, key, value, &headers, record.timestamp)? {
            client.poll(Duration::from_millis(1));
        }
    }
    // Ends by itself: every record is delivered or failed within message.timeout.ms.
    while client.in_flight() > 0 {
        client.poll(Duration::from_millis(1));
    }
    client.poll(Duration::ZERO);
    client.take_failures().first().map_or(Ok(()), |failed| Err(RawError::of("deliver", failed.code)))
}

/// A topic that is not there, and not only its broker, is told apart: waiting does not help.
fn of_topic(topic: &TopicName, error: RawError) -> LogError {
    match error.code {
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
        | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => LogError::NoTopic(topic.to_string()),
        // The same records would be refused again.
        Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
        | Code::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE
        | Code::RD_KAFKA_RESP_ERR_INVALID_RECORD
        | Code::RD_KAFKA_RESP_ERR_POLICY_VIOLATION => LogError::Refused(format!("topic {topic}: {error}")),
        _ => unavailable(error),
    }
}

pub(super) fn unavailable(error: RawError) -> LogError {
    LogError::Unavailable(error.to_string())
}
