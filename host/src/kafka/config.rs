//! The properties that consumers and producers start from; a user's own are applied last.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::transaction_time::{self, POLL_INTERVAL_MAX};

/// A producer gives up a record after this time. No transaction has a shorter timeout.
pub(super) const DELIVERY_TIMEOUT: Duration = transaction_time::TIMEOUT_MIN;
/// The timeout of a writer of one small transaction, and of its records.
pub(super) const EXCLUSIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time of one call to a broker.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks whether the opening of a session is to be stopped.
pub(super) const OPEN_LOOK: Duration = Duration::from_millis(500);
/// A host that is silent for this long loses its partitions.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest record that is sent, in bytes of key, value and headers before compression. It waits in the producer's queue,
/// which holds as much (`queue.buffering.max.kbytes`); a topic's own limit is its broker's to tell.
pub(super) const RECORD_BYTES_MAX: usize = 32 << 20;

/// Bytes of records that are sent as one batch, before compression. A topic's `max.message.bytes` is for batches: where
/// that is less, so is this, or records that are small enough would be refused together. Only a record that is larger
/// is then refused, and alone.
pub(super) const BATCH_BYTES_MAX: usize = 512 << 10;
pub(super) const BATCH_BYTES_MIN: usize = 1 << 10;

/// The group's name of a reader that belongs to no group.
pub(super) const READER_GROUP: &str = "sandbar-reader";

/// To such a client a partition ends at its high watermark, not at its last stable offset.
const UNCOMMITTED: [&str; 2] = ["isolation.level", "read_uncommitted"];

/// The address of a Kafka cluster, and the properties of its clients.
#[derive(Debug, Clone, Default)]
pub struct KafkaConfig {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Any librdkafka property (security.protocol, sasl.*, ssl.*, ...), applied last. Values are never logged.
    pub properties: BTreeMap<String, String>,
}

