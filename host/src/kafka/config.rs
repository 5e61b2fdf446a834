//! The clients of a connection, and the properties that each kind starts from; an operator's own are applied last.

use std::time::Duration;

use super::credentials::Connection;
use super::raw::{Client, ClientUse, RawError};
use crate::model::transaction_time::{self, POLL_INTERVAL_MAX};
use crate::telemetry::meter::Meter;

/// A producer gives up a record after this time. No transaction has a shorter timeout.
pub(super) const DELIVERY_TIMEOUT: Duration = transaction_time::TIMEOUT_MIN;
/// The timeout of a writer of one small transaction, and of its records.
pub(super) const EXCLUSIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time of one call to a broker.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks whether the opening of a session is to be stopped.
pub(super) const OPEN_LOOK: Duration = Duration::from_millis(500);
/// Longest time that a broker keeps a worker's fetch waiting for records.
const FETCH_WAIT_MAX: Duration = Duration::from_millis(500);
/// A host that is silent for this long loses its partitions. It is the shortest time that brokers permit by default
/// (`group.min.session.timeout.ms`).
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// Heartbeats in a session timeout: two may be late, or lost. The other members learn of a death with a heartbeat of theirs.
const HEARTBEATS: u32 = 4;

/// Largest record that is sent, in bytes of key, value and headers before compression. It waits in the producer's queue,
/// which holds as much (`queue.buffering.max.kbytes`); a topic's own limit is its broker's to tell.
pub(super) const RECORD_BYTES_MAX: usize = 32 << 20;

/// Bytes of records that are sent as one batch, before compression. A topic's `max.message.bytes` is for batches: where
/// that is less, so is this, or records that are small enough would be refused together. Only a record that is larger
/// is then refused, and alone.
pub(super) const BATCH_BYTES_MAX: usize = 512 << 10;
pub(super) const BATCH_BYTES_MIN: usize = 1 << 10;

const CLIENT_ID: &str = "client.id";

/// The group's name of a reader that belongs to no group.
pub(super) const READER_GROUP: &str = "sandbar-reader";

/// To such a client a partition ends at its high watermark, not at its last stable offset.
const UNCOMMITTED: (&str, &str) = ("isolation.level", "read_uncommitted");

