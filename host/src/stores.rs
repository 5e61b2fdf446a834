//! Where stores live on a host: opening them for the partitions that its workers own, in threads of their own.
//!
//! ```text
//! worker: StateOpener::open(number) --thread--> claim -> local store (disk or memory) -> restore from the changelog --> KeyedState
//!            poll() ... None, None ... Some(state)
//! ```
//!
//! Invariants: a partition of a store is open once at a time (a claim that its state, or its opening, holds); a state is
//! handed over only when it has all that was committed.

mod disk;
pub mod restore;
pub mod tables;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::model::names::TopicName;
use crate::model::spec::{Spec, StoreKind};
use crate::model::units::Timestamp;
use crate::ports::{Log, OpenError, Positions, Restore, StateOpener, TopicInfo};
use crate::state::local::{LocalError, Memory};
use crate::state::{KeyedState, LocalStore, Store, StoreSettings};
use crate::telemetry::metrics::{Metrics, TransformMetrics};

use disk::{Disk, DiskStore};
use restore::{Changelog, StoreRestore};

/// How long one read of a changelog waits for records, before it is looked whether it is still wanted.
const READ_WAIT: Duration = Duration::from_millis(200);
/// How often is looked for copies that nobody uses, between these two: a part of their time.
const CLEANUP_INTERVAL_MIN: Duration = Duration::from_secs(1);
const CLEANUP_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// How much a host's stores may use.
#[derive(Debug, Clone, Copy)]
pub struct StoreLimits {
    /// Blocks of all stores on disk that are kept in memory, in bytes. Default 64 MiB (`state_cache_max`).
    pub cache_bytes_max: u64,
    /// Hot entries of one partition of a store on disk, in bytes. Default 4 MiB (`state_hot_max`).
    pub hot_bytes_max: u64,
    /// How long a partition's local copy is kept that no worker has open. Default 20 h (`state_cleanup_delay`).
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

