//! A worker's place in Kafka: one consumer in the transform's group, one (transactional) producer.
//!
//! What cost others dearly is kept in one place each: the group's metadata is captured in `begin` and only there; a
//! producer that is not to be trusted any more is replaced before the next transaction; after `assign` every position
//! is explicit; the revoke of a partition waits until the worker has ended its transaction.

use std::ffi::CString;
use std::time::{Duration, Instant};

use super::config::{BATCH_BYTES_MAX, BATCH_BYTES_MIN, KafkaConfig};
use super::oversize::Oversize;
use super::producer::{CALL_TIMEOUT, Producer, handles, restart};
use super::raw::{Client, Fetched, GroupMetadata, PartitionList, Position, RawError, RebalanceKind, TopicHandle, c_string};
use crate::model::batch::RecordRef;
use crate::model::names::TopicName;
use crate::model::spec::Delivery;
use crate::ports::{
    Assigned, Cause, CommitOffset, Damage, Outgoing, Partition, Rebalance, Session, SessionError, SessionOptions,
};

/// Factor by which batches get smaller.
const BATCH_SHRINK: usize = 8;

pub(super) struct KafkaSession {
    config: KafkaConfig,
    options: SessionOptions,
    /// Of the producer's batches: less each time that a topic refuses one of several records for its size.
    batch_bytes: usize,
    producer: Option<Producer>,
    group: Option<GroupMetadata>,
    inputs: Vec<CString>,
    input_handles: Vec<TopicHandle>,
    consumer: Client,
    fetched: Vec<*mut rdkafka_sys::bindings::rd_kafka_message_t>,
    consumed_ends: Vec<(Partition, i64)>,
    damaged: Vec<Damage>,
    oversize: Oversize,
    /// See [`Session::isolate`]: a producer that is made anew has to know.
    alone: bool,
    assigned: Vec<Partition>,
    paused: Vec<Partition>,
}

// SAFETY: `fetched` is a buffer whose pointers are used within one call of poll() only.
#[expect(unsafe_code, reason = "a buffer of pointers that are null between calls")]
unsafe impl Send for KafkaSession {}

impl KafkaSession {
    /// `batch_bytes`: no output topic takes less at once, as far as is known.
    pub fn open(config: &KafkaConfig, options: &SessionOptions, batch_bytes: usize) -> Result<Self, SessionError> {
        // The producer first: it fences an earlier owner of the id, whose open transaction would hold us back.
        let producer = open_producer(config, options, batch_bytes)?;
        let consumer = Client::consumer(&config.consumer(options)).map_err(restart)?;
        let mut topics = PartitionList::new();
        for topic in &options.inputs {
            topics.add(topic.as_str(), -1, 0, "");
        }
        let input_handles = handles(&consumer, &options.inputs)?;
        consumer.subscribe(&topics).map_err(restart)?;
        Ok(Self {
            config: config.clone(),
            options: options.clone(),
            batch_bytes: batch_bytes.min(BATCH_BYTES_MAX),
            producer: Some(producer),
            group: None,
            inputs: options.inputs.iter().map(|topic| c_string(topic.as_str())).collect(),
            input_handles,
            consumer,
            fetched: Vec::new(),
            consumed_ends: Vec::new(),
            damaged: Vec::new(),
            oversize: Oversize::default(),
            alone: false,
            assigned: Vec::new(),
            paused: Vec::new(),
        })
    }

    fn producer(&mut self) -> Result<&mut Producer, SessionError> {
        self.producer.as_mut().ok_or_else(|| SessionError::Restart("the producer could not be replaced".into()))
    }

    fn list(&self, partitions: &[Partition], offset: impl Fn(Partition) -> i64) -> PartitionList {
        let mut list = PartitionList::new();
        for &partition in partitions {
            list.add(self.topic(partition), partition.number, offset(partition), "");
        }
        list
    }

    fn topic(&self, partition: Partition) -> &str {
        self.options.inputs[partition.input as usize].as_str()
    }

    fn partition(&self, topic: &str, number: i32) -> Option<Partition> {
        let input = self.options.inputs.iter().position(|input| input.as_str() == topic)?;
        Some(Partition { input: input as u32, number })
    }

    fn take_rebalance(&self) -> Option<Rebalance> {
        let event = self.consumer.next_rebalance()?;
        let partitions = event.partitions.iter().filter_map(|(topic, number)| self.partition(topic, *number)).collect();
        Some(match event.kind {
            RebalanceKind::Assign => Rebalance::Assign(partitions),
            RebalanceKind::Revoke => Rebalance::Revoke(partitions),
            RebalanceKind::Lost => Rebalance::Lost(partitions),
        })
    }

