//! The tests' own look at topics: create, read to the end, ask for ends.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::KafkaCluster;
use crate::wait;

pub(crate) const CALL: Duration = Duration::from_secs(10);

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// In ms since the Unix epoch.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

// === impl Record ===

impl Record {
    pub(crate) fn new(message: &BorrowedMessage<'_>) -> Record {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        Record {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }

    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    pub fn value_text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// The value of a header, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned())
    }
}

/// Creates topics, and waits until every partition has a leader.
pub fn create(kafka: &KafkaCluster, names: &[&str], partitions: i32) {
    create_with(kafka, names, partitions, &[]);
}

/// Creates topics with settings that are not the broker's.
pub fn create_with(kafka: &KafkaCluster, names: &[&str], partitions: i32, settings: &[(&str, &str)]) {
    // -1: the broker's default.
    let new = |name| {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
    };
    let topics: Vec<NewTopic<'_>> = names.iter().map(|name| new(name)).collect();
    done(futures::executor::block_on(admin(kafka).create_topics(&topics, &options())));
    wait_for_leaders(kafka, names, partitions);
}

/// Gives a topic more partitions, and waits until they have leaders.
pub fn raise_partitions(kafka: &KafkaCluster, name: &str, partitions: i32) {
    let more = NewPartitions::new(name, partitions as usize);
    done(futures::executor::block_on(admin(kafka).create_partitions([&more], &options())));
    wait_for_leaders(kafka, &[name], partitions);
}

/// Gives a topic these settings, and no other of its own.
pub fn configure(kafka: &KafkaCluster, name: &str, settings: &[(&str, &str)]) {
    let topic = AlterConfig::new(ResourceSpecifier::Topic(name));
    let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let altered = futures::executor::block_on(admin(kafka).alter_configs([&topic], &options())).expect("Kafka answers");
    for result in altered {
        result.unwrap_or_else(|(resource, error)| panic!("{resource:?}: {error}"));
    }
}

/// Deletes a topic, and waits until it is gone.
pub fn delete(kafka: &KafkaCluster, name: &str) {
    done(futures::executor::block_on(admin(kafka).delete_topics(&[name], &options())));
    wait::until(&format!("{name} is gone"), wait::PATIENCE, || match partitions(kafka, name) {
        None => Ok(()),
        Some(partitions) => Err(format!("it has {partitions} partitions")),
    });
}

/// Deletes the records of a partition that lie before an offset, as retention does.
pub fn delete_records(kafka: &KafkaCluster, topic: &str, partition: i32, before: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("a valid offset");
    let deleted = futures::executor::block_on(admin(kafka).delete_records(&list, &options())).expect("Kafka answers");
    deleted.elements().iter().for_each(|element| element.error().expect("they are deleted"));
}

/// Deletes the offsets of a group, as Kafka does after some days, once the group has no members any more.
pub fn forget_group(kafka: &KafkaCluster, group: &str) {
    wait::until(&format!("{group} is forgotten"), wait::PATIENCE, || {
        let deleted = futures::executor::block_on(admin(kafka).delete_groups(&[group], &options()));
        match deleted.map_err(|error| error.to_string())?.remove(0) {
            Ok(_) => Ok(()),
            Err((_, code)) => Err(code.to_string()),
        }
    });
}

/// Commits an offset for a group without members.
pub fn commit(kafka: &KafkaCluster, group: &str, topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("a valid offset");
    let outsider: BaseConsumer = config(kafka, "read_committed").set("group.id", group).create().expect("valid");
    outsider.commit(&list, CommitMode::Sync).expect("Kafka takes it");
}

fn admin(kafka: &KafkaCluster) -> AdminClient<DefaultClientContext> {
    kafka.client().create().expect("a valid configuration")
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(CALL)).request_timeout(Some(CALL))
}

fn done(results: KafkaResult<Vec<TopicResult>>) {
    for result in results.expect("Kafka answers") {
        result.unwrap_or_else(|(topic, error)| panic!("{topic}: {error}"));
    }
}

fn wait_for_leaders(kafka: &KafkaCluster, names: &[&str], partitions: i32) {
    let consumer = uncommitted(kafka);
    for name in names {
        wait::until(&format!("{name} has leaders"), wait::PATIENCE, || {
            let metadata = consumer.fetch_metadata(Some(name), CALL).map_err(|error| error.to_string())?;
            let partitions_led =
                metadata.topics()[0].partitions().iter().filter(|partition| partition.leader() >= 0).count();
            if partitions_led == partitions as usize { Ok(()) } else { Err(format!("{partitions_led} have")) }
        });
    }
}

