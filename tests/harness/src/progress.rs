//! The committed offsets of a consumer group, and waiting for them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::KafkaCluster;
use crate::topics::{CALL, config, ends_of, partitions, read_committed};
use crate::wait;

/// The progress of a consumer group in a topic.
pub struct Progress {
    consumer: BaseConsumer,
    group: String,
    topic: String,
    partitions: TopicPartitionList,
}

// === impl Progress ===

impl Progress {
    pub fn new(kafka: &KafkaCluster, group: &str, topic: &str) -> Self {
        let count = partitions(kafka, topic).expect("the topic exists");
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(topic, 0, count - 1);
        // This client asks about the group, and never joins it. A read_uncommitted client gets the committed offsets;
        // another one would wait for the open transactions.
        let consumer = config(kafka, "read_uncommitted").set("group.id", group).create().expect("a valid configuration");
        Progress { consumer, group: group.to_owned(), topic: topic.to_owned(), partitions }
    }

    /// The committed offset of each partition; `None`: nothing yet.
    pub fn committed(&self) -> Vec<Option<i64>> {
        let list = wait::until(&format!("the committed offsets of {}", self.group), wait::PATIENCE, || {
            self.consumer.committed_offsets(self.partitions.clone(), CALL).map_err(|error| error.to_string())
        });
        let offset = |offset| if let Offset::Offset(next) = offset { Some(next) } else { None };
        list.elements().iter().map(|element| offset(element.offset())).collect()
    }

    /// The committed offset of each partition, once no open transaction may change it any more.
    pub fn stable(&self, kafka: &KafkaCluster) -> Vec<Option<i64>> {
        let consumer = config(kafka, "read_committed").set("group.id", &self.group).create().expect("valid");
        let stable =
            Progress { consumer, group: self.group.clone(), topic: self.topic.clone(), partitions: self.partitions.clone() };
        stable.committed()
    }

    /// The number of records that the group has behind it (of a topic whose offsets begin with 0 and have no gaps).
    pub fn total(&self) -> i64 {
        self.committed().into_iter().flatten().sum()
    }

    /// Waits until it has every record that is in the topic now behind it. Unlike [`Progress::wait_through`] this holds
    /// for topics that were written in transactions, and for groups that commit the offset after the last record
    /// instead of their position: neither ever commits the end, where a transaction's marker is.
    #[track_caller]
    pub fn wait_records(&self, kafka: &KafkaCluster, deadline: Duration, mut assert_alive: impl FnMut()) {
        let mut last = BTreeMap::new();
        last.extend(read_committed(kafka, &self.topic).iter().map(|record| (record.partition, record.offset)));
        wait::until_complete(&format!("{} has all records of {}", self.group, self.topic), deadline, || {
            assert_alive();
            let committed = self.committed();
            let next = |partition: i32| committed[partition as usize].unwrap_or(0);
            let through = last.iter().all(|(&partition, &offset)| next(partition) > offset);
            if through { Ok(()) } else { Err(format!("{committed:?} after {last:?}")) }
        });
    }

    /// Waits until all records that are in the topic now are committed.
    #[track_caller]
    pub fn wait_through(&self, deadline: Duration) {
        let ends = ends_of(&self.consumer, &self.topic);
        wait::until_complete(&format!("{} is through with {}", self.group, self.topic), deadline, || {
            let committed = self.committed();
            let through = committed.iter().zip(&ends).all(|(next, end)| next.unwrap_or(0) >= *end);
            if through { Ok(()) } else { Err(format!("{committed:?} of {ends:?}")) }
        });
    }
}
