//! Has the modules that nobody uses deleted, now and then, for as long as the host runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::units::Timestamp;
use crate::telemetry::metrics::Metrics;

use super::error::CatalogError;
use super::service::Catalog;

/// Time that an unused module stays in the log by default (`module_retention`): longer than a deployment takes.
pub const MODULE_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// Bounds of the time between two collections, which is a 24th of the retention: a test's retention is seconds, and an hour
/// more or less is no matter for a day.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// Collects now and then until `shutdown` becomes true.
pub async fn collect_for_ever(
    catalog: Arc<Catalog>,
    retention: Duration,
    metrics: Metrics,
    mut shutdown: watch::Receiver<bool>,
) {
    let interval = (retention / 24).clamp(INTERVAL_MIN, INTERVAL_MAX);
    loop {
        let stored = catalog.modules();
        metrics.catalog.modules_stored(stored.len(), stored.values().fold(0, |sum, bytes| sum.saturating_add(*bytes)));
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = shutdown.wait_for(|&down| down) => return,
        }
        let own = catalog.clone();
        let collected = tokio::task::spawn_blocking(move || own.collect(Timestamp::now(), retention)).await;
        match collected {
            Ok(Ok(collected)) => metrics.catalog.modules_collected.inc_by(collected.len() as u64),
            Ok(Err(error)) => log_failure(&error),
            // A panic in there was reported where it happened.
            Err(_) => {}
        }
    }
}

/// The next collection finds the same modules.
fn log_failure(error: &CatalogError) {
    tracing::warn!(code = %error.code(), %error, "modules that nobody uses were not collected");
}
