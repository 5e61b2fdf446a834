//! What all sessions of an embedded log share: topics, partitions' extents, groups and producers, behind two locks.
//!
//! * The writer lock makes writes one after the other. Whoever needs to know that no commit is on its way (a takeover of
//!   a partition, a fencing) holds it too. It is held while fjall writes.
//! * The state lock guards what is in memory. It is held for a moment only, never while anything is read or written.
//!
//! They are taken in this order, never in the other. A record is visible once its partition's `end` is past it, which
//! happens after its transaction was written as a whole.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::block::{Entry, Records};
use super::group::{Group, MemberId};
use super::outputs::{Outputs, Refusal};
use super::store::{Block, Extent, PartitionId, Store, Topic};
use super::{Error, Options, cleanup};
use crate::model::batch::HeaderRef;
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::{LogError, LogRecord};

/// How much of a partition is held while it is searched.
const SCAN_BYTES: usize = 1 << 20;

pub struct Broker {
    pub options: Options,
    pub store: Store,
    writer: Mutex<Writer>,
    state: Mutex<State>,
}

/// The right to write.
#[derive(Debug, Default)]
pub struct Writer {
    /// A write failed, so what is on disk is not known: nothing may follow it before the log is opened again.
    failed: Option<String>,
    /// When old records were last looked for.
    pub expired_at: Option<Timestamp>,
}

#[derive(Default)]
pub struct State {
    pub topics: BTreeMap<TopicName, Topic>,
    pub partitions: HashMap<PartitionId, PartitionState>,
    pub groups: HashMap<String, Group>,
    /// The newest session of each transactional id.
    pub producers: HashMap<String, Producer>,
    /// How many exclusive writers each id has had: the last one may write.
    pub exclusive: HashMap<String, u64>,
    bells: HashMap<u64, Arc<Condvar>>,
    last_id: u64,
}

#[derive(Default)]
pub struct PartitionState {
    pub extent: Extent,
    compacted: bool,
    /// Who is woken when records come.
    readers: Vec<u64>,
}

pub struct Producer {
    pub session: MemberId,
    pub group: String,
    pub fenced: Arc<AtomicBool>,
}

/// An offset that is committed together with outputs.
#[derive(Debug)]
pub struct GroupOffset<'a> {
    pub group: &'a str,
    pub id: PartitionId,
    pub next_offset: i64,
    pub metadata: &'a str,
}

impl Broker {
    pub fn open(options: Options) -> Result<Self, Error> {
        let store = Store::open(&options.dir, options.cache_bytes)?;
        let mut state = State::default();
        for (name, topic) in store.topics()? {
            let name: TopicName = name.parse().map_err(|_| Error::corrupt("a topic's name"))?;
            for number in 0..topic.partitions {
                let id = PartitionId { topic: topic.id, number };
                let extent = store.extent(id)?;
                state.partitions.insert(id, PartitionState { extent, compacted: topic.compacted, ..Default::default() });
            }
            state.topics.insert(name, topic);
        }
        let broker = Self { options, store, writer: Mutex::default(), state: Mutex::new(state) };
        cleanup::all(&broker, &mut broker.writer(), Timestamp::now())?;
        Ok(broker)
    }

    pub fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub fn find(&self, name: &TopicName) -> Result<Topic, LogError> {
        self.state().topics.get(name).copied().ok_or_else(|| LogError::NoTopic(name.to_string()))
    }

    pub fn find_partition(&self, name: &TopicName, number: i32) -> Result<PartitionId, LogError> {
        let topic = self.find(name)?;
        if !(0..topic.partitions).contains(&number) {
            let message = format!("topic {name} has partitions 0 to {}, not {number}", topic.partitions - 1);
            return Err(LogError::Refused(message));
        }
        Ok(PartitionId { topic: topic.id, number })
    }

