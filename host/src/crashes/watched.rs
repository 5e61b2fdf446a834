//! A guest whose calls are noted, so that a crash of the host is traced to its transform.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::calls::Slot;
use super::{Crashes, Seen, Standing};
use crate::model::batch::{Batch, Output};
use crate::model::names::TransformId;
use crate::ports::{Call, Guest, GuestError, GuestFactory, TopicPartition};
use crate::state::KeyedState;

/// Counts the calls of one transform, and notes them. It lives as long as the host.
pub struct Watch {
    id: TransformId,
    crashes: Crashes,
    made: AtomicU64,
    under_way: AtomicU64,
    is_suspect: AtomicBool,
}

impl Watch {
    pub(super) fn new(id: &TransformId, crashes: Crashes, is_suspect: bool) -> Self {
        Self {
            id: id.clone(),
            crashes,
            made: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            is_suspect: AtomicBool::new(is_suspect),
        }
    }

    /// Loads the module under a mark: beside its instances' calls, loading may end the host.
    pub fn load<T>(self: &Arc<Self>, load: impl FnOnce() -> T) -> T {
        let marked = Marked::new(self);
        let _under_way = UnderWay::of(&marked);
        load()
    }

    /// Watches all instances that a factory makes.
    pub fn factory(self: &Arc<Self>, inner: Arc<dyn GuestFactory>) -> Arc<dyn GuestFactory> {
        Arc::new(WatchedFactory { inner, watch: self.clone() })
    }

    pub(super) fn seen(&self, standing: Standing) -> Seen {
        let calls = self.made.load(Ordering::Relaxed);
        Seen { standing, calls, is_in_call: self.under_way.load(Ordering::Relaxed) > 0 }
    }

    fn committed(&self, partitions: &[TopicPartition]) {
        // Nearly never one: the host died a moment ago.
        if self.is_suspect.load(Ordering::Relaxed) {
            let is_suspect = self.crashes.committed(&self.id, partitions);
            self.is_suspect.store(is_suspect, Ordering::Relaxed);
        }
    }
}

/// A place in the file of calls, if there is one left.
struct Marked {
    watch: Arc<Watch>,
    slot: Option<Slot>,
}

impl Marked {
    /// Takes a place, with its mark.
    fn new(watch: &Arc<Watch>) -> Self {
        Self { watch: watch.clone(), slot: watch.crashes.take(&watch.id) }
    }

    fn enter(&self, partition: Option<TopicPartition>) -> UnderWay<'_> {
        if let Some(slot) = &self.slot {
            slot.enter(partition);
        }
        UnderWay::of(self)
    }
}

/// A call. Dropping it ends it.
struct UnderWay<'a>(&'a Marked);

impl<'a> UnderWay<'a> {
    /// Begins a call whose mark is there already.
    fn of(marked: &'a Marked) -> Self {
        marked.watch.made.fetch_add(1, Ordering::Relaxed);
        marked.watch.under_way.fetch_add(1, Ordering::Relaxed);
        Self(marked)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.watch.under_way.fetch_sub(1, Ordering::Relaxed);
        if let Some(slot) = &self.0.slot {
            slot.leave();
        }
    }
}

struct WatchedFactory {
    inner: Arc<dyn GuestFactory>,
    watch: Arc<Watch>,
}

impl GuestFactory for WatchedFactory {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        let marked = Marked::new(&self.watch);
        let made = {
            let _under_way = UnderWay::of(&marked);
            self.inner.instantiate()?
        };
        Ok(Box::new(Watched { inner: Some(made), marked }))
    }

    fn committed(&self, partitions: &[TopicPartition]) {
        self.watch.committed(partitions);
    }
}

struct Watched {
    /// There until it is dropped.
    inner: Option<Box<dyn Guest>>,
    marked: Marked,
}

impl Watched {
    fn call<T>(&mut self, call: Call, run: impl FnOnce(&mut dyn Guest) -> Result<T, GuestError>) -> Result<T, GuestError> {
        let _under_way = self.marked.enter(Some(call.partition));
        let guest = self.inner.as_mut().expect("it is there until it is dropped");
        run(&mut **guest)
    }
}

impl Guest for Watched {
    fn process(&mut self, batch: &Batch, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        self.call(call, |guest| guest.process(batch, call, state))
    }

    fn tick(&mut self, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        self.call(call, |guest| guest.tick(call, state))
    }

    fn memory_bytes(&self) -> usize {
        self.inner.as_ref().map_or(0, |guest| guest.memory_bytes())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _under_way = self.marked.enter(None);
        self.inner = None;
    }
}
