//! A session's transaction: a buffer in memory, so there is nothing to abort in the log.

use super::block::Entry;
use super::broker::Broker;
use super::metadata::Metadata;
use super::outputs::{Outputs, Refusal};
use super::store::PartitionId;
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::{Cause, Culprit, ProducerRecord, Rejection, SessionError};

/// The transaction of a session, and its outputs: they are kept between two transactions.
pub struct Transaction {
    outputs: Outputs,
    open: Option<OpenTransaction>,
}

/// See [`crate::ports::Session::begin`].
struct OpenTransaction {
    /// The group's generation as it began; None where the session was no member.
    generation: Option<u64>,
    /// Calls of `send` so far.
    sends: u64,
}

impl Transaction {
    /// No transaction is open yet.
    pub fn new(broker: &Broker, metadata: &Metadata, topics: &[TopicName]) -> Result<Self, SessionError> {
        Ok(Self { outputs: outputs(broker, metadata, topics)?, open: None })
    }

    pub fn set_outputs(&mut self, broker: &Broker, topics: &[TopicName]) -> Result<(), SessionError> {
        self.outputs = outputs(broker, &broker.metadata(), topics)?;
        Ok(())
    }

    pub fn begin(&mut self, generation: Option<u64>) -> Result<(), SessionError> {
        if self.open.is_some() {
            return Err(SessionError::Abort("a transaction is open already".into()));
        }
        self.open = Some(OpenTransaction { generation, sends: 0 });
        Ok(())
    }

    /// The group's generation as the transaction began.
    pub fn generation(&self) -> Result<Option<u64>, SessionError> {
        self.open.as_ref().map(|open| open.generation).ok_or_else(not_open)
    }

    pub fn send(&mut self, record: &ProducerRecord<'_>) -> Result<(), SessionError> {
        let open = self.open.as_mut().ok_or_else(not_open)?;
        let send = open.sends;
        open.sends += 1;
        if record.timestamp == 0 {
            // As on Kafka, whose client cannot say so.
            let reason = "a record with the timestamp 0 (1970) cannot be sent as it is".into();
            return Err(rejected(send, Cause::Timestamp, reason));
        }
        let &ProducerRecord { topic, partition, key, value, headers, timestamp } = record;
        let pushed = self.outputs.push(topic, partition, &Entry { timestamp, key, value, headers });
        pushed.map_err(|refusal| match refusal {
            Refusal::Full { .. } => SessionError::TooLarge(refusal.to_string()),
            Refusal::RecordTooLarge { .. } => rejected(send, Cause::Size, refusal.to_string()),
            Refusal::NoKey(_) => rejected(send, Cause::Content, refusal.to_string()),
            Refusal::Timestamp { .. } | Refusal::NegativeTimestamp { .. } => {
                rejected(send, Cause::Timestamp, refusal.to_string())
            }
            Refusal::NoTopic(_) => SessionError::Withheld { code: Code::TopicGone, message: refusal.to_string() },
        })
    }

    pub fn has_room(&self) -> bool {
        self.outputs.has_room()
    }

    /// The partition of an output. None while a transaction is open: its records get their offsets with the commit.
    pub fn written_partition(&self, topic: usize, partition: i32) -> Option<PartitionId> {
        self.outputs.id(topic, partition).filter(|_| self.open.is_none())
    }

    /// The outputs, to be committed.
    pub fn outputs(&mut self) -> &mut Outputs {
        &mut self.outputs
    }

    /// Notes that the outputs are committed.
    pub fn end(&mut self) {
        self.open = None;
    }

    pub fn abort(&mut self) {
        self.open = None;
        self.outputs.clear();
    }
}

fn not_open() -> SessionError {
    SessionError::Abort("no transaction is open".into())
}

fn rejected(send: u64, cause: Cause, reason: String) -> SessionError {
    let culprits = vec![Culprit { send, cause, reason: reason.clone() }];
    SessionError::Rejected(Rejection { culprits, cause: Some(cause), reason })
}

fn outputs(broker: &Broker, metadata: &Metadata, topics: &[TopicName]) -> Result<Outputs, SessionError> {
    let mut outputs = Outputs::new(&broker.options);
    for name in topics {
        outputs.add_topic(name, &metadata.topic(name)?, 0);
    }
    Ok(outputs)
}
