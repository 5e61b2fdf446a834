//! The keyed state of each partition that a worker has tasks of.
//!
//! ```text
//!   (assigned) --> closed --> restoring --> open --(a local store fails)--> restoring, without the local copies
//!                    ^            |
//!                    +------------+ after a back-off
//! ```
//!
//! A transform without stores has one empty state for all, and none of this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::clock::{Monotonic, Now};
use crate::model::status::{LastError, Restoring, StoreStatus};
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{OpenError, Positions, ProducerRecord, Restore, Session, SessionError, StateOpener};
use crate::state::{KeyedState, LocalError, SweepBudget};

/// First and longest wait before a state that could not be opened is tried again: Kafka or the disk failed, or a topic is
/// gone until somebody creates it.
const REOPEN: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(30) };

/// The work of a worker's sweeps in one transaction. A million entries may expire at once: their deletions go with many
/// transactions, each about as long as without them.
const SWEEP_ENTRIES_MAX: usize = 32 << 10;
const SWEEP_BYTES_MAX: usize = 4 << 20;
const SWEEP_TIME_MAX: Duration = Duration::from_millis(20);

/// The keyed states of one worker's partitions.
pub(super) struct PartitionStates {
    /// None for a transform without stores.
    opener: Option<Arc<dyn StateOpener>>,
    slots: BTreeMap<i32, Slot>,
    /// The state of a task without stores.
    empty: KeyedState,
    /// The partition whose stores are swept first in the next transaction.
    sweep_from: i32,
}

struct Slot {
    phase: Phase,
    /// Each changelog reaches at least to its position.
    committed: Positions,
    failures: u32,
    /// True from a fault of a local store to the next open state: the host's copies are not to be trusted.
    wipe: bool,
}

enum Phase {
    Closed { open_at: Monotonic },
    Restoring(Box<dyn Restore>),
    Open(KeyedState),
}

/// The end of a restore.
pub(super) enum RestoreEnd {
    Opened,
    Failed(LastError),
    /// No partition of this worker can go on.
    Stopped(LastError),
}

impl PartitionStates {
    pub fn new(opener: Option<Arc<dyn StateOpener>>) -> Self {
        Self { opener, slots: BTreeMap::new(), empty: KeyedState::default(), sweep_from: 0 }
    }

    /// Returns true if tasks wait for a state.
    pub fn are_needed(&self) -> bool {
        self.opener.is_some()
    }

    /// Asks for the state of a partition, which tasks of other inputs may have asked for too. The next
    /// [`PartitionStates::poll`] opens it, once every task has said how far the changelogs reach at least.
    pub fn request(&mut self, partition: i32, committed: &Positions) {
        if self.opener.is_none() {
            return;
        }
        let slot = self.slots.entry(partition).or_insert_with(|| Slot {
            phase: Phase::Closed { open_at: Monotonic::PAST },
            committed: Positions::new(),
            failures: 0,
            wipe: false,
        });
        for (store, &position) in committed {
            let known = slot.committed.entry(store.clone()).or_default();
            if position > *known {
                *known = position;
                // A restore that is under way knows a lower position, and would not miss the rest.
                if matches!(slot.phase, Phase::Restoring(_)) {
                    slot.phase = Phase::Closed { open_at: Monotonic::PAST };
                }
            }
        }
    }

    pub fn is_open(&self, partition: i32) -> bool {
        self.slots.get(&partition).is_some_and(|slot| matches!(slot.phase, Phase::Open(_)))
    }

    /// The state that a task of this partition works on. Its task does not work before it is open.
    pub fn get_mut(&mut self, partition: i32) -> &mut KeyedState {
        match self.slots.get_mut(&partition).map(|slot| &mut slot.phase) {
            Some(Phase::Open(state)) => state,
            _ => &mut self.empty,
        }
    }

