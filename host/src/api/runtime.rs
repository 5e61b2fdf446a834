//! The API's view of running transforms. The composition root gives it the supervisor and the status topic.

use crate::cluster::Members;
use crate::model::names::TransformId;
use crate::model::status::{HostStatus, TransformStatus};

/// The running transforms of this host, and the status of those on other hosts.
pub trait Runtime: Send + Sync {
    /// Returns one status for each host that runs the transform or tried to, this host's first. Empty if no host does.
    fn statuses(&self, id: &TransformId) -> Vec<TransformStatus>;

    /// The live hosts of the cluster.
    fn hosts(&self) -> Vec<HostStatus>;

    /// The hosts and their statuses, as transforms are placed among them.
    fn members(&self) -> Members {
        Members { live: self.hosts(), ..Members::default() }
    }

    /// Looks up the committed value of a key in a store. Returns `None` if this host does not have the state of that
    /// partition number. Blocks for one read of a local store.
    fn look_up(&self, id: &TransformId, number: i32, store: &str, key: &[u8]) -> Option<Option<Vec<u8>>>;

    /// Returns the reasons why the host does not do its work, if there are any.
    fn ready(&self) -> Result<(), Vec<String>>;
}
