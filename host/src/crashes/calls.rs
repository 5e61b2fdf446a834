//! The file of the guests' calls that are under way. It outlives the process.
//!
//! An instance has a slot. A call sets the slot's mark before it begins and takes it back when it ends, by one small write
//! each: the page cache survives `kill -9`, an abort and the system's OOM killer. Plain writes and no mapped
//! memory: on a full disk a write fails, and a store to a mapped page ends the process.
//!
//! Layout, little-endian: a header of one slot's size (`magic [16], state u8, pad [7], run u64`), then slots of 256 bytes
//! (`mark u8, has_partition u8, id_length u8, pad u8, input u32, number i32, id`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::ports::TopicPartition;

const MAGIC: &[u8; 16] = b"sandbar calls 1\n";
const SLOT_BYTES: usize = 256;
/// Most instances that are watched at a time; those beyond run without a mark.
const SLOTS_MAX: u32 = 65_536;
const STATE_AT: usize = MAGIC.len();
const RUN_AT: usize = 24;
const ENDED_ORDERLY: u8 = 1;
const MARK_BYTES: usize = 12;

/// The end of a run of the host, as its file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastRun {
    pub run: u64,
    pub ended_orderly: bool,
    /// The transforms that were in a call, and the partitions that they worked on: none while an instance is made,
    /// dropped, or its module loaded.
    pub under_way: BTreeMap<TransformId, BTreeSet<Option<TopicPartition>>>,
}

/// Reads the file of the last run. `None`: there is none.
pub fn read(path: &Path) -> Result<Option<LastRun>, String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| error.to_string())?,
    };
    let bytes_max = SLOT_BYTES as u64 * (u64::from(SLOTS_MAX) + 1);
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    parse(&bytes).map(Some)
}

fn parse(bytes: &[u8]) -> Result<LastRun, String> {
    let (header, slots) = bytes.split_at_checked(SLOT_BYTES).ok_or("it is cut off")?;
    if !header.starts_with(MAGIC) {
        return Err("it has another format".to_owned());
    }
    let (run, _) = header[RUN_AT..].split_first_chunk().expect("a header is longer");
    let mut last =
        LastRun { run: u64::from_le_bytes(*run), ended_orderly: header[STATE_AT] == ENDED_ORDERLY, ..LastRun::default() };
    for slot in slots.chunks_exact(SLOT_BYTES).filter(|slot| slot[0] != 0) {
        let id = slot.get(MARK_BYTES..MARK_BYTES + usize::from(slot[2])).ok_or("a slot is damaged")?;
        let id = std::str::from_utf8(id).ok().and_then(|id| id.parse::<TransformId>().ok()).ok_or("a slot is damaged")?;
        let (input, rest) = slot[4..].split_first_chunk().expect("a slot is longer");
        let (number, _) = rest.split_first_chunk().expect("a slot is longer");
        let partition = TopicPartition { input: u32::from_le_bytes(*input), partition: i32::from_le_bytes(*number) };
        last.under_way.entry(id).or_default().insert((slot[1] != 0).then_some(partition));
    }
    Ok(last)
}

/// The file of this run. Without one nothing is marked.
#[derive(Debug, Default)]
pub struct Calls {
    file: Option<File>,
    slots: Mutex<Slots>,
    /// A write failed, and a log line said so.
    failing: AtomicBool,
}

#[derive(Debug, Default)]
struct Slots {
    free: Vec<u32>,
    /// The number of slots that were made.
    made: u32,
}

impl Calls {
    /// Puts a new file in the place of the last run's.
    pub fn create(path: &Path, run: u64) -> io::Result<Self> {
        let mut header = [0; SLOT_BYTES];
        header[..MAGIC.len()].copy_from_slice(MAGIC);
        header[RUN_AT..RUN_AT + 8].copy_from_slice(&run.to_le_bytes());
        // Readable for its owner only, as every temporary file is.
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(&header)?;
        let file = file.persist(path).map_err(|error| error.error)?;
        Ok(Self { file: Some(file), ..Self::default() })
    }

    /// The run ends because somebody wants it to: whoever is in a call now has nothing to do with it.
    pub fn end_orderly(&self) {
        self.write(&[ENDED_ORDERLY], STATE_AT as u64);
    }

