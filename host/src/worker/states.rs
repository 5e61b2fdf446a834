//! The state of each partition number that a worker has tasks of.
//!
//! ```text
//!   (assigned) --> closed --> opening --> open --(a local store fails)--> opening, afresh
//!                    ^           |
//!                    +-----------+ after a backoff
//! ```
//!
//! A transform without stores has one empty state for all, and none of this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::status::{LastError, Restoring, StoreStatus};
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{OpenError, Outgoing, Positions, Restore, Session, SessionError, StateOpener};
use crate::state::KeyedState;

const REOPEN: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(30) };

/// See the module.
pub(super) struct PartitionStates {
    stores: Option<Arc<dyn StateOpener>>,
    slots: BTreeMap<i32, Slot>,
    none: KeyedState,
}

struct Slot {
    phase: Phase,
    /// How far its changelogs reach at least.
    committed: Positions,
    failures: u32,
    /// What this host has of it is not to be trusted, until it was opened without that.
    afresh: bool,
}

enum Phase {
    Closed { open_at: Timestamp },
    Opening(Box<dyn Restore>),
    Open(KeyedState),
}

/// What became of a state.
pub(super) enum Opened {
    Ready,
    Failed(LastError),
    /// No partition of this worker can go on.
    Stopped(LastError),
}

impl PartitionStates {
    pub fn new(stores: Option<Arc<dyn StateOpener>>) -> Self {
        Self { stores, slots: BTreeMap::new(), none: KeyedState::default() }
    }

    /// Whether tasks wait for a state.
    pub fn are_needed(&self) -> bool {
        self.stores.is_some()
    }

    /// Asks for the state of a number, which other inputs' tasks may have asked for too. It is opened by the next
    /// [`PartitionStates::advance`], when all of them have said how far its changelogs reach at least.
    pub fn need(&mut self, number: i32, committed: &Positions) {
        if self.stores.is_none() {
            return;
        }
        let slot = self.slots.entry(number).or_insert_with(|| Slot {
            phase: Phase::Closed { open_at: Timestamp(0) },
            committed: Positions::new(),
            failures: 0,
            afresh: false,
        });
        for (store, &position) in committed {
            let known = slot.committed.entry(store.clone()).or_default();
            if position > *known {
                *known = position;
                // The one that is under way knows of less, and would not miss the rest.
                if matches!(slot.phase, Phase::Opening(_)) {
                    slot.phase = Phase::Closed { open_at: Timestamp(0) };
                }
            }
        }
    }

    pub fn is_open(&self, number: i32) -> bool {
        self.slots.get(&number).is_some_and(|slot| matches!(slot.phase, Phase::Open(_)))
    }

    /// The state that a task of this number works on. Its task does not work before it is open.
    pub fn get_mut(&mut self, number: i32) -> &mut KeyedState {
        match self.slots.get_mut(&number).map(|slot| &mut slot.phase) {
            Some(Phase::Open(state)) => state,
            _ => &mut self.none,
        }
    }

    /// What was opened, or could not be, since the last call.
    pub fn advance(&mut self, now: Timestamp) -> Vec<(i32, Opened)> {
        let Some(stores) = &self.stores else { return Vec::new() };
        let mut news = Vec::new();
        for (&number, slot) in &mut self.slots {
            if matches!(slot.phase, Phase::Closed { open_at } if open_at <= now) {
                slot.phase = Phase::Opening(stores.open(number, slot.committed.clone(), slot.afresh));
            }
            let Phase::Opening(opening) = &mut slot.phase else { continue };
            match opening.poll() {
                None => {}
                Some(Ok(state)) => {
                    slot.phase = Phase::Open(state);
                    slot.failures = 0;
                    slot.afresh = false;
                    news.push((number, Opened::Ready));
                }
                Some(Err(error)) => {
                    slot.phase = Phase::Closed { open_at: now.after(REOPEN.after(slot.failures)) };
                    slot.failures = slot.failures.saturating_add(1);
                    news.push((number, failed(&error, now)));
                }
            }
        }
        news
    }

    /// Whether keys are still where their state is; to be asked when the records of a transaction were read.
    pub fn check_inputs(&self) -> Result<(), OpenError> {
        self.stores.as_ref().map_or(Ok(()), |stores| stores.check_inputs())
    }

    /// Keeps the states of these numbers, and gives up the others.
    pub fn retain(&mut self, numbers: &BTreeSet<i32>) {
        self.slots.retain(|number, _| numbers.contains(number));
    }

    /// Bytes of changes that wait for their commit.
    pub fn pending_bytes(&self) -> usize {
        self.open().map(|(_, state)| state.pending_bytes()).sum()
    }