    /// Records for one topic, ready to be written, and how many they are: the first of them, where all are more than one
    /// write takes. `turn` is where those without a key begin.
    pub fn outputs(
        &self,
        name: &TopicName,
        partition: Option<i32>,
        records: &[LogRecord],
        turn: usize,
    ) -> Result<(Outputs, usize), LogError> {
        let topic = self.find(name)?;
        let fixed = partition.map(|number| self.find_partition(name, number)).transpose()?;
        let mut outputs = Outputs::new(&self.options);
        outputs.add_topic(name, &topic, turn);
        for (taken, record) in records.iter().enumerate() {
            let headers: Vec<HeaderRef<'_>> =
                record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
            let (timestamp, key, value) = (record.timestamp, record.key.as_deref(), record.value.as_deref());
            let entry = Entry { timestamp, key, value, headers: &headers };
            match outputs.push(0, fixed.map(|id| id.number), &entry) {
                Ok(()) => {}
                Err(Refusal::Full { .. }) if taken > 0 => return Ok((outputs, taken)),
                Err(refusal) => return Err(LogError::Refused(refusal.to_string())),
            }
        }
        Ok((outputs, records.len()))
    }

    /// Writes outputs and offsets as one, makes them visible and wakes who waits for them.
    pub fn write(&self, writer: &mut Writer, outputs: &mut Outputs, offsets: &[GroupOffset<'_>]) -> Result<(), Error> {
        writer.check()?;
        let now = Timestamp::now();
        let mut write = self.store.write();
        let mut extents = Vec::new();
        for sealed in outputs.seal(now.0) {
            let mut extent = self.state().extent(sealed.id);
            for (span, block) in sealed.blocks {
                extent.end += i64::from(span) + 1;
                extent.bytes += block.len() as u64;
                write.block(sealed.id, extent.end - 1, block);
            }
            write.extent(sealed.id, &extent);
            extents.push((sealed.id, extent));
        }
        for (i, offset) in offsets.iter().enumerate() {
            // A batch must not name a key twice: the last one counts.
            if offsets[i + 1..].iter().any(|later| (later.group, later.id) == (offset.group, offset.id)) {
                continue;
            }
            write.offset(offset.group, offset.id, offset.next_offset, offset.metadata);
        }
        writer.run(write.commit())?;
        self.state().publish(&extents);
        // What was written stays written: a failure here is the next write's.
        if let Err(error) = cleanup::after_write(self, writer, &extents, now) {
            tracing::warn!(%error, "the embedded log could not be cleaned up");
        }
        Ok(())
    }

    /// Removes what a group has committed for these partitions.
    pub fn forget(&self, writer: &mut Writer, group: &str, partitions: &[PartitionId]) -> Result<(), Error> {
        writer.check()?;
        let mut write = self.store.write();
        for id in partitions {
            if self.store.committed(group, *id)?.is_some() {
                write.remove_offset(group, *id);
            }
        }
        writer.run(write.commit())
    }

    /// Creates a topic, unless it is there.
    pub fn create_topic(&self, name: &TopicName, partitions: i32, compacted: bool) -> Result<(), Error> {
        let mut writer = self.writer();
        writer.check()?;
        let topic = {
            let state = self.state();
            if state.topics.contains_key(name) {
                return Ok(());
            }
            let id = state.topics.values().map(|topic| topic.id + 1).max().unwrap_or(1);
            Topic { id, partitions, compacted }
        };
        let mut write = self.store.write();
        write.topic(name.as_str(), &topic);
        writer.run(write.commit())?;
        let mut state = self.state();
        for number in 0..partitions {
            let id = PartitionId { topic: topic.id, number };
            state.partitions.insert(id, PartitionState { compacted, ..Default::default() });
        }
        state.topics.insert(name.clone(), topic);
        Ok(())
    }

    /// Waits until `id` has a record at or after `offset`, or until the deadline. Returns what the partition holds then.
    pub fn wait_for(&self, id: PartitionId, offset: i64, deadline: Instant) -> Extent {
        let mut state = self.state();
        if offset < state.extent(id).end || Instant::now() >= deadline {
            return state.extent(id);
        }
        let (reader, bell) = state.add_bell();
        state.watch(reader, id);
        while offset >= state.extent(id).end && !bell.wait_until(&mut state, deadline).timed_out() {}
        state.unwatch(reader, id);
        state.remove_bell(reader);
        state.extent(id)
    }

    /// The first offset whose record is not older than `at`; None if all are older.
    pub fn offset_at(&self, id: PartitionId, at: Timestamp) -> Result<Option<i64>, Error> {
        let Extent { start, end, .. } = self.state().extent(id);
        let mut next = start;
        loop {
            let blocks = self.read(id, next, end, SCAN_BYTES)?;
            let Some(last) = blocks.back() else { return Ok(None) };
            next = last.last + 1;
            for block in &blocks {
                let (mut records, mut headers) = (Records::new(&block.bytes, 0), Vec::new());
                while let Some(record) = records.next(&mut headers)? {
                    let offset = block.first + i64::from(record.delta);
                    if offset >= start && record.timestamp >= at.0 {
                        return Ok(Some(offset));
                    }
                }
            }
        }
    }

    /// Reads blocks, as [`Store::read`] does.
    pub fn read(&self, id: PartitionId, from: i64, end: i64, bytes_max: usize) -> Result<VecDeque<Block>, Error> {
        let mut blocks = VecDeque::new();
        self.store.read(id, from, end, bytes_max, &mut blocks)?;
        Ok(blocks)
    }
}

impl Writer {
    /// Whether writing is still possible.
    pub fn check(&self) -> Result<(), Error> {
        self.failed.as_ref().map_or(Ok(()), |failed| Err(Error::Failed(failed.clone())))
    }

