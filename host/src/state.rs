//! The keyed state of one partition of a transform: its stores, as its tasks' guests see them.
//!
//! A plain value owned by one worker thread. It reads no clock and knows neither Kafka nor wasmtime: a local store
//! ([`LocalStore`]) is under each of its stores, and the worker sends [`KeyedState::changes`] to the changelog topics,
//! inside the transaction.
//!
//! Invariants: the writes of a call are kept whole or not at all ([`KeyedState::end_call`]); the writes of a transaction
//! reach the local stores only after its commit ([`KeyedState::committed`]); after a fault of a local store the state is of
//! no more use, until it is rebuilt; a call that has too many expired entries to delete for one transaction fails no
//! record ([`KeyedState::must_commit`]).

pub mod changes;
pub mod layer;
pub mod local;
mod store;

use std::any::Any;
use std::collections::BTreeMap;

pub use local::{LocalError, LocalStore};
pub use store::{
    KEY_BYTES_MAX, Pair, SCAN_BYTES_MAX, SCAN_ENTRIES_MAX, Store, StoreSettings, SweepBudget, TRANSACTION_BYTES_MAX,
};

use crate::model::units::Timestamp;
use local::{Change, Entry, Mark, Memory};

/// The reason for which a guest's access to its state failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The access would go over a limit: its record is to blame.
    #[error("{0}")]
    Limit(String),
    /// The local store is to blame: no record is. See [`KeyedState::fault`].
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The call's time was over while entries were passed that have expired.
    #[error("the time of the call was over during a scan")]
    OutOfTime,
    /// The access met more expired entries than the open transaction takes deletions of: no record is to blame. See
    /// [`KeyedState::must_commit`].
    #[error("more entries have expired than the transaction deletes")]
    TransactionFull,
    /// There is no such store now: outside of a call there is none at all.
    #[error("entries of a store can be read and written in process and tick only")]
    Closed,
}

/// The stores of one partition of a transform. The default has none.
#[derive(Default)]
pub struct KeyedState {
    stores: Vec<Store>,
    fault: Option<LocalError>,
    /// Set by an access that is [`StateError::TransactionFull`], until the call is ended.
    must_commit: bool,
    /// Let go after the stores: fields are dropped in their order.
    _held: Option<Box<dyn Any + Send>>,
}

impl KeyedState {
    /// `stores` in the order of the spec.
    pub fn new(stores: Vec<Store>) -> Self {
        Self { stores, fault: None, must_commit: false, _held: None }
    }

    /// Keeps `held` for as long as the local stores are open: a right to open them, for example.
    pub fn holding(self, held: impl Any + Send) -> Self {
        Self { _held: Some(Box::new(held)), ..self }
    }

    /// A state in memory with these entries, for a dry run, of which nothing remains.
    pub fn in_memory(stores: Vec<(StoreSettings, Vec<Change>)>) -> Result<Self, LocalError> {
        let stores = stores.into_iter().map(|(settings, entries)| {
            let mut local = Memory::default();
            let bytes = |(key, entry): &Change| key.len() + entry.as_ref().map_or(0, |entry| entry.value.len());
            let mark = Mark {
                bytes: entries.iter().map(bytes).sum::<usize>() as u64,
                entries: entries.len() as u64,
                ..Mark::default()
            };
            local.apply(entries, &mark)?;
            Store::new(settings, Box::new(local))
        });
        Ok(Self::new(stores.collect::<Result<_, _>>()?))
    }

    pub fn stores(&self) -> &[Store] {
        &self.stores
    }

    pub fn get(&mut self, store: usize, key: &[u8], now: Timestamp) -> Result<Option<Vec<u8>>, StateError> {
        self.within(store, |store| Ok(store.get(key, now)?))
    }

    pub fn put(&mut self, store: usize, key: Vec<u8>, value: Vec<u8>, now: Timestamp) -> Result<(), StateError> {
        self.within(store, |store| store.put(key, value, now))?;
        self.check_call()
    }

    pub fn delete(&mut self, store: usize, key: Vec<u8>) -> Result<(), StateError> {
        self.within(store, |store| store.delete(key))?;
        self.check_call()
    }