    /// What opens the stores of a transform. `changelogs` are in the order of the spec.
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
    /// Returns how many. A partition that comes back is restored from its changelog.
    pub fn clean_up(&self, now: Timestamp) -> Result<usize, LocalError> {
        let delay = self.limits.cleanup_delay.as_millis();
        let claim = |topic: &str, number| self.claims.try_take(&topic.parse().ok()?, number);
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
            match tokio::task::spawn_blocking(move || own.clean_up(Timestamp::now())).await {
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
    /// Asks before a state is handed over.
    pub fn asking(self, may_open: MayOpen) -> Self {
        Self { may_open: Some(may_open), ..self }
    }

    /// Whether a state that one of them opened is what the other would open.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.stores, self.partitions) == (&other.stores, other.partitions)
    }

    fn build(&self, number: i32, committed: &Positions, afresh: bool, progress: &Progress) -> Result<KeyedState, OpenError> {
        if number >= self.partitions {
            let message = format!("partition {number} is new, the changelogs have {} partitions", self.partitions);
            return Err(OpenError::Partitions(message));
        }
        // Dropped in reverse: where this breaks off, stores are closed before others may open them.
        let (mut claims, mut stores) = (Vec::new(), Vec::new());
        for store in &self.stores {
            let StoreOf { kind, topic, copy_age_max, settings } = store;
            let claim = self.host.claims.take(topic, number, progress)?;
            let local = self.local(*kind, topic, number)?;
            let started = Instant::now();
            let committed = committed.get(&settings.name).copied();
            let (log, copy_age_max) = (&*self.host.log, *copy_age_max);
            let changelog = Changelog { log, topic, number, committed, copy_age_max };
            let mut restore = StoreRestore::begin(&changelog, local, afresh, Timestamp::now())?;
            progress.total.fetch_add(restore.left(), Ordering::Relaxed);
            while restore.left() > 0 {
                progress.check()?;
                let before = restore.left();
                restore.step(&changelog, READ_WAIT)?;
                progress.read.fetch_add(before.saturating_sub(restore.left()), Ordering::Relaxed);
            }
            let (records, took) = (restore.records, started.elapsed());
            self.metrics.stores.restored(records, took, restore.wiped);
            if records > 0 {
                tracing::info!(%topic, partition = number, records, ?took, "a store was brought up to date");
            }
            claims.push(claim);
            let local = restore.finish();
            stores.push(Store::new(settings.clone(), local).map_err(|error| OpenError::Unavailable(error.to_string()))?);
        }
        // Last, so that it is true when the first record comes.
        self.may_open.as_ref().map_or(Ok(()), |may_open| may_open())?;
        Ok(KeyedState::new(stores).holding(claims))
    }

    fn local(&self, kind: StoreKind, topic: &TopicName, number: i32) -> Result<Box<dyn LocalStore>, OpenError> {
        match kind {
            StoreKind::Memory => Ok(Box::new(Memory::default())),
            StoreKind::Disk => {
                let opened: Result<DiskStore, LocalError> = self.host.disk.open(topic.as_str(), number);
                Ok(Box::new(opened.map_err(|error| OpenError::Unavailable(error.to_string()))?))
            }
        }
    }
}

impl StateOpener for TransformStores {
    fn open(&self, number: i32, committed: Positions, afresh: bool) -> Box<dyn Restore> {
        let (sent, done) = sync_channel(1);
        let progress = Arc::new(Progress::default());
        let (own, seen) = (self.clone(), progress.clone());
        let run = move || {
            let built = own.build(number, &committed, afresh, &seen);
            // Nobody waits for it any more: it is dropped, and its claims with it.
            let _ = sent.send(built);
        };
        if let Err(error) = std::thread::Builder::new().name(format!("restore-{number}")).spawn(run) {
            tracing::error!(%error, "the system has no thread left to restore a store");
        }
        Box::new(Opened { done, progress })
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

/// How far an opening is.
#[derive(Debug, Default)]
struct Progress {
    read: AtomicU64,
    total: AtomicU64,
    /// Nobody waits for it any more.
    given_up: AtomicBool,
}

impl Progress {
    fn check(&self) -> Result<(), OpenError> {
        match self.given_up.load(Ordering::Relaxed) {
            true => Err(OpenError::Unavailable("given up".into())),
            false => Ok(()),
        }
    }
}

struct Opened {
    done: Receiver<Result<KeyedState, OpenError>>,
    progress: Arc<Progress>,
}

impl Restore for Opened {
    fn poll(&mut self) -> Option<Result<KeyedState, OpenError>> {
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

impl Drop for Opened {
    fn drop(&mut self) {
        self.progress.given_up.store(true, Ordering::Relaxed);
    }
}

/// Which partitions of which changelogs are open.
#[derive(Default)]
struct Claims {
    taken: Mutex<HashSet<(TopicName, i32)>>,
    freed: Condvar,
}

struct Claim {
    claims: Arc<Claims>,
    place: (TopicName, i32),
}

impl Claims {
    /// Takes it if nobody has it.
    fn try_take(self: &Arc<Self>, topic: &TopicName, number: i32) -> Option<Claim> {
        let place = (topic.clone(), number);
        let is_free = self.taken.lock().insert(place.clone());
        is_free.then(|| Claim { claims: self.clone(), place })
    }

    /// Waits until nobody else has it.
    fn take(self: &Arc<Self>, topic: &TopicName, number: i32, progress: &Progress) -> Result<Claim, OpenError> {
        let place = (topic.clone(), number);
        let mut taken = self.taken.lock();
        while taken.contains(&place) {
            progress.check()?;
            self.freed.wait_for(&mut taken, Duration::from_millis(100));
        }
        taken.insert(place.clone());
        Ok(Claim { claims: self.clone(), place })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.taken.lock().remove(&self.place);
        self.claims.freed.notify_all();
    }
}
