//! Changelogs in the broker's memory, as Kafka has them: records of open transactions lie between committed ones, and the
//! records behind the first open one cannot be read yet. And the local stores of the simulated hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sandbar::model::clock::Monotonic;
use sandbar::model::names::TopicName;
use sandbar::model::units::Timestamp;
use sandbar::ports::{
    ExclusiveError, ExclusiveWriter, GroupOffset, Groups, Log, LogError, LogRecord, NewTopic, OpenError, Page, Positions,
    Restore, Session, SessionError, SessionOptions, StateOpener, TopicInfo, TopicReader,
};
use sandbar::state::local::{Change, Entry, LocalError, LocalStore, Mark, Memory};
use sandbar::state::{KeyedState, Store, StoreSettings};
use sandbar::stores::restore::{Changelog, StoreRestore, copy_age_max};

use super::clock;

/// Records of one page.
const PAGE_RECORDS: usize = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open(u64),
    Committed,
    Aborted,
    /// The end of a transaction: an offset without a record.
    Marker,
}

struct Slot {
    fate: Fate,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: i64,
}

pub type Fold = BTreeMap<Vec<u8>, Vec<u8>>;

/// Steps whose time does not matter are made at this time.
const NOW: Monotonic = Monotonic::PAST;

/// By partition number.
#[derive(Default)]
pub struct Changelogs {
    partitions: BTreeMap<i32, Vec<Slot>>,
    /// How many of the next reads get no answer.
    lost_reads: usize,
}

impl Changelogs {
    /// Appends a record, and returns one past its offset.
    pub fn append(&mut self, partition: i32, transaction: u64, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> i64 {
        let slots = self.partitions.entry(partition).or_default();
        let key = key.to_vec();
        let value = value.map(<[u8]>::to_vec);
        slots.push(Slot { fate: Fate::Open(transaction), key, value, timestamp });
        slots.len() as i64
    }

    pub fn end(&mut self, transaction: u64, commit: bool) {
        for slots in self.partitions.values_mut() {
            let mut touched = false;
            for slot in slots.iter_mut().filter(|slot| slot.fate == Fate::Open(transaction)) {
                slot.fate = if commit { Fate::Committed } else { Fate::Aborted };
                touched = true;
            }
            if touched {
                slots.push(Slot { fate: Fate::Marker, key: Vec::new(), value: None, timestamp: -1 });
            }
        }
    }

    /// The last value of each key, over all committed records.
    pub fn fold(&self, partition: i32) -> Fold {
        let mut fold = Fold::new();
        for slot in self.partitions.get(&partition).into_iter().flatten().filter(|slot| slot.fate == Fate::Committed) {
            match &slot.value {
                Some(value) => drop(fold.insert(slot.key.clone(), value.clone())),
                None => drop(fold.remove(&slot.key)),
            }
        }
        fold
    }

    /// Every key that was ever written, also in vain.
    pub fn keys(&self, partition: i32) -> BTreeSet<Vec<u8>> {
        let slots = self.partitions.get(&partition).into_iter().flatten();
        slots.filter(|slot| slot.fate != Fate::Marker).map(|slot| slot.key.clone()).collect()
    }

    fn ends(&self, partition: i32) -> (i64, i64) {
        let Some(slots) = self.partitions.get(&partition) else { return (0, 0) };
        let stable = slots.iter().position(|slot| matches!(slot.fate, Fate::Open(_))).unwrap_or(slots.len());
        (stable as i64, slots.len() as i64)
    }

    fn read(&self, partition: i32, from: i64) -> Page {
        let (stable, _) = self.ends(partition);
        let mut page = Page { records: Vec::new(), next_offset: from, end_offset: stable };
        let slots = self.partitions.get(&partition).into_iter().flatten();
        for (offset, slot) in (0..stable).zip(slots).skip(from as usize).take(PAGE_RECORDS) {
            page.next_offset = offset + 1;
            if slot.fate == Fate::Committed {
                page.records.push(LogRecord {
                    offset,
                    timestamp: slot.timestamp,
                    key: Some(slot.key.clone()),
                    value: slot.value.clone(),
                    headers: Vec::new(),
                });
            }
        }
        page
    }
}

/// The log that a restore reads: changelogs, and nothing else.
#[derive(Clone)]
struct ChangelogLog(Arc<Mutex<Changelogs>>);

/// A host's disk: it outlives the process.
pub type Disk = Arc<Mutex<BTreeMap<i32, Memory>>>;

/// A store on such a disk.
struct OnDisk {
    disk: Disk,
    partition: i32,
}

/// The stores of a simulated host.
pub struct SimStates {
    pub changelogs: Arc<Mutex<Changelogs>>,
    pub disk: Disk,
}

struct SimRestore {
    log: ChangelogLog,
    topic: TopicName,
    partition: i32,
    committed: Option<i64>,
    wipe: bool,
    local: Option<Box<dyn LocalStore>>,
    restore: Option<StoreRestore>,
}

pub const STORE: &str = "s";

impl StateOpener for SimStates {
    fn open(&self, partition: i32, committed: Positions, wipe: bool) -> Box<dyn Restore> {
        Box::new(SimRestore {
            log: ChangelogLog(self.changelogs.clone()),
            topic: "changelog".parse().expect("valid"),
            partition,
            committed: committed.get(STORE).copied(),
            wipe,
            local: Some(Box::new(OnDisk { disk: self.disk.clone(), partition })),
            restore: None,
        })
    }

