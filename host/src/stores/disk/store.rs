//! A store of one partition: its buffers over its keyspace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fjall::Guard;

use super::buffer::Buffer;
use super::layout::{ENTRY_PREFIX, LAYOUT_KEY, MARK_KEY, TOPIC_ID_KEY, USED_KEY, data_key, decode, decode_mark};
use super::write::{self, OTHERS_WAIT, Target, Writing};
use super::{Disk, guarded};
use crate::model::format::Format;
use crate::model::units::Timestamp;
use crate::state::layer::{merged, scan_over};
use crate::state::local::{Change, Entry, LocalError, LocalStore, Mark};
use crate::steady_clock;

/// The age of its mark from which a store that is closed says that it was in use.
const USE_NOTED_AFTER: Duration = Duration::from_secs(60 * 60);

/// A store of one partition. Only one may be open at a time: see `Claims`.
pub struct DiskStore {
    pub(super) disk: Arc<Disk>,
    pub(super) target: Target,
    partition: i32,
    buffer: Buffer,
    writing: Option<Writing>,
    /// True until its restore is over: no worker waits for its calls.
    is_restoring: bool,
    /// True from the first scan on: buffers are kept in order.
    is_scanned: bool,
    /// Bytes of its entries; None before the first change.
    bytes: Option<Arc<AtomicU64>>,
}

impl DiskStore {
    pub(super) fn new(disk: Arc<Disk>, target: Target, partition: i32) -> Self {
        let buffer = Buffer::new(&disk.buffers, false);
        Self { disk, target, partition, buffer, writing: None, is_restoring: true, is_scanned: false, bytes: None }
    }

    /// Sets the id of the changelog topic: a copy of another topic counts as unreadable from now on.
    pub fn of_topic(mut self, id: Option<String>) -> Self {
        self.target.topic_id = id;
        self
    }

    /// Refuses a copy of a topic that had the same name before. Where the log knows no ids, and for a copy that an older host
    /// wrote, the name has to do.
    fn check_topic(&self) -> Result<(), LocalError> {
        let Some(id) = &self.target.topic_id else { return Ok(()) };
        let topic = &self.target.topic;
        match guarded(|| self.target.entries.get(TOPIC_ID_KEY))? {
            Some(of) if *of != *id.as_bytes() => Err(LocalError(format!("local store: it is of an earlier topic {topic}"))),
            _ => Ok(()),
        }
    }

    /// The time of the last use of the copy that is known: it was brought up to date then, or still open. None if nothing
    /// was ever kept here.
    pub fn used_at(&self) -> Result<Option<Timestamp>, LocalError> {
        let Some(mark) = self.mark()? else { return Ok(None) };
        let noted = guarded(|| self.target.entries.get(USED_KEY))?;
        let noted = noted.and_then(|at| Some(i64::from_le_bytes(<[u8; 8]>::try_from(&*at).ok()?)));
        Ok(Some(Timestamp(noted.map_or(mark.at, |at| at.max(mark.at)))))
    }

    /// Notes that the store was open until now, if its mark is much older: that of an idle store is.
    fn note_use(&self) -> Result<(), LocalError> {
        let now = steady_clock::now();
        let is_recent = |at| u128::from(now.millis_since(at)) < USE_NOTED_AFTER.as_millis();
        match self.used_at()? {
            Some(at) if !is_recent(at) => write::write_used(&self.target, now),
            _ => Ok(()),
        }
    }

    /// The change of a key that the database may not have yet.
    fn buffered(&self, key: &[u8]) -> Option<&Option<Entry>> {
        let in_writing = || self.writing.as_ref().and_then(|writing| writing.buffer.changes.get(key));
        self.buffer.changes.get(key).or_else(in_writing)
    }

    /// Gives the buffer up that was written meanwhile.
    fn note_written(&mut self) -> Result<(), LocalError> {
        if let Some(result) = self.writing.as_ref().and_then(Writing::poll) {
            result?;
            self.writing = None;
        }
        Ok(())
    }

    /// Waits until the buffer is written that is being written, and gives it up. See [`Writing::wait`].
    pub(super) fn wait_for_writing(&mut self, patience: Duration) -> Result<(), LocalError> {
        if let Some(writing) = &self.writing {
            writing.wait(patience)?;
            self.writing = None;
        }
        Ok(())
    }

    /// Shows the bytes of the entries to measurements of the disk.
    fn note_bytes(&mut self, bytes: u64) {
        let shown = self.bytes.get_or_insert_with(|| {
            let shown = Arc::new(AtomicU64::new(bytes));
            let name = format!("{}.{}", self.target.topic, self.partition);
            let mut open = self.disk.open_bytes.lock();
            open.retain(|_, bytes| bytes.strong_count() > 0);
            open.insert(name, Arc::downgrade(&shown));
            shown
        });
        shown.store(bytes, Ordering::Relaxed);
    }

