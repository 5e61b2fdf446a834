//! A store against a plain map, with calls and transactions that succeed and fail.

use std::collections::BTreeMap;

use super::super::KeyedState;
use super::super::layer::ENTRY_BYTES;
use super::super::local::Memory;
use super::*;

fn settings() -> StoreSettings {
    StoreSettings {
        name: "s".into(),
        ttl: None,
        bytes_max: 1 << 20,
        call_bytes_max: 10 << 20,
        record_bytes_max: 1000,
        hot_bytes_max: 2000,
    }
}

/// A store on disk would have hot entries above it; so has this one.
struct Cached(Memory);

impl LocalStore for Cached {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, LocalError> {
        self.0.get(key)
    }
    fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        on: &mut dyn FnMut(&[u8], Entry) -> bool,
    ) -> Result<(), LocalError> {
        self.0.scan(start, end, on)
    }
    fn apply(&mut self, changes: Vec<Change>, mark: &Mark) -> Result<(), LocalError> {
        self.0.apply(changes, mark)
    }
    fn mark(&self) -> Result<Option<Mark>, LocalError> {
        self.0.mark()
    }
    fn wipe(&mut self) -> Result<(), LocalError> {
        self.0.wipe()
    }
    fn wants_cache(&self) -> bool {
        true
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

type Plain = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every look that a guest can take agrees with the plain map.
fn compare(store: &mut Store, plain: &Plain, seed: u64) {
    let now = Timestamp(1);
    for n in 0..40u64 {
        let key = format!("k{n:02}").into_bytes();
        assert_eq!(store.get(&key, now).expect("reads"), plain.get(&key).cloned(), "key {n}, seed {seed}");
    }
    for (start, end, limit) in
        [("", None, 9999), ("k10", Some("k20"), 9999), ("k05", None, 3), ("k20", Some("k10"), 9), ("", None, 0)]
    {
        let expected: Vec<_> = plain
            .iter()
            .filter(|(key, _)| {
                key.as_slice() >= start.as_bytes() && end.is_none_or(|end: &str| key.as_slice() < end.as_bytes())
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .take(limit)
            .collect();
        let found = store.scan(start.as_bytes(), end.map(str::as_bytes), limit, now, &mut || true).expect("reads");
        assert_eq!(found, expected, "{start}..{end:?}, seed {seed}");
    }
}

#[test]
fn it_is_the_fold_of_what_was_kept() {
    for seed in 0..200 {
        let mut rng = seed;
        let local: Box<dyn LocalStore> =
            if seed % 2 == 0 { Box::new(Memory::default()) } else { Box::new(Cached(Memory::default())) };
        let mut store = Store::new(settings(), local).expect("opens");
        let mut committed = Plain::new();
        let mut transaction = Plain::new();
        for position in 0..30 {
            for _ in 0..random(&mut rng) % 4 {
                let mut call = transaction.clone();
                for _ in 0..random(&mut rng) % 6 {
                    let key = format!("k{:02}", random(&mut rng) % 40).into_bytes();
                    if random(&mut rng).is_multiple_of(3) {
                        call.remove(&key);
                        store.delete(key).expect("writes");
                    } else {
                        let value = vec![b'v'; (random(&mut rng) % 30) as usize];
                        call.insert(key.clone(), value.clone());
                        store.put(key, value, Timestamp(1)).expect("writes");
                    }
                }
                compare(&mut store, &call, seed);
                let keep = !random(&mut rng).is_multiple_of(4);
                store.end_call(keep);
                if keep {
                    transaction = call;
                }
                compare(&mut store, &transaction, seed);
            }
            if random(&mut rng).is_multiple_of(3) {
                store.roll_back();
                transaction = committed.clone();
            } else {
                let mut folded = committed.clone();
                for (key, entry) in store.changes() {
                    match entry {
                        Some(entry) => drop(folded.insert(key.to_vec(), entry.value.clone())),
                        None => drop(folded.remove(key)),
                    }
                }
                assert_eq!(folded, transaction, "the changes bring the changelog there, seed {seed}");
                store.committed(Some(position), Timestamp(1)).expect("writes");
                committed = transaction.clone();
            }
            compare(&mut store, &committed, seed);
            let bytes: usize = committed.iter().map(|(key, value)| key.len() + value.len()).sum();
            assert_eq!((store.mark().bytes, store.mark().entries), (bytes as u64, committed.len() as u64), "seed {seed}");
        }
    }
}

#[test]
fn a_limit_refuses_what_would_go_over_it_and_nothing_else() {
    let mut store = Store::new(StoreSettings { bytes_max: 100, ..settings() }, Box::new(Memory::default())).expect("opens");
    let put = |store: &mut Store, key: &str, bytes: usize| store.put(key.into(), vec![0; bytes], Timestamp(1));
    assert_eq!(put(&mut store, "a", 59), Ok(()));
    store.end_call(true);
    let refused = put(&mut store, "b", 40).expect_err("41 more").to_string();
    assert!(refused.contains("101 bytes, its limit is 100 (state.s.max_bytes)"), "{refused}");
    assert_eq!(put(&mut store, "a", 20), Ok(()), "less than before");
    assert_eq!(put(&mut store, "b", 40), Ok(()));
    store.end_call(false);
    assert!(put(&mut store, "b", 40).is_err(), "what was dropped made no room");
    let refused = put(&mut store, "b", 1000).expect_err("too large").to_string();
    assert!(refused.contains("larger than its changelog topic takes (1000)"), "{refused}");
}

#[test]
fn a_call_writes_so_much_to_its_stores() {
    let settings = StoreSettings { call_bytes_max: 100 + 2 * ENTRY_BYTES as u64, ..settings() };
    let store = || Store::new(settings.clone(), Box::new(Memory::default())).expect("opens");
    let mut state = KeyedState::new(vec![store(), store(), store()]);
    let put = |state: &mut KeyedState, store| state.put(store, b"a".to_vec(), vec![0; 40], Timestamp(0));
    put(&mut state, 0).expect("room");
    put(&mut state, 1).expect("room");
    let refused = put(&mut state, 2).expect_err("too much").to_string();
    assert!(refused.contains("limits.state_bytes_per_call"), "{refused}");
    state.end_call(false);
    put(&mut state, 2).expect("another call");
}

/// An entry without a value, and a delete, take memory until they are committed.
#[test]
fn entries_without_bytes_count() {
    let settings = StoreSettings { call_bytes_max: 1000, ..settings() };
    let mut state = KeyedState::new(vec![Store::new(settings, Box::new(Memory::default())).expect("opens")]);
    let most = 1000 / (ENTRY_BYTES + 1);
    // The number of writes of one call until one is refused. None is kept.
    let mut count = |from: usize, write: fn(&mut KeyedState, Vec<u8>) -> Result<(), StateError>| {
        let written = (from..100).take_while(|&key| write(&mut state, vec![key as u8]).is_ok()).count();
        state.end_call(false);
        written
    };
    let put: fn(&mut KeyedState, Vec<u8>) -> _ = |state, key| state.put(0, key, Vec::new(), Timestamp(0));
    let delete: fn(&mut KeyedState, Vec<u8>) -> _ = |state, key| state.delete(0, key);
    assert_eq!(count(0, put), most);
    assert_eq!(count(0, delete), 100, "a key that is not there costs nothing");

    for calls in [0..most, most..2 * most] {
        calls.for_each(|key| put(&mut state, vec![key as u8]).expect("room"));
        state.end_call(true);
    }
    assert_eq!(state.stores()[0].pending_bytes(), 2 * most * (ENTRY_BYTES + 1));
    let deleted = (0..2 * most).take_while(|&key| delete(&mut state, vec![key as u8]).is_ok()).count();
    assert_eq!(deleted, most);
}

fn sweep(store: &mut Store, now: Timestamp) {
    let mut budget = SweepBudget { entries: usize::MAX, bytes: usize::MAX, is_over: &|| false };
    store.sweep(now, &mut budget).expect("memory does not fail");
}

#[test]
fn entries_are_gone_after_their_time_and_then_their_bytes() {
    let settings = StoreSettings { ttl: Some(Duration::from_secs(10)), ..settings() };
    let mut store = Store::new(settings, Box::new(Memory::default())).expect("opens");
    for (n, at) in [(0, 0), (1, 5000)] {
        store.put(vec![n], vec![n], Timestamp(at)).expect("writes");
    }
    store.end_call(true);
    store.committed(None, Timestamp(5000)).expect("writes");
    let look = |store: &mut Store, at| {
        let now = Timestamp(at);
        (store.get(&[0], now).expect("reads").is_some(), store.scan(&[], None, 9, now, &mut || true).expect("reads").len())
    };
    assert_eq!(look(&mut store, 9999), (true, 2));
    assert_eq!(look(&mut store, 10_000), (false, 1));
    store.roll_back();
    assert_eq!(store.mark().entries, 2);
    sweep(&mut store, Timestamp(10_000));
    store.committed(None, Timestamp(10_000)).expect("writes");
    assert_eq!((store.mark().entries, store.mark().bytes), (1, 2));
    assert_eq!(look(&mut store, 10_000), (false, 1));
}

/// The old entries that are left are never more than a part of the others, at any rate of writes.
#[test]
fn old_entries_go_as_quickly_as_others_come() {
    let settings = StoreSettings { ttl: Some(Duration::from_secs(10)), ..settings() };
    let mut store = Store::new(settings, Box::new(Memory::default())).expect("new");
    for second in 0..60u64 {
        let now = Timestamp(1000 * second as i64);
        for n in 0..500 {
            store.put(format!("{second:03}-{n}").into_bytes(), b"v".to_vec(), now).expect("room");
        }
        store.end_call(true);
        sweep(&mut store, now);
        store.committed(None, now).expect("applies");
        assert!(store.mark().entries <= 10 * 500 * 3 / 2, "{} entries after {second} s", store.mark().entries);
    }
}

#[test]
fn a_scan_ends_where_it_has_much() {
    let settings = StoreSettings { bytes_max: 10 << 20, record_bytes_max: 1 << 20, ..settings() };
    let mut store = Store::new(settings, Box::new(Memory::default())).expect("new");
    for key in 0..5 {
        store.put(vec![key], vec![0; 600 << 10], Timestamp(0)).expect("room");
    }
    let found = store.scan(b"", None, 9, Timestamp(0), &mut || true).expect("reads");
    assert_eq!(found.len(), 2);
}
