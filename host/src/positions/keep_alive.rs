//! Keeps the groups of transforms alive that nobody runs: paused ones, and those that cannot run now.
//!
//! Kafka forgets the offsets of a group that has had no member for a week (`offsets.retention.minutes`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::catalog::Catalog;
use crate::model::names::ClusterName;
use crate::ports::{Log, log_of};

/// The first round of a host, where the interval is longer: hosts may live for less than that.
const FIRST_AFTER: Duration = Duration::from_secs(600);

/// Time between two rounds by default (`group_keep_alive_interval`): Kafka keeps the offsets of such a group for a week.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Does a round every `interval`, until `shutdown` becomes true.
pub async fn keep_groups_for_ever(
    log: Arc<dyn Log>,
    catalog: Arc<Catalog>,
    cluster: ClusterName,
    interval: Duration,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut pause = interval.min(FIRST_AFTER);
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.wait_for(|&down| down) => return,
        }
        pause = interval;
        let log = log.clone();
        let catalog = catalog.clone();
        let cluster = cluster.clone();
        let down = shutdown.clone();
        if let Err(error) = spawn_blocking(move || keep_groups(&log, &catalog, &cluster, &down)).await {
            tracing::error!(%error, "keeping groups alive failed: this is a bug");
        }
    }
}

fn keep_groups(log: &Arc<dyn Log>, catalog: &Catalog, cluster: &ClusterName, down: &watch::Receiver<bool>) {
    for deployment in catalog.current().all_live() {
        if *down.borrow() {
            return;
        }
        // This host knows no inputs of a spec that it does not understand: another host knows them.
        let Ok(spec) = deployment.spec() else { continue };
        let group = spec.group(cluster);
        let log = log_of(log, &spec.id.team);
        let kept_alive = log.group_offsets(&group, &spec.inputs).and_then(|offsets| {
            if offsets.is_empty() { Ok(()) } else { log.keep_group(&group, &spec.inputs, spec.shares_state()) }
        });
        if let Err(error) = kept_alive {
            tracing::warn!(transform = %deployment.id, %error, "its group could not be kept alive, tried again later");
        }
    }
}
