//! The opening of the stores of one partition, as a job of the restore queue.
//!
//! ```text
//!   claiming --(nobody else has a store open)--> waiting for a turn, restoring store by store --> the state
//! ```
//! A worker that polls it takes the claims, so that no thread waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use super::budgets::HotShare;
use super::claims::Claim;
use super::memory::CountedMemory;
use super::restore::{Changelog, StoreRestore, unavailable};
use super::restore_queue::{Job, Turn};
use super::{StoreOf, TransformStores};
use crate::model::clock::Monotonic;
use crate::model::spec::StoreKind;
use crate::ports::{OpenError, Positions, Restore};
use crate::state::local::LocalStore;
use crate::state::{KeyedState, Store, StoreSettings};
use crate::steady_clock;

/// The time for which one read of a changelog waits for records. After it, others have a turn.
const READ_WAIT: Duration = Duration::from_millis(200);

/// The progress of a restore, shared with its job.
#[derive(Debug, Default)]
struct Progress {
    read: AtomicU64,
    total: AtomicU64,
    /// True if nobody waits for it any more.
    given_up: AtomicBool,
}

type Built = Result<KeyedState, OpenError>;

/// The opening of one partition's stores. Stores are closed before others may open them: fields are dropped in their order.
struct Opening {
    restoring: Option<Restoring>,
    open: Vec<Store>,
    hot: Vec<HotShare>,
    claims: Vec<Claim>,
    of: TransformStores,
    partition: i32,
    committed: Positions,
    wipe: bool,
    progress: Arc<Progress>,
    done: SyncSender<Built>,
}

/// The restore of the next store.
struct Restoring {
    restore: StoreRestore,
    settings: StoreSettings,
    began: Instant,
}

/// An opening as its worker sees it.
pub(super) struct QueuedRestore {
    /// None from the time at which it has its claims: then it is in the queue.
    claiming: Option<Box<Opening>>,
    done: Receiver<Built>,
    progress: Arc<Progress>,
    of: TransformStores,
}

impl QueuedRestore {
    pub fn new(of: TransformStores, partition: i32, committed: Positions, wipe: bool) -> Self {
        let (sent, done) = sync_channel(1);
        let progress = Arc::new(Progress::default());
        let opening = Opening {
            restoring: None,
            open: Vec::new(),
            hot: Vec::new(),
            claims: Vec::new(),
            of: of.clone(),
            partition,
            committed,
            wipe,
            progress: progress.clone(),
            done: sent,
        };
        let mut queued = Self { claiming: Some(Box::new(opening)), done, progress, of };
        queued.claim();
        queued
    }

    /// Takes the claims that are free. With all of them, it waits for a turn.
    fn claim(&mut self) {
        if self.claiming.as_mut().is_some_and(|opening| opening.claim())
            && let Some(opening) = self.claiming.take()
        {
            self.of.host.restores.push(&self.of.team, opening);
        }
    }
}

impl Restore for QueuedRestore {
    fn poll(&mut self) -> Option<Built> {
        self.claim();
        if self.claiming.is_some() {
            return None;
        }
        match self.done.try_recv() {
            Ok(built) => Some(built),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(OpenError::Unavailable("restoring broke off".into()))),
        }
    }

    fn progress(&self) -> (u64, u64) {
        (self.progress.read.load(Ordering::Relaxed), self.progress.total.load(Ordering::Relaxed))
    }
}

impl Drop for QueuedRestore {
    fn drop(&mut self) {
        self.progress.given_up.store(true, Ordering::Relaxed);
        self.of.host.restores.clear_given_up(&self.of.team);
    }
}

impl Opening {
    /// Takes the claims that are free, in the order of the stores. Returns true if it has all of them.
    fn claim(&mut self) -> bool {
        for StoreOf { topic, .. } in &self.of.stores[self.claims.len()..] {
            match self.of.host.claims.try_take(topic, self.partition) {
                Some(claim) => self.claims.push(claim),
                None => return false,
            }
        }
        true
    }

    /// Goes on by one step. Returns the state once it is whole.
    fn advance(&mut self) -> Result<Option<KeyedState>, OpenError> {
        self.of.check_partition(self.partition)?;
        if let Some(restoring) = self.restoring.take() {
            self.restore(restoring)?;
            return Ok(None);
        }
        if self.open.len() < self.of.stores.len() {
            self.restoring = Some(self.begin()?);
            return Ok(None);
        }
        // Last, so that it is true when the first record comes.
        self.of.may_open.as_ref().map_or(Ok(()), |may_open| may_open())?;
        let stores = std::mem::take(&mut self.open);
        let held = (std::mem::take(&mut self.hot), std::mem::take(&mut self.claims));
        Ok(Some(KeyedState::new(stores).holding(held)))
    }