    fn write(&self, bytes: &[u8], at: u64) {
        let Some(file) = &self.file else { return };
        if let Err(error) = file.write_all_at(bytes, at)
            && !self.failing.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(code = %Code::LocalDisk, %error, "calls of guests cannot be noted: a crash may not be traced to its transform");
        }
    }

    /// Takes a slot for an instance, and marks it: the instance is being made.
    pub fn take(self: &Arc<Self>, id: &TransformId) -> Option<Slot> {
        let index = {
            let mut slots = self.slots.lock();
            let next = (slots.made < SLOTS_MAX).then_some(slots.made);
            let index = slots.free.pop().or(next)?;
            slots.made = slots.made.max(index + 1);
            index
        };
        let id = id.to_string();
        let mut bytes = [0; SLOT_BYTES];
        bytes[..MARK_BYTES].copy_from_slice(&mark(id.len(), true, None));
        bytes[MARK_BYTES..MARK_BYTES + id.len()].copy_from_slice(id.as_bytes());
        let slot = Slot { calls: self.clone(), index, id_length: id.len() };
        self.write(&bytes, slot.offset());
        Some(slot)
    }
}

fn mark(id_length: usize, under_way: bool, partition: Option<TopicPartition>) -> [u8; MARK_BYTES] {
    let id_length = u8::try_from(id_length).expect("a team and a name have at most 63 bytes each");
    let TopicPartition { input, partition: number } = partition.unwrap_or(TopicPartition { input: 0, partition: 0 });
    let mut mark = [u8::from(under_way), u8::from(partition.is_some()), id_length, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    mark[4..8].copy_from_slice(&input.to_le_bytes());
    mark[8..].copy_from_slice(&number.to_le_bytes());
    mark
}

/// One instance's place in the file. Dropping it takes the mark back and gives the place to the next.
#[derive(Debug)]
pub struct Slot {
    calls: Arc<Calls>,
    index: u32,
    id_length: usize,
}

impl Slot {
    /// A call begins.
    pub fn enter(&self, partition: Option<TopicPartition>) {
        self.calls.write(&mark(self.id_length, true, partition), self.offset());
    }

    /// The call has ended.
    pub fn leave(&self) {
        self.calls.write(&[0], self.offset());
    }

    fn offset(&self) -> u64 {
        SLOT_BYTES as u64 * (u64::from(self.index) + 1)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.leave();
        self.calls.slots.lock().free.push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: &str) -> TransformId {
        raw.parse().expect("valid")
    }

    #[track_caller]
    fn check(path: &Path, ended_orderly: bool, under_way: &[(&str, &[Option<i32>])]) {
        let last = read(path).expect("readable").expect("there");
        let expected = under_way.iter().map(|(raw, numbers)| {
            let partition = |number: &Option<i32>| number.map(|number| TopicPartition { input: 1, partition: number });
            (id(raw), numbers.iter().map(partition).collect())
        });
        assert_eq!(last, LastRun { run: 7, ended_orderly, under_way: expected.collect() });
    }

    #[test]
    fn the_file_says_who_is_in_a_call() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calls");
        assert_eq!(read(&path), Ok(None));
        let calls = Arc::new(Calls::create(&path, 7).expect("created"));
        check(&path, false, &[]);
        let first = calls.take(&id("t/a")).expect("a slot");
        let second = calls.take(&id("team/longer-name")).expect("a slot");
        check(&path, false, &[("t/a", &[None]), ("team/longer-name", &[None])]);
        first.leave();
        second.enter(Some(TopicPartition { input: 1, partition: 3 }));
        check(&path, false, &[("team/longer-name", &[Some(3)])]);
        let third = calls.take(&id("team/longer-name")).expect("a slot");
        check(&path, false, &[("team/longer-name", &[None, Some(3)])]);
        drop(second);
        third.leave();
        let fourth = calls.take(&id("t/b")).expect("a slot");
        assert_eq!(fourth.index, 1, "places are used again");
        check(&path, false, &[("t/b", &[None])]);
        calls.end_orderly();
        check(&path, true, &[("t/b", &[None])]);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).expect("there"));
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_never_a_panic() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calls");
        let calls = Arc::new(Calls::create(&path, 7).expect("created"));
        let _slot = calls.take(&id("t/a")).expect("a slot");
        let bytes = std::fs::read(&path).expect("there");
        for cut in 0..bytes.len() {
            let _ = parse(&bytes[..cut]);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let _ = parse(&damaged);
        }
        assert!(parse(b"").is_err());
        assert!(parse(&[b'x'; 1000]).is_err());
    }

    #[test]
    fn instances_beyond_the_limit_run_without_a_mark() {
        let calls = Arc::new(Calls::default());
        calls.slots.lock().made = SLOTS_MAX - 1;
        let last = calls.take(&id("t/a"));
        assert!(last.is_some());
        assert!(calls.take(&id("t/a")).is_none());
    }
}
