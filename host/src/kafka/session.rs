//! A worker's place in Kafka: one consumer in the transform's group, one (transactional) producer.
//!
//! What cost others dearly is kept in one place each: the group's metadata is captured in `begin` and only there; a
//! producer that is not to be trusted any more is replaced before the next transaction; after `assign` every position
//! is explicit; the revoke of a partition waits until the worker has ended its transaction.

use std::ffi::CString;
use std::time::{Duration, Instant};

use super::config::{BATCH_BYTES_MAX, BATCH_BYTES_MIN, KafkaConfig};
use super::oversize::Oversize;
use super::places;
use super::producer::{CALL_TIMEOUT, Producer, handles, restart};
use super::raw::{Client, END, Fetched, GroupMetadata, PartitionList, RawError, RebalanceKind, TopicHandle, c_string};
use crate::model::batch::RecordRef;
use crate::model::names::TopicName;
use crate::model::spec::Delivery;
use crate::ports::{
    Cause, CommitOffset, Damage, NoPlace, Outgoing, Rebalance, Session, SessionError, SessionOptions, TopicPartition,
    UnplacedPartition,
};

/// How often a commit that met a rebalance is tried again.
const REBALANCE_LOOK: Duration = Duration::from_millis(20);
/// Factor by which batches get smaller.
const BATCH_SHRINK: usize = 8;
/// How long a look for new partitions may take: the worker's records wait for it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) struct KafkaSession {
    config: KafkaConfig,
    options: SessionOptions,
    /// The size of the producer's batches: less each time that a topic refuses one of several records for its size.
    batch_bytes: usize,
    producer: Option<Producer>,
    group: Option<GroupMetadata>,
    inputs: Vec<CString>,
    input_handles: Vec<TopicHandle>,
    consumer: Client,
    fetched: Vec<*mut rdkafka_sys::bindings::rd_kafka_message_t>,
    consumed_ends: Vec<(TopicPartition, i64)>,
    damaged: Vec<Damage>,
    oversize: Oversize,
    /// See [`Session::isolate`]: a producer that is made anew has to know.
    alone: bool,
    assigned: Vec<TopicPartition>,
    paused: Vec<TopicPartition>,
    unplaced: Vec<UnplacedPartition>,
    interrupted: Option<String>,
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
        let input_handles = handles(&consumer, &options.inputs)?;
        let session = Self {
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
            unplaced: Vec::new(),
            interrupted: None,
        };
        session.subscribe().map_err(restart)?;
        Ok(session)
    }

    fn subscribe(&self) -> Result<(), RawError> {
        let mut topics = PartitionList::new();
        for topic in &self.options.inputs {
            topics.add(topic.as_str(), -1, 0, "");
        }
        self.consumer.subscribe(&topics)
    }

    fn producer(&mut self) -> Result<&mut Producer, SessionError> {
        self.producer.as_mut().ok_or_else(|| SessionError::Restart("the producer could not be replaced".into()))
    }

    fn list(&self, partitions: &[TopicPartition], offset: impl Fn(TopicPartition) -> i64) -> PartitionList {
        let mut list = PartitionList::new();
        for &partition in partitions {
            list.add(self.topic(partition), partition.partition, offset(partition), "");
        }
        list
    }

    fn topic(&self, partition: TopicPartition) -> &str {
        self.options.inputs[partition.input as usize].as_str()
    }

    fn partition(&self, topic: &str, number: i32) -> Option<TopicPartition> {
        let input = self.options.inputs.iter().position(|input| input.as_str() == topic)?;
        Some(TopicPartition { input: input as u32, partition: number })
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

    /// Commits offsets outside of a transaction. A rebalance that is under way refuses them for a moment and takes nothing
    /// that this member has not given up, so they are committed again after it. Once the assignment is lost, the next poll
    /// says so: what was sent is sent again by the next owner.
    fn commit_outside(&self, offsets: &PartitionList) -> Result<(), SessionError> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        loop {
            match self.consumer.commit_sync(offsets) {
                Ok(()) => return Ok(()),
                Err(error) if !is_rebalance(&error) => return Err(restart(error)),
                Err(error) if self.consumer.is_assignment_lost() || Instant::now() > deadline => {
                    return Err(SessionError::Abort(error.to_string()));
                }
                Err(_) => std::thread::sleep(REBALANCE_LOOK),
            }
        }
    }
}

