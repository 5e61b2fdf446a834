//! Stores on disk, in fjall: one database for a host, a keyspace for each store of a partition.
//!
//! | key | value |
//! |---|---|
//! | `d` and an entry's key | when it was written (ms, little-endian), its value |
//! | `v` | the version of this layout (little-endian, 32 bits); without it, 1 |
//! | `m` | the mark: position, bytes, entries, time, and the changelog topic that it is of |
//!
//! It is a cache: nothing is synced, and a store that cannot be read is dropped and restored from the changelog. A batch is
//! there whole or not at all, so after a kill a store has a committed state, perhaps an older one.
//!
//! fjall answers some broken files with an error, and panics over others: both are treated alike. If a store cannot even be
//! emptied, the database is given up for a new one, in a folder of its own: threads of the old one may still write. On a full
//! disk that is how it ends, too: after a write that failed fjall writes no more. The space of a database that was given up
//! is freed before the next one is made.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::Mutex;

use crate::model::format::Format;
use crate::model::units::Timestamp;
use crate::state::local::{Change, Entry, LocalError, LocalStore, Mark};

/// Largest size of fjall's journals together: a few memtables of each store.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// Bytes that a keyspace gathers in memory before it writes them out.
const MEMTABLE_BYTES_MAX: u64 = 16 << 20;
const MARK_KEY: &[u8] = b"m";
const ENTRY_PREFIX: u8 = b'd';
const LAYOUT_KEY: &[u8] = b"v";

/// The database of a host's stores. It is made when the first store is opened.
pub struct Disk {
    /// Has a folder for each database, named by its number. The highest is the current one.
    folder: PathBuf,
    cache_bytes: u64,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    database: Option<NumberedDatabase>,
    /// Databases with lower numbers were given up.
    least_number: u64,
}

/// A local copy of a store's partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Copy {
    pub topic: String,
    /// Bytes of its files, or of its entries if not all are in files yet.
    pub bytes: u64,
}

/// A database, and the number that its folder is named by.
#[derive(Clone)]
struct NumberedDatabase {
    number: u64,
    database: Database,
}

/// A store of one partition. Only one may be open at a time: see `Claims`.
pub struct DiskStore {
    disk: Arc<Disk>,
    database: NumberedDatabase,
    entries: Keyspace,
    /// The changelog topic that it is a copy of.
    topic: String,
    /// True if the version of its layout is written in it.
    has_layout: bool,
}

impl Disk {
    pub fn new(folder: &Path, cache_bytes: u64) -> Self {
        Self { folder: folder.to_owned(), cache_bytes, current: Mutex::default() }
    }

    /// Opens the store of a partition of the changelog `topic`.
    pub fn open(self: &Arc<Self>, topic: &str, partition: i32) -> Result<DiskStore, LocalError> {
        let database = self.database()?;
        let name = format!("{topic}.{partition}");
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
        let entries = guarded(|| database.database.keyspace(&name, options)).inspect_err(|error| {
            self.give_up(&database, error);
        })?;
        Ok(DiskStore { disk: self.clone(), database, entries, topic: topic.to_owned(), has_layout: false })
    }

