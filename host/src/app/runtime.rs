//! The transforms that run on this host and, as far as the status topic tells, on the others.

use super::control_topics::ControlTopics;
use crate::api::Runtime;
use crate::cluster::Members;
use crate::model::names::TransformId;
use crate::model::status::{HostStatus, TransformStatus};
use crate::supervisor::Supervisor;

/// The transforms of this host and of the others, as the API asks for them.
pub(super) struct HostRuntime {
    pub host: String,
    pub supervisor: Supervisor,
    pub topics: ControlTopics,
}

impl Runtime for HostRuntime {
    fn statuses(&self, id: &TransformId) -> Vec<TransformStatus> {
        let here = self.supervisor.status(id).into_iter();
        let activity = || self.topics.cluster.activity(id, &self.host);
        let here = here.map(|status| TransformStatus { activity: activity(), ..status });
        here.chain(self.topics.cluster.elsewhere(id, &self.host)).collect()
    }

    fn hosts(&self) -> Vec<HostStatus> {
        self.topics.cluster.hosts()
    }

    fn members(&self) -> Members {
        self.topics.cluster.members()
    }

    fn look_up(&self, id: &TransformId, number: i32, store: &str, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.supervisor.look_up(id, number, store, key)
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        let ControlTopics { catalog, positions, cluster, tokens, audit: _ } = &self.topics;
        let reasons = catalog.trouble().into_iter().chain(positions.trouble()).chain(cluster.trouble());
        let reasons: Vec<String> = reasons.chain(tokens.trouble()).collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }
}
