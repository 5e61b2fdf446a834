//! Stores on disk, in fjall: one database for a host, a keyspace for each store of a partition.
//!
//! The database is a cache, and a store that cannot be read is dropped and restored from the changelog. Changes wait in a
//! buffer (`buffer`), and go to the database when it is full, and when the store is closed (`write`). A buffer is there
//! whole or not at all, so after a kill a store has a committed state, mostly an older one.
//!
//! ```text
//!   get ---> buffer ---> buffer that is being written ---> database
//! ```
//!
//! fjall answers some broken files with an error, and panics over others: both are treated alike. If a store cannot even be
//! emptied or opened, the database is given up for a new one, in a folder of its own: threads of the old one may still write.
//! On a full disk that is how it ends, too: after a write or a merge that failed, fjall writes no more
//! (`NumberedDatabase::check`). The space of a database that was given up is freed before the next one is made.

mod buffer;
mod layout;
mod store;
mod write;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::Mutex;

pub use buffer::Buffers;
pub use store::DiskStore;

use crate::model::units::Timestamp;
use crate::state::local::{LocalError, LocalStore};
use write::{Target, Writers};

/// Largest size of fjall's journals together: a few memtables of each store.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// Bytes that a keyspace gathers in memory before it writes them out.
const MEMTABLE_BYTES_MAX: u64 = 16 << 20;

/// The database of a host's stores. It is made when the first store is opened.
pub struct Disk {
    /// Has a folder for each database, named by its number. The highest is the current one.
    folder: PathBuf,
    cache_bytes: u64,
    buffers: Arc<Buffers>,
    /// Bytes of the entries of each store that was written to while it is open, by its name.
    open_bytes: Mutex<HashMap<String, Weak<AtomicU64>>>,
    writers: Writers,
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

impl NumberedDatabase {
    /// Fails if fjall writes no more. Only its journal asks for that: not the writer of a table, and not those that make and
    /// delete keyspaces.
    fn check(&self) -> Result<(), fjall::Error> {
        self.database.persist(PersistMode::Buffer)
    }
}

impl Disk {
    pub fn new(folder: &Path, cache_bytes: u64, buffers: Buffers) -> Self {
        Self {
            folder: folder.to_owned(),
            cache_bytes,
            buffers: Arc::new(buffers),
            open_bytes: Mutex::default(),
            writers: Writers::default(),
            current: Mutex::default(),
        }
    }

    /// Opens the store of a partition of the changelog `topic`. [`DiskStore::of_topic`] says which topic of the name that is.
    pub fn open(self: &Arc<Self>, topic: &str, partition: i32) -> Result<DiskStore, LocalError> {
        let database = self.database()?;
        let entries = self.keyspace(&database, topic, partition)?;
        let target = Target { database, entries, topic: topic.to_owned(), topic_id: None };
        Ok(DiskStore::new(self.clone(), target, partition))
    }

    fn keyspace(&self, database: &NumberedDatabase, topic: &str, partition: i32) -> Result<Keyspace, LocalError> {
        let name = format!("{topic}.{partition}");
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
        let open = || database.check().and_then(|()| database.database.keyspace(&name, options));
        guarded(open).inspect_err(|error| self.give_up(database, error))
    }

    /// Removes each store that `claim` grants and whose last use is old by `is_old`, or not known. Returns their number.
    pub fn sweep<C>(
        self: &Arc<Self>,
        claim: impl Fn(&str, i32) -> Option<C>,
        is_old: impl Fn(Timestamp) -> bool,
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
            if matches!(store.used_at(), Ok(Some(used_at)) if !is_old(used_at)) {
                continue;
            }
            guarded(|| database.database.delete_keyspace(store.target.entries.clone()))?;
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
            let written = store.mark().ok().flatten().map_or(0, |mark| mark.bytes);
            let entries = written.max(self.open_bytes(&name));
            copies.push(Copy { topic: topic.to_owned(), bytes: store.target.entries.disk_space().max(entries) });
        }
        Ok(copies)
    }

    /// Bytes of the entries of a store that is open, of which some may be in its buffer.
    fn open_bytes(&self, name: &str) -> u64 {
        let open = self.open_bytes.lock();
        open.get(name).and_then(Weak::upgrade).map_or(0, |bytes| bytes.load(Ordering::Relaxed))
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

fn failed(error: fjall::Error) -> LocalError {
    LocalError(format!("local store: {error}"))
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