    /// Sends what the transaction changes to the changelogs, whose first is output `first`, and waits until it is there.
    pub fn send(&self, session: &mut dyn Session, first: usize) -> Result<(), SessionError> {
        let mut sent = false;
        for (number, state) in self.open() {
            for (store, key, entry) in state.changes() {
                session.send(&Outgoing {
                    topic: first + store,
                    partition: Some(number),
                    key: Some(key),
                    value: entry.map(|entry| entry.value.as_slice()),
                    headers: &[],
                    timestamp: entry.map_or(-1, |entry| entry.written_at.0),
                })?;
                sent = true;
            }
        }
        if sent { session.flush() } else { Ok(()) }
    }

    /// How far the changelogs of each number reach with the transaction.
    pub fn reach(&self, session: &dyn Session, first: usize) -> BTreeMap<i32, Positions> {
        let positions = |(number, state): (i32, &KeyedState)| {
            let mut reach = state.positions();
            for (index, store) in state.stores().iter().enumerate() {
                if let Some(end) = session.written_end(first + index, number) {
                    reach.insert(store.settings().name.clone(), end);
                }
            }
            (number, reach)
        };
        self.open().map(positions).collect()
    }

    /// The transaction was committed. Returns the numbers whose local stores failed: they are opened afresh.
    pub fn committed(&mut self, session: &dyn Session, first: usize, now: Timestamp) -> Vec<i32> {
        for (&number, slot) in &mut self.slots {
            let Phase::Open(state) = &mut slot.phase else { continue };
            if let Err(error) = state.committed(|store| session.written_end(first + store, number), now) {
                tracing::warn!(partition = number, %error, "what was committed is not in the local store: it is rebuilt");
            }
            for (store, position) in state.positions() {
                slot.committed.insert(store, position);
            }
        }
        self.reopen_faulty()
    }

    /// The transaction was aborted. Returns as `committed`.
    pub fn roll_back(&mut self) -> Vec<i32> {
        for slot in self.slots.values_mut() {
            if let Phase::Open(state) = &mut slot.phase {
                state.roll_back();
            }
        }
        self.reopen_faulty()
    }

    fn reopen_faulty(&mut self) -> Vec<i32> {
        let Some(stores) = &self.stores else { return Vec::new() };
        let mut reopened = Vec::new();
        for (&number, slot) in &mut self.slots {
            if matches!(&slot.phase, Phase::Open(state) if state.fault().is_some()) {
                // The faulty one is closed before another is opened over the same files.
                slot.phase = Phase::Closed { open_at: Timestamp(0) };
                slot.afresh = true;
                slot.phase = Phase::Opening(stores.open(number, slot.committed.clone(), true));
                reopened.push(number);
            }
        }
        reopened
    }

    fn open(&self) -> impl Iterator<Item = (i32, &KeyedState)> {
        self.slots.iter().filter_map(|(&number, slot)| match &slot.phase {
            Phase::Open(state) => Some((number, state)),
            _ => None,
        })
    }

    /// How far the restore of a number has come.
    pub fn restoring(&self, number: i32) -> Option<Restoring> {
        match &self.slots.get(&number)?.phase {
            Phase::Opening(opening) => {
                let (read, total) = opening.progress();
                Some(Restoring { records_read: read, records_total: total.max(read) })
            }
            _ => None,
        }
    }

    pub fn stores_of(&self, number: i32) -> Vec<StoreStatus> {
        let Some(Phase::Open(state)) = self.slots.get(&number).map(|slot| &slot.phase) else { return Vec::new() };
        let status = |store: &crate::state::Store| StoreStatus {
            name: store.settings().name.clone(),
            entries: store.mark().entries,
            bytes: store.mark().bytes,
        };
        state.stores().iter().map(status).collect()
    }

    /// What is committed under a key; None where this worker does not have the state.
    pub fn look_up(&mut self, number: i32, store: &str, key: &[u8], now: Timestamp) -> Option<Option<Vec<u8>>> {
        match &mut self.slots.get_mut(&number)?.phase {
            Phase::Open(state) => state.look_up_committed(store, key, now),
            _ => None,
        }
    }
}

fn failed(error: &OpenError, now: Timestamp) -> Opened {
    let last = LastError { code: error.code(), message: error.to_string(), offset: None, at: now };
    match error {
        OpenError::Lost(_) | OpenError::Unavailable(_) | OpenError::Newer(_) => Opened::Failed(last),
        OpenError::Partitions(_) => Opened::Stopped(last),
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Notes how far the changelogs of each state reach that is opened, and opens none.
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
        fn open(&self, number: i32, committed: Positions, _: bool) -> Box<dyn Restore> {
            self.0.lock().push((number, committed));
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
        for (number, levels) in [(0, 5), (1, 7), (0, 9), (1, 3)] {
            states.need(number, &positions(levels));
        }
        states.advance(Timestamp(0));
        let opened = std::mem::take(&mut *openings.0.lock());
        assert_eq!(opened, [(0, positions(9)), (1, positions(7))], "each once, when all inputs were heard");
        // One that is heard later.
        states.need(0, &positions(9));
        states.need(1, &positions(8));
        states.advance(Timestamp(0));
        assert_eq!(*openings.0.lock(), [(1, positions(8))]);
    }
}