    /// Nothing more is there now: how far each partition was read, control records at its end included.
    fn note_positions(&mut self) -> Result<(), SessionError> {
        let list = self.list(&self.assigned, |_| -1001);
        self.consumer.position(&list).map_err(restart)?;
        let known = list.entries().into_iter().filter(|position| position.offset >= 0);
        let ends = known.filter_map(|at| Some((self.partition(&at.topic, at.partition)?, at.offset))).collect();
        self.consumed_ends = ends;
        Ok(())
    }

    /// Where each partition begins. A partition without a committed offset gets one here, so that a crash before its
    /// first transaction skips nothing.
    fn positions(&self, partitions: &[Partition]) -> Result<Vec<Position>, SessionError> {
        let mut positions = Vec::new();
        // "No offset" is asked twice: brokers have been seen to answer so for a group that had one.
        for _ in 0..2 {
            let list = self.list(partitions, |_| -1001);
            self.consumer.committed(&list, CALL_TIMEOUT).map_err(restart)?;
            positions = list.entries();
            if positions.iter().all(|position| position.offset >= 0) {
                return Ok(positions);
            }
        }
        let mut first = PartitionList::new();
        // The list is filled in place: it has the order of `partitions`.
        for (position, partition) in positions.iter_mut().zip(partitions).filter(|(position, _)| position.offset < 0) {
            let (topic, number) = (&self.options.inputs[partition.input as usize], partition.number);
            let ends = self.consumer.query_watermarks(topic.as_str(), number, CALL_TIMEOUT).map_err(restart)?;
            let found = match self.options.start.moment() {
                Some(at) => {
                    self.consumer.offsets_at(topic.as_str(), number..number + 1, at, CALL_TIMEOUT).map_err(restart)?[0]
                }
                None => None,
            };
            position.offset = self.options.start.offset(topic, number, ends, found);
            first.add(topic.as_str(), number, position.offset, "");
        }
        self.consumer.commit_sync(&first).map_err(restart)?;
        Ok(positions)
    }
}

impl Session for KafkaSession {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(Partition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        // What an earlier poll saw may be behind a seek by now.
        self.consumed_ends.clear();
        self.damaged.clear();
        if let Some(waiting) = self.take_rebalance() {
            return Ok(Some(waiting));
        }
        let mut failed = None;
        let mut fetched = std::mem::take(&mut self.fetched);
        let (handles, inputs) = (&self.input_handles, &self.options.inputs);
        let damaged = &mut self.damaged;
        let taken = self.consumer.consume(&mut fetched, timeout, records_max, &mut |message| match message {
            Fetched::Record(record) => {
                // By handle, else by name: librdkafka may have made the topic anew.
                let by_handle = handles.iter().position(|handle| handle.id() == record.topic_id());
                let input = by_handle.or_else(|| {
                    let name = record.topic();
                    inputs.iter().position(|topic| topic.as_str() == name)
                });
                let Some(input) = input else { return };
                let mut own = Vec::new();
                let partition = Partition { input: input as u32, number: record.partition() };
                if let Some(reason) = record.headers(&mut own) {
                    damaged.push(Damage { partition, offset: record.offset(), reason: reason.into() });
                }
                on_record(
                    partition,
                    &RecordRef {
                        offset: record.offset(),
                        timestamp: record.timestamp(),
                        key: record.key(),
                        value: record.value(),
                        headers: &own,
                    },
                );
            }
            Fetched::Error { error, of_partition } => failed = Some((error, of_partition)),
            Fetched::End { .. } => {}
        });
        self.fetched = fetched;
        if taken == 0 {
            self.note_positions()?;
        }
        match failed {
            Some((error, of_partition)) if error.fatal || of_partition || is_lasting(&error) => Err(restart(error)),
            Some((error, _)) => {
                tracing::debug!(group = self.options.group, %error, "consumer error");
                Ok(self.take_rebalance())
            }
            None => Ok(self.take_rebalance()),
        }
    }

