//! The reading side of a worker's session: a member of the transform's group.
//!
//! After `assign` every position is explicit; a partition without a start offset is owned and not read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::code::code;
use super::config::CALL_TIMEOUT;
use super::credentials::Connection;
use super::departed::Departed;
use super::error::{PollRemedy, abort, is_rebalance, of_poll, restart};
use super::raw::{
    Client, END, FetchBuffer, GroupMetadata, NO_OFFSET, PartitionList, Position, QueueMessage, RawError, RebalanceKind,
    TopicHandle, c_string,
};
use super::start_offsets::{self, ENDS_TIMEOUT, OffsetProblem, StartOffset};
use crate::model::batch::RecordRef;
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::model::spec::Delivery;
use crate::ports::{
    CommitOffset, Damage, NoPlace, Rebalance, SessionError, SessionOptions, TopicPartition, UnplacedPartition, Waker,
};

/// Time between two attempts at a commit that met a rebalance.
const COMMIT_RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// Longest time of a look for new partitions: the worker's records wait for it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest time of a question that is asked for its side effect alone.
const HASTEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Fields drop in order: handles before their client.
pub(super) struct Consumer {
    connection: Connection,
    departed: Departed,
    /// The id of the session's transactions, where other members know this one by it.
    id: Option<String>,
    group: String,
    begun: BTreeMap<TopicName, i32>,
    inputs: Vec<Input>,
    client: Client,
    buffer: FetchBuffer,
    consumed_ends: Vec<(TopicPartition, i64)>,
    damaged: Vec<Damage>,
    assigned: Vec<TopicPartition>,
    paused: BTreeSet<TopicPartition>,
    unplaced: Vec<UnplacedPartition>,
    /// Partitions that were assigned at their end without its number.
    unnumbered: BTreeSet<TopicPartition>,
    interrupted: Option<String>,
}

struct Input {
    name: TopicName,
    c_name: CString,
    handle: TopicHandle,
}

// === impl Consumer ===

impl Consumer {
    /// Opens a consumer and subscribes it to its inputs.
    pub fn open(connection: &Connection, departed: &Departed, options: &SessionOptions) -> Result<Self, SessionError> {
        let id = (options.delivery == Delivery::ExactlyOnce).then_some(options.transactional_id.as_str());
        let client = connection.consumer(&options.group, options.co_partitioned, id).map_err(restart)?;
        let input = |name: &TopicName| {
            let handle = client.topic(name.as_str()).map_err(restart)?;
            Ok(Input { name: name.clone(), c_name: c_string(name.as_str()), handle })
        };
        let inputs = options.inputs.iter().map(input).collect::<Result<_, SessionError>>()?;
        let consumer = Self {
            connection: connection.clone(),
            departed: departed.clone(),
            id: id.filter(|_| connection.has_own_client_ids()).map(str::to_owned),
            group: options.group.clone(),
            begun: options.begun.clone(),
            inputs,
            client,
            buffer: FetchBuffer::default(),
            consumed_ends: Vec::new(),
            damaged: Vec::new(),
            assigned: Vec::new(),
            paused: BTreeSet::new(),
            unplaced: Vec::new(),
            unnumbered: BTreeSet::new(),
            interrupted: None,
        };
        consumer.subscribe().map_err(restart)?;
        Ok(consumer)
    }

    fn subscribe(&self) -> Result<(), RawError> {
        let mut topics = PartitionList::new();
        for input in &self.inputs {
            topics.add(input.name.as_str(), -1, 0, "");
        }
        self.client.subscribe(&topics)
    }

    fn topic(&self, partition: TopicPartition) -> &TopicName {
        &self.inputs[partition.input as usize].name
    }

    fn partition(&self, topic: &str, number: i32) -> Option<TopicPartition> {
        let input = self.inputs.iter().position(|input| input.name.as_str() == topic)?;
        Some(TopicPartition { input: input as u32, partition: number })
    }

    fn names(&self, partitions: &[TopicPartition]) -> Vec<(&str, i32)> {
        partitions.iter().map(|&partition| (self.topic(partition).as_str(), partition.partition)).collect()
    }

    fn list(&self, partitions: &[TopicPartition], offset: i64) -> PartitionList {
        let mut list = PartitionList::new();
        for (topic, number) in self.names(partitions) {
            list.add(topic, number, offset, "");
        }
        list
    }

    /// Offsets with their metadata, as librdkafka commits them.
    pub fn offset_list(&self, offsets: &[CommitOffset]) -> PartitionList {
        let mut list = PartitionList::new();
        for offset in offsets {
            let topic = self.topic(offset.partition).as_str();
            list.add(topic, offset.partition.partition, offset.next_offset, &offset.metadata);
        }
        list
    }

