//! A worker's session on the embedded log: [`crate::ports::Session`].
//!
//! Owned by one thread. It is a member of its group from its first poll until it is dropped, evicted or fenced. Its
//! transaction is a buffer in memory, so there is never an open transaction to abort: commit writes outputs and offsets
//! as one, and anything else that ends a session leaves nothing behind. Commits are refused
//!
//! * after a newer session opened with the same transactional id (Restart),
//! * after the group's generation changed since `begin`, or for a partition of somebody else (Abort).
//!
//! At-least-once runs on the same path and gives the stronger guarantee.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Condvar;

use super::Error;
use super::block::Entry;
use super::broker::{Broker, GroupOffset, State};
use super::group::{Change, MemberId};
use super::outputs::{Outputs, Refusal};
use super::reader::Reader;
use super::store::{Extent, PartitionId, Topic};
use crate::model::batch::RecordRef;
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::{
    Cause, CommitOffset, Culprit, NoPlace, Outgoing, Rebalance, Rejection, Session, SessionError, SessionOptions,
    TopicPartition, UnplacedPartition,
};

/// Longest metadata of a committed offset, in bytes: Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;
/// Longest that one poll waits, whatever it was told.
const POLL_MAX: Duration = Duration::from_secs(3600);

pub struct EmbeddedSession {
    broker: Arc<Broker>,
    id: MemberId,
    bell: Arc<Condvar>,
    fenced: Arc<AtomicBool>,
    group: String,
    transactional_id: String,
    /// By input: how many partitions have had an offset.
    begun: Vec<i32>,
    co_partitioned: bool,
    inputs: Vec<Topic>,
    reader: Reader,
    unplaced: Vec<UnplacedPartition>,
    joined: bool,
    /// The group's generation as the open transaction began; None outside of a transaction.
    transaction: Option<Option<u64>>,
    buffer: Outputs,
    /// Calls of `send` in the open transaction.
    sends: u64,
}

enum Step {
    Rebalance(Rebalance),
    Ready,
    Idle,
}

impl EmbeddedSession {
    /// Opens a session and fences an older one with the same transactional id.
    pub fn open(broker: Arc<Broker>, options: &SessionOptions) -> Result<Self, SessionError> {
        // A commit of the session that is fenced must be in or out before this one reads committed offsets.
        let writer = broker.writer();
        let mut state = broker.state();
        let inputs = options.inputs.iter().map(|name| find(&state, name)).collect::<Result<Vec<_>, _>>()?;
        let buffer = outputs(&broker, &state, &options.outputs)?;
        let (id, bell) = state.add_bell();
        let fenced = state.fence(&options.transactional_id, id, &options.group);
        drop((state, writer));
        Ok(Self {
            broker,
            id,
            bell,
            fenced,
            group: options.group.clone(),
            transactional_id: options.transactional_id.clone(),
            begun: options.inputs.iter().map(|name| options.begun.get(name).copied().unwrap_or(0)).collect(),
            co_partitioned: options.co_partitioned,
            inputs,
            reader: Reader::default(),
            unplaced: Vec::new(),
            joined: false,
            transaction: None,
            buffer,
            sends: 0,
        })
    }

    /// Waits for something to do.
    fn step(&mut self, deadline: Instant) -> Result<Step, SessionError> {
        let broker = Arc::clone(&self.broker);
        let mut state = broker.state();
        loop {
            self.check_fence()?;
            let now = Instant::now();
            if let Some(rebalance) = self.membership(&mut state, now) {
                return Ok(Step::Rebalance(rebalance));
            }
            if self.reader.refresh(|id| state.extent(id)) {
                return Ok(Step::Ready);
            }
            if now >= deadline {
                return Ok(Step::Idle);
            }
            let eviction =
                state.groups.get(&self.group).and_then(|group| group.next_eviction(broker.options.poll_interval_max));
            // A little later than the eviction is due, so that it is due then.
            let eviction = eviction.and_then(|at| at.checked_add(Duration::from_millis(1)));
            self.bell.wait_until(&mut state, eviction.map_or(deadline, |at| at.min(deadline)));
        }
    }