    /// Entries from `start` on, below `end` if there is one, in ascending order: `limit`,
    /// [`SCAN_ENTRIES_MAX`] and [`SCAN_BYTES_MAX`] at most. See [`Store::scan`] for `goes_on`.
    pub fn scan(
        &mut self,
        store: usize,
        (start, end): (&[u8], Option<&[u8]>),
        limit: usize,
        now: Timestamp,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Pair>, StateError> {
        self.within(store, |store| store.scan(start, end, limit, now, goes_on))
    }

    /// Refuses the last write of a call if all stores together hold more of it than its limit: the call fails, and none of
    /// its writes is kept.
    fn check_call(&self) -> Result<(), StateError> {
        let bytes: usize = self.stores.iter().map(Store::call_bytes).sum();
        let limit = self.stores.first().map_or(u64::MAX, |store| store.settings().call_bytes_max);
        if bytes as u64 > limit {
            let message =
                format!("a call writes {bytes} bytes to its stores, its limit is {limit} (limits.state_bytes_per_call)");
            return Err(StateError::Limit(message));
        }
        Ok(())
    }

    fn within<T>(
        &mut self,
        store: usize,
        access: impl FnOnce(&mut Store) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let result = access(self.stores.get_mut(store).ok_or(StateError::Closed)?);
        match &result {
            Err(StateError::Local(error)) => self.fault = Some(error.clone()),
            Err(StateError::TransactionFull) => self.must_commit = true,
            _ => {}
        }
        result
    }

    /// The error of a local store that failed.
    pub fn fault(&self) -> Option<&LocalError> {
        self.fault.as_ref()
    }

    /// Returns true if the current call cannot go on before the open transaction is committed, since that takes no more
    /// deletions of expired entries. The call's writes are dropped, the deletions are committed, and the call is made again.
    /// An abort instead would bring the entries back, and the call would meet the same ones for ever.
    pub fn must_commit(&self) -> bool {
        self.must_commit
    }

    /// Returns true if the current call wrote.
    pub fn has_call_writes(&self) -> bool {
        self.stores.iter().any(Store::has_call_writes)
    }

    /// Ends the current call: its writes are kept for the transaction, or dropped.
    pub fn end_call(&mut self, keep: bool) {
        self.must_commit = false;
        self.stores.iter_mut().for_each(|store| store.end_call(keep));
    }

    /// The committed value of a key; None if there is no such store, or it fails.
    pub fn look_up_committed(&mut self, store: &str, key: &[u8], now: Timestamp) -> Option<Option<Vec<u8>>> {
        self.stores.iter_mut().find(|own| own.settings().name == store)?.look_up_committed(key, now).ok()
    }

    /// The changes of the open transaction: index of the store, key, and the entry, or None if it is deleted.
    pub fn changes(&self) -> impl Iterator<Item = (usize, &[u8], Option<&Entry>)> {
        let each = self.stores.iter().enumerate();
        each.flat_map(|(index, store)| store.changes().map(move |(key, entry)| (index, key, entry)))
    }

    /// The bytes by which each store grows with the open transaction; negative if it shrinks.
    pub fn growth(&self) -> impl Iterator<Item = i64> {
        self.stores.iter().map(Store::growth)
    }

    /// Bytes of the open transaction's changes, which wait in memory.
    pub fn pending_bytes(&self) -> usize {
        self.stores.iter().map(Store::pending_bytes).sum()
    }

    /// Deletes expired entries in the open transaction, within a budget.
    pub fn sweep(&mut self, now: Timestamp, budget: &mut SweepBudget<'_>) -> Result<(), LocalError> {
        let swept = self.stores.iter_mut().try_for_each(|store| store.sweep(now, budget));
        swept.inspect_err(|error| self.fault = Some(error.clone()))
    }

    /// Returns the number of expired entries that were deleted since the last question.
    pub fn take_expired(&mut self) -> u64 {
        self.stores.iter_mut().map(Store::take_expired).sum()
    }

    /// Forgets the changes of the aborted transaction.
    pub fn roll_back(&mut self) {
        self.must_commit = false;
        self.stores.iter_mut().for_each(Store::roll_back);
    }

    /// Moves the changes of the committed transaction to the local stores. `written_end` is one past the last record of a
    /// store in its changelog, if that is known. After an error the state must be opened again.
    pub fn committed(&mut self, written_end: impl Fn(usize) -> Option<i64>, now: Timestamp) -> Result<(), LocalError> {
        for (index, store) in self.stores.iter_mut().enumerate() {
            if let Err(error) = store.committed(written_end(index), now) {
                self.fault = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// The position of this state in each changelog, by the store's name.
    pub fn positions(&self) -> BTreeMap<String, i64> {
        self.stores.iter().map(|store| (store.settings().name.clone(), store.mark().position)).collect()
    }
}
