//! The tests of the harness, which the other tests trust.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbar::kafka::{KafkaConfig, KafkaLog};
use sandbar::ports::{Log, NewTopic};
use sandbar_harness::{KafkaCluster, Message, Producer, Progress, topics};

const CALL: Duration = Duration::from_secs(20);

fn numbered(count: usize) -> Vec<Message> {
    (0..count).map(|i| Message::new(format!("key-{}", i % 50), format!("value-{i}"))).collect()
}

#[test]
fn all_is_read_and_nothing_aborted() {
    let kafka = KafkaCluster::shared();
    topics::create(kafka, &["harness.read"], 4);
    let messages = numbered(5_000);
    Producer::new(kafka).send_all("harness.read", &messages);
    // Transactions, two of them aborted: with control records behind them, and something after them.
    let mut config = kafka.client();
    config.set("transactional.id", "harness").set("partitioner", "murmur2_random");
    let transactional: BaseProducer = config.create().expect("valid");
    transactional.init_transactions(CALL).expect("Kafka answers");
    for (value, commit) in [("first", true), ("aborted", false), ("second", true), ("aborted", false)] {
        transactional.begin_transaction().expect("none is open");
        transactional
            .send(BaseRecord::to("harness.read").key("key-0").payload(value))
            .map_err(|(error, _)| error)
            .expect("room");
        transactional.flush(CALL).expect("Kafka answers");
        let ended = if commit { transactional.commit_transaction(CALL) } else { transactional.abort_transaction(CALL) };
        ended.expect("Kafka answers");
    }
    let records = topics::read_committed(kafka, "harness.read");
    assert_eq!(records.len(), messages.len() + 2);
    for key in 0..50 {
        let key = format!("key-{key}");
        let read: Vec<String> =
            records.iter().filter(|record| record.key_text() == key).map(|record| record.value_text()).collect();
        let of_key = messages.iter().filter(|message| message.key.as_deref() == Some(key.as_bytes()));
        let mut sent: Vec<String> =
            of_key.map(|message| String::from_utf8_lossy(message.value.as_deref().expect("set")).into_owned()).collect();
        if key == "key-0" {
            sent.extend(["first".to_owned(), "second".to_owned()]);
        }
        assert_eq!(read, sent, "{key}");
    }
    assert_eq!(Progress::new(kafka, "nobody", "harness.read").committed(), [None; 4]);
}

#[test]
fn keys_nulls_and_headers_arrive_as_they_were() {
    let kafka = KafkaCluster::shared();
    topics::create(kafka, &["harness.bytes"], 1);
    let messages = [
        Message { key: None, value: Some(b"no key".to_vec()), ..Message::default() },
        Message { key: Some(b"tombstone".to_vec()), value: None, ..Message::default() },
        Message::new("", "").with_header("empty", Some(b"")).with_header("null", None),
        Message::new([0xff, 0], [0xfe; 3]).to_partition(0),
    ];
    Producer::new(kafka).send_all("harness.bytes", &messages);
    let read = topics::read_committed(kafka, "harness.bytes");
    let read: Vec<_> = read.into_iter().map(|record| (record.key, record.value, record.headers)).collect();
    let sent: Vec<_> = messages.into_iter().map(|message| (message.key, message.value, message.headers)).collect();
    assert_eq!(read, sent);
}

/// Creates a changelog as a host does, and looks at the topic that Kafka has made.
#[track_caller]
fn assert_created(kafka: &KafkaCluster, name: &str, replicas: usize, settings: &[(&str, &str)]) {
    let log = KafkaLog::new(KafkaConfig { brokers: kafka.brokers().to_owned(), ..KafkaConfig::default() });
    let topic = NewTopic { name: name.parse().expect("valid"), partitions: 1, compacted: true, retention: None };
    log.expect("a client").create_topic(&topic).expect("it is created");
    assert_eq!(topics::replicas(kafka, name), replicas, "{name}");
    for (setting, value) in settings {
        assert_eq!(topics::setting(kafka, name, setting).as_deref(), Some(*value), "{name}: {setting}");
    }
}

#[test]
fn a_cluster_outlives_its_nodes() {
    let kafka = KafkaCluster::start(3);
    topics::create(&kafka, &["harness.nodes"], 3);
    let producer = Producer::new(&kafka);
    let messages = numbered(3_000);
    producer.send_all("harness.nodes", &messages[..1_000]);
    assert_created(&kafka, "_sandbar.harness.three", 3, &[("min.insync.replicas", "2"), ("segment.bytes", "52428800")]);
    kafka.kill9(2);
    producer.send_all("harness.nodes", &messages[1_000..2_000]);
    kafka.restart(2);
    kafka.stop(1);
    assert_created(&kafka, "_sandbar.harness.two", 2, &[("cleanup.policy", "compact")]);
    producer.send_all("harness.nodes", &messages[2_000..]);
    kafka.restart(1);
    assert_eq!(topics::read_committed(&kafka, "harness.nodes").len(), messages.len());
}