    /// Uses another password for connections from now on.
    pub fn set_password(&self, name: &str, password: &str) -> Result<(), RawError> {
        self.client.set_password(name, password)
    }

    /// See [`crate::ports::Session::name`].
    pub fn name(&self) -> Option<&str> {
        self.id.as_deref()?.strip_prefix(&self.group)?.strip_prefix('.')
    }

    /// Returns true once the group has taken this consumer in.
    pub fn is_member(&self) -> bool {
        self.group_metadata().is_some()
    }

    /// None for a consumer that is no member: its metadata would be accepted by the broker for anything.
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        self.client.group_metadata()
    }

    // === records ===

    /// See [`crate::ports::Session::poll`].
    pub fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        // The ends that an earlier poll saw may be behind a seek by now.
        self.consumed_ends.clear();
        self.damaged.clear();
        if let Some(waiting) = self.take_rebalance() {
            return Ok(Some(waiting));
        }
        let mut failed = None;
        let group = &self.group;
        let inputs = &self.inputs;
        let damaged = &mut self.damaged;
        let interrupted = &mut self.interrupted;
        let taken = self.client.consume(&mut self.buffer, timeout, records_max, &mut |message| match message {
            QueueMessage::Record(record) => {
                let Some(input) = input_of(inputs, record.topic_id(), || record.topic()) else { return };
                let partition = TopicPartition { input: input as u32, partition: record.partition() };
                let mut headers = Vec::new();
                if let Some(reason) = record.headers(&mut headers) {
                    damaged.push(Damage { partition, offset: record.offset(), reason: reason.into() });
                }
                on_record(
                    partition,
                    &RecordRef {
                        offset: record.offset(),
                        timestamp: record.timestamp(),
                        key: record.key(),
                        value: record.value(),
                        headers: &headers,
                    },
                );
            }
            QueueMessage::Error { error, of_partition } => match of_poll(&error, of_partition) {
                PollRemedy::Interrupt => drop(interrupted.get_or_insert_with(|| error.to_string())),
                // A later error with another remedy must not hide this one: a record may have been skipped.
                PollRemedy::Restart => failed = Some(error),
                PollRemedy::GoOn => tracing::debug!(group, %error, "consumer error"),
            },
            QueueMessage::End { .. } => {}
        });
        // After an error of a partition librdkafka's position in it is one too far: it counts the error as a record.
        if taken == 0 && self.interrupted.is_none() {
            self.note_positions()?;
        }
        match failed {
            Some(error) => Err(restart(error)),
            None => Ok(self.take_rebalance()),
        }
    }

    /// Notes how far each partition was read, control records at its end included: nothing more is there now.
    fn note_positions(&mut self) -> Result<(), SessionError> {
        let list = self.list(&self.assigned, NO_OFFSET);
        self.client.position(&list).map_err(restart)?;
        let read = list.entries().into_iter().filter(|position| position.offset >= 0);
        self.consumed_ends = read.filter_map(|at| Some((self.partition(&at.topic, at.partition)?, at.offset))).collect();
        Ok(())
    }

    pub fn consumed_ends(&self) -> &[(TopicPartition, i64)] {
        &self.consumed_ends
    }

    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    pub fn interrupted(&self) -> Option<&str> {
        self.interrupted.as_deref()
    }

    pub fn end_offset(&self, partition: TopicPartition) -> Option<i64> {
        self.client.known_end(&self.inputs[partition.input as usize].c_name, partition.partition)
    }

    pub fn seek(&mut self, places: &[(TopicPartition, i64)]) -> Result<(), SessionError> {
        if places.is_empty() {
            return Ok(());
        }
        let mut list = PartitionList::new();
        for &(partition, offset) in places {
            list.add(self.topic(partition).as_str(), partition.partition, offset, "");
        }
        self.client.seek(&list, CALL_TIMEOUT).map_err(restart)
    }

    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.paused.extend(partitions);
        self.client.pause(&self.list(partitions, NO_OFFSET)).map_err(restart)
    }

    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        // A session that is interrupted is about to end, and would read on from positions that may be one too far.
        if partitions.is_empty() || self.interrupted.is_some() {
            return Ok(());
        }
        self.paused.retain(|paused| !partitions.contains(paused));
        self.client.resume(&self.list(partitions, NO_OFFSET)).map_err(restart)
    }

    /// Ends a wait in [`Self::poll`].
    pub fn waker(&self) -> Waker {
        let waker = self.client.waker();
        Arc::new(move || waker.wake())
    }

    /// Asks the leaders of partitions that were just resumed for something. librdkafka 2.12 does not tell the thread of a
    /// broker of a resumed partition: without other work the thread sees it after up to a second.
    pub fn hasten(&self, partitions: &[TopicPartition]) {
        if let Err(error) = self.client.look_up_offsets(&self.list(partitions, END), HASTEN_TIMEOUT) {
            tracing::debug!(group = self.group, %error, "resumed partitions may be read with a delay");
        }
    }

    // === the assignment ===

    fn take_rebalance(&self) -> Option<Rebalance> {
        let event = self.client.next_rebalance()?;
        let partitions = event.partitions.iter().filter_map(|(topic, number)| self.partition(topic, *number)).collect();
        Some(match event.kind {
            RebalanceKind::Assign => Rebalance::Assign(partitions),
            RebalanceKind::Revoke => Rebalance::Revoke(partitions),
            RebalanceKind::Lost => Rebalance::Lost(partitions),
        })
    }

    /// See [`crate::ports::Session::assign`].
    pub fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<CommitOffset>, SessionError> {
        self.unplaced.retain(|unplaced| !partitions.contains(&unplaced.partition));
        if partitions.is_empty() {
            self.client.assign(&PartitionList::new()).map_err(restart)?;
            return Ok(Vec::new());
        }
        let found = self.find_offsets(partitions)?;
        if let Some(id) = &self.id {
            self.departed.look_for(&self.group, id, start_offsets::workers(&self.client, &self.group, &found));
        }
        let mut list = PartitionList::new();
        let held_at = self.ends_of_held(&found);
        for (StartOffset { position, .. }, held_at) in found.iter().zip(held_at) {
            list.add(&position.topic, position.partition, held_at.unwrap_or(position.offset), "");
        }
        self.client.assign(&list).map_err(restart)?;
        let mut assigned = Vec::new();
        let mut held = Vec::new();
        for StartOffset { position, problem } in found {
            let Some(partition) = self.partition(&position.topic, position.partition) else { continue };
            let Some(problem) = problem else {
                self.assigned.push(partition);
                assigned.push(CommitOffset { partition, next_offset: position.offset, metadata: position.metadata });
                continue;
            };
            held.push(partition);
            self.note_unplaced(partition, &problem, &position);
        }
        self.pause(&held)?;
        Ok(assigned)
    }

    /// Where each partition without a start offset is assigned. It is taken over all the same, so that it can be given up like
    /// the others, and held back: at the number of its end. If librdkafka has to look for the end itself, a late answer takes a
    /// partition there that a seek has moved meanwhile (librdkafka 2.12, `rd_kafka_toppar_handle_Offset`).
    fn ends_of_held(&mut self, found: &[StartOffset]) -> Vec<Option<i64>> {
        let mut ends = PartitionList::new();
        for StartOffset { position, .. } in found.iter().filter(|start| start.problem.is_some()) {
            ends.add(&position.topic, position.partition, END, "");
        }
        let asked = if ends.entries().is_empty() { Ok(()) } else { self.client.look_up_offsets(&ends, ENDS_TIMEOUT) };
        if let Err(error) = asked {
            // One without a leader, say, holds up no other.
            tracing::debug!(group = self.group, %error, "the ends of held partitions are not known");
        }
        let mut ends = ends.entries().into_iter();
        let mut held_at = Vec::new();
        for StartOffset { position, problem } in found {
            let end = problem.as_ref().and_then(|_| ends.next()).map(|end| if end.offset < 0 { END } else { end.offset });
            if let (Some(END), Some(partition)) = (end, self.partition(&position.topic, position.partition)) {
                self.unnumbered.insert(partition);
            }
            held_at.push(end);
        }
        held_at
    }

    fn find_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<StartOffset>, SessionError> {
        start_offsets::find(&self.client, &self.connection, &self.group, &self.names(partitions)).map_err(restart)
    }

    fn note_unplaced(&mut self, partition: TopicPartition, problem: &OffsetProblem, position: &Position) {
        let begun = self.begun.get(self.topic(partition)).copied().unwrap_or(0);
        self.unplaced.retain(|unplaced| unplaced.partition != partition);
        self.unplaced.push(UnplacedPartition { partition, reason: problem.reason(position, begun) });
    }

    /// See [`crate::ports::Session::settle`].
    pub fn settle(&mut self) -> Result<Vec<CommitOffset>, SessionError> {
        let waiting = self.unplaced_where(|reason| *reason == NoPlace::Unsettled);
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.find_offsets(&waiting).unwrap_or_else(|error| {
            // The other partitions go on, and these are asked for again.
            tracing::debug!(group = self.group, %error, "offsets are not known yet");
            Vec::new()
        });
        let mut settled = Vec::new();
        for StartOffset { position, problem } in found {
            let Some(partition) = self.partition(&position.topic, position.partition) else { continue };
            if let Some(problem) = problem {
                self.note_unplaced(partition, &problem, &position);
                continue;
            }
            settled.push(CommitOffset { partition, next_offset: position.offset, metadata: position.metadata });
        }
        let places: Vec<_> = settled.iter().map(|offset| (offset.partition, offset.next_offset)).collect();
        let partitions: Vec<TopicPartition> = settled.iter().map(|offset| offset.partition).collect();
        if partitions.iter().any(|partition| self.unnumbered.contains(partition)) {
            return Err(SessionError::Restart("a partition has an offset that no seek is sure to reach".into()));
        }
        self.seek(&places)?;
        self.resume(&partitions)?;
        self.unplaced.retain(|unplaced| !partitions.contains(&unplaced.partition));
        self.assigned.extend(partitions);
        Ok(settled)
    }

    fn unplaced_where(&self, is_one: impl Fn(&NoPlace) -> bool) -> Vec<TopicPartition> {
        self.unplaced.iter().filter(|unplaced| is_one(&unplaced.reason)).map(|unplaced| unplaced.partition).collect()
    }

    pub fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        // A pause outlives the assignment, and to resume after the next one would lose its position (librdkafka#2190).
        let paused: Vec<TopicPartition> = self.paused.iter().copied().filter(|paused| partitions.contains(paused)).collect();
        self.resume(&paused)?;
        self.assigned.retain(|assigned| !partitions.contains(assigned));
        self.unplaced.retain(|unplaced| !partitions.contains(&unplaced.partition));
        self.unnumbered.retain(|unnumbered| !partitions.contains(unnumbered));
        self.client.unassign(&self.list(partitions, NO_OFFSET)).map_err(restart)
    }

    pub fn unplaced(&self) -> &[UnplacedPartition] {
        &self.unplaced
    }

    /// See [`crate::ports::Session::finds_places`].
    pub fn finds_places(&self) -> Result<bool, SessionError> {
        let waiting = self.unplaced_where(|reason| matches!(reason, NoPlace::Unbegun | NoPlace::Forgotten));
        if waiting.is_empty() {
            return Ok(false);
        }
        match start_offsets::any_committed(&self.client, &self.group, &self.names(&waiting)) {
            Ok(found) => Ok(found),
            // They are asked for again soon, and the session goes on.
            Err(error) if code(error.code) == Code::LogUnavailable => {
                tracing::debug!(group = self.group, %error, "the offsets of waiting partitions are not known");
                Ok(false)
            }
            Err(error) => Err(restart(error)),
        }
    }

    /// See [`crate::ports::Session::look_for_partitions`].
    pub fn look_for_partitions(&self) {
        // With the new metadata there, to subscribe to the same topics again makes the consumer compare the two, and join
        // its group again where they differ. A failure is made up for by the client itself, later.
        let looked = self.client.refresh_metadata(LOOK_TIMEOUT).and_then(|()| self.subscribe());
        if let Err(error) = looked {
            tracing::debug!(group = self.group, %error, "no metadata now");
        }
    }

    // === offsets ===

    /// Commits offsets outside of a transaction. A rebalance that is under way refuses them for a moment and takes no
    /// partition that this member has not given up, so they are committed again after it. Once the assignment is lost, the
    /// next poll says so: the next owner sends the records again.
    pub fn commit(&self, offsets: &[CommitOffset]) -> Result<(), SessionError> {
        let list = self.offset_list(offsets);
        let deadline = Instant::now() + CALL_TIMEOUT;
        loop {
            match self.client.commit_sync(&list) {
                Ok(()) => return Ok(()),
                Err(error) if !is_rebalance(&error) => return Err(restart(error)),
                Err(error) if self.client.is_assignment_lost() || Instant::now() > deadline => {
                    return Err(abort(&error));
                }
                Err(_) => std::thread::sleep(COMMIT_RETRY_INTERVAL),
            }
        }
    }
}

/// The input of a record by its topic's handle, else by its name: librdkafka may have made the handle again.
fn input_of(inputs: &[Input], topic_id: usize, name: impl FnOnce() -> String) -> Option<usize> {
    let by_handle = inputs.iter().position(|input| input.handle.id() == topic_id);
    by_handle.or_else(|| {
        let name = name();
        inputs.iter().position(|input| input.name.as_str() == name)
    })
}