    /// Keeps this session a member of its group, and says what the group wants of it.
    fn membership(&mut self, state: &mut State, now: Instant) -> Option<Rebalance> {
        let group = state.groups.entry(self.group.clone()).or_default();
        group.saw(self.id, None);
        let mut changed = group.evict(now, self.broker.options.poll_interval_max);
        if group.generation(self.id).is_none() {
            let unplaced = self.unplaced.iter().map(|unplaced| unplaced.partition);
            let lost: Vec<_> = self.reader.partitions().map(|(partition, _)| partition).chain(unplaced).collect();
            if self.joined && !lost.is_empty() {
                return Some(Rebalance::Lost(lost));
            }
            let topics = self.inputs.iter().map(|topic| (topic.id, topic.partitions)).collect();
            group.join(self.id, topics, self.co_partitioned);
            self.joined = true;
            changed = true;
        }
        let change = group.next_change(self.id);
        if changed {
            state.ring_group(&self.group);
        }
        let named = |ids: Vec<PartitionId>| ids.into_iter().filter_map(|id| self.partition(id)).collect();
        change.map(|change| match change {
            Change::Take(ids) => Rebalance::Assign(named(ids)),
            Change::Release(ids) => Rebalance::Revoke(named(ids)),
        })
    }

    fn partition(&self, id: PartitionId) -> Option<TopicPartition> {
        let input = self.inputs.iter().position(|topic| topic.id == id.topic)?;
        Some(TopicPartition { input: input as u32, partition: id.number })
    }

    fn id_of(&self, partition: TopicPartition) -> Result<PartitionId, SessionError> {
        let topic = self.inputs.get(partition.input as usize);
        topic
            .filter(|topic| (0..topic.partitions).contains(&partition.partition))
            .map(|topic| PartitionId { topic: topic.id, number: partition.partition })
            .ok_or_else(|| SessionError::Abort(format!("there is no input partition {partition:?}")))
    }

    fn check_fence(&self) -> Result<(), SessionError> {
        if self.fenced.load(Ordering::Acquire) {
            let id = &self.transactional_id;
            return Err(SessionError::Restart(format!("fenced: another session has opened with transactional id {id:?}")));
        }
        Ok(())
    }

    /// Whether the open transaction may commit `offsets`.
    fn check_commit<'a>(&'a self, offsets: &'a [CommitOffset]) -> Result<Vec<GroupOffset<'a>>, SessionError> {
        let state = self.broker.state();
        self.check_fence()?;
        let Some(began) = self.transaction else {
            return Err(SessionError::Abort("no transaction is open".into()));
        };
        let group = state.groups.get(&self.group);
        if began != group.and_then(|group| group.generation(self.id)) {
            return Err(SessionError::Abort(format!("group {} was rebalanced since the transaction began", self.group)));
        }
        let check = |offset: &'a CommitOffset| {
            let id = self.id_of(offset.partition)?;
            if !group.is_some_and(|group| group.owns(self.id, id)) {
                return Err(SessionError::Abort(format!("partition {:?} is not owned by this session", offset.partition)));
            }
            let (next_offset, metadata) = (offset.next_offset, offset.metadata.as_str());
            if metadata.len() > METADATA_BYTES_MAX {
                let message = format!("offset metadata has {} bytes, the limit is {METADATA_BYTES_MAX}", metadata.len());
                return Err(SessionError::Abort(message));
            }
            Ok(GroupOffset { group: &self.group, id, next_offset, metadata })
        };
        offsets.iter().map(check).collect()
    }

    /// Finds the place at which this group begins a partition, or the reason for which it does not.
    fn place(&self, partition: TopicPartition, id: PartitionId) -> Result<Result<CommitOffset, NoPlace>, Error> {
        let Extent { start: first, end, .. } = self.broker.state().extent(id);
        Ok(match self.broker.store.committed(&self.group, id)? {
            Some((next_offset, metadata)) if (first..=end).contains(&next_offset) => {
                Ok(CommitOffset { partition, next_offset, metadata })
            }
            Some((next_offset, _)) => Err(NoPlace::Outside { next_offset, first, end }),
            None if self.begun.get(partition.input as usize).is_some_and(|&begun| id.number < begun) => {
                Err(NoPlace::Forgotten)
            }
            None => Err(NoPlace::Unbegun),
        })
    }

    fn not_read(&self, partition: TopicPartition) -> SessionError {
        SessionError::Abort(format!("partition {partition:?} is not assigned to this session"))
    }
}