impl Session for KafkaSession {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        // What an earlier poll saw may be behind a seek by now.
        self.consumed_ends.clear();
        self.damaged.clear();
        if let Some(waiting) = self.take_rebalance() {
            return Ok(Some(waiting));
        }
        let mut failed = None;
        let mut interrupted = None;
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
                let partition = TopicPartition { input: input as u32, partition: record.partition() };
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
            // Another session looks at where the partition is, and does not stop the others for it.
            Fetched::Error { error, .. } if is_out_of_range(&error) => interrupted = Some(error.to_string()),
            Fetched::Error { error, of_partition } => failed = Some((error, of_partition)),
            Fetched::End { .. } => {}
        });
        self.fetched = fetched;
        if let Some(reason) = interrupted {
            self.interrupted.get_or_insert(reason);
        }
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

    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<CommitOffset>, SessionError> {
        self.unplaced.retain(|unplaced| !partitions.contains(&unplaced.partition));
        if partitions.is_empty() {
            self.consumer.assign(&PartitionList::new()).map_err(restart)?;
            return Ok(Vec::new());
        }
        let named: Vec<(&str, i32)> = partitions.iter().map(|&at| (self.topic(at), at.partition)).collect();
        let places = places::find(&self.consumer, &self.config, &named).map_err(restart)?;
        let mut list = PartitionList::new();
        for (position, reason) in &places {
            // What has no place is taken over all the same, so that it can be given up like the others, and held back.
            let offset = if reason.is_some() { END } else { position.offset };
            list.add(&position.topic, position.partition, offset, "");
        }
        self.consumer.assign(&list).map_err(restart)?;
        let mut assigned = Vec::new();
        for (position, reason) in places {
            let Some(partition) = self.partition(&position.topic, position.partition) else { continue };
            let Some(reason) = reason else {
                self.assigned.push(partition);
                assigned.push(CommitOffset { partition, next_offset: position.offset, metadata: position.metadata });
                continue;
            };
            self.pause(partition)?;
            let begun = self.options.begun.get(&self.options.inputs[partition.input as usize]);
            let reason = reason.of(&position, begun.copied().unwrap_or(0));
            self.unplaced.push(UnplacedPartition { partition, reason });
        }
        Ok(assigned)
    }

    fn unplaced(&self) -> &[UnplacedPartition] {
        &self.unplaced
    }

    fn finds_places(&mut self) -> Result<bool, SessionError> {
        let waits = |unplaced: &&UnplacedPartition| !matches!(unplaced.reason, NoPlace::Outside { .. });
        let waiting: Vec<TopicPartition> = self.unplaced.iter().filter(waits).map(|unplaced| unplaced.partition).collect();
        if waiting.is_empty() {
            return Ok(false);
        }
        let named: Vec<(&str, i32)> = waiting.iter().map(|&at| (self.topic(at), at.partition)).collect();
        let committed = places::committed(&self.consumer, &named).map_err(restart)?;
        Ok(committed.iter().any(|position| position.offset >= 0))
    }

    fn look_for_partitions(&mut self) -> Result<(), SessionError> {
        // With the new metadata there, to subscribe to the same topics again makes the consumer compare the two, and join
        // its group again where they differ. A failure is made up for by the client itself, later.
        let looked = self.consumer.refresh_metadata(LOOK_TIMEOUT).and_then(|()| self.subscribe());
        if let Err(error) = looked {
            tracing::debug!(group = self.options.group, %error, "no metadata now");
        }
        Ok(())
    }

    fn interrupted(&self) -> Option<&str> {
        self.interrupted.as_deref()
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        // A pause outlives the assignment, and to resume after the next one would lose its position (librdkafka#2190).
        let paused: Vec<TopicPartition> = self.paused.iter().copied().filter(|paused| partitions.contains(paused)).collect();
        for partition in paused {
            self.resume(partition)?;
        }
        self.assigned.retain(|assigned| !partitions.contains(assigned));
        self.unplaced.retain(|unplaced| !partitions.contains(&unplaced.partition));
        self.consumer.unassign(&self.list(partitions, |_| -1001)).map_err(restart)
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), SessionError> {
        self.consumer.seek(&self.list(&[partition], |_| offset), CALL_TIMEOUT).map_err(restart)
    }

    fn pause(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        self.paused.push(partition);
        self.consumer.pause(&self.list(&[partition], |_| -1001)).map_err(restart)
    }

    fn resume(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        self.paused.retain(|&paused| paused != partition);
        self.consumer.resume(&self.list(&[partition], |_| -1001)).map_err(restart)
    }

    fn end_offset(&self, partition: TopicPartition) -> Option<i64> {
        self.consumer.known_end(&self.inputs[partition.input as usize], partition.partition)
    }

    fn consumed_ends(&self) -> &[(TopicPartition, i64)] {
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
            list.add(self.topic(offset.partition), offset.partition.partition, offset.next_offset, &offset.metadata);
        }
        let group = self.group.take();
        self.producer()?.drain()?;
        if self.options.delivery == Delivery::AtLeastOnce {
            return if offsets.is_empty() { Ok(()) } else { self.commit_outside(&list) };
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

/// Tells the errors of a commit that a rebalance is the reason of.
fn is_rebalance(error: &RawError) -> bool {
    use rdkafka_sys::bindings::rd_kafka_resp_err_t as Code;
    matches!(
        error.code,
        Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS
            | Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
            | Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
    )
}

/// The place that a partition is read from is not in it any more.
fn is_out_of_range(error: &RawError) -> bool {
    use rdkafka_sys::bindings::rd_kafka_resp_err_t as Code;
    matches!(error.code, Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET | Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
}

/// Errors that another poll will not mend.
fn is_lasting(error: &RawError) -> bool {
    use rdkafka_sys::bindings::rd_kafka_resp_err_t as Code;
    matches!(
        error.code,
        Code::RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED
            | Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
    )
}
