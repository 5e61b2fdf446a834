//! The stores of a host: opened for the partitions that its workers own, in threads of their own.
//!
//! ```text
//! worker: StateOpener::open(partition) --thread--> claim -> local store (disk or memory) -> restore from the changelog --> KeyedState
//!            poll() ... None, None ... Some(state)
//! ```
//!
//! Invariants: a partition of a store is open once at a time (its state, or its restore, holds a claim); a state is handed
//! over only when it has every committed change.

mod claims;
mod disk;
pub mod restore;
mod restore_thread;
pub mod tables;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::model::names::TopicName;
use crate::model::spec::{Spec, StoreKind};
use crate::model::units::Timestamp;
use crate::ports::{Log, OpenError, Positions, Restore, StateOpener, TopicInfo};
use crate::state::local::{LocalError, Memory};
use crate::state::{KeyedState, LocalStore, Store, StoreSettings};
use crate::steady_clock;
use crate::telemetry::metrics::{Metrics, TransformMetrics};

use claims::Claims;
use disk::{Disk, DiskStore};
use restore::{Changelog, StoreRestore};
use restore_thread::{Progress, RestoreThread};

/// The time for which one read of a changelog waits for records. After it, a restore that was given up ends.
const READ_WAIT: Duration = Duration::from_millis(200);
/// Bounds of the time between two searches for copies that nobody uses: a twentieth of the time for which they are kept.
const CLEANUP_INTERVAL_MIN: Duration = Duration::from_secs(1);
const CLEANUP_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// The resources that a host's stores may use.
#[derive(Debug, Clone, Copy)]
pub struct StoreLimits {
    /// Blocks of all stores on disk that are kept in memory, in bytes. Default 64 MiB (`state_cache_max`).
    pub cache_bytes_max: u64,
    /// Hot entries of one partition of a store on disk, in bytes. Default 4 MiB (`state_hot_max`).
    pub hot_bytes_max: u64,
    /// The time for which a local copy is kept that no worker has open. Default 20 h (`state_cleanup_delay`).
    pub cleanup_delay: Duration,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            cache_bytes_max: 64 << 20,
            hot_bytes_max: 4 << 20,
            // Older copies are not trusted where their changelog topic has Kafka's defaults: see `restore`.
            cleanup_delay: Duration::from_secs(20 * 3600),
        }
    }
}

/// The stores of a host. Cloning shares them.
#[derive(Clone)]
pub struct Stores {
    log: Arc<dyn Log>,
    disk: Arc<Disk>,
    limits: StoreLimits,
    claims: Arc<Claims>,
}

/// One store of a transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOf {
    pub kind: StoreKind,
    pub topic: TopicName,
    /// See [`restore::copy_age_max`].
    pub copy_age_max: Duration,
    pub settings: StoreSettings,
}

impl Stores {
    /// Local stores are kept in `folder`.
    pub fn new(log: Arc<dyn Log>, folder: &Path, limits: StoreLimits) -> Self {
        let disk = Arc::new(Disk::new(folder, limits.cache_bytes_max));
        Self { log, disk, limits, claims: Arc::default() }
    }

    /// The stores of a transform. `changelogs` are in the order of the spec.
    pub fn of(
        &self,
        spec: &Spec,
        changelogs: &[(TopicName, TopicInfo)],
        partitions: i32,
        metrics: Arc<TransformMetrics>,
    ) -> TransformStores {
        let each = spec.state.iter().zip(changelogs);
        let stores = each.map(|((name, store), (topic, info))| StoreOf {
            kind: store.store,
            topic: topic.clone(),
            copy_age_max: restore::copy_age_max(info.tombstones_kept),
            settings: StoreSettings {
                record_bytes_max: info.record_bytes_max,
                hot_bytes_max: self.limits.hot_bytes_max,
                ..StoreSettings::of(name, store, &spec.limits)
            },
        });
        let inputs = spec.inputs.clone();
        TransformStores { host: self.clone(), inputs, stores: stores.collect(), partitions, metrics, may_open: None }
    }

    /// Removes local copies that nobody has used for long: of partitions that moved away, of transforms that are gone.
    /// Returns their number. A partition that comes back is restored from its changelog.
    pub fn clean_up(&self, now: Timestamp) -> Result<usize, LocalError> {
        let delay = self.limits.cleanup_delay.as_millis();
        let claim = |topic: &str, partition| self.claims.try_take(&topic.parse().ok()?, partition);
        self.disk.sweep(claim, |mark| u128::from(now.millis_since(Timestamp(mark.at))) >= delay)
    }

