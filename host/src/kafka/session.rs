//! A worker's place in Kafka: one consumer in the transform's group, one (transactional) producer.
//!
//! What cost others dearly is kept in one place each: the group's metadata is captured in `begin` and only there;
//! a producer whose commit was slow or saw a transport error is replaced before the next transaction (librdkafka
//! 2.12 may have left an EndTxn on the way that would end the next transaction: librdkafka#5423); after `assign`
//! every position is explicit; the revoke of a partition waits until the worker has ended its transaction.

use std::ffi::CString;
use std::time::{Duration, Instant};

use super::config::{KafkaConfig, TRANSACTION_TIMEOUT};
use super::raw::{
    Client, Fetched, GroupMetadata, PartitionList, Position, Produced, RawError, RebalanceKind, TopicHandle, c_string,
};
use crate::model::batch::RecordRef;
use crate::model::spec::Delivery;
use crate::ports::{Assigned, CommitOffset, Outgoing, Partition, Rebalance, Session, SessionError, SessionOptions};

/// How long one call to a broker may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A commit that took longer may have left an EndTxn on its way.
const SLOW_COMMIT: Duration = Duration::from_secs(1);

pub(super) struct KafkaSession {
    config: KafkaConfig,
    options: SessionOptions,
    producer: Option<Producer>,
    group: Option<GroupMetadata>,
    inputs: Vec<CString>,
    input_handles: Vec<TopicHandle>,
    consumer: Client,
    fetched: Vec<*mut rdkafka_sys::bindings::rd_kafka_message_t>,
    consumed_ends: Vec<(Partition, i64)>,
    assigned: Vec<Partition>,
    paused: Vec<Partition>,
}

/// Fields drop in order: handles before their client.
struct Producer {
    topics: Vec<TopicHandle>,
    client: Client,
    /// Must be replaced before the next transaction.
    tainted: bool,
    errors_before: u64,
}

// SAFETY: `fetched` is a buffer whose pointers are used within one call of poll() only.
unsafe impl Send for KafkaSession {}

impl KafkaSession {
    pub fn open(config: &KafkaConfig, options: &SessionOptions) -> Result<Self, SessionError> {
        // The producer first: it fences an earlier owner of the id, whose open transaction would hold us back.
        let producer = Producer::open(config, options)?;
        let consumer = Client::consumer(&config.consumer(options)).map_err(restart)?;
        let mut topics = PartitionList::new();
        for topic in &options.inputs {
            topics.add(topic.as_str(), -1, 0, "");
        }
        let handles = options.inputs.iter().map(|topic| consumer.topic(topic.as_str()).map_err(restart));
        let input_handles = handles.collect::<Result<Vec<_>, _>>()?;
        consumer.subscribe(&topics).map_err(restart)?;
        Ok(Self {
            config: config.clone(),
            options: options.clone(),
            producer: Some(producer),
            group: None,
            inputs: options.inputs.iter().map(|topic| c_string(topic.as_str())).collect(),
            input_handles,
            consumer,
            fetched: Vec::new(),
            consumed_ends: Vec::new(),
            assigned: Vec::new(),
            paused: Vec::new(),
        })
    }