    fn check_inputs(&self) -> Result<(), OpenError> {
        Ok(())
    }
}

impl Restore for SimRestore {
    fn poll(&mut self) -> Option<Result<KeyedState, OpenError>> {
        let changelog = Changelog {
            log: &self.log,
            topic: &self.topic,
            partition: self.partition,
            committed: self.committed,
            copy_age_max: copy_age_max(None),
        };
        let now = clock::wall();
        if let Some(local) = self.local.take() {
            match StoreRestore::begin(&changelog, local, self.wipe, now) {
                Ok(restore) => self.restore = Some(restore),
                Err(OpenError::Lost(message)) => panic!("this broker loses nothing: {message}"),
                Err(error) => return Some(Err(error)),
            }
        }
        let restore = self.restore.as_mut()?;
        if restore.left() > 0 {
            if let Err(error) = restore.step(&changelog, Duration::ZERO, NOW) {
                return Some(Err(error));
            }
            if restore.left() > 0 {
                return None;
            }
        }
        let settings = StoreSettings {
            name: STORE.into(),
            ttl: None,
            bytes_max: 1 << 20,
            call_bytes_max: 1 << 20,
            record_bytes_max: 1 << 20,
            hot_bytes_max: 500,
        };
        let restored = self.restore.take()?.finish();
        Some(Ok(KeyedState::new(vec![Store::new(settings, restored).expect("memory does not fail")])))
    }

    fn progress(&self) -> (u64, u64) {
        (0, self.restore.as_ref().map_or(0, StoreRestore::left))
    }
}

impl OnDisk {
    fn with<T>(&self, access: impl FnOnce(&mut Memory) -> T) -> T {
        access(self.disk.lock().entry(self.partition).or_default())
    }
}

impl LocalStore for OnDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        self.with(|memory| memory.get(key))
    }

    fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        on: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError> {
        self.with(|memory| memory.scan(start, end, on))
    }

    fn apply(&mut self, changes: Vec<Change>, mark: &Mark) -> Result<(), LocalError> {
        self.with(|memory| memory.apply(changes, mark))
    }

    fn mark(&self) -> Result<Option<Mark>, LocalError> {
        self.with(|memory| memory.mark())
    }

    fn wipe(&mut self) -> Result<(), LocalError> {
        self.with(|memory| memory.wipe())
    }

    fn wants_cache(&self) -> bool {
        true
    }
}

fn nothing<T>() -> Result<T, LogError> {
    Err(LogError::Refused("a changelog is all that there is".into()))
}

impl Groups for ChangelogLog {
    fn group_offsets(&self, _: &str, _: &[TopicName]) -> Result<Vec<GroupOffset>, LogError> {
        nothing()
    }

    fn group_members(&self, _: &str) -> Result<usize, LogError> {
        nothing()
    }