/// The number of replicas of a topic's first partition.
pub fn replicas(kafka: &KafkaCluster, topic: &str) -> usize {
    let metadata = uncommitted(kafka).fetch_metadata(Some(topic), CALL).expect("Kafka answers");
    metadata.topics()[0].partitions()[0].replicas().len()
}

/// The value of a topic's setting, also where it is the broker's.
pub fn setting(kafka: &KafkaCluster, topic: &str, setting: &str) -> Option<String> {
    let topic = [ResourceSpecifier::Topic(topic)];
    let described = futures::executor::block_on(admin(kafka).describe_configs(&topic, &options()));
    let described = described.expect("Kafka answers").into_iter().next().expect("of one topic").expect("it is there");
    described.entry_map().get(setting)?.value.clone()
}

/// The number of partitions of a topic; `None`: it does not exist.
pub fn partitions(kafka: &KafkaCluster, topic: &str) -> Option<i32> {
    let consumer = uncommitted(kafka);
    let metadata = wait::until("Kafka answers", wait::PATIENCE, || {
        consumer.fetch_metadata(Some(topic), CALL).map_err(|error| error.to_string())
    });
    let count = metadata.topics().first()?.partitions().len() as i32;
    (count > 0).then_some(count)
}

/// The end of each partition: the offset that its next record will have.
pub fn ends(kafka: &KafkaCluster, topic: &str) -> Vec<i64> {
    ends_of(&uncommitted(kafka), topic)
}

/// Every committed record of a topic, partition by partition in offset order, up to where the topic ends now.
///
/// The reader waits for transactions that are still open below that end. It ends by offsets, never because the topic
/// was quiet.
#[track_caller]
pub fn read_committed(kafka: &KafkaCluster, topic: &str) -> Vec<Record> {
    let ends = ends(kafka, topic);
    let consumer = config(kafka, "read_committed").create::<BaseConsumer>().expect("valid");
    wait::until(&format!("no transaction is open in {topic}"), wait::PATIENCE, || {
        // A read_committed client is told the last stable offset as the end.
        let stable = ends_of(&consumer, topic);
        let done = stable.iter().zip(&ends).all(|(stable, end)| stable >= end);
        if done { Ok(()) } else { Err(format!("stable up to {stable:?}, but the ends are {ends:?}")) }
    });
    let mut list = TopicPartitionList::new();
    for (partition, _) in ends.iter().enumerate().filter(|&(_, &end)| end > 0) {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&list).expect("a valid assignment");
    // From here on, a partition's end-of-file means that all records below `end` were delivered.
    let mut open: BTreeSet<i32> = list.elements().iter().map(|element| element.partition()).collect();
    let mut records = Vec::new();
    let reading = format!("{topic} is read up to {ends:?}");
    let started = std::time::Instant::now();
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                // A topic with a steady stream has no end of the file.
                if message.offset() + 1 >= ends[message.partition() as usize] {
                    open.remove(&message.partition());
                }
                records.push(Record::new(&message));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(_)) | None => assert!(started.elapsed() < wait::PATIENCE, "{reading}: not in time, {open:?} are open"),
        }
    }
    records.retain(|record| record.offset < ends[record.partition as usize]);
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

pub(crate) fn ends_of(consumer: &BaseConsumer, topic: &str) -> Vec<i64> {
    wait::until(&format!("the ends of {topic}"), wait::PATIENCE, || {
        let metadata = consumer.fetch_metadata(Some(topic), CALL).map_err(|error| error.to_string())?;
        let partitions = metadata.topics()[0].partitions().len() as i32;
        assert!(partitions > 0, "{topic} does not exist");
        let end = |partition| consumer.fetch_watermarks(topic, partition, CALL).map(|(_, end)| end);
        (0..partitions).map(end).collect::<Result<_, _>>().map_err(|error| error.to_string())
    })
}

pub(crate) fn config(kafka: &KafkaCluster, isolation: &str) -> ClientConfig {
    let mut config = kafka.client();
    // rdkafka's consumers want a group; this one is never joined.
    config.set("group.id", "sandbar-tests").set("isolation.level", isolation);
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config
}

fn uncommitted(kafka: &KafkaCluster) -> BaseConsumer {
    config(kafka, "read_uncommitted").create().expect("a valid configuration")
}
