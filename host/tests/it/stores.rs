//! The stores of a host over the embedded log: claims, turns and budgets, as the workers of several teams meet them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbar::embedded::{EmbeddedLog, Options};
use sandbar::model::codes::Code;
use sandbar::model::names::{Digest, TopicName, TransformId};
use sandbar::model::spec::Spec;
use sandbar::model::units::Timestamp;
use sandbar::ports::{Log, LogRecord, NewTopic, OpenError, Positions, Restore, StateOpener};
use sandbar::state::{KEY_BYTES_MAX, KeyedState, StateError};
use sandbar::stores::{StoreLimits, Stores, TransformStores};
use sandbar::telemetry::metrics::Metrics;
use serde_json::json;

use crate::support::gated::Gated;

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;
const ENTRY_BYTES: usize = 1000;

struct Fixture {
    log: Gated,
    stores: Stores,
    metrics: Metrics,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(limits: StoreLimits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Gated::new(EmbeddedLog::open(Options::new(folder.path().join("log"))).expect("opens"));
        let metrics = Metrics::new();
        let stores = Stores::new(Arc::new(log.clone()), &folder.path().join("state"), limits, &metrics);
        Self { log, stores, metrics, _folder: folder }
    }

    /// The stores of `team/count`, whose changelog has so many entries in each partition.
    fn transform(&self, team: &str, kind: &str, entries: usize) -> TransformStores {
        let id: TransformId = format!("{team}/count").parse().expect("valid");
        let raw = json!({"inputs": ["in"], "outputs": {"out": "out"}, "state": {"s": {"store": kind}}});
        let digest = Digest::of(b"any");
        let spec = Spec::parse(&serde_json::from_value(raw).expect("a spec"), &id, Some(digest)).expect("valid");
        let topic: TopicName = format!("_sandbar.dev.state.{team}.count.s").parse().expect("valid");
        let new = NewTopic { name: topic.clone(), partitions: PARTITIONS, compacted: true, retention: None };
        self.log.create_topic(&new).expect("made");
        for partition in 0..PARTITIONS {
            let record = |n: usize| LogRecord {
                offset: 0,
                timestamp: 5,
                key: Some(format!("key-{n}").into_bytes()),
                value: Some(vec![b'v'; ENTRY_BYTES]),
                headers: Vec::new(),
            };
            self.log.append(&topic, Some(partition), (0..entries).map(record).collect()).expect("appended");
        }
        let info = self.log.topic(&topic).expect("there");
        self.stores.of(&spec, &[(topic, info)], PARTITIONS, self.metrics.transform(&id))
    }
}

fn begin(stores: &TransformStores, partition: i32) -> Box<dyn Restore> {
    stores.open(partition, Positions::new(), false)
}

fn end(mut restore: Box<dyn Restore>) -> Result<KeyedState, OpenError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match restore.poll() {
            Some(ended) => return ended,
            None => assert!(Instant::now() < deadline, "{:?}", restore.progress()),
        }
        std::thread::yield_now();
    }
}

fn open(stores: &TransformStores, partition: i32) -> Result<KeyedState, OpenError> {
    end(begin(stores, partition))
}

fn entries(state: &KeyedState) -> u64 {
    state.stores().iter().map(|store| store.mark().entries).sum()
}

#[track_caller]
fn check_refused(opened: Result<KeyedState, OpenError>, code: Code, text: &str) {
    let error = opened.err().expect("it is refused");
    assert!(error.code() == code && error.to_string().contains(text), "{error:?}");
}

#[test]
fn a_partition_is_open_once_at_a_time() {
    let fixture = Fixture::new(StoreLimits::default());
    let stores = fixture.transform("a", "disk", 10);
    let first = open(&stores, 0).expect("opens");
    let mut second = begin(&stores, 0);
    let mut third = begin(&stores, 1);
    assert!(second.poll().is_none(), "the first has it");
    third = match third.poll() {
        Some(ended) => {
            assert_eq!(entries(&ended.expect("opens")), 10);
            begin(&stores, 1)
        }
        None => third,
    };
    assert_eq!(entries(&end(third).expect("opens")), 10, "another partition does not wait");
    assert!(second.poll().is_none());
    drop(first);
    assert_eq!(entries(&end(second).expect("opens")), 10);
}

