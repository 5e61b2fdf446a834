//! A worker's session on Kafka: a [`Consumer`] in the transform's group, and a (transactional) [`Producer`].
//!
//! The producer is opened with the session, which fences an earlier owner of its id and ends the transaction that it left
//! open. It is closed after [`PRODUCER_KEPT`] without a transaction, since its threads and connections cost more than opening
//! it again, which fences in the same way.
//!
//! Three rules are kept in one place each: the group's metadata is captured in `begin` and only there; a producer that is
//! not to be trusted any more is replaced before the next transaction; the revoke of a partition waits until the worker has
//! ended its transaction.

use std::time::{Duration, Instant};

use super::config::{BATCH_BYTES_MAX, BATCH_BYTES_MIN, DELIVERY_TIMEOUT};
use super::consumer::Consumer;
use super::credentials::{Connection, Lease, Renewal};
use super::departed::Departed;
use super::error::restart;
use super::oversize::Oversize;
use super::producer::Producer;
use super::raw::GroupMetadata;
use crate::model::batch::RecordRef;
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::spec::Delivery;
use crate::ports::{
    Cause, CommitOffset, Damage, ProducerRecord, Rebalance, Session, SessionError, SessionOptions, TopicPartition,
    UnplacedPartition, Waker,
};

/// Factor by which batches get smaller.
const BATCH_SHRINK: usize = 8;

/// Time without a transaction after which a producer is closed. To open one takes about ten requests.
const PRODUCER_KEPT: Duration = Duration::from_secs(30);
/// Longest time that the first producer of a session takes to open.
const OPEN_TIME: Duration = DELIVERY_TIMEOUT.saturating_mul(2);
/// A later producer takes this time at most to open. Nothing else is done meanwhile, not even a stop; then the session opens
/// again, which can be stopped.
const REOPEN_TIME: Duration = Duration::from_secs(10);

/// Fields drop in order: the producer's open transaction ends before the consumer leaves its group.
pub(super) struct KafkaSession {
    connection: Connection,
    /// The properties of its clients.
    lease: Lease,
    options: SessionOptions,
    /// The size of the producer's batches: less each time that a topic refuses one of several records for its size.
    batch_bytes: usize,
    /// None while none is needed, or while it is replaced.
    producer: Option<Producer>,
    /// The end of the last transaction.
    producer_used_at: Instant,
    /// True from `begin` to the end of the transaction.
    is_open: bool,
    /// The membership as the open transaction began.
    group: Option<GroupMetadata>,
    consumer: Consumer,
    oversize: Oversize,
    /// See [`Session::isolate`]: a producer that takes the place of another has to know.
    alone: bool,
}

impl KafkaSession {
    /// `batch_bytes`: no output topic takes less at once, as far as is known. It gives up soon after `is_stopped` returns
    /// true.
    pub fn open(
        connection: &Connection,
        departed: &Departed,
        options: &SessionOptions,
        batch_bytes: usize,
        is_stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Self, SessionError> {
        // The producer first: it fences an earlier owner of the id, whose open transaction would hold us back.
        let lease = connection.lease().map_err(restart)?;
        let producer = open_producer(connection, options, batch_bytes, OPEN_TIME, is_stopped)?;
        Ok(Self {
            connection: connection.clone(),
            lease,
            options: options.clone(),
            batch_bytes: batch_bytes.min(BATCH_BYTES_MAX),
            producer: Some(producer),
            producer_used_at: Instant::now(),
            is_open: false,
            group: None,
            consumer: Consumer::open(connection, departed, options)?,
            oversize: Oversize::default(),
            alone: false,
        })
    }

    fn producer(&mut self) -> Result<&mut Producer, SessionError> {
        self.producer.as_mut().ok_or_else(|| SessionError::Restart("the producer could not be opened".into()))
    }

    /// Takes up properties that have changed, between two transactions. A password is for connections to come; anything else
    /// asks for other clients, and ends this session.
    fn take_up_credentials(&mut self) -> Result<(), SessionError> {
        match self.connection.renew(&mut self.lease).map_err(restart)? {
            Renewal::Unneeded => Ok(()),
            Renewal::Password(name, password) => {
                self.consumer.set_password(&name, &password).map_err(restart)?;
                // One that is opened later has the new properties anyway.
                self.producer.as_ref().map_or(Ok(()), |producer| producer.set_password(&name, &password).map_err(restart))
            }
            Renewal::NewClients => Err(SessionError::Restart("the properties of its clients have changed".into())),
        }
    }

    /// Closes a producer that was of no use for long.
    fn close_unused_producer(&mut self) {
        if self.producer.is_some() && self.producer_used_at.elapsed() > PRODUCER_KEPT {
            tracing::debug!(id = self.options.transactional_id, "the producer is closed until there are records");
            self.producer = None;
        }
    }

    /// Opens a producer where none is open, and replaces one that is not to be trusted any more.
    fn renew_producer(&mut self) -> Result<(), SessionError> {
        if self.producer.as_ref().is_some_and(|producer| !producer.is_tainted()) {
            return Ok(());
        }
        if self.producer.as_ref().is_some_and(Producer::needs_smaller_batches) {
            self.batch_bytes = (self.batch_bytes / BATCH_SHRINK).max(BATCH_BYTES_MIN);
        }
        // The old one is closed before the new one opens.
        self.producer = None;
        self.producer = Some(open_producer(&self.connection, &self.options, self.batch_bytes, REOPEN_TIME, &mut || false)?);
        self.isolate(self.alone);
        Ok(())
    }
}

fn open_producer(
    connection: &Connection,
    options: &SessionOptions,
    batch_bytes: usize,
    open_time: Duration,
    is_stopped: &mut dyn FnMut() -> bool,
) -> Result<Producer, SessionError> {
    let transactional = (options.transactional_id.as_str(), options.transaction_timeout);
    let transactional = (options.delivery == Delivery::ExactlyOnce).then_some(transactional);
    Producer::open(connection, transactional, &options.outputs, batch_bytes, open_time, is_stopped)
}

impl Session for KafkaSession {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        if !self.is_open {
            self.take_up_credentials()?;
            self.close_unused_producer();
        }
        let mut has_records = false;
        let polled = self.consumer.poll(timeout, records_max, &mut |partition, record| {
            has_records = true;
            on_record(partition, record);
        });
        if has_records && !self.is_open && self.producer.is_none() {
            // They wait for their transaction anyway, in which the time counts.
            self.producer_used_at = Instant::now();
            self.renew_producer()?;
        }
        polled
    }

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<CommitOffset>, SessionError> {
        self.consumer.assign(partitions)
    }

