//! A question to Kafka whose answer is lost, like that of a broker that restarts, is asked again.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sandbar::kafka::{KafkaConfig, KafkaLog};
use sandbar::model::names::TopicName;
use sandbar::model::units::Timestamp;
use sandbar::ports::{GroupOffset, Groups, Log, LogError, NewTopic};
use sandbar_harness::proxy::{
    CREATE_TOPICS, DELETE_GROUPS, DESCRIBE_ACLS, DESCRIBE_CONFIGS, DESCRIBE_GROUPS, FIND_COORDINATOR, LIST_OFFSETS,
    METADATA, OFFSET_COMMIT, OFFSET_FETCH,
};
use sandbar_harness::{KafkaCluster, Message, Producer, topics, wait};

const TOPIC: &str = "questions.topic";
const GROUP: &str = "questions.group";

/// Asks while the answers to the first requests of this kind are lost.
#[track_caller]
fn check<T: std::fmt::Debug + PartialEq>(
    log: &KafkaLog,
    api_key: i16,
    containing: &str,
    expected: T,
    ask: impl Fn(&KafkaLog) -> Result<T, LogError>,
) {
    let faults = KafkaCluster::shared().faults();
    let lost = faults.lose_reply(api_key, containing);
    let answer = ask(log).map_err(|error| error.to_string());
    assert_eq!(answer, Ok(expected), "request {api_key}");
    assert_eq!(lost.requests(), 1, "request {api_key} was met");
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let kafka = KafkaCluster::shared();
    topics::create(kafka, &[TOPIC], 2);
    Producer::new(kafka).send_all(TOPIC, &[Message::new("key", "value").to_partition(1)]);
    let config = KafkaConfig { brokers: kafka.proxied().to_owned(), ..KafkaConfig::default() };
    let log = KafkaLog::new(config).expect("a client");
    let topic: TopicName = TOPIC.parse().expect("valid");
    let names = [topic.clone()];
    let info = log.topic(&topic).expect("it is there");
    let sizes = log.sizes(&names).expect("it is there");
    check(&log, METADATA, TOPIC, 2, |log| log.partitions(&topic));
    check(&log, METADATA, TOPIC, sizes, |log| log.sizes(&names));
    check(&log, DESCRIBE_CONFIGS, TOPIC, info, |log| log.topic(&topic));
    check(&log, LIST_OFFSETS, TOPIC, (0, 1), |log| log.offsets(&topic, 1));
    check(&log, LIST_OFFSETS, TOPIC, vec![(0, 0), (0, 1)], |log| log.bounds(&topic));
    check(&log, LIST_OFFSETS, TOPIC, 1, |log| log.high_watermark(&topic, 1));
    check(&log, LIST_OFFSETS, TOPIC, vec![None, Some(0)], |log| log.offsets_at(&topic, Timestamp(0)));
    let partitions = [(topic.clone(), 0), (topic.clone(), 1)];
    check(&log, LIST_OFFSETS, TOPIC, 2, |log| Ok(log.ends(&partitions)?.len()));
    check(&log, DESCRIBE_ACLS, TOPIC, Some(BTreeSet::new()), |log| log.foreign_writers(&topic));
    let new = NewTopic { name: "questions.new".parse().expect("valid"), partitions: 1, compacted: false, retention: None };
    check(&log, CREATE_TOPICS, "questions.new", (), |log| log.create_topic(&new));
    let metadata = String::new();
    let offset = GroupOffset { topic: topic.clone(), partition: 1, next_offset: 1, metadata };
    let offsets = || vec![offset.clone()];
    check(&log, OFFSET_COMMIT, GROUP, (), |log| log.commit_for_group(GROUP, &offsets()));
    check(&log, FIND_COORDINATOR, GROUP, offsets(), |log| log.group_offsets(GROUP, &names));
    check(&log, OFFSET_FETCH, GROUP, offsets(), |log| log.group_offsets(GROUP, &names));
    check(&log, DESCRIBE_GROUPS, GROUP, 0, |log| log.group_members(GROUP));
    let mut config = kafka.client();
    let member: BaseConsumer = config.set("group.id", "questions.joined").create().expect("valid");
    member.subscribe(&[TOPIC]).expect("valid");
    wait::until("it has joined", wait::PATIENCE, || {
        member.poll(Duration::from_millis(100));
        match log.group_members("questions.joined") {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    check(&log, DESCRIBE_GROUPS, "questions.joined", 1, |log| log.group_members("questions.joined"));
    check(&log, DELETE_GROUPS, GROUP, (), |log| log.delete_group(GROUP));
}
