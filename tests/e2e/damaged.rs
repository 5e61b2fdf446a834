//! A batch that was damaged on a broker's disk is an error to whoever reads it: never other values, and never a gap.

use std::time::{Duration, Instant};

use sandbar::kafka::{KafkaConfig, KafkaLog};
use sandbar::ports::{Log, LogError};
use sandbar_harness::{KafkaCluster, Message, Producer, topics};

const TOPIC: &str = "damaged";
/// Each in a batch of its own, since each is flushed; the second one is damaged.
const VALUES: [&str; 3] = ["first", "second", "third"];

/// Changes one letter of a value, as it stands in the partition's file.
fn damage(kafka: &KafkaCluster, value: &str) {
    kafka.stop(1);
    let segment = kafka.segment(1, TOPIC, 0);
    let mut bytes = std::fs::read(&segment).expect("the partition has a file");
    let at = bytes.windows(value.len()).position(|window| window == value.as_bytes()).expect("it is not compressed");
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    kafka.restart(1);
}

/// Reads on from the start, as a restore does, until nothing more comes; with the values that came.
fn read(log: &KafkaLog) -> (Vec<String>, Option<LogError>) {
    let topic = TOPIC.parse().expect("valid");
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut values = Vec::new();
    let mut offset = 0;
    while offset < VALUES.len() as i64 && Instant::now() < deadline {
        match log.read(&topic, 0, offset, Duration::from_millis(500), 1 << 20) {
            Ok(page) => {
                offset = page.next_offset;
                let value = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).expect("text");
                values.extend(page.records.into_iter().map(|record| value(record.value)));
            }
            Err(error) => return (values, Some(error)),
        }
    }
    (values, None)
}

#[test]
fn a_damaged_batch_is_read_by_nobody() {
    let kafka = KafkaCluster::start(1);
    topics::create(&kafka, &[TOPIC], 1);
    for value in VALUES {
        Producer::new(&kafka).send_all(TOPIC, &[Message::new("key", value)]);
    }
    let log = KafkaLog::new(KafkaConfig { brokers: kafka.brokers().to_owned(), ..KafkaConfig::default() });
    let log = log.expect("a client");
    assert_eq!(read(&log).0, VALUES);
    damage(&kafka, "second");
    for attempt in 0..3 {
        let (values, error) = read(&log);
        let error = error.unwrap_or_else(|| panic!("attempt {attempt} read {values:?} and no error")).to_string();
        assert!(values.is_empty() || values == VALUES[..1], "attempt {attempt} read {values:?} before {error}");
        assert!(error.contains(TOPIC) && error.contains("CRC"), "{error}");
    }
}
