//! Stores on disk, in fjall: one database for a host, a keyspace for each store of a partition.
//!
//! | key | value |
//! |---|---|
//! | `d` and an entry's key | when it was written (ms, little-endian), its value |
//! | `m` | the mark: position, bytes, entries, time, and the changelog topic that it is of |
//!
//! It is a cache: nothing is synced, and whatever cannot be read is dropped and restored from the changelog. A batch is
//! there whole or not at all, so what is left after a kill is a state that was committed, perhaps an older one.

use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::Mutex;

use crate::model::units::Timestamp;
use crate::state::local::{Change, Entry, LocalError, LocalStore, Mark};

/// fjall's journals.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// What a keyspace gathers in memory before it is written out.
const MEMTABLE_BYTES_MAX: u64 = 16 << 20;
const MARK: &[u8] = b"m";
const DATA: u8 = b'd';

/// The database of a host's stores. It is made when the first store is opened.
pub struct Disk {
    folder: PathBuf,
    cache_bytes: u64,
    database: Mutex<Option<Database>>,
}

/// A store of one partition. Only one may be open at a time: see `Claims`.
pub struct DiskStore {
    database: Database,
    entries: Keyspace,
    /// The topic that it is a copy of.
    topic: String,
}

impl Disk {
    pub fn new(folder: &Path, cache_bytes: u64) -> Self {
        Self { folder: folder.to_owned(), cache_bytes, database: Mutex::default() }
    }

    /// The store that holds partition `number` of the changelog `topic`.
    pub fn open(&self, topic: &str, number: i32) -> Result<DiskStore, LocalError> {
        let database = self.database()?;
        let name = format!("{topic}.{number}");
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
        let entries = database.keyspace(&name, options).map_err(failed)?;
        Ok(DiskStore { database, entries, topic: topic.to_owned() })
    }

    fn database(&self) -> Result<Database, LocalError> {
        let mut database = self.database.lock();
        if let Some(database) = &*database {
            return Ok(database.clone());
        }
        let opened = self.build().or_else(|error| match error {
            fjall::Error::Locked => Err(error),
            // Whatever it is, it is only a copy.
            error => {
                tracing::warn!(folder = %self.folder.display(), %error, "the local stores cannot be opened: they are rebuilt");
                std::fs::remove_dir_all(&self.folder)?;
                self.build()
            }
        });
        Ok(database.insert(opened.map_err(failed)?).clone())
    }

    fn build(&self) -> Result<Database, fjall::Error> {
        Database::builder(&self.folder)
            .cache_size(self.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(2)
            .open()
    }
}

impl LocalStore for DiskStore {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        self.entries.get(data_key(key)).map_err(failed)?.map(|value| decode(&value)).transpose()
    }

    fn scan(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        on_entry: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(());
        }
        let range = data_key(start)..end.map_or_else(|| vec![DATA + 1], data_key);
        for item in self.entries.range(range) {
            let (key, value) = item.into_inner().map_err(failed)?;
            if !on_entry(&key[1..], decode(&value)?) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, changes: &[Change], mark: &Mark) -> Result<(), LocalError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        for (key, entry) in changes {
            match entry {
                Some(entry) => batch.insert(&self.entries, data_key(key), encode(entry)),
                None => batch.remove(&self.entries, data_key(key)),
            }
        }
        batch.insert(&self.entries, MARK, encode_mark(mark, &self.topic));
        batch.commit().map_err(failed)
    }

    fn mark(&self) -> Result<Option<Mark>, LocalError> {
        let Some(value) = self.entries.get(MARK).map_err(failed)? else { return Ok(None) };
        decode_mark(&value, &self.topic).map(Some)
    }

    fn wipe(&mut self) -> Result<(), LocalError> {
        self.entries.clear().map_err(failed)
    }

    fn wants_cache(&self) -> bool {
        true
    }
}

fn failed(error: fjall::Error) -> LocalError {
    LocalError(format!("local store: {error}"))
}

fn data_key(key: &[u8]) -> Vec<u8> {
    let mut own = Vec::with_capacity(key.len() + 1);
    own.push(DATA);
    own.extend_from_slice(key);
    own
}

fn encode(entry: &Entry) -> Vec<u8> {
    let mut value = Vec::with_capacity(8 + entry.value.len());
    value.extend_from_slice(&entry.written_at.0.to_le_bytes());
    value.extend_from_slice(&entry.value);
    value
}

fn decode(value: &[u8]) -> Result<Entry, LocalError> {
    let (at, value) = value.split_first_chunk().ok_or_else(|| LocalError("local store: an entry is cut off".into()))?;
    Ok(Entry { written_at: Timestamp(i64::from_le_bytes(*at)), value: value.to_vec() })
}

fn encode_mark(mark: &Mark, topic: &str) -> Vec<u8> {
    let numbers = [mark.position, mark.bytes as i64, mark.entries as i64, mark.at];
    let mut value: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    value.extend_from_slice(topic.as_bytes());
    value
}

fn decode_mark(value: &[u8], topic: &str) -> Result<Mark, LocalError> {
    let numbers: Vec<i64> =
        value.chunks_exact(8).take(4).map(|chunk| i64::from_le_bytes(chunk.try_into().expect("8 bytes"))).collect();
    match (numbers.as_slice(), value.get(32..)) {
        (&[position, bytes, entries, at], Some(of)) if of == topic.as_bytes() => {
            Ok(Mark { position, bytes: bytes as u64, entries: entries as u64, at })
        }
        _ => Err(LocalError(format!("local store: it is not of {topic}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &[u8]) -> Entry {
        Entry { written_at: Timestamp(5), value: value.to_vec() }
    }

    #[test]
    fn what_was_applied_is_there_after_it_is_opened_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mark = Mark { position: 7, bytes: 3, entries: 2, at: 9 };
        {
            let disk = Disk::new(dir.path(), 1 << 20);
            let mut store = disk.open("topic", 3).expect("opens");
            assert_eq!(store.mark(), Ok(None));
            let changes =
                [(b"".to_vec(), Some(entry(b""))), (b"a".to_vec(), Some(entry(b"1"))), (b"b".to_vec(), Some(entry(b"2")))];
            store.apply(&changes, &mark).expect("writes");
            store.apply(&[(b"b".to_vec(), None)], &mark).expect("writes");
        }
        let disk = Disk::new(dir.path(), 1 << 20);
        let mut store = disk.open("topic", 3).expect("opens");
        assert_eq!((store.mark(), store.get(b"a"), store.get(b"b")), (Ok(Some(mark)), Ok(Some(entry(b"1"))), Ok(None)));
        let mut seen = Vec::new();
        store
            .scan(b"", None, &mut |key, _| {
                seen.push(key.to_vec());
                true
            })
            .expect("reads");
        assert_eq!(seen, [b"".to_vec(), b"a".to_vec()]);
        assert_eq!(disk.open("topic", 4).expect("opens").get(b"a"), Ok(None), "partitions keep apart");
        store.wipe().expect("wipes");
        assert_eq!((store.mark(), store.get(b"a")), (Ok(None), Ok(None)));
    }

    #[test]
    fn a_database_that_cannot_be_opened_is_made_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("state");
        std::fs::create_dir_all(&folder).expect("made");
        for name in ["version", "0.jnl", "lock"] {
            std::fs::write(folder.join(name), b"garbage").expect("written");
        }
        let disk = Disk::new(&folder, 1 << 20);
        assert_eq!(disk.open("topic", 0).expect("opens").mark(), Ok(None));
    }
}