    /// Keeps buffers in order from now on.
    fn prepare_scan(&mut self) -> Result<(), LocalError> {
        if !self.is_scanned {
            // One that is being written cannot be put in order any more.
            self.wait_for_writing(Duration::ZERO)?;
            self.buffer.changes.put_in_order();
            self.is_scanned = true;
        }
        self.note_written()
    }

    fn scan_database(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        on_entry: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError> {
        let range = data_key(start)..end.map_or_else(|| vec![ENTRY_PREFIX + 1], data_key);
        let mut items = guarded(|| Ok(self.target.entries.range(range)))?;
        while let Some((key, value)) = guarded(|| items.next().map(Guard::into_inner).transpose())? {
            if !on_entry(&key[1..], decode(&value)?) {
                break;
            }
        }
        Ok(())
    }
}

impl LocalStore for DiskStore {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        if let Some(change) = self.buffered(key) {
            return Ok(change.clone());
        }
        guarded(|| self.target.entries.get(data_key(key)))?.map(|value| decode(&value)).transpose()
    }

    fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        on_entry: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(());
        }
        self.prepare_scan()?;
        let in_writing = self.writing.iter().flat_map(|writing| writing.buffer.changes.range(start, end));
        let changes = merged(self.buffer.changes.range(start, end), in_writing);
        let mut take = |key: &[u8], entry: &Entry| on_entry(key, entry.clone());
        scan_over(changes, |on_below| self.scan_database(start, end, on_below), &mut take)
    }

    /// A full buffer grows on while the one before it is being written. A worker waits once it has twice the size, and then
    /// no longer than [`OTHERS_WAIT`] for compaction. Two threads of a host write buffers, so a commit has two such waits at
    /// most, however many stores its worker has. A buffer that finds no free thread is written here: a worker does not wait
    /// for compaction then.
    fn apply(&mut self, changes: Vec<Change>, mark: &Mark) -> Result<(), LocalError> {
        self.note_written()?;
        self.note_bytes(mark.bytes);
        self.buffer.apply(changes, mark);
        if self.buffer.is_overfull() {
            self.wait_for_writing(OTHERS_WAIT)?;
        }
        if self.buffer.is_full() && self.writing.is_none() {
            let full = std::mem::replace(&mut self.buffer, Buffer::new(&self.disk.buffers, self.is_scanned));
            let patience = if self.is_restoring { OTHERS_WAIT } else { Duration::ZERO };
            self.writing = Some(Writing::begin(self.target.clone(), full, &self.disk.writers, patience));
        }
        Ok(())
    }

    fn mark(&self) -> Result<Option<Mark>, LocalError> {
        if !self.buffer.is_empty() {
            return Ok(Some(self.buffer.mark.clone()));
        }
        if let Some(writing) = &self.writing {
            return Ok(Some(writing.buffer.mark.clone()));
        }
        // A copy of another version is wiped, like any that cannot be read.
        let entries = &self.target.entries;
        let layout = guarded(|| entries.get(LAYOUT_KEY))?;
        if layout.is_some_and(|layout| *layout != Format::Store.version().to_le_bytes()) {
            return Err(LocalError("local store: it is of another version".into()));
        }
        let Some(value) = guarded(|| entries.get(MARK_KEY))? else { return Ok(None) };
        let mark = decode_mark(&value, &self.target.topic)?;
        self.check_topic()?;
        Ok(Some(mark))
    }

    /// Another keyspace takes the place of this one. (fjall empties one by a line in its journal, and empties it again when
    /// it replays that: tables that did not pass the journal would be gone.)
    fn wipe(&mut self) -> Result<(), LocalError> {
        // Its failure does not matter any more, but its end does.
        let _ = self.wait_for_writing(Duration::ZERO);
        self.writing = None;
        self.buffer = Buffer::new(&self.disk.buffers, self.is_scanned);
        let database = &self.target.database;
        let deleted = guarded(|| database.database.delete_keyspace(self.target.entries.clone()));
        let made = deleted.and_then(|()| self.disk.keyspace(database, &self.target.topic, self.partition));
        self.target.entries = made.inspect_err(|error| self.disk.give_up(database, error))?;
        Ok(())
    }

    fn restored(&mut self) {
        self.is_restoring = false;
    }

    fn wants_cache(&self) -> bool {
        true
    }
}

impl Drop for DiskStore {
    /// Writes the buffer, so that the next restore has little to read. A worker may drop many: none waits for compaction.
    fn drop(&mut self) {
        let before = self.wait_for_writing(Duration::ZERO);
        let write = || write::write(&self.target, &self.buffer, |_| false);
        let written = if self.buffer.is_empty() { before } else { before.and_then(|()| write()) };
        // Nobody had it in use who did not restore it: a measurement, for example.
        let noted = if self.is_restoring { written } else { written.and_then(|()| self.note_use()) };
        if let Err(error) = noted {
            let topic = &self.target.topic;
            tracing::warn!(%topic, self.partition, %error, "the local copy of a store stays older than it was");
        }
    }
}
