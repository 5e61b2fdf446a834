//! Writing a buffer to its database, in a thread of its own while there are few, so that a worker does not wait for the
//! disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use fjall::{Keyspace, PersistMode};

use super::buffer::Buffer;
use super::layout::{LAYOUT_KEY, MARK_KEY, TOPIC_ID_KEY, USED_KEY, data_key, encode, encode_mark};
use super::{NumberedDatabase, guarded};
use crate::model::format::Format;
use crate::model::units::Timestamp;
use crate::state::local::LocalError;

/// Threads of a host that write buffers. A store that finds them at work writes its buffer itself.
const THREADS_MAX: usize = 2;
/// Bytes from which a buffer becomes a table of its own; fewer go through fjall's journal, which costs no wait for the disk.
const TABLE_BYTES_MIN: u64 = 1 << 20;
/// Tables that were not merged yet, above which a writer may wait for fjall's compaction: each is looked at by a read.
const TABLES_MAX: usize = 16;
/// The longest wait of a `state-writer` thread for compaction. It ends early if somebody else waits for the thread.
const COMPACTION_WAIT: Duration = Duration::from_secs(10);
/// The longest wait of another thread for compaction.
pub(super) const OTHERS_WAIT: Duration = Duration::from_millis(500);

/// The number of threads that write buffers.
pub(super) type Writers = Arc<AtomicUsize>;

/// A place to write a buffer to.
#[derive(Clone)]
pub(super) struct Target {
    pub database: NumberedDatabase,
    pub entries: Keyspace,
    pub topic: String,
    /// The topic's id. None: not asked, or not known.
    pub topic_id: Option<String>,
}

/// A buffer that is being written. Reads find it until it is.
pub(super) struct Writing {
    pub buffer: Arc<Buffer>,
    /// True from the time at which somebody waits: its thread waits no more for compaction.
    is_hurried: Arc<AtomicBool>,
    done: Receiver<Result<(), LocalError>>,
}

impl Writing {
    /// Begins to write a buffer. If many are being written already, it ends it as well, and waits for compaction up to
    /// `patience`.
    pub fn begin(target: Target, buffer: Buffer, writers: &Writers, patience: Duration) -> Self {
        let buffer = Arc::new(buffer);
        let is_hurried = Arc::new(AtomicBool::new(false));
        let (ended, done) = sync_channel(1);
        let job = Job { target, buffer: buffer.clone(), ended };
        let spawned = Running::enter(writers).and_then(|running| {
            let own = job.clone();
            let is_hurried = is_hurried.clone();
            let run = move || {
                own.run(|waited| waited < COMPACTION_WAIT && !is_hurried.load(Ordering::Relaxed));
                drop(running);
            };
            std::thread::Builder::new().name("state-writer".into()).spawn(run).ok()
        });
        if spawned.is_none() {
            job.run(|waited| waited < patience);
        }
        Self { buffer, is_hurried, done }
    }

    /// The result, once it is written.
    pub fn poll(&self) -> Option<Result<(), LocalError>> {
        match self.done.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(broken_off())),
        }
    }

    /// Waits until it is written. After `patience`, its thread waits no more for compaction.
    pub fn wait(&self, patience: Duration) -> Result<(), LocalError> {
        match self.done.recv_timeout(patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(broken_off()),
            Err(RecvTimeoutError::Timeout) => {
                self.is_hurried.store(true, Ordering::Relaxed);
                self.done.recv().unwrap_or_else(|_| Err(broken_off()))
            }
        }
    }
}

fn broken_off() -> LocalError {
    LocalError("local store: its buffer was not written".into())
}

#[derive(Clone)]
struct Job {
    target: Target,
    buffer: Arc<Buffer>,
    ended: SyncSender<Result<(), LocalError>>,
}

impl Job {
    fn run(self, may_wait: impl Fn(Duration) -> bool) {
        let Self { target, buffer, ended } = self;
        let result = write(&target, &buffer, may_wait);
        // Whoever is told may close the database.
        drop((target, buffer));
        // If nobody waits, the store is wiped or gone.
        let _ = ended.send(result);
    }
}

/// Counts a thread, until it is dropped.
struct Running(Writers);

impl Running {
    /// None if there are enough.
    fn enter(writers: &Writers) -> Option<Self> {
        let running = Self(writers.clone());
        (writers.fetch_add(1, Ordering::Relaxed) < THREADS_MAX).then_some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Writes a buffer with its mark, at once or not at all. It waits for compaction while `may_wait` returns true for the time
/// that it has waited.
pub(super) fn write(target: &Target, buffer: &Buffer, may_wait: impl Fn(Duration) -> bool) -> Result<(), LocalError> {
    // A batch waits within fjall, without an end, while a keyspace has 30 tables that overlap. A table does not.
    if buffer.bytes < TABLE_BYTES_MIN && target.entries.l0_table_count() <= TABLES_MAX {
        write_batch(target, buffer)
    } else {
        write_table(target, buffer, may_wait)
    }
}

fn write_batch(target: &Target, buffer: &Buffer) -> Result<(), LocalError> {
    let mut batch = target.database.database.batch().durability(Some(PersistMode::Buffer));
    for (key, entry) in buffer.changes.iter() {
        match entry {
            Some(entry) => batch.insert(&target.entries, data_key(key), encode(entry)),
            None => batch.remove(&target.entries, data_key(key)),
        }
    }
    batch.insert(&target.entries, MARK_KEY, encode_mark(&buffer.mark, &target.topic));
    if let Some(id) = &target.topic_id {
        batch.insert(&target.entries, TOPIC_ID_KEY, id.as_bytes());
    }
    batch.insert(&target.entries, LAYOUT_KEY, Format::Store.version().to_le_bytes());
    guarded(|| batch.commit())
}

/// Notes the time until which a worker had the store open. The mark stays as old as it was: an owner that stood still may
/// have lost the partition long ago.
pub(super) fn write_used(target: &Target, at: Timestamp) -> Result<(), LocalError> {
    // As in `write`: the note is worth no wait.
    if target.entries.l0_table_count() > TABLES_MAX {
        return Ok(());
    }
    let mut batch = target.database.database.batch().durability(Some(PersistMode::Buffer));
    batch.insert(&target.entries, USED_KEY, at.0.to_le_bytes());
    guarded(|| batch.commit())
}

/// Entries come before the mark, the topic's id, and the layout: a table is written in the order of its keys.
fn write_table(target: &Target, buffer: &Buffer, may_wait: impl Fn(Duration) -> bool) -> Result<(), LocalError> {
    // Before the wait: the compaction may be what has failed.
    guarded(|| target.database.check())?;
    let sorted = buffer.changes.sorted();
    wait_for_compaction(&target.entries, may_wait);
    guarded(|| {
        let mut table = target.entries.start_ingestion()?;
        for (key, entry) in sorted {
            match entry {
                Some(entry) => table.write(data_key(key), encode(entry))?,
                None => table.write_tombstone(data_key(key))?,
            }
        }
        table.write(MARK_KEY, encode_mark(&buffer.mark, &target.topic))?;
        if let Some(id) = &target.topic_id {
            table.write(TOPIC_ID_KEY, id.as_bytes())?;
        }
        table.write(LAYOUT_KEY, Format::Store.version().to_le_bytes())?;
        table.finish()
    })
}

fn wait_for_compaction(entries: &Keyspace, may_wait: impl Fn(Duration) -> bool) {
    let began = Instant::now();
    while entries.l0_table_count() > TABLES_MAX && may_wait(began.elapsed()) {
        std::thread::sleep(Duration::from_millis(5));
    }
}