    fn name(&self) -> Option<&str> {
        self.consumer.name()
    }

    fn is_member(&self) -> bool {
        self.consumer.is_member()
    }

    fn unplaced(&self) -> &[UnplacedPartition] {
        self.consumer.unplaced()
    }

    fn finds_places(&mut self) -> Result<bool, SessionError> {
        self.consumer.finds_places()
    }

    fn settle(&mut self) -> Result<Vec<CommitOffset>, SessionError> {
        self.consumer.settle()
    }

    fn look_for_partitions(&mut self) -> Result<(), SessionError> {
        self.consumer.look_for_partitions();
        Ok(())
    }

    fn interrupted(&self) -> Option<&str> {
        self.consumer.interrupted()
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        self.consumer.unassign(partitions)
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), SessionError> {
        self.consumer.seek(&[(partition, offset)])
    }

    fn seek_all(&mut self, places: &[(TopicPartition, i64)]) -> Result<(), SessionError> {
        self.consumer.seek(places)
    }

    fn pause(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        self.consumer.pause(&[partition])
    }

    fn resume(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        self.consumer.resume(&[partition])
    }

    fn waker(&self) -> Option<Waker> {
        Some(self.consumer.waker())
    }

    fn hasten(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        self.consumer.hasten(partitions);
        Ok(())
    }

    fn end_offset(&self, partition: TopicPartition) -> Option<i64> {
        self.consumer.end_offset(partition)
    }

    fn consumed_ends(&self) -> &[(TopicPartition, i64)] {
        self.consumer.consumed_ends()
    }

    fn damaged(&self) -> &[Damage] {
        self.consumer.damaged()
    }

    fn prepare(&mut self) -> Result<(), SessionError> {
        let now = Instant::now();
        self.oversize.forget(now);
        let refused = self.producer.as_mut().map(Producer::take_refused_sizes);
        refused.into_iter().flatten().for_each(|(topic, size)| self.oversize.note(topic, size, now));
        self.renew_producer()
    }

    fn begin(&mut self) -> Result<(), SessionError> {
        self.prepare()?;
        self.is_open = true;
        self.group = self.consumer.group_metadata();
        self.producer()?.begin()
    }

    fn send(&mut self, record: &ProducerRecord<'_>) -> Result<(), SessionError> {
        self.producer()?.send(record)
    }

    fn is_wary(&self) -> bool {
        !self.oversize.is_empty()
    }

    fn foresee(&self, record: &ProducerRecord<'_>) -> Option<(Cause, String)> {
        let topic = &self.options.outputs[record.topic];
        Some((Cause::Size, self.oversize.foresee(topic, record, Instant::now())?))
    }

    fn isolate(&mut self, alone: bool) {
        self.alone = alone;
        if let Some(producer) = &mut self.producer {
            producer.isolate(alone);
        }
    }

    fn flush(&mut self) -> Result<(), SessionError> {
        self.producer()?.drain()
    }

    fn written_end(&self, topic: usize, partition: i32) -> Option<i64> {
        self.producer.as_ref()?.delivered_end(topic, partition)
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), SessionError> {
        let group = self.group.take();
        self.is_open = false;
        self.producer_used_at = Instant::now();
        if self.options.delivery == Delivery::AtLeastOnce {
            self.producer()?.drain()?;
            return if offsets.is_empty() { Ok(()) } else { self.consumer.commit(offsets) };
        }
        if offsets.is_empty() {
            self.producer()?.drain()?;
        } else {
            let list = self.consumer.offset_list(offsets);
            self.producer()?.drain_beside(|producer| {
                let group = group.ok_or_else(|| SessionError::Ended {
                    code: Code::Fenced,
                    message: "was not a member of the group at begin".into(),
                })?;
                producer.send_offsets(&list, &group)
            })?;
        }
        self.producer()?.commit()
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        self.group = None;
        self.is_open = false;
        self.producer_used_at = Instant::now();
        match self.options.delivery {
            Delivery::ExactlyOnce => self.producer()?.abort(),
            // Sent records cannot be taken back: they may be produced again.
            Delivery::AtLeastOnce => {
                self.producer()?.settle();
                Ok(())
            }
        }
    }

    fn set_outputs(&mut self, outputs: &[TopicName]) -> Result<(), SessionError> {
        self.options.outputs = outputs.to_vec();
        if let Some(producer) = &mut self.producer {
            producer.set_topics(outputs)?;
        }
        Ok(())
    }
}
