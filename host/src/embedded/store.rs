//! The log on disk: two fjall keyspaces, and how keys and values lie in them. The only file that names fjall.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | records | topic id, partition, last offset (big-endian) | a block ([`super::block`]) |
//! | meta | `t` name | topic: id, partitions, compacted |
//! | meta | `p` topic id, partition | extent: start, end, bytes, bytes after the last compaction |
//! | meta | `o` topic id, partition, group | committed offset, metadata |
//! | meta | `format` | version of this layout |
//!
//! Everything that one transaction changes goes through one [`Write`], which fjall's journal keeps whole or not at all.
//! The batch is handed to the operating system before `commit` returns, so it survives a kill of the process; it is not synced
//! to the disk, so a power cut may lose the last moments (a whole number of transactions, never a part of one).

use std::collections::VecDeque;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch, PersistMode, Readable};

use super::block;
use super::error::Error;

/// A partition of a topic. Topics are numbered as they are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    pub topic: u32,
    pub partition: i32,
}

/// A topic, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    pub id: u32,
    pub partitions: i32,
    pub compacted: bool,
}

/// The records of a partition, by their offsets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// The first offset that retention has left.
    pub start: i64,
    /// One past the last record.
    pub end: i64,
    /// Bytes of all blocks.
    pub bytes: u64,
    /// The value of `bytes` after the last compaction.
    pub clean_bytes: u64,
}

/// A block as it was read.
#[derive(Debug, Clone)]
pub struct Block {
    pub first: i64,
    pub last: i64,
    pub bytes: fjall::Slice,
}

const FORMAT: &[u8] = b"1";
/// fjall's journals: they come on top of the records, so they are kept small.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;

/// The records and the metadata of an embedded log on disk.
pub struct Store {
    database: Database,
    records: Keyspace,
    meta: Keyspace,
}

impl Store {
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Error> {
        let builder =
            Database::builder(dir).cache_size(cache_bytes).max_journaling_size(JOURNAL_BYTES_MAX).worker_threads(1);
        let database = builder.open().map_err(|error| match error {
            fjall::Error::Locked => Error::Locked { dir: dir.to_owned() },
            error => Error::Storage(format!("cannot open {}: {error}", dir.display())),
        })?;
        // Blocks are large and written once: kept apart from the keys, they are not copied by every LSM compaction.
        let separated = KvSeparationOptions::default().file_target_size(16 * 1024 * 1024);
        let options = || KeyspaceCreateOptions::default().with_kv_separation(Some(separated)).max_memtable_size(16 << 20);
        let records = database.keyspace("records", options)?;
        let meta = database.keyspace("meta", || KeyspaceCreateOptions::default().max_memtable_size(4 << 20))?;
        match meta.get("format")? {
            None => meta.insert("format", FORMAT)?,
            Some(found) if &*found == FORMAT => {}
            Some(_) => return Err(Error::Format { dir: dir.to_owned() }),
        }
        Ok(Self { database, records, meta })
    }

    pub fn topics(&self) -> Result<Vec<(String, Topic)>, Error> {
        self.meta
            .prefix("t")
            .map(|item| {
                let (key, value) = item.into_inner()?;
                let name = String::from_utf8(key[1..].to_vec()).map_err(|_| Error::corrupt("a topic's name"))?;
                let partitions = u32_at(&value, 4)? as i32;
                Ok((name, Topic { id: u32_at(&value, 0)?, partitions, compacted: value.get(8) == Some(&1) }))
            })
            .collect()
    }

    pub fn extent(&self, id: PartitionId) -> Result<Extent, Error> {
        let Some(value) = self.meta.get(partition_key(b'p', id))? else { return Ok(Extent::default()) };
        Ok(Extent {
            start: i64_at(&value, 0)?,
            end: i64_at(&value, 8)?,
            bytes: i64_at(&value, 16)? as u64,
            clean_bytes: i64_at(&value, 24)? as u64,
        })
    }

