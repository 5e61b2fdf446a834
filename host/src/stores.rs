//! The stores of a host: opened for the partitions that its workers own, in a few threads that the teams share.
//!
//! ```text
//! worker: StateOpener::open(partition) --claims--> queue --turns--> local store (disk or memory) -> restore from the changelog --> KeyedState
//!            poll() ... None, None ... Some(state)
//! ```
//!
//! Invariants: a partition of a store is open once at a time (its state, or its restore, holds a claim); a state is handed
//! over only when it has every committed change.

mod budgets;
mod claims;
pub mod disk;
mod memory;
mod opening;
pub mod restore;
mod restore_queue;
pub mod tables;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::model::names::{TeamName, TopicName};
use crate::model::spec::{Spec, StoreKind};
use crate::model::units::Timestamp;
use crate::ports::{Log, OpenError, Positions, Restore, StateOpener, TopicInfo, log_of};
use crate::state::StoreSettings;
use crate::state::local::LocalError;
use crate::steady_clock;
use crate::telemetry::metrics::{Metrics, TransformMetrics};

use budgets::Budgets;
use claims::Claims;
use disk::{Buffers, Disk};
use opening::QueuedRestore;
use restore_queue::RestoreQueue;

/// The time between two measurements of the disk.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);
/// The time after which no further input's partitions are counted: the worker does not poll meanwhile.
const COUNT_TIMEOUT: Duration = Duration::from_secs(10);
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
    /// Hot entries of all stores together, in bytes. Default 256 MiB (`state_hot_total_max`).
    pub hot_total_bytes_max: u64,
    /// Committed changes of all stores on disk that were not written yet, in bytes: above it a store writes its own as soon as
    /// they are an equal share of this, and 256 KiB at least. Default 256 MiB (`state_buffers_max`).
    pub buffers_bytes_max: u64,
    /// All memory stores together, in bytes of keys and values, and 64 for each entry. Default 2 GiB (`state_memory_max`).
    pub memory_bytes_max: u64,
    /// Local stores of one team, in bytes of files. Default none (`state_disk_per_team_max`): disks differ, each store has
    /// a limit of its own, and a host that is upgraded goes on as before.
    pub team_disk_bytes_max: Option<u64>,
    /// Free disk below which no local store grows, in bytes. Default 64 MiB (`state_disk_free_min`).
    pub disk_free_bytes_min: u64,
    /// Restores that are done at once. Default 8 (`state_restores_max`).
    pub restores_max: usize,
    /// The time for which a local copy is kept that no worker has open. Default 20 h (`state_cleanup_delay`).
    pub cleanup_delay: Duration,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            cache_bytes_max: 64 << 20,
            hot_bytes_max: 4 << 20,
            hot_total_bytes_max: 256 << 20,
            buffers_bytes_max: 256 << 20,
            memory_bytes_max: 2 << 30,
            team_disk_bytes_max: None,
            disk_free_bytes_min: 64 << 20,
            restores_max: 8,
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
    budgets: Arc<Budgets>,
    restores: Arc<RestoreQueue>,
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
    pub fn new(log: Arc<dyn Log>, folder: &Path, limits: StoreLimits, metrics: &Metrics) -> Self {
        let buffers = Buffers::new(limits.buffers_bytes_max, metrics.state.clone());
        let disk = Arc::new(Disk::new(folder, limits.cache_bytes_max, buffers));
        let budgets = Arc::new(Budgets::new(folder, limits, metrics.state.clone()));
        let restores = Arc::new(RestoreQueue::new(limits.restores_max, metrics.state.clone()));
        Self { log, disk, limits, claims: Arc::default(), budgets, restores }
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
        TransformStores {
            log: log_of(&self.log, &spec.id.team),
            host: self.clone(),
            team: spec.id.team.clone(),
            inputs: spec.inputs.clone(),
            stores: stores.collect(),
            partitions,
            metrics,
            may_open: None,
        }
    }

    /// Removes local copies that nobody has used for long: of partitions that moved away, of transforms that are gone.
    /// Returns their number. A partition that comes back is restored from its changelog.
    pub fn clean_up(&self, now: Timestamp) -> Result<usize, LocalError> {
        let delay = self.limits.cleanup_delay.as_millis();
        let claim = |topic: &str, partition| self.claims.try_take(&topic.parse().ok()?, partition);
        self.disk.sweep(claim, |used_at| u128::from(now.millis_since(used_at)) >= delay)
    }

    /// Measures the disk of each team. From a team over its limit it removes the copies that no worker has open.
    pub fn measure(&self) -> Result<(), LocalError> {
        let over = self.budgets.measured(self.disk_by_team()?);
        if over.is_empty() {
            return Ok(());
        }
        let claim = |topic: &str, partition| {
            team_of(topic).filter(|team| over.contains(team))?;
            self.claims.try_take(&topic.parse().ok()?, partition)
        };
        if self.disk.sweep(claim, |_| true)? > 0 {
            self.budgets.measured(self.disk_by_team()?);
        }
        Ok(())
    }

    fn disk_by_team(&self) -> Result<BTreeMap<TeamName, u64>, LocalError> {
        let mut bytes = BTreeMap::new();
        for copy in self.disk.copies()? {
            if let Some(team) = team_of(&copy.topic) {
                *bytes.entry(team).or_default() += copy.bytes;
            }
        }
        Ok(bytes)
    }

    /// Measures the disk, and cleans up, now and then until `shutdown` becomes true.
    pub async fn keep_up_for_ever(self, metrics: Metrics, mut shutdown: watch::Receiver<bool>) {
        let interval = (self.limits.cleanup_delay / 20).clamp(CLEANUP_INTERVAL_MIN, CLEANUP_INTERVAL_MAX);
        let mut clean_up_in = interval;
        let mut has_failed = false;
        loop {
            let pause = MEASURE_INTERVAL.min(clean_up_in);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = shutdown.wait_for(|&down| down) => return,
            }
            clean_up_in = clean_up_in.saturating_sub(pause);
            let is_due = clean_up_in.is_zero();
            if is_due {
                clean_up_in = interval;
            }
            let own = self.clone();
            let work = move || {
                let removed = if is_due { own.clean_up(steady_clock::now())? } else { 0 };
                own.measure().map(|()| removed)
            };
            // A panic in there was reported where it happened.
            let Ok(done) = tokio::task::spawn_blocking(work).await else { continue };
            match &done {
                Ok(removed) => metrics.store_copies_removed.inc_by(*removed as u64),
                Err(error) if !has_failed => {
                    tracing::warn!(%error, "the local stores are not measured, and not cleaned up");
                }
                Err(_) => {}
            }
            has_failed = done.is_err();
        }
    }
}

