//! Reads the committed records of a topic as they come.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::KafkaCluster;
use crate::topics::{self, Record};

/// See the module.
pub struct LiveReader {
    consumer: BaseConsumer,
}

impl LiveReader {
    /// Begins at the end of the topic, as it is now.
    pub fn at_end(kafka: &KafkaCluster, topic: &str) -> Self {
        Self::at_ends(kafka, &[topic])
    }

    /// Begins at the ends of the topics, as they are now.
    pub fn at_ends(kafka: &KafkaCluster, topics: &[&str]) -> Self {
        let consumer: BaseConsumer = topics::config(kafka, "read_committed").create().expect("a valid configuration");
        let mut list = TopicPartitionList::new();
        for topic in topics {
            for (partition, end) in topics::ends(kafka, topic).into_iter().enumerate() {
                list.add_partition_offset(topic, partition as i32, Offset::Offset(end)).expect("a valid offset");
            }
        }
        consumer.assign(&list).expect("a valid assignment");
        Self { consumer }
    }

    /// Waits up to `wait` for a record, and returns all that are there.
    pub fn poll(&mut self, wait: Duration) -> Vec<Record> {
        let mut records = Vec::new();
        let mut wait = wait;
        while let Some(polled) = self.consumer.poll(wait) {
            if let Ok(message) = polled {
                records.push(Record::new(&message));
            }
            wait = Duration::ZERO;
        }
        records
    }
}