/// A position in the old topic says nothing about the new one, which is longer.
#[test]
fn a_copy_of_a_changelog_that_was_created_again_is_not_used() {
    let fixture = Fixture::new(StoreLimits::default());
    let stores = fixture.transform("a", "disk", 10);
    drop(open(&stores, 0).expect("opens"));
    let wiped = || fixture.metrics.render().contains("sandbar_stores_wiped_total{");
    drop(open(&stores, 0).expect("opens"));
    assert!(!wiped(), "the copy is of the topic");
    let name: TopicName = "_sandbar.dev.state.a.count.s".parse().expect("valid");
    let anew: TopicName = "_sandbar.dev.state.a.count.s.anew".parse().expect("valid");
    let new = NewTopic { name: anew.clone(), partitions: PARTITIONS, compacted: true, retention: None };
    fixture.log.create_topic(&new).expect("made");
    fixture.log.replace(&name, &anew);
    let same_key = |value: u8| LogRecord {
        offset: 0,
        timestamp: 5,
        key: Some(b"new".to_vec()),
        value: Some(vec![value]),
        headers: Vec::new(),
    };
    fixture.log.append(&name, Some(0), (0..20).map(same_key).collect()).expect("appended");
    assert_eq!(entries(&open(&stores, 0).expect("opens")), 1, "nothing of the old topic is left");
    assert!(wiped());
}

/// One that is given up while it waits for its turn gives its claims up at once.
#[test]
fn many_restores_take_turns_in_few_threads() {
    let fixture = Fixture::new(StoreLimits { restores_max: 1, ..StoreLimits::default() });
    let teams: Vec<TransformStores> = ["a", "b"].map(|team| fixture.transform(team, "disk", 200)).into();
    for round in 0..5 {
        let begun: Vec<_> = teams.iter().flat_map(|stores| (0..PARTITIONS).map(|at| begin(stores, at))).collect();
        if round % 2 == 0 {
            drop(begun);
            continue;
        }
        for restore in begun {
            assert_eq!(entries(&end(restore).expect("opens")), 200);
        }
    }
    assert!(!fixture.metrics.render().contains("sandbar_state_restores_waiting{"));
}