    /// Notes a failed write.
    pub fn run(&mut self, written: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &written {
            self.failed = Some(error.to_string());
        }
        written
    }
}

impl State {
    pub fn extent(&self, id: PartitionId) -> Extent {
        self.partitions.get(&id).map_or_else(Extent::default, |partition| partition.extent)
    }

    pub fn is_compacted(&self, id: PartitionId) -> bool {
        self.partitions.get(&id).is_some_and(|partition| partition.compacted)
    }

    /// Makes extents visible that were written, and wakes the readers.
    pub fn publish(&mut self, extents: &[(PartitionId, Extent)]) {
        for (id, extent) in extents {
            let Some(partition) = self.partitions.get_mut(id) else { continue };
            let grown = extent.end > partition.extent.end;
            partition.extent = *extent;
            if grown {
                for bell in partition.readers.iter().filter_map(|reader| self.bells.get(reader)) {
                    bell.notify_all();
                }
            }
        }
    }

    /// A new id, and the bell that wakes whoever it belongs to. It waits with the state's lock.
    pub fn add_bell(&mut self) -> (u64, Arc<Condvar>) {
        self.last_id += 1;
        let bell = Arc::new(Condvar::new());
        self.bells.insert(self.last_id, Arc::clone(&bell));
        (self.last_id, bell)
    }

    pub fn remove_bell(&mut self, id: u64) {
        self.bells.remove(&id);
    }

    pub fn watch(&mut self, reader: u64, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id).filter(|partition| !partition.readers.contains(&reader)) {
            partition.readers.push(reader);
        }
    }

    pub fn unwatch(&mut self, reader: u64, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.readers.retain(|other| *other != reader);
        }
    }

    /// Wakes a group's members, after something changed for them.
    pub fn ring_group(&self, group: &str) {
        let members = self.groups.get(group).into_iter().flat_map(Group::members);
        for bell in members.filter_map(|member| self.bells.get(&member)) {
            bell.notify_all();
        }
    }

    /// Takes a member out of its group, if it is still in it.
    pub fn leave(&mut self, group: &str, member: MemberId) {
        if self.groups.get_mut(group).is_some_and(|group| group.leave(member)) {
            self.ring_group(group);
        }
    }

    /// Makes `session` the only one that may write as `transactional_id`. The one before it also leaves its group.
    pub fn fence(&mut self, transactional_id: &str, session: MemberId, group: &str) -> Arc<AtomicBool> {
        let fenced = Arc::new(AtomicBool::new(false));
        let producer = Producer { session, group: group.to_owned(), fenced: Arc::clone(&fenced) };
        if let Some(older) = self.producers.insert(transactional_id.to_owned(), producer) {
            older.fenced.store(true, Ordering::Release);
            self.leave(&older.group, older.session);
            if let Some(bell) = self.bells.get(&older.session) {
                bell.notify_all();
            }
        }
        fenced
    }
}
