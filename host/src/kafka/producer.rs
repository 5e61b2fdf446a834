//! The producer of a worker's session, transactional or not.
//!
//! A producer whose transaction ended slowly or lost a connection must be replaced before the next one: librdkafka
//! 2.12 repeats the requests that were under way, and may have left an EndTxn on its way, which would end the next
//! transaction (librdkafka#5423).

use std::time::{Duration, Instant};

use super::config::{CALL_TIMEOUT, DELIVERY_TIMEOUT, OPEN_LOOK, RECORD_BYTES_MAX};
use super::credentials::Connection;
use super::deliver::transaction_error;
use super::error::{of_transaction, restart};
use super::fault::{Fault, fault};
use super::outputs::OutputTopics;
use super::oversize::Size;
use super::raw::{Admission, Client, CodeName, FailedDelivery, GroupMetadata, PartitionList, RawError};
use super::refusal;
use super::retry::resumed;
use crate::model::batch::header_bytes;
use crate::model::names::TopicName;
use crate::ports::{Cause, ProducerRecord, SessionError, refused_timestamp};

/// Time without a delivery after which the topics are asked about.
const ASK_AFTER: Duration = Duration::from_secs(2);
/// The shortest and the longest flush. Each wakes the threads of all brokers when it begins; one that takes longer looks every
/// 10 ms whether all is delivered.
const FLUSH_MIN: Duration = Duration::from_millis(1);
const FLUSH_MAX: Duration = Duration::from_millis(100);
/// A transaction whose end took longer may have left an EndTxn on its way.
const SLOW_END: Duration = Duration::from_secs(1);

/// Fields drop in order: handles before their client.
pub(super) struct Producer {
    outputs: OutputTopics,
    client: Client,
    transactional: bool,
    tainted: bool,
    /// Records of this transaction so far: each is produced with its number.
    sends: u64,
    /// Each record is in a batch of its own.
    alone: bool,
    /// A batch was refused for its size, and had several records.
    batch_too_large: bool,
    /// Sizes that topics have refused.
    refused_sizes: Vec<(TopicName, Size)>,
    disconnects_before: u64,
}