    /// Begins the restore of the next store.
    fn begin(&mut self) -> Result<Restoring, OpenError> {
        let store = &self.of.stores[self.open.len()];
        let local = self.local(store)?;
        let mut settings = store.settings.clone();
        if local.wants_cache() {
            let share = self.of.host.budgets.hot_share();
            settings.hot_bytes_max = share.bytes;
            self.hot.push(share);
        }
        let changelog = changelog(&self.of, store, self.partition, &self.committed);
        let restore = StoreRestore::begin(&changelog, local, self.wipe, steady_clock::now())?;
        self.progress.total.fetch_add(restore.left(), Ordering::Relaxed);
        Ok(Restoring { restore, settings, began: Instant::now() })
    }

    /// Reads the next page of a store's changelog, or opens the store that has all of it.
    fn restore(&mut self, mut restoring: Restoring) -> Result<(), OpenError> {
        let store = &self.of.stores[self.open.len()];
        let left = restoring.restore.left();
        if left > 0 {
            self.of.check_room(store.kind, 0)?;
            let changelog = changelog(&self.of, store, self.partition, &self.committed);
            restoring.restore.step(&changelog, READ_WAIT, Monotonic::now())?;
            let read = left.saturating_sub(restoring.restore.left());
            self.progress.read.fetch_add(read, Ordering::Relaxed);
            self.restoring = Some(restoring);
            return Ok(());
        }
        let Restoring { restore, settings, began } = restoring;
        let records = restore.records;
        let took = began.elapsed();
        self.of.metrics.stores.restored(records, took, restore.wiped);
        if records > 0 {
            let partition = self.partition;
            tracing::info!(topic = %store.topic, partition, records, ?took, "a store was brought up to date");
        }
        let opened = Store::new(settings, restore.finish());
        self.open.push(opened.map_err(|error| OpenError::Unavailable(error.to_string()))?);
        Ok(())
    }

    fn local(&self, store: &StoreOf) -> Result<Box<dyn LocalStore>, OpenError> {
        let host = &self.of.host;
        match store.kind {
            StoreKind::Memory => Ok(Box::new(CountedMemory::new(host.budgets.memory_share()))),
            StoreKind::Disk => {
                host.budgets.check_free()?;
                let id = self.topic_id(store)?;
                let opened = host.disk.open(store.topic.as_str(), self.partition);
                let opened = opened.map_err(|error| OpenError::Unavailable(error.to_string()))?;
                Ok(Box::new(opened.of_topic(id)))
            }
        }
    }

    /// The present id of a store's changelog topic; None where it is not known. The copy notes this one, so a topic that
    /// is created again right after the question is told at the next opening.
    fn topic_id(&self, store: &StoreOf) -> Result<Option<String>, OpenError> {
        let topic = &store.topic;
        let sizes = self.of.log.sizes(std::slice::from_ref(topic)).map_err(unavailable)?;
        // A broker may not know a new topic yet: the copy is compared at its next opening.
        Ok(sizes.get(topic).map(|size| size.id.clone()).filter(|id| !id.is_empty()))
    }
}

fn changelog<'a>(of: &'a TransformStores, store: &'a StoreOf, partition: i32, committed: &Positions) -> Changelog<'a> {
    Changelog {
        log: &*of.log,
        topic: &store.topic,
        partition,
        committed: committed.get(&store.settings.name).copied(),
        copy_age_max: store.copy_age_max,
    }
}

impl Job for Opening {
    fn step(&mut self) -> Turn {
        let read = self.progress.read.load(Ordering::Relaxed);
        let is_reading = self.restoring.as_ref().is_some_and(|restoring| restoring.restore.left() > 0);
        let built = match self.advance() {
            Ok(None) if is_reading && read == self.progress.read.load(Ordering::Relaxed) => return Turn::Stuck,
            Ok(None) => return Turn::Ahead,
            Ok(Some(state)) => Ok(state),
            Err(error) => Err(error),
        };
        // If nobody waits for it any more it is dropped, and its claims with it.
        let _ = self.done.send(built);
        Turn::Done
    }

    fn is_given_up(&self) -> bool {
        self.progress.given_up.load(Ordering::Relaxed)
    }
}