    fn assign(&mut self, partitions: &[Partition]) -> Result<Vec<Assigned>, SessionError> {
        if partitions.is_empty() {
            self.consumer.assign(&PartitionList::new()).map_err(restart)?;
            return Ok(Vec::new());
        }
        let positions = self.positions(partitions)?;
        let mut list = PartitionList::new();
        for position in &positions {
            list.add(&position.topic, position.partition, position.offset, "");
        }
        self.consumer.assign(&list).map_err(restart)?;
        self.assigned.extend(partitions);
        let assigned = positions.into_iter().filter_map(|position| {
            let partition = self.partition(&position.topic, position.partition)?;
            Some(Assigned { partition, next_offset: position.offset, metadata: position.metadata })
        });
        Ok(assigned.collect())
    }

    fn unassign(&mut self, partitions: &[Partition]) -> Result<(), SessionError> {
        // A pause outlives the assignment, and to resume after the next one would lose its position (librdkafka#2190).
        let paused: Vec<Partition> = self.paused.iter().copied().filter(|paused| partitions.contains(paused)).collect();
        for partition in paused {
            self.resume(partition)?;
        }
        self.assigned.retain(|assigned| !partitions.contains(assigned));
        self.consumer.unassign(&self.list(partitions, |_| -1001)).map_err(restart)
    }

    fn seek(&mut self, partition: Partition, offset: i64) -> Result<(), SessionError> {
        self.consumer.seek(&self.list(&[partition], |_| offset), CALL_TIMEOUT).map_err(restart)
    }

    fn pause(&mut self, partition: Partition) -> Result<(), SessionError> {
        self.paused.push(partition);
        self.consumer.pause(&self.list(&[partition], |_| -1001)).map_err(restart)
    }

    fn resume(&mut self, partition: Partition) -> Result<(), SessionError> {
        self.paused.retain(|&paused| paused != partition);
        self.consumer.resume(&self.list(&[partition], |_| -1001)).map_err(restart)
    }

    fn end_offset(&self, partition: Partition) -> Option<i64> {
        self.consumer.known_end(&self.inputs[partition.input as usize], partition.number)
    }

    fn consumed_ends(&self) -> &[(Partition, i64)] {
        &self.consumed_ends
    }

    fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    fn begin(&mut self) -> Result<(), SessionError> {
        let now = Instant::now();
        self.oversize.forget(now);
        let refused = self.producer.as_mut().map(Producer::take_refused_sizes);
        refused.into_iter().flatten().for_each(|(topic, size)| self.oversize.note(topic, size, now));
        if self.producer.as_ref().is_none_or(Producer::is_tainted) {
            if self.producer.as_ref().is_some_and(Producer::needs_smaller_batches) {
                self.batch_bytes = (self.batch_bytes / BATCH_SHRINK).max(BATCH_BYTES_MIN);
            }
            self.producer = None;
            self.producer = Some(open_producer(&self.config, &self.options, self.batch_bytes)?);
            self.isolate(self.alone);
        }
        // None for a consumer that is no member: its metadata would be accepted by the broker for anything.
        self.group = self.consumer.group_metadata();
        self.producer()?.begin()
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), SessionError> {
        self.producer()?.send(record)
    }

    fn is_wary(&self) -> bool {
        !self.oversize.is_empty()
    }

    fn foresee(&self, record: &Outgoing<'_>) -> Option<(Cause, String)> {
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
        let mut list = PartitionList::new();
        for offset in offsets {
            list.add(self.topic(offset.partition), offset.partition.number, offset.next_offset, &offset.metadata);
        }
        let group = self.group.take();
        self.producer()?.drain()?;
        if self.options.delivery == Delivery::AtLeastOnce {
            return if offsets.is_empty() { Ok(()) } else { self.consumer.commit_sync(&list).map_err(restart) };
        }
        if !offsets.is_empty() {
            let group = group.ok_or_else(|| SessionError::Restart("was not a member of the group at begin".into()))?;
            self.producer()?.send_offsets(&list, &group)?;
        }
        self.producer()?.commit()
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        self.group = None;
        match self.options.delivery {
            Delivery::ExactlyOnce => self.producer()?.abort(),
            // What was sent cannot be taken back: it may be produced again.
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

fn open_producer(config: &KafkaConfig, options: &SessionOptions, batch_bytes: usize) -> Result<Producer, SessionError> {
    let transactional_id = (options.delivery == Delivery::ExactlyOnce).then_some(options.transactional_id.as_str());
    Producer::open(config, transactional_id, &options.outputs, batch_bytes)
}

/// Errors that another poll will not mend.
fn is_lasting(error: &RawError) -> bool {
    use rdkafka_sys::bindings::rd_kafka_resp_err_t as Code;
    matches!(
        error.code,
        Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
            | Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
            | Code::RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED
            | Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
    )
}