    /// Goes on with restores. Returns the partitions whose restore has ended since the last call.
    pub fn poll(&mut self, now: Now) -> Vec<(i32, RestoreEnd)> {
        let Some(opener) = &self.opener else { return Vec::new() };
        let mut ends = Vec::new();
        for (&partition, slot) in &mut self.slots {
            if matches!(slot.phase, Phase::Closed { open_at } if open_at <= now.mono) {
                slot.phase = Phase::Restoring(opener.open(partition, slot.committed.clone(), slot.wipe));
            }
            let Phase::Restoring(restore) = &mut slot.phase else { continue };
            match restore.poll() {
                None => {}
                Some(Ok(state)) => {
                    slot.phase = Phase::Open(state);
                    slot.failures = 0;
                    slot.wipe = false;
                    ends.push((partition, RestoreEnd::Opened));
                }
                Some(Err(error)) => {
                    slot.phase = Phase::Closed { open_at: now.mono.after(REOPEN.after(slot.failures)) };
                    slot.failures = slot.failures.saturating_add(1);
                    ends.push((partition, failed(&error, now.wall)));
                }
            }
        }
        ends
    }

    /// Checks that keys are still where their state is. Call it after the records of a transaction were read.
    pub fn check_inputs(&self) -> Result<(), OpenError> {
        self.opener.as_ref().map_or(Ok(()), |opener| opener.check_inputs())
    }

    /// Keeps the states of these partitions, and gives up the others.
    pub fn retain(&mut self, partitions: &BTreeSet<i32>) {
        self.slots.retain(|partition, _| partitions.contains(partition));
    }

    /// Bytes of changes that wait for their commit.
    pub fn pending_bytes(&self) -> usize {
        self.open().map(|(_, state)| state.pending_bytes()).sum()
    }

    /// Deletes expired entries in the open transaction, as far as the budget goes. The partitions have their turns. Those in
    /// `spared` are left as they are: another revision may have committed them, and an entry may be alive to it.
    pub fn sweep(&mut self, now: Timestamp, spared: &BTreeSet<i32>) -> Result<(), LocalError> {
        let began = Instant::now();
        let is_over = || began.elapsed() >= SWEEP_TIME_MAX;
        let mut budget = SweepBudget { entries: SWEEP_ENTRIES_MAX, bytes: SWEEP_BYTES_MAX, is_over: &is_over };
        let mut partitions: Vec<i32> = self.slots.keys().copied().filter(|it| !spared.contains(it)).collect();
        let first = partitions.partition_point(|&partition| partition < self.sweep_from);
        partitions.rotate_left(first);
        for partition in partitions {
            if budget.is_spent() {
                break;
            }
            self.get_mut(partition).sweep(now, &mut budget)?;
            self.sweep_from = partition.saturating_add(1);
        }
        Ok(())
    }

    /// Returns the number of expired entries that were deleted since the last question.
    pub fn take_expired(&mut self) -> u64 {
        let partitions: Vec<i32> = self.slots.keys().copied().collect();
        partitions.into_iter().map(|partition| self.get_mut(partition).take_expired()).sum()
    }

    /// Checks that this host has room for the growth of the stores in the open transaction. One that shrinks a store always
    /// has, so that a budget that is used up can be relieved.
    pub fn check_growth(&self) -> Result<(), OpenError> {
        let Some(opener) = &self.opener else { return Ok(()) };
        let mut growth: BTreeMap<usize, i64> = BTreeMap::new();
        for (store, bytes) in self.open().flat_map(|(_, state)| state.growth().enumerate()) {
            *growth.entry(store).or_default() += bytes;
        }
        let growing = growth.into_iter().filter(|&(_, bytes)| bytes > 0);
        growing.into_iter().try_for_each(|(store, bytes)| opener.check_growth(store, bytes.unsigned_abs()))
    }

    /// Sends the changes of the transaction to the changelogs, and waits until they are there. `first` is the index of the
    /// first changelog among the outputs.
    pub fn send(&self, session: &mut dyn Session, first: usize) -> Result<(), SessionError> {
        let mut is_sent = false;
        for (partition, state) in self.open() {
            for (store, key, entry) in state.changes() {
                session.send(&ProducerRecord {
                    topic: first + store,
                    partition: Some(partition),
                    key: Some(key),
                    value: entry.map(|entry| entry.value.as_slice()),
                    headers: &[],
                    timestamp: entry.map_or(-1, |entry| entry.written_at.0),
                })?;
                is_sent = true;
            }
        }
        if is_sent { session.flush() } else { Ok(()) }
    }