/// The log itself failed: what was committed is known only after a restart.
fn broken(error: Error) -> SessionError {
    SessionError::Restart(error.to_string())
}

// === impl Session ===

impl Session for EmbeddedSession {
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        on_record: &mut dyn FnMut(TopicPartition, &RecordRef<'_>),
    ) -> Result<Option<Rebalance>, SessionError> {
        let deadline = Instant::now() + timeout.min(POLL_MAX);
        let rebalance = loop {
            let step = self.step(deadline);
            if let Some(group) = self.broker.state().groups.get_mut(&self.group) {
                group.saw(self.id, Some(Instant::now()));
            }
            match step? {
                Step::Rebalance(rebalance) => break Some(rebalance),
                Step::Idle => break None,
                Step::Ready => {}
            }
            if self.reader.deliver(&self.broker.store, records_max.max(1), on_record).map_err(broken)? > 0 {
                break None;
            }
        };
        self.reader.find_ends();
        Ok(rebalance)
    }

    /// Partitions that went to another member in the meantime are left out of the answer.
    fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<CommitOffset>, SessionError> {
        self.check_fence()?;
        let ids = partitions.iter().map(|&partition| self.id_of(partition)).collect::<Result<Vec<_>, _>>()?;
        let broker = Arc::clone(&self.broker);
        // A commit of the earlier owner must be in or out before its offsets are read.
        let _writer = broker.writer();
        self.unplaced.retain(|unplaced| !partitions.contains(&unplaced.partition));
        let mut taken = Vec::new();
        {
            let mut state = broker.state();
            for (&partition, &id) in partitions.iter().zip(&ids) {
                if state.groups.get_mut(&self.group).is_some_and(|group| group.take(self.id, id)) {
                    state.watch(self.id, id);
                    taken.push((partition, id));
                }
            }
        }
        let mut assigned = Vec::new();
        for &(partition, id) in &taken {
            match self.place(partition, id).map_err(broken)? {
                Ok(place) => {
                    self.reader.add(partition, id, place.next_offset);
                    assigned.push(place);
                }
                Err(reason) => self.unplaced.push(UnplacedPartition { partition, reason }),
            }
        }
        Ok(assigned)
    }

    fn unplaced(&self) -> &[UnplacedPartition] {
        &self.unplaced
    }