/// The team of a changelog topic: `_sandbar.<cluster>.state.<team>.<name>.<store>`.
fn team_of(topic: &str) -> Option<TeamName> {
    topic.split('.').nth(3)?.parse().ok()
}

/// The stores of one transform.
#[derive(Clone)]
pub struct TransformStores {
    host: Stores,
    /// The log with the rights of the team.
    log: Arc<dyn Log>,
    team: TeamName,
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

    fn check_partition(&self, partition: i32) -> Result<(), OpenError> {
        if partition < self.partitions {
            return Ok(());
        }
        let message = format!("partition {partition} is new, the changelogs have {} partitions", self.partitions);
        Err(OpenError::Partitions(message))
    }

    /// Refuses a store that grows by about so many bytes, if a budget has no room for it.
    fn check_room(&self, kind: StoreKind, more: u64) -> Result<(), OpenError> {
        match kind {
            StoreKind::Memory => self.host.budgets.check_memory(more),
            StoreKind::Disk => self.host.budgets.check_disk(&self.team),
        }
    }
}

impl StateOpener for TransformStores {
    fn open(&self, partition: i32, committed: Positions, wipe: bool) -> Box<dyn Restore> {
        Box::new(QueuedRestore::new(self.clone(), partition, committed, wipe))
    }

    fn check_growth(&self, store: usize, bytes: u64) -> Result<(), OpenError> {
        self.stores.get(store).map_or(Ok(()), |store| self.check_room(store.kind, bytes))
    }

    fn check_inputs(&self) -> Result<(), OpenError> {
        let deadline = Instant::now() + COUNT_TIMEOUT;
        for input in &self.inputs {
            if Instant::now() > deadline {
                return Err(OpenError::Unavailable(format!("the partitions were not counted within {COUNT_TIMEOUT:?}")));
            }
            let found = self.log.partitions(input).map_err(|error| OpenError::Unavailable(error.to_string()))?;
            if found != self.partitions {
                let message = format!("{input} has {found} partitions, its changelogs have {}", self.partitions);
                return Err(OpenError::Partitions(message));
            }
        }
        Ok(())
    }
}