    /// The positions of each partition's changelogs after the transaction. Call it after [`PartitionStates::send`].
    pub fn changelog_positions(&self, session: &dyn Session, first: usize) -> BTreeMap<i32, Positions> {
        let positions = |(partition, state): (i32, &KeyedState)| {
            let mut positions = state.positions();
            for (index, store) in state.stores().iter().enumerate() {
                // This session may have written to the changelog before another host did, and not since.
                if let Some(end) = session.written_end(first + index, partition)
                    && let Some(position) = positions.get_mut(&store.settings().name)
                {
                    *position = end.max(*position);
                }
            }
            (partition, positions)
        };
        self.open().map(positions).collect()
    }

    /// Applies the committed transaction to the local stores. Returns the partitions whose local stores failed: they are
    /// restored again.
    pub fn committed(&mut self, session: &dyn Session, first: usize, now: Timestamp) -> Vec<i32> {
        for (&partition, slot) in &mut self.slots {
            let Phase::Open(state) = &mut slot.phase else { continue };
            if let Err(error) = state.committed(|store| session.written_end(first + store, partition), now) {
                tracing::warn!(partition, %error, "a local store misses committed changes: it is rebuilt");
            }
            for (store, position) in state.positions() {
                slot.committed.insert(store, position);
            }
        }
        self.reopen_faulty()
    }

    /// Forgets the changes of an aborted transaction. Returns partitions as [`PartitionStates::committed`].
    pub fn roll_back(&mut self) -> Vec<i32> {
        for slot in self.slots.values_mut() {
            if let Phase::Open(state) = &mut slot.phase {
                state.roll_back();
            }
        }
        self.reopen_faulty()
    }

    fn reopen_faulty(&mut self) -> Vec<i32> {
        let Some(opener) = &self.opener else { return Vec::new() };
        let mut reopened = Vec::new();
        for (&partition, slot) in &mut self.slots {
            if matches!(&slot.phase, Phase::Open(state) if state.fault().is_some()) {
                // The faulty state is closed before another is opened over the same files.
                slot.phase = Phase::Closed { open_at: Monotonic::PAST };
                slot.wipe = true;
                slot.phase = Phase::Restoring(opener.open(partition, slot.committed.clone(), true));
                reopened.push(partition);
            }
        }
        reopened
    }

    fn open(&self) -> impl Iterator<Item = (i32, &KeyedState)> {
        self.slots.iter().filter_map(|(&partition, slot)| match &slot.phase {
            Phase::Open(state) => Some((partition, state)),
            _ => None,
        })
    }

    /// The progress of a partition's restore.
    pub fn restoring(&self, partition: i32) -> Option<Restoring> {
        match &self.slots.get(&partition)?.phase {
            Phase::Restoring(restore) => {
                let (read, total) = restore.progress();
                Some(Restoring { records_read: read, records_total: total.max(read) })
            }
            _ => None,
        }
    }

    pub fn stores_of(&self, partition: i32) -> Vec<StoreStatus> {
        let Some(Phase::Open(state)) = self.slots.get(&partition).map(|slot| &slot.phase) else { return Vec::new() };
        let status = |store: &crate::state::Store| StoreStatus {
            name: store.settings().name.clone(),
            entries: store.mark().entries,
            bytes: store.mark().bytes,
        };
        state.stores().iter().map(status).collect()
    }

    /// The committed value of a key; None if this worker does not have the state.
    pub fn look_up(&mut self, partition: i32, store: &str, key: &[u8], now: Timestamp) -> Option<Option<Vec<u8>>> {
        match &mut self.slots.get_mut(&partition)?.phase {
            Phase::Open(state) => state.look_up_committed(store, key, now),
            _ => None,
        }
    }
}

fn failed(error: &OpenError, now: Timestamp) -> RestoreEnd {
    let last = LastError { code: error.code(), message: error.to_string(), offset: None, at: now };
    match error {
        OpenError::Partitions(_) => RestoreEnd::Stopped(last),
        _ => RestoreEnd::Failed(last),
    }
}

#[cfg(test)]
#[path = "partition_states_tests.rs"]
mod tests;