/// Names and values, the later ones over the earlier.
type Own = Vec<(&'static str, String)>;

impl Connection {
    fn build(&self, own: Own) -> Result<Vec<(String, String)>, RawError> {
        let properties = self.properties()?;
        let mut all = vec![
            ("bootstrap.servers".to_owned(), self.brokers.clone()),
            (CLIENT_ID.to_owned(), "sandbar".to_owned()),
            ("socket.keepalive.enable".to_owned(), "true".to_owned()),
            ("reconnect.backoff.max.ms".to_owned(), "1000".to_owned()),
            ("socket.timeout.ms".to_owned(), "10000".to_owned()),
            // To look at a topic must not make it, which producers do by default on brokers that allow it.
            ("allow.auto.create.topics".to_owned(), "false".to_owned()),
            // Metrics of clients for the brokers (KIP-714): questions at the start, and a wait at the end.
            ("enable.metrics.push".to_owned(), "false".to_owned()),
        ];
        all.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
        all.extend(properties.of_librdkafka().map(|(name, value)| (name.clone(), value.clone())));
        Ok(all)
    }

    /// A worker's consumer. Other members know it by the client id, unless the operator has set another.
    pub fn consumer(&self, group: &str, co_partitioned: bool, client_id: Option<&str>) -> Result<Client, RawError> {
        let mut own = consumer(group, co_partitioned, self.session_timeout().unwrap_or(SESSION_TIMEOUT));
        own.extend(client_id.map(|id| (CLIENT_ID, id.to_owned())));
        let properties = self.build(own)?;
        let member = session_timeout(&properties);
        Client::consumer(&properties, ClientUse { member, ..self.of_worker()? })
    }

    /// Returns true if a worker's consumer has the client id that [`Connection::consumer`] gives it.
    pub fn has_own_client_ids(&self) -> bool {
        self.properties().is_ok_and(|properties| properties.get(CLIENT_ID).is_none())
    }

    /// A worker's producer: see [`producer`].
    pub fn producer(
        &self,
        transactional: Option<(&str, Duration)>,
        reports: bool,
        batch_bytes: usize,
    ) -> Result<Client, RawError> {
        Client::producer(&self.build(producer(transactional, reports, batch_bytes))?, self.of_worker()?)
    }

    /// A reader of single partitions, and of the offsets of `group`, which it never joins.
    pub fn reader(&self, group: &str) -> Result<Client, RawError> {
        Client::consumer(&self.build(reader(group))?, self.shared()?)
    }

    /// A writer outside sessions: control topics.
    pub fn writer(&self) -> Result<Client, RawError> {
        Client::producer(&self.build(writer())?, self.shared()?)
    }

    /// A writer of one transaction: see `exclusive`.
    pub fn exclusive(&self, id: &str) -> Result<Client, RawError> {
        Client::producer(&self.build(exclusive(id, EXCLUSIVE_TIMEOUT))?, self.shared()?)
    }

    /// A writer of one transaction that may take so long.
    pub fn bulk(&self, id: &str, time_max: Duration) -> Result<Client, RawError> {
        Client::producer(&self.build(exclusive(id, time_max))?, self.shared()?)
    }

    /// A client to ask for high watermarks.
    pub fn uncommitted(&self) -> Result<Client, RawError> {
        Client::producer(&self.build(uncommitted())?, self.shared()?)
    }

    /// The use of a client that a worker opens for itself, on its own thread: it counts as the worker does.
    fn of_worker(&self) -> Result<ClientUse, RawError> {
        Ok(ClientUse { meter: Meter::of_this_thread(), ..self.shared()? })
    }

    /// The use of a client that serves whoever asks next.
    fn shared(&self) -> Result<ClientUse, RawError> {
        Ok(ClientUse { refresh: self.refresh()?, ..ClientUse::default() })
    }

    /// The administration client of the rdkafka crate.
    pub fn admin(&self) -> Result<rdkafka::ClientConfig, RawError> {
        let mut config = rdkafka::ClientConfig::new();
        for (name, value) in self.build(Own::new())? {
            config.set(name, value);
        }
        Ok(config)
    }
}

/// The session timeout of these properties, of which the last counts: an operator may have set one.
fn session_timeout(properties: &[(String, String)]) -> Option<Duration> {
    let (_, ms) = properties.iter().rfind(|(name, _)| name == "session.timeout.ms")?;
    ms.parse().ok().map(Duration::from_millis)
}

/// A worker's consumer. Queues are small: a host has a consumer for each worker.
fn consumer(group: &str, co_partitioned: bool, session_timeout: Duration) -> Own {
    vec![
        ("group.id", group.to_owned()),
        // Range gives partitions of one number to one member, the sticky one moves fewer of them.
        ("partition.assignment.strategy", (if co_partitioned { "range" } else { "cooperative-sticky" }).into()),
        ("session.timeout.ms", session_timeout.as_millis().to_string()),
        ("heartbeat.interval.ms", (session_timeout / HEARTBEATS).as_millis().to_string()),
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
        ("queued.max.messages.kbytes", "8192".into()),
        // An answer of the broker: four partitions fill it, and it is the memory of however many there are.
        ("fetch.max.bytes", "4194304".into()),
        ("fetch.queue.backoff.ms", "5".into()),
        // A partition that is taken over, or read from elsewhere, waits for the fetch that is under way at its broker.
        ("fetch.wait.max.ms", FETCH_WAIT_MAX.as_millis().to_string()),
        ("topic.metadata.refresh.interval.ms", "30000".into()),
    ]
}

/// A worker's producer; with an id and a timeout it is transactional. `reports`: it is told of every delivery, not of
/// failed ones only. `batch_bytes`: see [`BATCH_BYTES_MAX`].
fn producer(transactional: Option<(&str, Duration)>, reports: bool, batch_bytes: usize) -> Own {
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
    own
}

/// A reader of single partitions, and of the offsets of `group`, which it never joins.
fn reader(group: &str) -> Own {
    vec![
        ("group.id", group.to_owned()),
        ("isolation.level", "read_committed".into()),
        ("enable.auto.commit", "false".into()),
        ("check.crcs", "true".into()),
        ("auto.offset.reset", "earliest".into()),
        ("enable.partition.eof", "true".into()),
        ("queued.max.messages.kbytes", "4096".into()),
        ("fetch.wait.max.ms", "200".into()),
    ]
}

/// A writer outside sessions: control topics.
fn writer() -> Own {
    vec![
        ("partitioner", "murmur2_random".into()),
        ("enable.idempotence", "true".into()),
        ("acks", "all".into()),
        ("compression.type", "lz4".into()),
        ("message.timeout.ms", "15000".into()),
        ("delivery.report.only.error", "true".into()),
        ("linger.ms", "0".into()),
        // Not the default, which counts before compression: the broker knows its topic's limit.
        ("message.max.bytes", (2 * RECORD_BYTES_MAX).to_string()),
    ]
}

/// A writer of one transaction: see `exclusive`.
fn exclusive(id: &str, time_max: Duration) -> Own {
    let delivery = time_max.min(DELIVERY_TIMEOUT);
    let mut own = writer();
    own.extend([
        ("transactional.id", id.to_owned()),
        ("transaction.timeout.ms", time_max.as_millis().to_string()),
        ("message.timeout.ms", delivery.as_millis().to_string()),
        (UNCOMMITTED.0, UNCOMMITTED.1.to_owned()),
    ]);
    own
}

/// A client to ask for high watermarks.
fn uncommitted() -> Own {
    let mut own = writer();
    own.push((UNCOMMITTED.0, UNCOMMITTED.1.to_owned()));
    own
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Credentials;
    use super::super::options::KafkaConfig;
    use super::*;

    #[test]
    fn batches_are_within_the_topics_limits() {
        for (limit, batch) in [(usize::MAX, "524288"), (1_047_564, "524288"), (9000, "9000"), (0, "1024")] {
            let properties = producer(None, false, limit);
            assert!(properties.contains(&("batch.size", batch.to_owned())), "{limit}: {properties:?}");
        }
    }

    #[test]
    fn a_member_is_known_by_its_transactional_id_unless_an_operator_names_it() {
        for (properties, known) in [("", true), ("sandbar-at-work", false)] {
            let properties =
                [(CLIENT_ID.to_owned(), properties.to_owned())].into_iter().filter(|(_, name)| !name.is_empty());
            let config = KafkaConfig { properties: properties.collect(), ..KafkaConfig::default() };
            let credentials = Credentials::open(&config).expect("valid");
            assert_eq!(Connection::new("none:1", &credentials, None).has_own_client_ids(), known);
        }
    }

    #[test]
    fn a_member_may_miss_two_heartbeats() {
        for (timeout, heartbeat_ms) in [(SESSION_TIMEOUT, "1500"), (Duration::from_secs(45), "11250")] {
            let properties = consumer("g", false, timeout);
            assert!(properties.contains(&("heartbeat.interval.ms", heartbeat_ms.to_owned())), "{properties:?}");
        }
    }

    #[test]
    fn no_client_makes_topics_by_looking_at_them() {
        let credentials = Credentials::open(&KafkaConfig::default()).expect("valid");
        let connection = Connection::new("none:1", &credentials, None);
        let off = ("allow.auto.create.topics".to_owned(), "false".to_owned());
        for own in [
            consumer("g", false, SESSION_TIMEOUT),
            producer(Some(("t", DELIVERY_TIMEOUT)), true, BATCH_BYTES_MAX),
            reader("g"),
            writer(),
            exclusive("t", EXCLUSIVE_TIMEOUT),
            uncommitted(),
        ] {
            let properties = connection.build(own).expect("valid");
            let last = properties.iter().rfind(|(name, _)| *name == off.0);
            assert_eq!(last, Some(&off), "{properties:?}");
        }
        assert_eq!(connection.admin().expect("valid").get(&off.0), Some("false"));
    }
}
