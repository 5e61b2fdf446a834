//! The hosts of a cluster at one moment, with their statuses of all transforms: the facts that transforms are placed by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::names::TransformId;
use crate::model::status::{HostStatus, TransformStatus};

/// Time for which a host that said farewell is expected back: a restart of a host ends within it.
pub const AWAY_MAX: Duration = Duration::from_secs(60);

/// The statuses of all transforms, by host.
pub type Statuses = Arc<BTreeMap<TransformId, HostStatuses>>;

/// The statuses of one transform, by host. They are shared: a page of news copies those of its own transforms alone.
pub type HostStatuses = Arc<BTreeMap<String, Arc<TransformStatus>>>;

/// The hosts of a cluster with their statuses at one moment.
#[derive(Debug, Clone, Default)]
pub struct Members {
    /// The hosts that are there, by name.
    pub live: Vec<HostStatus>,
    /// The hosts that said farewell not long ago and may be back soon.
    pub away: Vec<String>,
    pub statuses: Statuses,
}

impl Members {
    /// Returns true if a host is there.
    pub fn has(&self, host: &str) -> bool {
        self.live.iter().any(|live| live.host == host)
    }

    /// Adds a host that the status topic does not show yet.
    pub fn with(mut self, host: HostStatus) -> Self {
        if !self.has(&host.host) {
            self.away.retain(|away| *away != host.host);
            self.live.push(host);
            self.live.sort_by(|a, b| a.host.cmp(&b.host));
        }
        self
    }

    /// Returns the status of a transform on a host.
    pub fn status(&self, id: &TransformId, host: &str) -> Option<&TransformStatus> {
        self.statuses.get(id)?.get(host).map(Arc::as_ref)
    }
}