    fn commit_for_group(&self, _: &str, _: &[GroupOffset]) -> Result<(), LogError> {
        nothing()
    }

    fn delete_group(&self, _: &str) -> Result<(), LogError> {
        nothing()
    }

    fn offsets_at(&self, _: &TopicName, _: Timestamp) -> Result<Vec<Option<i64>>, LogError> {
        nothing()
    }
}

impl Log for ChangelogLog {
    /// As on Kafka: the marker at the end does not count.
    fn written_end(&self, topic: &TopicName, partition: i32) -> Result<i64, LogError> {
        Ok((self.offsets(topic, partition)?.1 - 1).max(0))
    }

    fn open(&self, _: &SessionOptions) -> Result<Box<dyn Session>, SessionError> {
        Err(SessionError::Restart("a changelog is all that there is".into()))
    }

    fn topic(&self, _: &TopicName) -> Result<TopicInfo, LogError> {
        nothing()
    }

    fn partitions(&self, _: &TopicName) -> Result<i32, LogError> {
        nothing()
    }

    fn topics(&self) -> Result<Vec<(TopicName, TopicInfo)>, LogError> {
        nothing()
    }

    fn create_topic(&self, _: &NewTopic) -> Result<(), LogError> {
        nothing()
    }

    fn append(&self, _: &TopicName, _: Option<i32>, _: Vec<LogRecord>) -> Result<(), LogError> {
        nothing()
    }

    fn exclusive(&self, _: &str) -> Result<Box<dyn ExclusiveWriter>, ExclusiveError> {
        Err(ExclusiveError::Unknown("a changelog is all that there is".into()))
    }

    fn read(&self, _: &TopicName, partition: i32, offset: i64, _: Duration, _: usize) -> Result<Page, LogError> {
        let mut changelogs = self.0.lock();
        if let Some(left) = changelogs.lost_reads.checked_sub(1) {
            changelogs.lost_reads = left;
            return Err(LogError::Unavailable("the answer is lost".into()));
        }
        Ok(changelogs.read(partition, offset))
    }

    fn follow(&self, _: &TopicName, _: Option<&BTreeMap<i32, i64>>) -> Result<Box<dyn TopicReader>, LogError> {
        nothing()
    }

    fn offsets(&self, _: &TopicName, partition: i32) -> Result<(i64, i64), LogError> {
        Ok((0, self.0.lock().ends(partition).0))
    }

    fn high_watermark(&self, _: &TopicName, partition: i32) -> Result<i64, LogError> {
        Ok(self.0.lock().ends(partition).1)
    }
}

/// The topic was deleted and created again: a copy has entries of the old one.
#[test]
fn a_copy_that_is_ahead_of_its_changelog_is_wiped() {
    let mut changelogs = Changelogs::default();
    changelogs.append(0, 1, b"new", Some(b"1"), 5);
    changelogs.end(1, true);
    let mut copy = Memory::default();
    let old = (b"old".to_vec(), Some(Entry { written_at: Timestamp(5), value: b"1".to_vec() }));
    copy.apply(vec![old], &Mark { position: 10, bytes: 4, entries: 1, at: 5 }).expect("memory does not fail");
    let log = ChangelogLog(Arc::new(Mutex::new(changelogs)));
    let topic = "changelog".parse().expect("valid");
    let copy_age_max = copy_age_max(None);
    let changelog = Changelog { log: &log, topic: &topic, partition: 0, committed: None, copy_age_max };
    let mut restore = StoreRestore::begin(&changelog, Box::new(copy), false, Timestamp(6)).expect("it is there");
    assert_eq!(restore.wiped, Some("ahead of the changelog"));
    while restore.left() > 0 {
        restore.step(&changelog, Duration::ZERO, NOW).expect("readable");
    }
    let restored = restore.finish();
    let found = [b"old", b"new"].map(|key| restored.get(key).expect("memory does not fail").is_some());
    assert_eq!(found, [false, true]);
}