#[test]
fn a_team_over_its_disk_restores_nothing_and_holds_up_no_other() {
    let limit = 50 * ENTRY_BYTES as u64;
    let limits = StoreLimits { team_disk_bytes_max: Some(limit), disk_free_bytes_min: 0, ..StoreLimits::default() };
    let fixture = Fixture::new(limits);
    let large = fixture.transform("large", "disk", 60);
    let small = fixture.transform("small", "disk", 20);
    let kept = open(&large, 0).expect("nothing was measured yet");
    let other = open(&small, 0).expect("opens");
    fixture.stores.measure().expect("readable");
    check_refused(open(&large, 1), Code::TeamDisk, "--state-disk-per-team-max");
    let refused = large.check_growth(0, 1).expect_err("it is over");
    assert_eq!(refused.code(), Code::TeamDisk);
    assert_eq!((small.check_growth(0, 1), entries(&open(&small, 1).expect("opens"))), (Ok(()), 20));
    let shown = |team: &str| {
        let text = fixture.metrics.render();
        let line = text.lines().find(|line| line.starts_with(&format!("sandbar_state_disk_bytes{{team=\"{team}\"}}")));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    assert!(shown("large") > Some(limit) && shown("small") < Some(limit), "{:?} {:?}", shown("large"), shown("small"));
    // A copy in use stays; one that nobody has open makes room.
    fixture.stores.measure().expect("readable");
    assert!(large.check_growth(0, 1).is_err());
    drop(kept);
    fixture.stores.measure().expect("readable");
    assert_eq!((large.check_growth(0, 1), shown("large")), (Ok(()), None));
    assert_eq!(entries(&open(&large, 1).expect("opens")), 60);
    drop(other);
}

#[test]
fn memory_stores_share_their_budget() {
    let fixture = Fixture::new(StoreLimits { memory_bytes_max: 100 * ENTRY_BYTES as u64, ..StoreLimits::default() });
    let [a, b] = ["a", "b"].map(|team| fixture.transform(team, "memory", 60));
    let first = open(&a, 0).expect("there is room");
    // The page that goes over the limit is refused with what is read after it.
    let second = open(&b, 0).expect("one page");
    check_refused(open(&b, 1), Code::StateMemory, "--state-memory-max");
    assert_eq!(a.check_growth(0, 1).map_err(|error| error.code()), Err(Code::StateMemory));
    drop(second);
    assert_eq!((a.check_growth(0, 1000), entries(&first)), (Ok(()), 60));
    assert_eq!(entries(&open(&b, 1).expect("there is room again")), 60);
}

#[test]
fn stores_without_room_for_hot_entries_work() {
    let limits = StoreLimits { hot_total_bytes_max: 0, ..StoreLimits::default() };
    let fixture = Fixture::new(limits);
    let stores = fixture.transform("a", "disk", 20);
    let now = sandbar::model::units::Timestamp(10);
    let mut states: BTreeMap<i32, KeyedState> = (0..2).map(|at| (at, open(&stores, at).expect("opens"))).collect();
    for state in states.values_mut() {
        assert!(state.get(0, b"key-7", now).expect("readable").is_some());
        state.put(0, b"new".to_vec(), b"1".to_vec(), now).expect("room");
        state.end_call(true);
        state.committed(|_| None, now).expect("written");
        assert_eq!(state.get(0, b"new", now), Ok(Some(b"1".to_vec())));
    }
    assert!(fixture.metrics.render().contains("sandbar_state_hot_bytes 0\n"));
}

/// Stores on disk and in memory have the same longest key, and a longer one is nowhere.
#[test]
fn a_key_that_is_too_long_is_refused_and_not_found() {
    let fixture = Fixture::new(StoreLimits::default());
    for (team, kind) in [("a", "disk"), ("b", "memory")] {
        let mut state = open(&fixture.transform(team, kind, 0), 0).expect("opens");
        let key = |bytes: usize| vec![b'k'; bytes];
        let put = |state: &mut KeyedState, bytes| state.put(0, key(bytes), b"v".to_vec(), Timestamp(1));
        put(&mut state, KEY_BYTES_MAX).expect("as long as keys may be");
        state.end_call(true);
        for bytes in [KEY_BYTES_MAX + 1, 70_000, 1 << 20] {
            let refused = put(&mut state, bytes).expect_err("too long");
            assert!(matches!(&refused, StateError::Limit(why) if why.contains("65534")), "{kind}: {refused}");
            assert_eq!(state.get(0, &key(bytes), Timestamp(1)), Ok(None));
            state.delete(0, key(bytes)).expect("there is none");
            state.end_call(true);
        }
        state.committed(|_| Some(1), Timestamp(1)).expect("written");
        let mut scan = |start: &[u8], end: Option<&[u8]>| {
            let found = state.scan(0, (start, end), 10, Timestamp(1), &mut || true).expect("scanned");
            found.into_iter().map(|(key, _)| key.len()).collect::<Vec<_>>()
        };
        assert_eq!(scan(&key(KEY_BYTES_MAX), None), [KEY_BYTES_MAX]);
        // As a guest goes on after the last key of a page.
        assert_eq!(scan(&[&key(KEY_BYTES_MAX)[..], &[0]].concat(), None), [0usize; 0], "{kind}");
        assert_eq!(scan(b"a", Some(&key(70_000))), [KEY_BYTES_MAX], "{kind}");
        assert_eq!(scan(b"a", Some(&key(10))), [0usize; 0], "{kind}");
        assert!(state.fault().is_none());
    }
}

#[test]
fn a_changelog_with_a_key_that_no_store_has_is_named() {
    let fixture = Fixture::new(StoreLimits::default());
    let stores = fixture.transform("a", "disk", 1);
    let record = LogRecord {
        offset: 0,
        timestamp: 5,
        key: Some(vec![b'k'; KEY_BYTES_MAX + 1]),
        value: Some(b"v".to_vec()),
        headers: Vec::new(),
    };
    fixture.log.append(&"_sandbar.dev.state.a.count.s".parse().expect("valid"), Some(0), vec![record]).expect("appended");
    let refused = open(&stores, 0).err().expect("it is refused").to_string();
    assert!(refused.contains("count.s/0 at offset 1: a key of 65535 bytes"), "{refused}");
    open(&stores, 1).expect("another partition opens");
}
