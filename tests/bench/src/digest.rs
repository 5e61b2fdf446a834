//! The content of an output topic as one small value, so that the outputs of contenders are compared.
//!
//! Neither the order of records nor partitions, timestamps and headers are part of it: a forwarder has none of them, and
//! contenders write in different orders.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use sandbar_harness::{KafkaCluster, topics};

const PATIENCE: Duration = Duration::from_secs(120);

/// The sense in which outputs are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each (key, value) is there as many times.
    Bytes,
    /// Each (key, value) is there as many times, and values are JSON: the order of fields does not count.
    Json,
    /// The last value of each key is the same. Values are counts, as eight bytes with the highest first.
    Counts,
}

/// The content of a topic. Equal contents have equal digests; others have with a probability of 2^-64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// Records, or keys where only their last values count.
    pub entries: u64,
    /// The sum of the entries' hashes, so that their order does not matter.
    sum: u64,
    /// The sum of the last counts.
    pub total: u64,
}

/// A digest under way.
struct Builder {
    form: Form,
    digest: Digest,
    last: HashMap<Vec<u8>, u64>,
}

/// Reads all committed records of a topic.
pub fn of(kafka: &KafkaCluster, topic: &str, form: Form) -> anyhow::Result<Digest> {
    let consumer: BaseConsumer = kafka
        .client()
        .set("group.id", "sandbar-bench-digest")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let ends = topics::ends(kafka, topic);
    let mut list = TopicPartitionList::new();
    for partition in 0..ends.len() {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut builder = Builder::new(form);
    let started = Instant::now();
    // Past the last record there are markers of transactions, which count as offsets.
    while consumer.position()?.elements().iter().zip(&ends).any(|(at, &end)| !is_through(at.offset(), end)) {
        ensure!(started.elapsed() < PATIENCE, "{topic} was not read up to {ends:?} in {PATIENCE:?}");
        // The positions are looked at now and then only.
        for _ in 0..10_000 {
            match consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => builder.take(&message)?,
                // An end of a partition, or a client that connects again.
                Some(Err(_)) => {}
                None => break,
            }
        }
    }
    Ok(builder.build())
}

fn is_through(at: Offset, end: i64) -> bool {
    end == 0 || matches!(at, Offset::Offset(next) if next >= end)
}

// === impl Builder ===

impl Builder {
    fn new(form: Form) -> Self {
        Self { form, digest: Digest::default(), last: HashMap::new() }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
        self.add(message.key().unwrap_or_default(), message.payload().unwrap_or_default())
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        match self.form {
            Form::Bytes => self.digest.add(key, value),
            Form::Json => {
                let value: serde_json::Value = serde_json::from_slice(value).context("an output is no JSON")?;
                // Its maps are sorted.
                self.digest.add(key, value.to_string().as_bytes());
            }
            Form::Counts => {
                let count = u64::from_be_bytes(value.try_into().context("an output is no count")?);
                self.last.insert(key.to_owned(), count);
            }
        }
        Ok(())
    }

    fn build(self) -> Digest {
        let mut digest = self.digest;
        for (key, count) in self.last {
            digest.add(&key, &count.to_be_bytes());
            digest.total += count;
        }
        digest
    }
}

// === impl Digest ===

impl Digest {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let mut hasher = DefaultHasher::new();
        (key, value).hash(&mut hasher);
        self.sum = self.sum.wrapping_add(hasher.finish());
        self.entries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(form: Form, records: &[(&str, &[u8])]) -> Digest {
        let mut builder = Builder::new(form);
        records.iter().for_each(|(key, value)| builder.add(key.as_bytes(), value).expect("it has the form"));
        builder.build()
    }

    #[track_caller]
    fn check(form: Form, one: &[(&str, &[u8])], other: &[(&str, &[u8])], equal: bool) {
        assert_eq!(digest(form, one) == digest(form, other), equal, "{form:?} {one:?} {other:?}");
    }

    #[test]
    fn digests_are_equal_where_contents_are() {
        check(Form::Bytes, &[("a", b"1"), ("b", b"2")], &[("b", b"2"), ("a", b"1")], true);
        check(Form::Bytes, &[("a", b"1"), ("b", b"2")], &[("a", b"2"), ("b", b"1")], false);
        check(Form::Bytes, &[("a", b"1")], &[("a", b"1"), ("a", b"1")], false);
        check(Form::Bytes, &[("ab", b"1")], &[("a", b"b1")], false);
        check(Form::Json, &[("a", br#"{"x":1,"y":2}"#)], &[("a", br#"{"y": 2, "x": 1}"#)], true);
        check(Form::Json, &[("a", br#"{"x":1}"#)], &[("a", br#"{"x":2}"#)], false);
        let count = |n: u64| n.to_be_bytes();
        check(Form::Counts, &[("a", &count(1)), ("a", &count(2))], &[("a", &count(2))], true);
        check(Form::Counts, &[("a", &count(2)), ("a", &count(1))], &[("a", &count(2))], false);
    }

    #[test]
    fn the_total_of_counts_is_the_number_of_records() {
        let counts =
            digest(Form::Counts, &[("a", &1u64.to_be_bytes()), ("b", &1u64.to_be_bytes()), ("a", &2u64.to_be_bytes())]);
        assert_eq!((counts.entries, counts.total), (2, 3));
    }
}