    /// Cleans up now and then until `shutdown` becomes true.
    pub async fn clean_up_for_ever(self, metrics: Metrics, mut shutdown: watch::Receiver<bool>) {
        let interval = (self.limits.cleanup_delay / 20).clamp(CLEANUP_INTERVAL_MIN, CLEANUP_INTERVAL_MAX);
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                _ = shutdown.wait_for(|&down| down) => return,
            }
            let own = self.clone();
            match tokio::task::spawn_blocking(move || own.clean_up(steady_clock::now())).await {
                Ok(Ok(removed)) => metrics.store_copies_removed.inc_by(removed as u64),
                Ok(Err(error)) => tracing::warn!(%error, "local copies that nobody uses were not removed"),
                // A panic in there was reported where it happened.
                Err(_) => {}
            }
        }
    }
}

/// The stores of one transform.
#[derive(Clone)]
pub struct TransformStores {
    host: Stores,
    inputs: Vec<TopicName>,
    stores: Vec<StoreOf>,
    partitions: i32,
    metrics: Arc<TransformMetrics>,
    may_open: Option<MayOpen>,
}

/// Tells whether a host's view of a transform is the newest: only then does it open stores.
pub type MayOpen = Arc<dyn Fn() -> Result<(), OpenError> + Send + Sync>;

impl TransformStores {
    /// Adds a check that is made before a state is handed over.
    pub fn asking(self, may_open: MayOpen) -> Self {
        Self { may_open: Some(may_open), ..self }
    }

    /// Returns true if a state that one of them opened can be used for the other.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.stores, self.partitions) == (&other.stores, other.partitions)
    }

    fn build(
        &self,
        partition: i32,
        committed: &Positions,
        wipe: bool,
        progress: &Progress,
    ) -> Result<KeyedState, OpenError> {
        if partition >= self.partitions {
            let message = format!("partition {partition} is new, the changelogs have {} partitions", self.partitions);
            return Err(OpenError::Partitions(message));
        }
        // Dropped in reverse: if this breaks off, stores are closed before others may open them.
        let mut claims = Vec::new();
        let mut stores = Vec::new();
        for store in &self.stores {
            let StoreOf { kind, topic, copy_age_max, settings } = store;
            let claim = self.host.claims.take(topic, partition, progress)?;
            let local = self.local(*kind, topic, partition)?;
            let started = Instant::now();
            let committed = committed.get(&settings.name).copied();
            let log = &*self.host.log;
            let changelog = Changelog { log, topic, partition, committed, copy_age_max: *copy_age_max };
            let mut restore = StoreRestore::begin(&changelog, local, wipe, steady_clock::now())?;
            progress.total.fetch_add(restore.left(), Ordering::Relaxed);
            while restore.left() > 0 {
                progress.check()?;
                let before = restore.left();
                restore.step(&changelog, READ_WAIT)?;
                progress.read.fetch_add(before.saturating_sub(restore.left()), Ordering::Relaxed);
            }
            let records = restore.records;
            let took = started.elapsed();
            self.metrics.stores.restored(records, took, restore.wiped);
            if records > 0 {
                tracing::info!(%topic, partition, records, ?took, "a store was brought up to date");
            }
            claims.push(claim);
            let local = restore.finish();
            stores.push(Store::new(settings.clone(), local).map_err(|error| OpenError::Unavailable(error.to_string()))?);
        }
        // Last, so that it is true when the first record comes.
        self.may_open.as_ref().map_or(Ok(()), |may_open| may_open())?;
        Ok(KeyedState::new(stores).holding(claims))
    }

    fn local(&self, kind: StoreKind, topic: &TopicName, partition: i32) -> Result<Box<dyn LocalStore>, OpenError> {
        match kind {
            StoreKind::Memory => Ok(Box::new(Memory::default())),
            StoreKind::Disk => {
                let opened: Result<DiskStore, LocalError> = self.host.disk.open(topic.as_str(), partition);
                Ok(Box::new(opened.map_err(|error| OpenError::Unavailable(error.to_string()))?))
            }
        }
    }
}

impl StateOpener for TransformStores {
    fn open(&self, partition: i32, committed: Positions, wipe: bool) -> Box<dyn Restore> {
        let (sent, done) = sync_channel(1);
        let progress = Arc::new(Progress::default());
        let own = self.clone();
        let shared = progress.clone();
        let run = move || {
            let built = own.build(partition, &committed, wipe, &shared);
            // Nobody waits for it any more: it is dropped, and its claims with it.
            let _ = sent.send(built);
        };
        if let Err(error) = std::thread::Builder::new().name(format!("restore-{partition}")).spawn(run) {
            tracing::error!(%error, "the system has no thread left to restore a store");
        }
        Box::new(RestoreThread { done, progress })
    }

    fn check_inputs(&self) -> Result<(), OpenError> {
        for input in &self.inputs {
            let found = self.host.log.partitions(input).map_err(|error| OpenError::Unavailable(error.to_string()))?;
            if found != self.partitions {
                let message = format!("{input} has {found} partitions, its changelogs have {}", self.partitions);
                return Err(OpenError::Partitions(message));
            }
        }
        Ok(())
    }
}
