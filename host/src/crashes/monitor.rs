//! A guest whose calls are noted, so that a crash of the host is traced to its transform.

use std::sync::Arc;

use super::calls::Slot;
use super::counts::CallCounts;
use super::registry::Crashes;
use crate::model::batch::{Batch, Output};
use crate::model::names::TransformId;
use crate::ports::{Call, Guest, GuestError, GuestFactory, TopicPartition};
use crate::state::KeyedState;

/// Counts the calls of one transform, and notes them. Cloning shares the counts.
#[derive(Clone)]
pub struct CallMonitor {
    id: TransformId,
    crashes: Crashes,
    counts: Arc<CallCounts>,
}

impl CallMonitor {
    /// All monitors of one transform share its counts.
    pub fn new(crashes: &Crashes, id: &TransformId) -> Self {
        Self { id: id.clone(), crashes: crashes.clone(), counts: crashes.counts(id) }
    }

    /// Loads the module under a mark: beside its instances' calls, loading may end the host.
    pub fn load<T>(&self, load: impl FnOnce() -> T) -> T {
        let slot = CallSlot::new(self);
        let _call = CallGuard::begin(&slot);
        load()
    }

    /// Monitors all instances that a factory makes.
    pub fn factory(&self, inner: Arc<dyn GuestFactory>) -> Arc<dyn GuestFactory> {
        Arc::new(MonitorFactory { inner, monitor: self.clone() })
    }
}

/// A slot in the file of calls, if there is one left.
struct CallSlot {
    counts: Arc<CallCounts>,
    slot: Option<Slot>,
}

impl CallSlot {
    /// Takes a slot, with its mark.
    fn new(monitor: &CallMonitor) -> Self {
        Self { counts: monitor.counts.clone(), slot: monitor.crashes.take(&monitor.id) }
    }

    fn enter(&self, partition: Option<TopicPartition>) -> CallGuard<'_> {
        if let Some(slot) = &self.slot {
            slot.enter(partition);
        }
        CallGuard::begin(self)
    }
}

/// A call. Dropping it ends it.
struct CallGuard<'a>(&'a CallSlot);

impl<'a> CallGuard<'a> {
    /// Begins a call whose mark is there already.
    fn begin(slot: &'a CallSlot) -> Self {
        slot.counts.begin();
        Self(slot)
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.0.counts.end();
        if let Some(slot) = &self.0.slot {
            slot.leave();
        }
    }
}

struct MonitorFactory {
    inner: Arc<dyn GuestFactory>,
    monitor: CallMonitor,
}

impl GuestFactory for MonitorFactory {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        let slot = CallSlot::new(&self.monitor);
        let inner = {
            let _call = CallGuard::begin(&slot);
            self.inner.instantiate()?
        };
        Ok(Box::new(MonitorGuest { inner: Some(inner), slot }))
    }

    fn committed(&self, partitions: &[TopicPartition]) {
        let CallMonitor { id, crashes, counts } = &self.monitor;
        // Nearly never one: the host died a moment ago.
        if counts.is_suspect() {
            counts.set_suspect(crashes.committed(id, partitions));
        }
    }
}

struct MonitorGuest {
    /// There until it is dropped.
    inner: Option<Box<dyn Guest>>,
    slot: CallSlot,
}

impl MonitorGuest {
    fn call<T>(&mut self, call: Call, run: impl FnOnce(&mut dyn Guest) -> Result<T, GuestError>) -> Result<T, GuestError> {
        let _call = self.slot.enter(Some(call.partition));
        let guest = self.inner.as_mut().expect("it is there until it is dropped");
        run(&mut **guest)
    }
}

impl Guest for MonitorGuest {
    fn process(&mut self, batch: &Batch, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        self.call(call, |guest| guest.process(batch, call, state))
    }

    fn tick(&mut self, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        self.call(call, |guest| guest.tick(call, state))
    }

    fn memory_bytes(&self) -> usize {
        self.inner.as_ref().map_or(0, |guest| guest.memory_bytes())
    }

    fn is_outdated(&self) -> bool {
        self.inner.as_ref().is_some_and(|guest| guest.is_outdated())
    }
}

impl Drop for MonitorGuest {
    fn drop(&mut self) {
        let _call = self.slot.enter(None);
        self.inner = None;
    }
}
