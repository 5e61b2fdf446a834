//! The states of several partitions: their openings, sweeps and growth.

use parking_lot::Mutex;

use super::*;
use crate::state::local::{Change, Entry};
use crate::state::{Store, StoreSettings};

const NOW: Now = Now { wall: Timestamp(0), mono: Monotonic::PAST };

/// Notes the positions that each state is opened with, and opens none.
#[derive(Default)]
struct Openings(Mutex<Vec<(i32, Positions)>>);

struct Endless;

impl Restore for Endless {
    fn poll(&mut self) -> Option<Result<KeyedState, OpenError>> {
        None
    }

    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }
}

impl StateOpener for Openings {
    fn open(&self, partition: i32, committed: Positions, _: bool) -> Box<dyn Restore> {
        self.0.lock().push((partition, committed));
        Box::new(Endless)
    }

    fn check_inputs(&self) -> Result<(), OpenError> {
        Ok(())
    }
}

fn positions(levels: i64) -> Positions {
    [("levels".to_owned(), levels)].into()
}

#[test]
fn a_changelog_must_reach_as_far_as_any_input_has_committed() {
    let openings = Arc::new(Openings::default());
    let mut states = PartitionStates::new(Some(openings.clone()));
    for (partition, levels) in [(0, 5), (1, 7), (0, 9), (1, 3)] {
        states.request(partition, &positions(levels));
    }
    states.poll(NOW);
    let opened = std::mem::take(&mut *openings.0.lock());
    assert_eq!(opened, [(0, positions(9)), (1, positions(7))], "each once, after all inputs");
    // Another input is assigned later.
    states.request(0, &positions(9));
    states.request(1, &positions(8));
    states.poll(NOW);
    assert_eq!(*openings.0.lock(), [(1, positions(8))]);
}

const TTL_MS: i64 = 10_000;

/// Opens states at once, each with so many entries of time 0, and has room for `room` bytes.
struct Ready {
    entries: u32,
    room: u64,
}

struct Opened(Option<KeyedState>);

impl Restore for Opened {
    fn poll(&mut self) -> Option<Result<KeyedState, OpenError>> {
        self.0.take().map(Ok)
    }

    fn progress(&self) -> (u64, u64) {
        (0, 0)
    }
}

impl StateOpener for Ready {
    fn open(&self, _: i32, _: Positions, _: bool) -> Box<dyn Restore> {
        let settings = StoreSettings {
            name: "levels".into(),
            ttl: Some(Duration::from_millis(TTL_MS as u64)),
            bytes_max: 1 << 30,
            call_bytes_max: 1 << 30,
            record_bytes_max: 1 << 20,
            hot_bytes_max: 0,
        };
        let entry = |n: u32| (n.to_be_bytes().to_vec(), Some(Entry { written_at: Timestamp(0), value: vec![0; 10] }));
        let entries: Vec<Change> = (0..self.entries).map(entry).collect();
        Box::new(Opened(Some(KeyedState::in_memory(vec![(settings, entries)]).expect("memory does not fail"))))
    }

    fn check_inputs(&self) -> Result<(), OpenError> {
        Ok(())
    }

    fn check_growth(&self, store: usize, bytes: u64) -> Result<(), OpenError> {
        assert_eq!(store, 0);
        if bytes > self.room { Err(OpenError::OverTeamDisk(bytes.to_string())) } else { Ok(()) }
    }
}

fn opened(ready: Ready, partitions: i32) -> PartitionStates {
    let mut states = PartitionStates::new(Some(Arc::new(ready)));
    (0..partitions).for_each(|partition| states.request(partition, &Positions::new()));
    assert_eq!(states.poll(NOW).len(), partitions as usize);
    states
}

fn entries(states: &PartitionStates) -> u64 {
    states.open().flat_map(|(_, state)| state.stores()).map(|store: &Store| store.mark().entries).sum()
}

/// Many partitions with many expired entries: a transaction deletes a part of them, and none is left out for long.
#[test]
fn partitions_are_swept_in_turn_within_a_budget() {
    const PARTITIONS: i32 = 300;
    let mut states = opened(Ready { entries: 1000, room: 0 }, PARTITIONS);
    let mut transactions = 0;
    while entries(&states) > 0 {
        states.sweep(Timestamp(TTL_MS), &BTreeSet::new()).expect("memory does not fail");
        let pending = states.pending_bytes();
        assert!(pending <= SWEEP_BYTES_MAX + (64 << 10), "{pending} bytes of deletions");
        for state in states.slots.values_mut() {
            let Phase::Open(state) = &mut state.phase else { continue };
            state.committed(|_| None, Timestamp(TTL_MS)).expect("memory does not fail");
        }
        transactions += 1;
        let counts = states.open().flat_map(|(_, state)| state.stores()).map(|store| store.mark().entries);
        let (least, most) = counts.fold((u64::MAX, 0), |(least, most), count| (least.min(count), most.max(count)));
        assert!(most - least <= 512, "after {transactions} transactions one has {most}, another {least}");
    }
    assert!(transactions > 1);
    assert_eq!(states.take_expired(), 300_000);
}

/// A newer revision may have a longer `ttl`, or none.
#[test]
fn a_partition_that_a_newer_revision_has_committed_is_not_swept() {
    let mut states = opened(Ready { entries: 10, room: 0 }, 2);
    states.sweep(Timestamp(TTL_MS), &BTreeSet::from([1])).expect("memory does not fail");
    let changed: Vec<i32> = states.open().filter(|(_, state)| state.changes().count() > 0).map(|(it, _)| it).collect();
    assert_eq!(changed, [0]);
}

#[test]
fn only_stores_that_grow_need_room() {
    let mut states = opened(Ready { entries: 10, room: 100 }, 2);
    let now = Timestamp(1);
    let put = |states: &mut PartitionStates, partition, bytes| {
        let state = states.get_mut(partition);
        state.put(0, b"key".to_vec(), vec![0; bytes], now).expect("the store has room");
        state.end_call(true);
    };
    assert_eq!(states.check_growth(), Ok(()), "nothing was written");
    put(&mut states, 0, 90);
    assert_eq!(states.check_growth(), Ok(()));
    put(&mut states, 1, 90);
    assert_eq!(states.check_growth(), Err(OpenError::OverTeamDisk("186".into())));
    let state = states.get_mut(1);
    state.delete(0, b"key".to_vec()).expect("deleted");
    (0..10u32).for_each(|n| state.delete(0, n.to_be_bytes().to_vec()).expect("deleted"));
    state.end_call(true);
    assert_eq!(states.check_growth(), Ok(()), "one makes room for the other");
}
