//! Expiry against a changelog: whatever was found expired stays away, on any host and by any clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::StoreSettings;
use super::*;
use crate::state::StateError;
use crate::state::local::{Change, LocalStore, Mark, Memory};

const TTL_MS: i64 = 10_000;
const HOUR_MS: i64 = 3_600_000;

fn settings(bytes_max: u64) -> StoreSettings {
    StoreSettings {
        name: "s".into(),
        ttl: Some(Duration::from_millis(TTL_MS as u64)),
        bytes_max,
        call_bytes_max: 100 << 20,
        record_bytes_max: 1 << 20,
        hot_bytes_max: 0,
    }
}

/// A budget of so many entries, and of all the time.
fn budget(entries: usize) -> SweepBudget<'static> {
    SweepBudget { entries, bytes: usize::MAX, is_over: &|| false }
}

type Changelog = BTreeMap<Vec<u8>, Entry>;

/// Commits the open transaction, and folds it into the changelog.
fn commit(store: &mut Store, changelog: &mut Changelog, now: i64) {
    for (key, entry) in store.changes() {
        match entry {
            Some(entry) => drop(changelog.insert(key.to_vec(), entry.clone())),
            None => drop(changelog.remove(key)),
        }
    }
    store.committed(None, Timestamp(now)).expect("memory does not fail");
}

/// The store of a host that restores it from the changelog.
fn restored(changelog: &Changelog, bytes_max: u64) -> Store {
    let mut local = Memory::default();
    let changes: Vec<Change> = changelog.iter().map(|(key, entry)| (key.clone(), Some(entry.clone()))).collect();
    let bytes = changelog.iter().map(|(key, entry)| (key.len() + entry.value.len()) as u64).sum();
    let mark = Mark { bytes, entries: changelog.len() as u64, ..Mark::default() };
    local.apply(changes, &mark).expect("memory does not fail");
    Store::new(settings(bytes_max), Box::new(local)).expect("memory does not fail")
}

fn put(store: &mut Store, key: &str, bytes: usize, now: i64) -> Result<(), StateError> {
    store.put(key.into(), vec![b'v'; bytes], Timestamp(now))
}

/// An entry that this look has found expired is gone for a host that restores the store, and whose clock is an hour behind.
#[track_caller]
fn check_gone(look: impl FnOnce(&mut Store, Timestamp)) {
    let mut changelog = Changelog::new();
    let mut store = restored(&changelog, 1 << 20);
    put(&mut store, "old", 1, HOUR_MS).expect("room");
    store.end_call(true);
    commit(&mut store, &mut changelog, HOUR_MS);
    let late = HOUR_MS + TTL_MS;
    look(&mut store, Timestamp(late));
    // The call that found it fails: that changes nothing.
    store.end_call(false);
    commit(&mut store, &mut changelog, late);
    assert_eq!((store.mark().entries, store.mark().bytes, store.take_expired()), (0, 0, 1));
    let mut other = restored(&changelog, 1 << 20);
    assert_eq!(other.get(b"old", Timestamp(late - HOUR_MS)), Ok(None));
}

#[test]
fn an_expired_entry_does_not_come_back() {
    check_gone(|store, now| assert_eq!(store.get(b"old", now), Ok(None)));
    check_gone(|store, now| assert_eq!(store.scan(b"", None, 9, now, &mut || true), Ok(Vec::new())));
    check_gone(|store, now| store.sweep(now, &mut budget(9)).expect("memory does not fail"));
}

fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// Clocks step back and forth, hosts fail over, transactions are aborted. The local store is always the fold of the
/// changelog, and a key that a committed transaction found absent is absent until it is written.
#[test]
fn absent_is_absent_whatever_the_clocks_say() {
    for seed in 0..300u64 {
        let mut rng = seed;
        let mut changelog = Changelog::new();
        let mut store = restored(&changelog, 1 << 20);
        let mut now = 10 * HOUR_MS;
        let mut absent: BTreeSet<String> = BTreeSet::new();
        for _ in 0..60 {
            now += random(&mut rng, 4000) as i64;
            match random(&mut rng, 12) {
                0 => now += HOUR_MS,
                1 => now -= HOUR_MS,
                2 => store = restored(&changelog, 1 << 20),
                _ => {}
            }
            let mut open = absent.clone();
            for _ in 0..random(&mut rng, 8) {
                let key = format!("k{}", random(&mut rng, 12));
                if random(&mut rng, 3) == 0 {
                    put(&mut store, &key, 3, now).expect("room");
                    open.remove(&key);
                } else if store.get(key.as_bytes(), Timestamp(now)).expect("memory does not fail").is_none() {
                    open.insert(key);
                } else {
                    assert!(!open.contains(&key), "{key} is there again, seed {seed}");
                }
                store.end_call(true);
            }
            if random(&mut rng, 4) == 0 {
                store.roll_back();
                continue;
            }
            store.sweep(Timestamp(now), &mut budget(5)).expect("memory does not fail");
            commit(&mut store, &mut changelog, now);
            absent = open;
            let mut found = Changelog::new();
            let on_entry = &mut |key: &[u8], entry: Entry| {
                found.insert(key.to_vec(), entry);
                true
            };
            store.local.scan(b"", None, on_entry).expect("memory does not fail");
            assert_eq!(found, changelog, "seed {seed}");
            let bytes: usize = changelog.iter().map(|(key, entry)| key.len() + entry.value.len()).sum();
            assert_eq!((store.mark.bytes, store.mark.entries), (bytes as u64, changelog.len() as u64), "seed {seed}");
        }
    }
}

#[test]
fn many_entries_that_expire_at_once_go_with_many_transactions() {
    let mut changelog: Changelog =
        (0..20_000u32).map(|n| (n.to_be_bytes().to_vec(), Entry { written_at: Timestamp(0), value: vec![0; 10] })).collect();
    let mut store = restored(&changelog, 1 << 30);
    let mut transactions = 0;
    while !changelog.is_empty() {
        let written = 1000;
        for n in 0..written {
            put(&mut store, &format!("new {transactions} {n}"), 1, TTL_MS).expect("room");
        }
        store.end_call(true);
        let mut left = SweepBudget { bytes: 100_000, ..budget(3000) };
        store.sweep(Timestamp(TTL_MS), &mut left).expect("memory does not fail");
        let deleted = store.changes().filter(|(_, entry)| entry.is_none()).count();
        assert!(deleted <= 1500 + LOOKS_AT_ONCE && store.pending_bytes() < 300_000, "{deleted}");
        commit(&mut store, &mut changelog, TTL_MS);
        changelog.retain(|_, entry| entry.written_at == Timestamp(0));
        transactions += 1;
        assert!(transactions < 40, "{} old entries are left", changelog.len());
    }
    assert_eq!(store.take_expired(), 20_000);
    let mut none = SweepBudget { is_over: &|| true, ..budget(9) };
    put(&mut store, "later", 1, TTL_MS).expect("room");
    store.sweep(Timestamp(3 * TTL_MS), &mut none).expect("memory does not fail");
    assert_eq!(store.take_expired(), 0, "the time is over");
}

/// Counts the entries that scans look at.
struct Counting {
    memory: Memory,
    looks: Arc<AtomicUsize>,
}

impl LocalStore for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        self.memory.get(key)
    }

    fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        on: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError> {
        let Self { memory, looks } = self;
        memory.scan(start, end, &mut |key, entry| {
            looks.fetch_add(1, Ordering::Relaxed);
            on(key, entry)
        })
    }

    fn apply(&mut self, changes: Vec<Change>, mark: &Mark) -> Result<(), LocalError> {
        self.memory.apply(changes, mark)
    }

    fn mark(&self) -> Result<Option<Mark>, LocalError> {
        self.memory.mark()
    }

    fn wipe(&mut self) -> Result<(), LocalError> {
        self.memory.wipe()
    }

    fn wants_cache(&self) -> bool {
        false
    }
}

const ENTRIES: usize = 1000;
const ENTRY: usize = 100;
const FULL: usize = ENTRIES * ENTRY;

