//! The tests' producer: acks from all replicas, no duplicates of its own, keys where Java clients put them.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use crate::kafka::KafkaCluster;
use crate::wait;

/// A record to be produced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Without one, the key's hash chooses.
    pub partition: Option<i32>,
    /// In ms since the Unix epoch; without one, the time of sending.
    pub timestamp: Option<i64>,
}

pub struct Producer {
    inner: BaseProducer<Deliveries>,
}

/// Keeps the first delivery that failed.
#[derive(Default)]
struct Deliveries {
    failed: Mutex<Option<KafkaError>>,
}

// === impl Message ===

impl Message {
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Message { key: Some(key.into()), value: Some(value.into()), ..Message::default() }
    }

    pub fn to_partition(self, partition: i32) -> Self {
        Message { partition: Some(partition), ..self }
    }

    pub fn at(self, timestamp: i64) -> Self {
        Message { timestamp: Some(timestamp), ..self }
    }

    pub fn with_header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }
}

// === impl Producer ===

impl Producer {
    pub fn new(kafka: &KafkaCluster) -> Self {
        let inner = kafka
            .client()
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            // The broker says how much a topic takes.
            .set("message.max.bytes", "16777216")
            .create_with_context(Deliveries::default())
            .expect("a valid configuration");
        Producer { inner }
    }

    /// Queues a message; [`Producer::flush`] waits for it.
    pub fn send(&self, topic: &str, message: &Message) {
        let headers = message
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }));
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).headers(headers);
        record.key = message.key.as_deref();
        record.payload = message.value.as_deref();
        record.partition = message.partition;
        record.timestamp = message.timestamp;
        while let Err((error, again)) = self.inner.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{topic}: {error}");
            self.inner.poll(Duration::from_millis(10));
            record = again;
        }
        self.inner.poll(Duration::ZERO);
    }

    /// Waits until Kafka has all of them.
    pub fn flush(&self) {
        wait::until("Kafka takes what was produced", wait::PATIENCE, || {
            self.inner.flush(Duration::from_secs(1)).map_err(|error| error.to_string())
        });
        let failed = self.inner.context().failed.lock().expect("nobody panics with it").take();
        assert!(failed.is_none(), "a record was not produced: {failed:?}");
    }

    /// Produces all of `messages`, and waits until Kafka has them.
    pub fn send_all<'a>(&self, topic: &str, messages: impl IntoIterator<Item = &'a Message>) {
        for message in messages {
            self.send(topic, message);
        }
        self.flush();
    }
}

// === impl Deliveries ===

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            self.failed.lock().expect("nobody panics with it").get_or_insert_with(|| error.clone());
        }
    }
}