    /// The offset of a group for a partition, with its metadata.
    pub fn committed(&self, group: &str, id: PartitionId) -> Result<Option<(i64, String)>, Error> {
        let Some(value) = self.meta.get(offset_key(group, id))? else { return Ok(None) };
        let metadata =
            String::from_utf8(value[8.min(value.len())..].to_vec()).map_err(|_| Error::corrupt("an offset's metadata"))?;
        Ok(Some((i64_at(&value, 0)?, metadata)))
    }

    /// Reads whole blocks from the one that holds `from` (or the first after it) up to `end`, until `bytes_max` are there.
    pub fn read(
        &self,
        id: PartitionId,
        from: i64,
        end: i64,
        bytes_max: usize,
        into: &mut VecDeque<Block>,
    ) -> Result<(), Error> {
        if from >= end {
            return Ok(());
        }
        let mut bytes = 0;
        // A snapshot, because a compaction may replace blocks at this very moment.
        for item in self.database.snapshot().range(&self.records, record_key(id, from)..record_key(id, end)) {
            let (key, value) = item.into_inner()?;
            let last = last_offset(&key)?;
            let head = block::head(&value)?;
            bytes += value.len();
            into.push_back(Block { first: last - i64::from(head.span), last, bytes: value });
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(())
    }

    pub fn write(&self) -> Write<'_> {
        Write { store: self, batch: self.database.batch().durability(Some(PersistMode::Buffer)) }
    }

    /// Bytes on disk, journals and all.
    pub fn disk_bytes(&self) -> Result<u64, Error> {
        Ok(self.database.disk_space()?)
    }
}

/// Changes that become true together.
pub struct Write<'a> {
    store: &'a Store,
    batch: OwnedWriteBatch,
}

impl Write<'_> {
    pub fn topic(&mut self, name: &str, topic: &Topic) {
        let mut value = Vec::with_capacity(9);
        value.extend_from_slice(&topic.id.to_be_bytes());
        value.extend_from_slice(&topic.partitions.to_be_bytes());
        value.push(u8::from(topic.compacted));
        self.batch.insert(&self.store.meta, [b"t", name.as_bytes()].concat(), value);
    }

    pub fn extent(&mut self, id: PartitionId, extent: &Extent) {
        let numbers = [extent.start, extent.end, extent.bytes as i64, extent.clean_bytes as i64];
        let value: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.batch.insert(&self.store.meta, partition_key(b'p', id), value);
    }

    pub fn offset(&mut self, group: &str, id: PartitionId, next_offset: i64, metadata: &str) {
        let value = [&next_offset.to_be_bytes(), metadata.as_bytes()].concat();
        self.batch.insert(&self.store.meta, offset_key(group, id), value);
    }

    pub fn remove_offset(&mut self, group: &str, id: PartitionId) {
        self.batch.remove(&self.store.meta, offset_key(group, id));
    }

    pub fn block(&mut self, id: PartitionId, last: i64, block: Vec<u8>) {
        self.batch.insert(&self.store.records, record_key(id, last), block);
    }

    pub fn remove_block(&mut self, id: PartitionId, last: i64) {
        self.batch.remove(&self.store.records, record_key(id, last));
    }

    pub fn commit(self) -> Result<(), Error> {
        Ok(self.batch.commit()?)
    }
}

fn partition_key(kind: u8, id: PartitionId) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&id.topic.to_be_bytes());
    key.extend_from_slice(&id.partition.to_be_bytes());
    key
}

fn offset_key(group: &str, id: PartitionId) -> Vec<u8> {
    let mut key = partition_key(b'o', id);
    key.extend_from_slice(group.as_bytes());
    key
}

fn record_key(id: PartitionId, last: i64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&id.topic.to_be_bytes());
    key[4..8].copy_from_slice(&id.partition.to_be_bytes());
    key[8..].copy_from_slice(&last.max(0).to_be_bytes());
    key
}

fn last_offset(key: &[u8]) -> Result<i64, Error> {
    i64_at(key, 8)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Error> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(|| Error::corrupt("a number"))?;
    Ok(u32::from_be_bytes(*found))
}

fn i64_at(bytes: &[u8], at: usize) -> Result<i64, Error> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(|| Error::corrupt("a number"))?;
    Ok(i64::from_be_bytes(*found))
}