impl Producer {
    /// Opens a producer of `topics`; where changelogs are among them, deliveries are followed. With a transactional id and
    /// a timeout the producer fences an earlier owner of the id, and ends a transaction that the owner left open. It gives
    /// up after `open_time`, and soon after `is_stopped` returns true.
    pub fn open(
        connection: &Connection,
        transactional: Option<(&str, Duration)>,
        topics: &[TopicName],
        batch_bytes: usize,
        open_time: Duration,
        is_stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Self, SessionError> {
        let reports = topics.iter().any(TopicName::is_internal);
        let client = connection.producer(transactional, reports, batch_bytes).map_err(restart)?;
        if transactional.is_some() {
            let deadline = Instant::now() + open_time;
            let init = || match client.init_transactions(OPEN_LOOK) {
                Err(error) if is_stopped() => Err(RawError { retriable: false, ..error }),
                ended => ended,
            };
            resumed(&client, deadline, init).map_err(restart)?;
        }
        Ok(Self {
            outputs: OutputTopics::new(&client, topics)?,
            client,
            transactional: transactional.is_some(),
            tainted: false,
            sends: 0,
            alone: false,
            batch_too_large: false,
            refused_sizes: Vec::new(),
            disconnects_before: 0,
        })
    }

    /// Uses another password for connections from now on.
    pub fn set_password(&self, name: &str, password: &str) -> Result<(), RawError> {
        self.client.set_password(name, password)
    }

    /// Returns true if this producer must not be used for another transaction.
    pub fn is_tainted(&self) -> bool {
        self.tainted
    }

    /// The sizes that topics have refused, since the last call.
    pub fn take_refused_sizes(&mut self) -> Vec<(TopicName, Size)> {
        std::mem::take(&mut self.refused_sizes)
    }

    /// Returns true if the producer that replaces this one needs smaller batches.
    pub fn needs_smaller_batches(&self) -> bool {
        self.batch_too_large
    }

    /// From now on [`ProducerRecord::topic`] counts these.
    pub fn set_topics(&mut self, topics: &[TopicName]) -> Result<(), SessionError> {
        self.outputs = OutputTopics::new(&self.client, topics)?;
        Ok(())
    }

    /// From now on each record is in a batch of its own, or not any more.
    pub fn isolate(&mut self, alone: bool) {
        self.alone = alone;
    }

    pub fn begin(&mut self) -> Result<(), SessionError> {
        self.disconnects_before = self.client.disconnects();
        self.sends = 0;
        if self.transactional { self.client.begin_transaction().map_err(restart) } else { Ok(()) }
    }

    /// Hands a record over.
    pub fn send(&mut self, record: &ProducerRecord<'_>) -> Result<(), SessionError> {
        let &ProducerRecord { topic, partition, key, value, headers, timestamp } = record;
        let number = self.sends;
        self.sends += 1;
        if let Some((cause, reason)) = unsendable(record) {
            return Err(refusal::rejected(number, cause, format!("topic {}: {reason}", self.outputs.name(topic))));
        }
        // The clock is read only where it is needed: this is called for every record.
        let mut full_since = None;
        loop {
            match self.client.produce(number, self.outputs.handle(topic), partition, key, value, headers, timestamp) {
                Ok(Admission::Queued) if self.alone => return self.drain(),
                Ok(Admission::Queued) => return Ok(()),
                // A transaction in which a delivery failed is carried on by nobody.
                Ok(Admission::QueueFull) if self.client.has_failures() => return self.drain(),
                Ok(Admission::QueueFull) => {
                    let since = *full_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > DELIVERY_TIMEOUT {
                        return Err(SessionError::Abort("the producer's queue stays full".into()));
                    }
                    self.await_deliveries(since);
                }
                Err(error) if error.fatal => return Err(restart(error)),
                Err(error) => {
                    // The reason why it takes no more is told by the deliveries that failed before.
                    self.drain()?;
                    let refused = refusal::of_send(number, self.outputs.name(topic).as_str(), &error);
                    self.note_withheld(&refused, &[self.outputs.handle(topic).id()]);
                    return Err(refused);
                }
            }
        }
    }

    /// Waits until everything sent is delivered, or has failed. (librdkafka drops the queued records of a transaction in
    /// which one failed.)
    pub fn drain(&mut self) -> Result<(), SessionError> {
        let began = Instant::now();
        let mut ask_at = began + ASK_AFTER;
        while self.client.in_flight() > 0 {
            let now = Instant::now();
            if now > ask_at {
                self.check_topics()?;
                ask_at = Instant::now() + ASK_AFTER;
            }
            if now > began + DELIVERY_TIMEOUT {
                return Err(SessionError::Abort(format!("{} records not delivered in time", self.client.in_flight())));
            }
            self.await_deliveries(began);
        }
        self.client.poll(Duration::ZERO);
        self.check_deliveries()
    }

    /// Makes a call to the brokers while the last records are on their way, and drains. An error of the delivery comes before
    /// one of the call: it names the records, and may be the reason of the other.
    pub fn drain_beside(&mut self, call: impl FnOnce(&Self) -> Result<(), SessionError>) -> Result<(), SessionError> {
        self.client.flush(FLUSH_MIN);
        let called = call(self);
        self.drain()?;
        called
    }

    /// Waits a moment for deliveries, of which librdkafka reports nothing: the longer they have taken, the longer the
    /// moment. It flushes meanwhile, since a partition whose turn comes late would wait for more records (`linger.ms`).
    fn await_deliveries(&self, began: Instant) {
        self.client.flush((began.elapsed() / 8).clamp(FLUSH_MIN, FLUSH_MAX));
    }

    /// Asks for each topic, since its records do not get through.
    fn check_topics(&mut self) -> Result<(), SessionError> {
        let checked = self.outputs.check(&self.client);
        self.tainted |= checked.is_err();
        checked
    }

    /// Waits until nothing is under way any more, delivered or not. Each record has a time-out of its own.
    pub fn settle(&mut self) {
        let began = Instant::now();
        while self.client.in_flight() > 0 {
            self.await_deliveries(began);
        }
        self.client.poll(Duration::ZERO);
        let is_own = |failed: &FailedDelivery| fault(failed.code) != Fault::Neighbour;
        // As in `check_deliveries`. Those that were dropped with the transaction had no sequence numbers yet.
        self.tainted |= self.client.take_failures().iter().any(is_own) && self.transactional;
    }

    fn check_deliveries(&mut self) -> Result<(), SessionError> {
        if !self.client.has_failures() {
            return Ok(());
        }
        let failures = self.client.take_failures();
        // librdkafka 2.12 goes on with the sequence numbers that the broker did not take, which fails the next transaction.
        self.tainted |= self.transactional;
        let name =
            |id: usize| self.outputs.name_of(id).map_or_else(|| "that was written before".to_owned(), TopicName::to_string);
        let error = refusal::of_deliveries(&failures, name);
        if matches!(error, SessionError::Abort(_)) && failures.iter().any(is_late) {
            // That says nothing of the topic, which may be gone, or forbidden.
            self.check_topics()?;
        }
        let is_fatal = matches!(error, SessionError::Restart(_));
        if self.transactional && (is_fatal || failures.iter().all(|failed| fault(failed.code) == Fault::Neighbour)) {
            // They were dropped with a transaction that failed for a reason of its own: a missing right, say.
            return Err(transaction_error(&self.client).map_or(error, of_transaction));
        }
        let topics: Vec<usize> = failures.iter().map(|failed| failed.topic_id).collect();
        self.note_withheld(&error, &topics);
        self.batch_too_large |= matches!(&error, SessionError::Rejected(rejection)
            if rejection.culprits.is_empty() && rejection.cause == Some(Cause::Size));
        self.tainted |= self.batch_too_large;
        self.note_sizes(&failures);
        Err(error)
    }

    fn note_sizes(&mut self, failures: &[FailedDelivery]) {
        for failed in failures {
            let Some(size) = failed.size else { continue };
            let is_beside =
                |other: &&FailedDelivery| (other.topic_id, other.partition) == (failed.topic_id, failed.partition);
            let topic = self.outputs.name_of(failed.topic_id);
            // One that was refused among others may have been small enough.
            if let Some(topic) = topic.filter(|_| failures.iter().filter(is_beside).count() == 1) {
                self.refused_sizes.push((topic.clone(), size));
            }
        }
    }

    /// A topic that takes nothing now may be another one when it is back: this producer's numbers are not that one's.
    fn note_withheld(&mut self, error: &SessionError, topic_ids: &[usize]) {
        if matches!(error, SessionError::Withheld { .. }) {
            self.tainted = true;
            self.outputs.refresh(&self.client, topic_ids);
        }
    }

    /// One past the last record that was delivered to a partition.
    pub fn delivered_end(&self, topic: usize, partition: i32) -> Option<i64> {
        self.client.delivered_end(self.outputs.find(topic)?, partition)
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
        self.sends = 0;
        self.resumed(|| {
            // It times out for as long as records are under way.
            self.client.poll(Duration::ZERO);
            self.client.abort_transaction(CALL_TIMEOUT)
        })?;
        self.settle();
        self.note_end(started);
        Ok(())
    }

    fn note_end(&mut self, started: Instant) {
        self.tainted |= started.elapsed() > SLOW_END || self.client.disconnects() > self.disconnects_before;
    }

    /// Makes a call of the transaction, again for as long as its error is retriable.
    fn resumed(&self, call: impl FnMut() -> Result<(), RawError>) -> Result<(), SessionError> {
        resumed(&self.client, Instant::now() + 2 * DELIVERY_TIMEOUT, call).map_err(of_transaction)
    }
}

fn is_late(failed: &FailedDelivery) -> bool {
    failed.code == CodeName::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT
}

/// Returns the reason why a record cannot be sent as it is: librdkafka would change it, or the topic would suffer from it.
fn unsendable(record: &ProducerRecord<'_>) -> Option<(Cause, String)> {
    if record.timestamp == 0 {
        return Some((Cause::Timestamp, "a record with the timestamp 0 (1970) cannot be sent as it is".into()));
    }
    if let Some(reason) = refused_timestamp(record.timestamp) {
        return Some((Cause::Timestamp, reason));
    }
    let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + header_bytes(record.headers);
    (bytes > RECORD_BYTES_MAX)
        .then(|| (Cause::Size, format!("a record of {bytes} bytes is larger than a host sends ({RECORD_BYTES_MAX})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_would_change_or_do_harm_is_not_sent() {
        let cause = |timestamp| {
            let record = ProducerRecord { topic: 0, partition: None, key: None, value: None, headers: &[], timestamp };
            unsendable(&record).map(|(cause, _)| cause)
        };
        for (timestamp, is_sent) in [(i64::MIN, false), (-5, false), (-1, true), (0, false), (1, true)] {
            assert_eq!(cause(timestamp), (!is_sent).then_some(Cause::Timestamp), "{timestamp}");
        }
    }
}