/// A store as full as it may be, of entries of which entry n was written at `written_at(n)`, and the number of looks at
/// its entries.
fn full(written_at: impl Fn(usize) -> i64) -> (Store, Arc<AtomicUsize>) {
    let mut memory = Memory::default();
    let entry = |n| Entry { written_at: Timestamp(written_at(n)), value: vec![0; ENTRY - 4] };
    let changes: Vec<Change> = (0..ENTRIES).map(|n| (format!("{n:04}").into_bytes(), Some(entry(n)))).collect();
    let mark = Mark { bytes: FULL as u64, entries: ENTRIES as u64, ..Mark::default() };
    memory.apply(changes, &mark).expect("memory does not fail");
    let looks = Arc::new(AtomicUsize::new(0));
    let local = Counting { memory, looks: looks.clone() };
    (Store::new(settings(FULL as u64), Box::new(local)).expect("memory does not fail"), looks)
}

/// Puts entries of `bytes` until one is refused, or `most` are accepted. Returns their number.
fn puts(store: &mut Store, bytes: usize, most: usize, now: i64) -> usize {
    (0..most).take_while(|n| put(store, &format!("new{n:05} {bytes} {now}"), bytes, now).is_ok()).count()
}

/// After a fail-over nothing has been swept yet.
#[test]
fn old_entries_fail_no_write() {
    for expired in [0..ENTRIES, 0..200, 400..600, 800..ENTRIES] {
        let room = expired.len() * ENTRY;
        let (mut store, _) = full(|n| if expired.contains(&n) { 0 } else { 1 });
        let now = TTL_MS;
        let fit = room / (80 + "new00000 80 10000".len());
        let accepted = puts(&mut store, 80, fit, now);
        assert_eq!(accepted, fit, "room for {room} bytes in {expired:?}");
        store.end_call(true);
        assert!(store.bytes() <= (FULL + FULL / 8) as i64);
    }
}

#[test]
fn a_store_full_of_entries_that_live_is_full() {
    for bytes in [50, 5000] {
        let (mut store, looks) = full(|n| n as i64);
        let accepted = puts(&mut store, bytes, ENTRIES, 1000);
        assert!(accepted > 0 && store.bytes() <= (FULL + FULL / 8) as i64, "{accepted} of {bytes}");
        assert!(looks.load(Ordering::Relaxed) <= ENTRIES + 10, "each entry was looked at once");
        let refused = put(&mut store, "more", bytes, 1000).expect_err("it is full").to_string();
        assert!(refused.contains("state.s.max_bytes"), "{refused}");
        let before = looks.load(Ordering::Relaxed);
        assert_eq!(puts(&mut store, bytes, 9, TTL_MS - 1), 0);
        assert_eq!(looks.load(Ordering::Relaxed), before, "nothing expires before that");
        store.end_call(false);
        assert_eq!(puts(&mut store, 50, 1, TTL_MS), 1, "the first one has expired");
    }
}

#[test]
fn a_store_that_one_transaction_has_filled_has_room_once_it_expires() {
    let mut changelog = Changelog::new();
    let mut store = restored(&changelog, FULL as u64);
    let filled = puts(&mut store, 1000, ENTRIES, 0);
    assert!(filled > 0 && filled < ENTRIES, "{filled} fit");
    store.end_call(true);
    commit(&mut store, &mut changelog, 0);
    assert_eq!(puts(&mut store, 1000, 1, TTL_MS - 1), 0, "all of them live");
    assert_eq!(puts(&mut store, 1000, 1, TTL_MS), 1);
}

/// Expired entries with long keys: a transaction deletes 280 of them.
fn with_long_keys(entries: usize) -> Changelog {
    let key = |n: usize| format!("{n:04}{}", "k".repeat(60_000)).into_bytes();
    let entry = Entry { written_at: Timestamp(0), value: b"v".to_vec() };
    (0..entries).map(|n| (key(n), entry.clone())).collect()
}

