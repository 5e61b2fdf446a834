//! The services that the supervisor's actors work with.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::cpu::Processors;
use crate::crashes::Crashes;
use crate::guest::Modules;
use crate::model::names::ClusterName;
use crate::ports::Log;
use crate::positions::Positions;
use crate::stores::Stores;
use crate::stores::tables::Tables;
use crate::teams::Teams;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::observer::Observers;
use crate::worker::Rests;

/// Starts a thread; the system may refuse.
pub type Spawn = fn(std::thread::Builder, Box<dyn FnOnce() + Send>) -> std::io::Result<std::thread::JoinHandle<()>>;

/// The services of an actor. Cloning shares them.
#[derive(Clone)]
pub struct Parts {
    pub log: Arc<dyn Log>,
    pub catalog: Arc<Catalog>,
    pub positions: Arc<Positions>,
    pub modules: Arc<Modules>,
    pub metrics: Metrics,
    pub observers: Observers,
    pub stores: Stores,
    pub tables: Tables,
    pub crashes: Crashes,
    pub processors: Processors,
    pub teams: Teams,
    pub cluster: ClusterName,
    /// The workers that fetch nothing, since nothing has come for a while.
    pub rests: Rests,
    /// Starts a worker's thread.
    pub spawn: Spawn,
    /// This host's name. It is a part of transactional ids, so it is stable over restarts and unique in the cluster.
    pub host: String,
}