/// An idle store is as old as its last change. Nothing was written since, so it lacks no deletion either.
#[test]
fn a_copy_that_lacks_nothing_is_never_too_old() {
    for (position, wiped) in [(2, None), (1, None), (0, Some("too old"))] {
        let mut changelogs = Changelogs::default();
        changelogs.append(0, 1, b"k", Some(b"1"), 5);
        changelogs.end(1, true);
        let mut copy = Memory::default();
        let own = (b"k".to_vec(), Some(Entry { written_at: Timestamp(5), value: b"1".to_vec() }));
        copy.apply(vec![own], &Mark { position, bytes: 2, entries: 1, at: 5 }).expect("memory does not fail");
        let log = ChangelogLog(Arc::new(Mutex::new(changelogs)));
        let topic = "changelog".parse().expect("valid");
        let copy_age_max = copy_age_max(None);
        let now = Timestamp(5 + 2 * copy_age_max.as_millis() as i64);
        let changelog = Changelog { log: &log, topic: &topic, partition: 0, committed: None, copy_age_max };
        let mut restore = StoreRestore::begin(&changelog, Box::new(copy), false, now).expect("it is there");
        assert_eq!(restore.wiped, wiped, "{position}");
        while restore.left() > 0 {
            restore.step(&changelog, Duration::ZERO, NOW).expect("readable");
        }
        let restored = restore.finish();
        assert!(restored.get(b"k").expect("memory does not fail").is_some());
        // It was up to date just now.
        assert_eq!(restored.mark(), Ok(Some(Mark { position: 2, bytes: 2, entries: 1, at: now.0 })), "{position}");
    }
}

/// A changelog that a restore reads in two pages.
fn two_pages() -> ChangelogLog {
    let mut changelogs = Changelogs::default();
    for n in 0..2 * PAGE_RECORDS {
        changelogs.append(0, 1, format!("k{n}").as_bytes(), Some(b"1"), 5);
    }
    changelogs.end(1, true);
    ChangelogLog(Arc::new(Mutex::new(changelogs)))
}

#[test]
fn a_lost_answer_ends_no_restore() {
    let log = two_pages();
    let topic = "changelog".parse().expect("valid");
    let changelog = Changelog { log: &log, topic: &topic, partition: 0, committed: None, copy_age_max: copy_age_max(None) };
    let mut restore =
        StoreRestore::begin(&changelog, Box::new(Memory::default()), false, Timestamp(6)).expect("it is there");
    restore.step(&changelog, Duration::ZERO, NOW).expect("readable");
    let left = restore.left();
    log.0.lock().lost_reads = 2;
    for _ in 0..2 {
        restore.step(&changelog, Duration::ZERO, NOW).expect("it waits");
    }
    assert!(left > 0 && restore.left() == left);
    log.0.lock().lost_reads = 1;
    restore.step(&changelog, Duration::ZERO, NOW.after(Duration::from_secs(60))).expect_err("it is too long");
    while restore.left() > 0 {
        restore.step(&changelog, Duration::ZERO, NOW).expect("readable");
    }
    assert_eq!(restore.records, 2 * PAGE_RECORDS as u64);
}

/// A changelog may forget deletions while a restore stands still: so the copy must not pass for a new one before its end.
#[test]
fn a_copy_is_as_old_as_it_was_until_its_restore_has_ended() {
    let disk = Disk::default();
    let mut copy = Memory::default();
    copy.apply(Vec::new(), &Mark { at: 5, ..Mark::default() }).expect("memory does not fail");
    disk.lock().insert(0, copy);
    let log = two_pages();
    let topic = "changelog".parse().expect("valid");
    let copy_age_max = copy_age_max(None);
    let changelog = Changelog { log: &log, topic: &topic, partition: 0, committed: None, copy_age_max };
    let copy = OnDisk { disk: disk.clone(), partition: 0 };
    let mut restore = StoreRestore::begin(&changelog, Box::new(copy), false, Timestamp(1000)).expect("it is there");
    let at = || disk.lock()[&0].mark().expect("memory does not fail").map(|mark| mark.at);
    restore.step(&changelog, Duration::ZERO, NOW).expect("readable");
    assert!(restore.left() > 0 && at() == Some(5));
    while restore.left() > 0 {
        restore.step(&changelog, Duration::ZERO, NOW).expect("readable");
    }
    assert_eq!(at(), Some(1000));
}