impl KafkaConfig {
    fn build(&self, own: &[(&str, String)]) -> Vec<(String, String)> {
        let mut all = vec![
            ("bootstrap.servers".to_owned(), self.brokers.clone()),
            ("client.id".to_owned(), "sandbar".to_owned()),
            ("socket.keepalive.enable".to_owned(), "true".to_owned()),
            ("reconnect.backoff.max.ms".to_owned(), "1000".to_owned()),
            ("socket.timeout.ms".to_owned(), "10000".to_owned()),
            // To look at a topic must not make it, which producers do by default on brokers that allow it.
            ("allow.auto.create.topics".to_owned(), "false".to_owned()),
        ];
        all.extend(own.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        all.extend(self.properties.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }

    /// A worker's consumer. Queues are small: a host has a consumer for each worker.
    pub(super) fn consumer(&self, group: &str, co_partitioned: bool) -> Vec<(String, String)> {
        self.build(&[
            ("group.id", group.to_owned()),
            // Range gives partitions of one number to one member, the sticky one moves fewer of them.
            ("partition.assignment.strategy", (if co_partitioned { "range" } else { "cooperative-sticky" }).into()),
            ("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string()),
            ("heartbeat.interval.ms", "2000".into()),
            ("max.poll.interval.ms", POLL_INTERVAL_MAX.as_millis().to_string()),
            // read_committed even where the transform is at-least-once: OffsetFetch then waits for pending offsets.
            ("isolation.level", "read_committed".into()),
            ("enable.auto.commit", "false".into()),
            ("enable.auto.offset.store", "false".into()),
            // As Java clients do by default: a batch that was damaged on a disk is an error, and not other values.
            ("check.crcs", "true".into()),
            // A missing offset must be seen, not skipped.
            ("auto.offset.reset", "error".into()),
            // Off: consuming in batches, librdkafka 2.12 takes an end for a record, and after the next pause or rebalance
            // it fetches from one past it.
            ("enable.partition.eof", "false".into()),
            ("queued.min.messages", "20000".into()),
            ("queued.max.messages.kbytes", "16384".into()),
            ("fetch.queue.backoff.ms", "5".into()),
            ("fetch.wait.max.ms", "100".into()),
            ("topic.metadata.refresh.interval.ms", "30000".into()),
        ])
    }

    /// A worker's producer; with an id and a timeout it is transactional. `reports`: it is told of every delivery, not of
    /// failed ones only. `batch_bytes`: see [`BATCH_BYTES_MAX`].
    pub(super) fn producer(
        &self,
        transactional: Option<(&str, Duration)>,
        reports: bool,
        batch_bytes: usize,
    ) -> Vec<(String, String)> {
        let mut own = vec![
            // Keys land where Java clients put them: co-partitioning depends on it.
            ("partitioner", "murmur2_random".to_owned()),
            ("enable.idempotence", "true".into()),
            ("acks", "all".into()),
            ("compression.type", "lz4".into()),
            ("linger.ms", "5".into()),
            // With several requests in flight and a slow broker, idempotence makes librdkafka 2.12 poll busily.
            ("max.in.flight.requests.per.connection", "1".into()),
            ("batch.size", batch_bytes.clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX).to_string()),
            ("queue.buffering.max.messages", "20000".into()),
            ("queue.buffering.max.kbytes", (RECORD_BYTES_MAX >> 10).to_string()),
            ("message.max.bytes", (2 * RECORD_BYTES_MAX).to_string()),
            ("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string()),
            ("delivery.report.only.error", (!reports).to_string()),
        ];
        if let Some((id, timeout)) = transactional {
            own.push(("transactional.id", id.to_owned()));
            own.push(("transaction.timeout.ms", timeout.as_millis().to_string()));
        }
        self.build(&own)
    }

    /// A reader of single partitions, and of the offsets of `group`, which it never joins.
    pub(super) fn reader(&self, group: &str) -> Vec<(String, String)> {
        self.build(&[
            ("group.id", group.to_owned()),
            ("isolation.level", "read_committed".into()),
            ("enable.auto.commit", "false".into()),
            ("check.crcs", "true".into()),
            ("auto.offset.reset", "earliest".into()),
            ("enable.partition.eof", "true".into()),
            ("queued.max.messages.kbytes", "4096".into()),
            ("fetch.wait.max.ms", "200".into()),
        ])
    }

    /// A writer outside sessions: control topics.
    pub(super) fn writer(&self) -> Vec<(String, String)> {
        self.build(&[
            ("partitioner", "murmur2_random".into()),
            ("enable.idempotence", "true".into()),
            ("acks", "all".into()),
            ("compression.type", "lz4".into()),
            ("message.timeout.ms", "15000".into()),
            ("delivery.report.only.error", "true".into()),
            ("linger.ms", "0".into()),
            // Not the default, which counts before compression: the broker knows its topic's limit.
            ("message.max.bytes", (2 * RECORD_BYTES_MAX).to_string()),
        ])
    }

    /// A writer of one transaction: see `exclusive`.
    pub(super) fn exclusive(&self, id: &str) -> Vec<(String, String)> {
        let timeout = EXCLUSIVE_TIMEOUT.as_millis().to_string();
        let mut own = self.writer();
        own.extend([
            ("transactional.id".to_owned(), id.to_owned()),
            ("transaction.timeout.ms".to_owned(), timeout.clone()),
            ("message.timeout.ms".to_owned(), timeout),
            UNCOMMITTED.map(str::to_owned).into(),
        ]);
        own
    }

    /// A client to ask for high watermarks.
    pub(super) fn uncommitted(&self) -> Vec<(String, String)> {
        let mut own = self.writer();
        own.push(UNCOMMITTED.map(str::to_owned).into());
        own
    }

    /// The administration client of the rdkafka crate.
    pub(super) fn admin(&self) -> rdkafka::ClientConfig {
        let mut config = rdkafka::ClientConfig::new();
        for (name, value) in self.build(&[]) {
            config.set(name, value);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_within_the_topics_limits() {
        for (limit, batch) in [(usize::MAX, "524288"), (1_047_564, "524288"), (9000, "9000"), (0, "1024")] {
            let properties = KafkaConfig::default().producer(None, false, limit);
            assert!(properties.contains(&("batch.size".to_owned(), batch.to_owned())), "{limit}: {properties:?}");
        }
    }

    #[test]
    fn no_client_makes_topics_by_looking_at_them() {
        let config = KafkaConfig::default();
        let off = ("allow.auto.create.topics".to_owned(), "false".to_owned());
        for properties in [
            config.consumer("g", false),
            config.producer(Some(("t", DELIVERY_TIMEOUT)), true, BATCH_BYTES_MAX),
            config.reader("g"),
            config.writer(),
            config.exclusive("t"),
            config.uncommitted(),
        ] {
            assert!(properties.contains(&off), "{properties:?}");
        }
        assert_eq!(config.admin().get(&off.0), Some("false"));
    }
}
