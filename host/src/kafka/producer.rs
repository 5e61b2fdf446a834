//! A producer, transactional or not: what a worker's session and the exclusive writer have in common.
//!
//! A producer whose transaction ended slowly or lost a connection must be replaced before the next one: librdkafka
//! 2.12 sends again what was under way, and may have left an EndTxn on its way, which would end the next transaction
//! (librdkafka#5423).

use std::time::{Duration, Instant};

use super::config::{KafkaConfig, TRANSACTION_TIMEOUT};
use super::raw::{Client, GroupMetadata, PartitionList, Produced, RawError, TopicHandle};
use crate::model::names::TopicName;
use crate::ports::{Outgoing, SessionError};

/// How long one call to a broker may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A transaction whose end took longer may have left an EndTxn on its way.
const SLOW_END: Duration = Duration::from_secs(1);

/// Fields drop in order: handles before their client.
pub(super) struct Producer {
    topics: Vec<TopicHandle>,
    client: Client,
    transactional: bool,
    tainted: bool,
    disconnects_before: u64,
}

impl Producer {
    /// Opens a producer of `topics`; where changelogs are among them, deliveries are followed. With a transactional id it fences an earlier owner of the id, and ends what that
    /// one left open.
    pub fn open(config: &KafkaConfig, transactional_id: Option<&str>, topics: &[TopicName]) -> Result<Self, SessionError> {
        let reports = topics.iter().any(TopicName::is_internal);
        let client = Client::producer(&config.producer(transactional_id, reports)).map_err(restart)?;
        if transactional_id.is_some() {
            let deadline = Instant::now() + 2 * TRANSACTION_TIMEOUT;
            while let Err(error) = client.init_transactions(CALL_TIMEOUT) {
                if !error.retriable || Instant::now() > deadline {
                    return Err(restart(error));
                }
            }
        }
        let topics = handles(&client, topics)?;
        let transactional = transactional_id.is_some();
        Ok(Self { topics, client, transactional, tainted: false, disconnects_before: 0 })
    }

    /// Whether it must not be used for another transaction.
    pub fn is_tainted(&self) -> bool {
        self.tainted
    }

    /// From now on [`Outgoing::topic`] counts these.
    pub fn set_topics(&mut self, topics: &[TopicName]) -> Result<(), SessionError> {
        self.topics = handles(&self.client, topics)?;
        Ok(())
    }

    pub fn begin(&mut self) -> Result<(), SessionError> {
        self.disconnects_before = self.client.disconnects();
        match self.transactional {
            true => self.client.begin_transaction().map_err(restart),
            false => Ok(()),
        }
    }

    /// Hands a record over.
    pub fn send(&self, record: &Outgoing<'_>) -> Result<(), SessionError> {
        let &Outgoing { topic, partition, key, value, headers, timestamp } = record;
        // The clock is read only where it is needed: this is called for every record.
        let mut full_since = None;
        loop {
            match self.client.produce(&self.topics[topic], partition, key, value, headers, timestamp) {
                Ok(Produced::Queued) => return Ok(()),
                Ok(Produced::Full) if full_since.get_or_insert_with(Instant::now).elapsed() < TRANSACTION_TIMEOUT => {
                    self.client.poll(Duration::from_millis(1));
                }
                Ok(Produced::Full) => return Err(SessionError::Abort("the producer's queue stays full".into())),
                Err(error) if error.fatal => return Err(restart(error)),
                Err(error) => return Err(SessionError::Abort(error.to_string())),
            }
        }
    }

    /// Waits until everything sent is delivered. In short turns: flush does not notice the last delivery, of which nothing
    /// is reported, before its time is over.
    pub fn drain(&self) -> Result<(), SessionError> {
        let deadline = Instant::now() + TRANSACTION_TIMEOUT;
        while self.client.in_flight() > 0 {
            self.client.flush(Duration::from_millis(1));
            if Instant::now() > deadline {
                return Err(SessionError::Abort(format!("{} records not delivered in time", self.client.in_flight())));
            }
        }
        self.client.poll(Duration::ZERO);
        match self.client.take_delivery_error() {
            None => Ok(()),
            Some(error) if error.fatal => Err(SessionError::Restart(error.to_string())),
            Some(error) => Err(SessionError::Abort(error.to_string())),
        }
    }

    /// One past the last record that was delivered to a partition.
    pub fn delivered_end(&self, topic: usize, partition: i32) -> Option<i64> {
        self.client.delivered_end(self.topics.get(topic)?, partition)
    }

    /// Makes offsets a part of the transaction, under a membership that was captured before it.
    pub fn send_offsets(&self, offsets: &PartitionList, group: &GroupMetadata) -> Result<(), SessionError> {
        self.resumed(|| self.client.send_offsets(offsets, group, CALL_TIMEOUT))
    }

    /// Commits the transaction; [`Producer::drain`] it first.
    pub fn commit(&mut self) -> Result<(), SessionError> {
        let started = Instant::now();
        self.resumed(|| self.client.commit_transaction(CALL_TIMEOUT))?;
        self.note_end(started);
        Ok(())
    }

    pub fn abort(&mut self) -> Result<(), SessionError> {
        let started = Instant::now();
        self.resumed(|| {
            // It times out for as long as records are under way.
            self.client.poll(Duration::ZERO);
            self.client.abort_transaction(CALL_TIMEOUT)
        })?;
        let _ = self.client.take_delivery_error();
        self.note_end(started);
        Ok(())
    }

    fn note_end(&mut self, started: Instant) {
        self.tainted = started.elapsed() > SLOW_END || self.client.disconnects() > self.disconnects_before;
    }

    /// Calls again while the call is retriable: librdkafka resumes it.
    fn resumed(&self, mut call: impl FnMut() -> Result<(), RawError>) -> Result<(), SessionError> {
        let deadline = Instant::now() + 2 * TRANSACTION_TIMEOUT;
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(error) if error.retriable && Instant::now() < deadline => self.client.poll(Duration::from_millis(1)),
                Err(error) if error.requires_abort => return Err(SessionError::Abort(error.to_string())),
                // Fatal, or nobody knows how it ended.
                Err(error) => return Err(restart(error)),
            }
        }
    }
}

pub(super) fn handles(client: &Client, topics: &[TopicName]) -> Result<Vec<TopicHandle>, SessionError> {
    topics.iter().map(|topic| client.topic(topic.as_str()).map_err(restart)).collect()
}

pub(super) fn restart(error: RawError) -> SessionError {
    SessionError::Restart(error.to_string())
}