    fn finds_places(&mut self) -> Result<bool, SessionError> {
        for unplaced in &self.unplaced {
            let id = self.id_of(unplaced.partition)?;
            let waits = !matches!(unplaced.reason, NoPlace::Outside { .. });
            if waits && self.broker.store.committed(&self.group, id).map_err(broken)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<(), SessionError> {
        let ids = partitions.iter().map(|&partition| self.id_of(partition)).collect::<Result<Vec<_>, _>>()?;
        let broker = Arc::clone(&self.broker);
        let mut state = broker.state();
        for (&partition, &id) in partitions.iter().zip(&ids) {
            self.reader.remove(partition);
            self.unplaced.retain(|unplaced| unplaced.partition != partition);
            state.unwatch(self.id, id);
            if let Some(group) = state.groups.get_mut(&self.group) {
                group.release(self.id, id);
            }
        }
        state.ring_group(&self.group);
        Ok(())
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), SessionError> {
        if self.reader.seek(partition, offset) { Ok(()) } else { Err(self.not_read(partition)) }
    }

    fn pause(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        if self.reader.pause(partition, true) { Ok(()) } else { Err(self.not_read(partition)) }
    }

    fn resume(&mut self, partition: TopicPartition) -> Result<(), SessionError> {
        if self.reader.pause(partition, false) { Ok(()) } else { Err(self.not_read(partition)) }
    }

    fn end_offset(&self, partition: TopicPartition) -> Option<i64> {
        let id = self.id_of(partition).ok()?;
        Some(self.broker.state().extent(id).end)
    }

    fn consumed_ends(&self) -> &[(TopicPartition, i64)] {
        self.reader.ends()
    }

    fn interrupted(&self) -> Option<&str> {
        self.reader.is_overtaken().then_some("retention deleted records before they were read")
    }

    fn begin(&mut self) -> Result<(), SessionError> {
        self.check_fence()?;
        if self.transaction.is_some() {
            return Err(SessionError::Abort("a transaction is open already".into()));
        }
        self.sends = 0;
        self.transaction = Some(self.broker.state().groups.get(&self.group).and_then(|group| group.generation(self.id)));
        Ok(())
    }

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), SessionError> {
        self.check_fence()?;
        if self.transaction.is_none() {
            return Err(SessionError::Abort("no transaction is open".into()));
        }
        let (timestamp, key, value, headers) = (record.timestamp, record.key, record.value, record.headers);
        let send = self.sends;
        self.sends += 1;
        if timestamp == 0 {
            // As on Kafka, whose client cannot say so.
            let reason = "a record with the timestamp 0 (1970) cannot be sent as it is".into();
            return Err(rejected(send, Cause::Timestamp, reason));
        }
        let pushed = self.buffer.push(record.topic, record.partition, &Entry { timestamp, key, value, headers });
        pushed.map_err(|refusal| match refusal {
            Refusal::Full { .. } => SessionError::TooLarge(refusal.to_string()),
            Refusal::RecordTooLarge { .. } => rejected(send, Cause::Size, refusal.to_string()),
            Refusal::NoKey(_) => rejected(send, Cause::Content, refusal.to_string()),
            Refusal::Timestamp { .. } => rejected(send, Cause::Timestamp, refusal.to_string()),
            Refusal::NoTopic(_) => SessionError::Withheld { code: Code::TopicGone, message: refusal.to_string() },
        })
    }

    fn has_room(&self) -> bool {
        self.buffer.has_room()
    }

    /// What is sent gets its place with the commit.
    fn flush(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    fn written_end(&self, topic: usize, partition: i32) -> Option<i64> {
        // Of an open transaction nothing is known; and only its writer has written there since.
        let id = self.buffer.id(topic, partition).filter(|_| self.transaction.is_none())?;
        Some(self.broker.state().extent(id).end)
    }

    fn commit(&mut self, offsets: &[CommitOffset]) -> Result<(), SessionError> {
        let broker = Arc::clone(&self.broker);
        // Whoever takes a partition over, or fences, holds this lock too: it sees all of this commit, or prevents it.
        let mut writer = broker.writer();
        let mut buffer = std::mem::take(&mut self.buffer);
        let committed =
            self.check_commit(offsets).and_then(|offsets| broker.write(&mut writer, &mut buffer, &offsets).map_err(broken));
        self.buffer = buffer;
        committed?;
        self.transaction = None;
        Ok(())
    }

    fn abort(&mut self) -> Result<(), SessionError> {
        self.transaction = None;
        self.buffer.clear();
        Ok(())
    }

    fn set_outputs(&mut self, topics: &[TopicName]) -> Result<(), SessionError> {
        self.buffer = outputs(&self.broker, &self.broker.state(), topics)?;
        Ok(())
    }
}

fn rejected(send: u64, cause: Cause, reason: String) -> SessionError {
    let culprits = vec![Culprit { send, cause, reason: reason.clone() }];
    SessionError::Rejected(Rejection { culprits, cause: Some(cause), reason })
}

fn find(state: &State, name: &TopicName) -> Result<Topic, SessionError> {
    let topic = state.topics.get(name).copied();
    topic.ok_or_else(|| SessionError::Restart(format!("there is no topic {name}")))
}

fn outputs(broker: &Broker, state: &State, topics: &[TopicName]) -> Result<Outputs, SessionError> {
    let mut outputs = Outputs::new(&broker.options);
    for name in topics {
        outputs.add_topic(name, &find(state, name)?, 0);
    }
    Ok(outputs)
}

impl Drop for EmbeddedSession {
    fn drop(&mut self) {
        let mut state = self.broker.state();
        for (_, id) in self.reader.partitions() {
            state.unwatch(self.id, id);
        }
        state.leave(&self.group, self.id);
        state.remove_bell(self.id);
        if state.producers.get(&self.transactional_id).is_some_and(|producer| producer.session == self.id) {
            state.producers.remove(&self.transactional_id);
        }
    }
}