    fn producer(&self) -> Result<&Producer, SessionError> {
        self.producer.as_ref().ok_or_else(|| SessionError::Restart("the producer could not be replaced".into()))
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

impl Producer {
    fn open(config: &KafkaConfig, options: &SessionOptions) -> Result<Self, SessionError> {
        let client = Client::producer(&config.producer(options)).map_err(restart)?;
        if options.delivery == Delivery::ExactlyOnce {
            let deadline = Instant::now() + 2 * TRANSACTION_TIMEOUT;
            while let Err(error) = client.init_transactions(CALL_TIMEOUT) {
                if !error.retriable || Instant::now() > deadline {
                    return Err(restart(error));
                }
            }
        }
        let handles = options.outputs.iter().map(|topic| client.topic(topic.as_str()).map_err(restart));
        let topics = handles.collect::<Result<Vec<_>, _>>()?;
        let errors_before = client.transport_errors();
        Ok(Self { topics, client, tainted: false, errors_before })
    }

    /// Waits until everything sent is delivered. librdkafka's own flush sleeps in slices of 100 ms.
    fn drain(&self) -> Result<(), SessionError> {
        let deadline = Instant::now() + TRANSACTION_TIMEOUT;
        while self.client.in_flight() > 0 {
            self.client.poll(Duration::from_millis(1));
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

impl Session for KafkaSession {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(Partition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        // What an earlier poll saw may be behind a seek by now.
        self.consumed_ends.clear();
        if let Some(waiting) = self.take_rebalance() {
            return Ok(Some(waiting));
        }
        let mut failed = None;
        let mut fetched = std::mem::take(&mut self.fetched);
        let (handles, inputs) = (&self.input_handles, &self.options.inputs);
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
                record.headers(&mut own);
                on_record(
                    Partition { input: input as u32, number: record.partition() },
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
            self.consumer.incremental_assign(&PartitionList::new()).map_err(restart)?;
            return Ok(Vec::new());
        }
        let positions = self.positions(partitions)?;
        let mut list = PartitionList::new();
        for position in &positions {
            list.add(&position.topic, position.partition, position.offset, "");
        }
        self.consumer.incremental_assign(&list).map_err(restart)?;
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
        self.consumer.incremental_unassign(&self.list(partitions, |_| -1001)).map_err(restart)
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

    fn begin(&mut self) -> Result<(), SessionError> {
        if self.producer.as_ref().is_none_or(|producer| producer.tainted) {
            self.producer = None;
            self.producer = Some(Producer::open(&self.config, &self.options)?);
        }
        // None for a consumer that is no member: its metadata would be accepted by the broker for anything.
        self.group = self.consumer.group_metadata();
        let exactly_once = self.options.delivery == Delivery::ExactlyOnce;
        let producer = self.producer.as_mut().expect("opened above");
        producer.errors_before = producer.client.transport_errors();
        match exactly_once {
            true => producer.client.begin_transaction().map_err(restart),
            false => Ok(()),
        }
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), SessionError> {
        let producer = self.producer()?;
        let topic = &producer.topics[record.topic];
        // The clock is read only where it is needed: this is called for every record.
        let mut full_since = None;
        loop {
            let produced = producer.client.produce(topic, None, record.key, record.value, record.headers, record.timestamp);
            match produced {
                Ok(Produced::Queued) => return Ok(()),
                Ok(Produced::Full) if full_since.get_or_insert_with(Instant::now).elapsed() < TRANSACTION_TIMEOUT => {
                    producer.client.poll(Duration::from_millis(1));
                }
                Ok(Produced::Full) => return Err(SessionError::Abort("the producer's queue stays full".into())),
                Err(error) if error.fatal => return Err(restart(error)),
                Err(error) => return Err(SessionError::Abort(error.to_string())),
            }
        }
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), SessionError> {
        let mut list = PartitionList::new();
        for offset in offsets {
            list.add(self.topic(offset.partition), offset.partition.number, offset.next_offset, &offset.metadata);
        }
        let started = Instant::now();
        let group = self.group.take();
        let producer = self.producer()?;
        producer.drain()?;
        if self.options.delivery == Delivery::AtLeastOnce {
            return if offsets.is_empty() { Ok(()) } else { self.consumer.commit_sync(&list).map_err(restart) };
        }
        if !offsets.is_empty() {
            let group = group.ok_or_else(|| SessionError::Restart("was not a member of the group at begin".into()))?;
            producer.resumed(|| producer.client.send_offsets(&list, &group, CALL_TIMEOUT))?;
        }
        producer.resumed(|| producer.client.commit_transaction(CALL_TIMEOUT))?;
        let saw_errors = producer.client.transport_errors() > producer.errors_before;
        if let Some(producer) = &mut self.producer {
            producer.tainted = saw_errors || started.elapsed() > SLOW_COMMIT;
        }
        Ok(())
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        self.group = None;
        if self.options.delivery == Delivery::AtLeastOnce {
            // What was sent cannot be taken back: it may be produced again.
            return self.producer()?.drain().or(Ok(()));
        }
        let started = Instant::now();
        let producer = self.producer()?;
        producer.resumed(|| {
            producer.client.poll(Duration::ZERO);
            producer.client.abort_transaction(CALL_TIMEOUT)
        })?;
        let _ = producer.client.take_delivery_error();
        let saw_errors = producer.client.transport_errors() > producer.errors_before;
        if let Some(producer) = &mut self.producer {
            producer.tainted = saw_errors || started.elapsed() > SLOW_COMMIT;
        }
        Ok(())
    }
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

fn restart(error: RawError) -> SessionError {
    SessionError::Restart(error.to_string())
}
