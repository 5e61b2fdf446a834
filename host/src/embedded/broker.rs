//! The parts that all sessions of an embedded log share: its options, its store and its metadata, behind two locks.
//!
//! * The writer's lock makes writes one after the other. Whoever needs to know that no commit is on its way (a takeover of
//!   a partition, a fencing) holds it too. It is held while fjall writes.
//! * The metadata's lock is held for a moment only, never while anything is read or written.
//!
//! They are taken in this order, never in the other.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::block::Records;
use super::error::Error;
use super::metadata::{Metadata, PartitionMetadata};
use super::options::Options;
use super::store::{Block, Extent, PartitionId, Store, Topic};
use crate::model::names::TopicName;
use crate::model::units::Timestamp;
use crate::ports::LogError;

/// Bytes of a partition that are held while it is searched.
const SCAN_BYTES: usize = 1 << 20;

/// The shared parts of an embedded log.
pub struct Broker {
    pub options: Options,
    pub store: Store,
    writer: Mutex<Writer>,
    metadata: Mutex<Metadata>,
}

/// The right to write.
#[derive(Debug, Default)]
pub struct Writer {
    /// The error of a failed write. The state of the disk is unknown then: nothing may follow before the log is
    /// opened again.
    failed: Option<String>,
    /// The time of the last look for old records.
    pub expired_at: Option<Timestamp>,
}

impl Broker {
    pub fn open(options: Options) -> Result<Self, Error> {
        let store = Store::open(&options.dir, options.cache_bytes)?;
        let mut metadata = Metadata::default();
        for (name, topic) in store.topics()? {
            let name: TopicName = name.parse().map_err(|_| Error::corrupt("a topic's name"))?;
            for partition in 0..topic.partitions {
                let id = PartitionId { topic: topic.id, partition };
                let extent = store.extent(id)?;
                metadata.partitions.insert(id, PartitionMetadata::new(extent, topic.compacted));
            }
            metadata.topics.insert(name, topic);
        }
        Ok(Self { options, store, writer: Mutex::default(), metadata: Mutex::new(metadata) })
    }

    pub fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }

    pub fn metadata(&self) -> MutexGuard<'_, Metadata> {
        self.metadata.lock()
    }

    pub fn find(&self, name: &TopicName) -> Result<Topic, LogError> {
        self.metadata().topics.get(name).copied().ok_or_else(|| LogError::NoTopic(name.to_string()))
    }

    pub fn find_partition(&self, name: &TopicName, partition: i32) -> Result<PartitionId, LogError> {
        let topic = self.find(name)?;
        if !(0..topic.partitions).contains(&partition) {
            let message = format!("topic {name} has partitions 0 to {}, not {partition}", topic.partitions - 1);
            return Err(LogError::Refused(message));
        }
        Ok(PartitionId { topic: topic.id, partition })
    }

    /// Creates a topic, unless it is there.
    pub fn create_topic(&self, name: &TopicName, partitions: i32, compacted: bool) -> Result<(), Error> {
        let mut writer = self.writer();
        writer.check()?;
        let topic = {
            let metadata = self.metadata();
            if metadata.topics.contains_key(name) {
                return Ok(());
            }
            let id = metadata.topics.values().map(|topic| topic.id + 1).max().unwrap_or(1);
            Topic { id, partitions, compacted }
        };
        let mut write = self.store.write();
        write.topic(name.as_str(), &topic);
        writer.run(write.commit())?;
        let mut metadata = self.metadata();
        for partition in 0..partitions {
            let id = PartitionId { topic: topic.id, partition };
            metadata.partitions.insert(id, PartitionMetadata::new(Extent::default(), compacted));
        }
        metadata.topics.insert(name.clone(), topic);
        Ok(())
    }

    /// Waits until `id` has a record at or after `offset`, or until the deadline. Returns the partition's extent then.
    pub fn wait_for(&self, id: PartitionId, offset: i64, deadline: Instant) -> Extent {
        let mut metadata = self.metadata();
        if offset < metadata.extent(id).end || Instant::now() >= deadline {
            return metadata.extent(id);
        }
        let (reader, bell) = metadata.add_bell();
        metadata.watch(reader, id);
        while offset >= metadata.extent(id).end && !bell.wait_until(&mut metadata, deadline).timed_out() {}
        metadata.unwatch(reader, id);
        metadata.remove_bell(reader);
        metadata.extent(id)
    }

    /// The first offset whose record is not older than `at`; None if all are older.
    pub fn offset_at(&self, id: PartitionId, at: Timestamp) -> Result<Option<i64>, Error> {
        let Extent { start, end, .. } = self.metadata().extent(id);
        let mut next = start;
        loop {
            let blocks = self.read(id, next, end, SCAN_BYTES)?;
            let Some(last) = blocks.back() else { return Ok(None) };
            next = last.last + 1;
            for block in &blocks {
                let mut records = Records::new(&block.bytes, 0);
                let mut headers = Vec::new();
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
    /// Fails after a failed write.
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