    /// Removes each store that `claim` grants and that is old by `is_old`, or of no known age. Returns their number.
    pub fn sweep<C>(
        self: &Arc<Self>,
        claim: impl Fn(&str, i32) -> Option<C>,
        is_old: impl Fn(&Mark) -> bool,
    ) -> Result<usize, LocalError> {
        if self.numbers().is_empty() {
            return Ok(0);
        }
        let database = self.database()?;
        let mut removed = 0;
        for name in database.database.list_keyspace_names() {
            let place = name.rsplit_once('.').and_then(|(topic, partition)| Some((topic, partition.parse().ok()?)));
            let Some((topic, partition)) = place else { continue };
            let Some(_claim) = claim(topic, partition) else { continue };
            let store = self.open(topic, partition)?;
            if matches!(store.mark(), Ok(Some(mark)) if !is_old(&mark)) {
                continue;
            }
            guarded(|| store.database.database.delete_keyspace(store.entries))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// All copies, in use or not.
    pub fn copies(self: &Arc<Self>) -> Result<Vec<Copy>, LocalError> {
        if self.numbers().is_empty() {
            return Ok(Vec::new());
        }
        let database = self.database()?;
        let mut copies = Vec::new();
        for name in database.database.list_keyspace_names() {
            let place = name.rsplit_once('.').and_then(|(topic, partition)| Some((topic, partition.parse().ok()?)));
            let Some((topic, partition)) = place else { continue };
            let store = self.open(topic, partition)?;
            // One that cannot be read is wiped when it is opened.
            let entries = store.mark().ok().flatten().map_or(0, |mark| mark.bytes);
            copies.push(Copy { topic: topic.to_owned(), bytes: store.entries.disk_space().max(entries) });
        }
        Ok(copies)
    }

    fn database(&self) -> Result<NumberedDatabase, LocalError> {
        let mut current = self.current.lock();
        if let Some(database) = &current.database {
            return Ok(database.clone());
        }
        let newest = self.numbers().into_iter().max().unwrap_or(0).max(current.least_number);
        self.remove_below(newest);
        let opened = match guarded(|| Ok(self.build(newest))) {
            Ok(Ok(opened)) => NumberedDatabase { number: newest, database: opened },
            Ok(Err(error)) if is_locked_or_full(&error) => return Err(failed(error)),
            // However it is broken, it is only a copy.
            broken => {
                let error = match broken {
                    Ok(Err(error)) => failed(error),
                    Ok(Ok(_)) => unreachable!("matched above"),
                    Err(panicked) => panicked,
                };
                tracing::warn!(folder = %self.folder.display(), %error, "the local stores cannot be opened: they are rebuilt");
                current.least_number = newest + 1;
                self.remove_below(newest + 1);
                NumberedDatabase { number: newest + 1, database: guarded(|| self.build(newest + 1))? }
            }
        };
        Ok(current.database.insert(opened).clone())
    }

    /// Removes the databases that were given up.
    fn remove_below(&self, number: u64) {
        for old in self.numbers().into_iter().filter(|&old| old < number) {
            // The next start removes a folder that cannot be removed now.
            let _ = std::fs::remove_dir_all(self.folder.join(old.to_string()));
        }
    }

    /// The numbers of the databases that there are, or were.
    fn numbers(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    fn build(&self, number: u64) -> Result<Database, fjall::Error> {
        Database::builder(self.folder.join(number.to_string()))
            .cache_size(self.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(2)
            .open()
    }

    /// Opens stores in a new database from now on. The open stores of this one fail by themselves.
    fn give_up(&self, broken: &NumberedDatabase, error: &LocalError) {
        let mut current = self.current.lock();
        if current.database.as_ref().is_some_and(|own| own.number == broken.number) {
            current.database = None;
            current.least_number = broken.number + 1;
            // A host that starts finds it. On a full disk it cannot be made, and the broken one is opened once more then.
            let made = std::fs::create_dir_all(self.folder.join(current.least_number.to_string()));
            tracing::warn!(folder = %self.folder.display(), %error, ?made, "the local stores are broken: they are rebuilt");
        }
    }
}

/// Returns true if a database may be as good as ever, and cannot be opened now.
fn is_locked_or_full(error: &fjall::Error) -> bool {
    let is_full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
    match error {
        fjall::Error::Locked => true,
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => is_full(error),
        _ => false,
    }
}

/// Runs an access that may meet a broken file.
fn guarded<T>(run: impl FnOnce() -> Result<T, fjall::Error>) -> Result<T, LocalError> {
    // Afterwards only a failed store can be seen, which is emptied or given up.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(LocalError("local store: a file is broken".into())),
    }
}

impl LocalStore for DiskStore {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        guarded(|| self.entries.get(data_key(key)))?.map(|value| decode(&value)).transpose()
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
        let range = data_key(start)..end.map_or_else(|| vec![ENTRY_PREFIX + 1], data_key);
        let mut items = guarded(|| Ok(self.entries.range(range)))?;
        while let Some((key, value)) = guarded(|| items.next().map(Guard::into_inner).transpose())? {
            if !on_entry(&key[1..], decode(&value)?) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, changes: &[Change], mark: &Mark) -> Result<(), LocalError> {
        let mut batch = self.database.database.batch().durability(Some(PersistMode::Buffer));
        for (key, entry) in changes {
            match entry {
                Some(entry) => batch.insert(&self.entries, data_key(key), encode(entry)),
                None => batch.remove(&self.entries, data_key(key)),
            }
        }
        batch.insert(&self.entries, MARK_KEY, encode_mark(mark, &self.topic));
        if !self.has_layout {
            batch.insert(&self.entries, LAYOUT_KEY, Format::Store.version().to_le_bytes());
        }
        guarded(|| batch.commit())?;
        self.has_layout = true;
        Ok(())
    }

    fn mark(&self) -> Result<Option<Mark>, LocalError> {
        // A copy of another version is wiped, like any that cannot be read.
        let layout = guarded(|| self.entries.get(LAYOUT_KEY))?;
        if layout.is_some_and(|layout| *layout != Format::Store.version().to_le_bytes()) {
            return Err(LocalError("local store: it is of another version".into()));
        }
        let Some(value) = guarded(|| self.entries.get(MARK_KEY))? else { return Ok(None) };
        decode_mark(&value, &self.topic).map(Some)
    }

    fn wipe(&mut self) -> Result<(), LocalError> {
        self.has_layout = false;
        let emptied = guarded(|| self.entries.clear());
        emptied.inspect_err(|error| self.disk.give_up(&self.database, error))
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
    own.push(ENTRY_PREFIX);
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
#[path = "disk_tests.rs"]
mod tests;
