//! The parts that live in the control topics: the catalog, the memory of positions, and the cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::access::Tokens;
use crate::audit::AuditLog;
use crate::catalog::{Catalog, CatalogError};
use crate::cluster::{Cluster, LogTopics};
use crate::model::codes::Coded;
use crate::model::names::ClusterName;
use crate::ports::{Log, LogError};
use crate::positions::Positions;
use crate::telemetry::metrics::Metrics;

/// Time before a second attempt to reach the log, twice as long before each next one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest time between two attempts: a host is there soon after its brokers.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The parts of a host that live in the control topics.
pub(super) struct ControlTopics {
    pub catalog: Arc<Catalog>,
    pub positions: Arc<Positions>,
    pub cluster: Arc<Cluster>,
    pub tokens: Arc<Tokens>,
    pub audit: AuditLog,
}

impl ControlTopics {
    /// Opens all of them; waits for as long as the log cannot be reached.
    pub async fn open(
        log: &Arc<dyn Log>,
        cluster: &ClusterName,
        (log_topics, audit_retention): (&LogTopics, Duration),
        data_dir: &Path,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let modules_dir = data_dir.join("modules");
        let mut pause = FIRST_PAUSE;
        loop {
            let log = log.clone();
            let cluster = cluster.clone();
            let log_topics = log_topics.clone();
            let modules_dir = modules_dir.clone();
            let metrics = metrics.clone();
            let open = move || -> Result<Self, CatalogError> {
                log_topics.ensure()?;
                let audit = AuditLog::new(log.clone(), &cluster);
                audit.ensure(audit_retention)?;
                Ok(Self {
                    tokens: Arc::new(Tokens::open(log.clone(), &cluster, audit.clone())?),
                    audit,
                    catalog: Arc::new(Catalog::open(log.clone(), &cluster, modules_dir, metrics)?),
                    positions: Arc::new(Positions::open(log.clone(), &cluster)?),
                    cluster: Arc::new(Cluster::open(&log, &cluster)?),
                })
            };
            match tokio::task::spawn_blocking(open).await? {
                Ok(topics) => return Ok(topics),
                Err(error) if passes(&error) => {
                    tracing::warn!(%error, ?pause, "the log cannot be reached yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    return Err(Coded { code: error.code(), message: error.to_string() }.into());
                }
            }
        }
    }
}

/// Returns true for an error that is waited for: a source of tokens may come up after the host, as brokers may.
fn passes(error: &CatalogError) -> bool {
    use CatalogError::{Log, Unseen};
    matches!(error, Log(LogError::Unavailable(_) | LogError::NoToken(_)) | Unseen)
}