/// The deletions are committed and the call is made again, as a task does, until the scan has passed all of them.
#[test]
fn a_scan_over_more_expired_entries_than_a_transaction_deletes_ends_after_some_commits() {
    let mut changelog = with_long_keys(700);
    changelog.insert(b"z".to_vec(), Entry { written_at: Timestamp(TTL_MS), value: b"alive".to_vec() });
    let mut store = restored(&changelog, 1 << 30);
    let mut commits = 0;
    let found = loop {
        put(&mut store, "of the call", 1, TTL_MS).expect("room");
        match store.scan(b"", Some(b"o"), 9, Timestamp(TTL_MS), &mut || true) {
            Ok(found) => break found,
            Err(error) => assert_eq!(error, StateError::TransactionFull),
        }
        assert!(commits < 9, "{} entries are left", changelog.len());
        store.end_call(false);
        commit(&mut store, &mut changelog, TTL_MS);
        commits += 1;
    };
    assert_eq!((found, commits), (Vec::new(), 2));
    store.roll_back();
    assert_eq!((store.mark().entries, changelog.len()), (141, 141), "an abort brings those of its transaction back");
    assert_eq!(store.get(b"of the call", Timestamp(TTL_MS)), Ok(None));
    let found = store.scan(b"", None, 9, Timestamp(TTL_MS), &mut || true);
    assert_eq!(found, Ok(vec![(b"z".to_vec(), b"alive".to_vec())]));
}

#[test]
fn a_write_waits_for_the_room_of_entries_that_its_transaction_cannot_delete() {
    let mut changelog = with_long_keys(700);
    let full: usize = changelog.iter().map(|(key, entry)| key.len() + entry.value.len()).sum();
    let mut store = restored(&changelog, full as u64);
    let write = |store: &mut Store, n: usize| put(store, &format!("new {n:03}"), 1_000_000, TTL_MS);
    let refused = (0..100).find_map(|n| write(&mut store, n).err());
    assert_eq!(refused, Some(StateError::TransactionFull));
    store.end_call(false);
    commit(&mut store, &mut changelog, TTL_MS);
    (0..16).for_each(|n| write(&mut store, n).expect("280 entries have made room"));
}

/// The work of a write is in proportion to its part of the slack.
#[test]
fn no_write_looks_at_all_entries() {
    let (mut store, looks) = full(|_| 0);
    for n in 0..3 {
        let before = looks.load(Ordering::Relaxed);
        put(&mut store, &format!("new {n}"), 100, 1000).expect("not every entry was looked at");
        assert!(looks.load(Ordering::Relaxed) - before <= COMMIT_LOOKS_MIN + 1);
    }
}

/// The room of an expired entry may come from the entry that is written, which no guest has read.
#[test]
fn a_write_over_an_expired_entry_of_a_full_store_counts_once() {
    for key in ["0000", "0500", "0999"] {
        let (mut store, _) = full(|_| 0);
        put(&mut store, key, ENTRY, TTL_MS).expect("entries have expired");
        store.end_call(true);
        store.sweep(Timestamp(TTL_MS), &mut budget(ENTRIES)).expect("memory does not fail");
        store.committed(None, Timestamp(TTL_MS)).expect("memory does not fail");
        let left = store.scan(b"", None, ENTRIES, Timestamp(0), &mut || true).expect("memory does not fail");
        let bytes: usize = left.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert_eq!((store.mark().entries, store.mark().bytes), (left.len() as u64, bytes as u64), "{key}");
    }
}

/// Millions of entries may expire while nothing comes: a scan passes them a few thousand at a time, and asks in between.
#[test]
fn a_scan_passes_expired_entries_in_parts() {
    const EXPIRED: usize = 10_000;
    let mut changelog = Changelog::new();
    let mut store = restored(&changelog, 1 << 30);
    for number in 0..EXPIRED {
        put(&mut store, &format!("a{number:05}"), 1, HOUR_MS).expect("room");
    }
    store.end_call(true);
    commit(&mut store, &mut changelog, HOUR_MS);
    let late = HOUR_MS + TTL_MS;
    put(&mut store, "b", 1, late).expect("room");
    let mut scan = |parts_max: usize| {
        let mut parts = 0;
        let found = store.scan(b"", None, 9, Timestamp(late), &mut || {
            parts += 1;
            parts < parts_max
        });
        found.map(|found| (found.len(), parts))
    };
    assert_eq!(scan(1), Err(StateError::OutOfTime));
    assert_eq!(scan(9), Ok((1, 1)), "what it passed before is deleted");
    assert_eq!(scan(9), Ok((1, 0)));
}
