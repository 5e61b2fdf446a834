//! Desired state, kept in the log and nowhere else: which transforms there are, and the bytes of their modules.
//!
//! | topic | partitions | key | value |
//! |---|---|---|---|
//! | `_sandbar.<cluster>.deployments` | 1 | `team/name` | [`Deployment`] as JSON |
//! | `_sandbar.<cluster>.modules` | 0: manifests | digest | size, chunk count, where its chunks begin |
//! | | 1: chunks | `digest/number` | up to 512 KiB of the module |
//!
//! Both are compacted. The state is the fold of the topic: two followers read them for as long as the catalog lives,
//! publish what they see and never end because of what they read or cannot read. Everything here may block.
//!
//! Invariants: a deployment is visible only after the log has it; a manifest is written after its chunks; bytes that
//! do not fit their digest are never handed out. The disk holds copies only.

mod change;
mod follower;
mod modules;
mod records;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::info;

use crate::model::codes::Code;
use crate::model::names::{ClusterName, Digest, TopicName, TransformId};
use crate::model::revision::{Deployment, Desired};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError, NewTopic};

pub use change::{Applied, Change, Expected, Outcome, apply, check};
pub use follower::{Fold, Follower};
pub use modules::Stored;

/// Every transform that there is or was: deleted ones stay, as [`Desired::Deleted`], with their revision.
pub type Deployments = Arc<BTreeMap<TransformId, Deployment>>;

/// How long a change waits for the log to show what is there.
const SEEN_TIMEOUT: Duration = Duration::from_secs(15);

/// A failed call of the catalog.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    #[error(transparent)]
    Log(#[from] LogError),
    /// The transform is not where the caller thought.
    #[error("the request expects {expected}, the transform is {}", found_text(*.found))]
    Conflict { expected: Expected, found: Option<u64> },
    /// There is nothing to pause, resume or delete.
    #[error("there is no transform {0}")]
    NoTransform(TransformId),
    /// Written, perhaps: the log did not show it in time.
    #[error("the change was sent to the log and not seen there within {} s", SEEN_TIMEOUT.as_secs())]
    Unseen,
    #[error("the log holds module {0} incompletely, or other bytes")]
    Corrupt(Digest),
    #[error("control topic {topic} has {found} partitions, {expected} expected")]
    Topic { topic: TopicName, found: i32, expected: i32 },
    /// Too few threads or the like, while opening.
    #[error("{0}")]
    Host(String),
}

fn found_text(found: Option<u64>) -> String {
    found.map_or("absent".to_owned(), |revision| format!("at revision {revision}"))
}

impl CatalogError {
    pub fn code(&self) -> Code {
        match self {
            Self::Log(LogError::Unavailable(_)) => Code::LogUnavailable,
            Self::Log(LogError::Refused(_)) => Code::LogRefused,
            Self::Log(LogError::NoTopic(_)) | Self::Topic { .. } => Code::ControlTopic,
            Self::Conflict { .. } => Code::Conflict,
            Self::NoTransform(_) => Code::NoTransform,
            Self::Unseen => Code::ControlWrite,
            Self::Corrupt(_) => Code::ModuleCorrupt,
            Self::Host(_) => Code::HostResources,
        }
    }
}

/// The catalog of one cluster, as one host sees and changes it.
pub struct Catalog {
    deployments: follower::Follower<records::Deployments>,
    writer: writer::Writer,
    modules: modules::Modules,
}

impl Catalog {
    /// Creates the control topics that are missing, reads the catalog to its end and follows it from there on.
    /// Copies of modules are kept in `cache_dir`.
    pub fn open(log: Arc<dyn Log>, cluster: &ClusterName, cache_dir: PathBuf) -> Result<Catalog, CatalogError> {
        let topic = ensure_topic(&*log, compacted(cluster, "deployments", 1))?;
        let modules_topic = ensure_topic(&*log, compacted(cluster, "modules", modules::PARTITIONS))?;
        let deployments = follower::Follower::start(log.clone(), topic.clone(), 0, records::Deployments::default())?;
        let modules = modules::Modules::open(log.clone(), modules_topic, cache_dir)?;
        let catalog = Catalog { deployments, writer: writer::Writer::new(log, topic), modules };
        info!(%cluster, transforms = catalog.list().len(), modules = catalog.modules().len(), "catalog read");
        Ok(catalog)
    }

    /// All deployments, as they change.
    pub fn watch(&self) -> watch::Receiver<Deployments> {
        self.deployments.watch()
    }

    /// All deployments that are not deleted.
    pub fn list(&self) -> Vec<Deployment> {
        let all = self.deployments.current();
        all.values().filter(|deployment| deployment.desired != Desired::Deleted).cloned().collect()
    }

    /// One deployment, unless it is deleted.
    pub fn deployment(&self, id: &TransformId) -> Option<Deployment> {
        self.deployments.current().get(id).filter(|deployment| deployment.desired != Desired::Deleted).cloned()
    }

    /// Makes one change: checks `expected` against the end of the topic, asks `decide` (which sees the deployment,
    /// unless it is deleted), writes one record and waits until it is read back. Changes of one host take turns.
    pub fn change<E: From<CatalogError>>(
        &self,
        id: &TransformId,
        expected: Expected,
        now: Timestamp,
        decide: impl FnOnce(Option<&Deployment>) -> Result<Change, E>,
    ) -> Result<Applied, E> {
        let turn = self.writer.begin().map_err(CatalogError::from)?;
        self.catch_up(turn.end_offset())?;
        let all = self.deployments.current();
        let latest = all.get(id);
        let live = latest.filter(|deployment| deployment.desired != Desired::Deleted);
        check(expected, live)?;
        let applied = apply(id, latest, decide(live)?, now)?;
        if applied.outcome != Outcome::Unchanged {
            let end_offset = turn.write(records::encode_deployment(&applied.deployment)).map_err(CatalogError::from)?;
            if !self.deployments.wait_for(end_offset, SEEN_TIMEOUT) {
                return Err(CatalogError::Unseen.into());
            }
        }
        Ok(applied)
    }

    /// Waits until this host has seen everything that was written before now.
    pub fn refresh(&self) -> Result<(), CatalogError> {
        self.catch_up(self.writer.end_offset()?)
    }

    fn catch_up(&self, end_offset: i64) -> Result<(), CatalogError> {
        match self.deployments.wait_for(end_offset, SEEN_TIMEOUT) {
            true => Ok(()),
            false => Err(LogError::Unavailable("the deployments topic cannot be read to its end".into()).into()),
        }
    }

    /// Stores a module: written and read back from the log before this returns. Storing it again changes nothing.
    pub fn put_module(&self, bytes: &[u8]) -> Result<Stored, CatalogError> {
        self.modules.put(bytes)
    }

    /// A module's bytes: from the disk, else from the log. `None`: it was never stored.
    pub fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, CatalogError> {
        self.modules.get(digest)
    }

    /// Every stored module with its size.
    pub fn modules(&self) -> BTreeMap<Digest, u64> {
        self.modules.list()
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        // Both followers end at the same time, instead of one after the other.
        self.deployments.stop();
        self.modules.stop();
    }
}

fn compacted(cluster: &ClusterName, name: &str, partitions: i32) -> NewTopic {
    let name = format!("_sandbar.{cluster}.{name}").parse().expect("a cluster's name fits into a topic's");
    NewTopic { name, partitions, compacted: true, retention: None }
}

/// Creates a control topic where it is missing; one that is there must fit.
pub fn ensure_topic(log: &dyn Log, wanted: NewTopic) -> Result<TopicName, CatalogError> {
    let info = match log.topic(&wanted.name) {
        Err(LogError::NoTopic(_)) => {
            info!(topic = %wanted.name, partitions = wanted.partitions, "creating control topic");
            log.create_topic(&wanted)?;
            log.topic(&wanted.name)?
        }
        info => info?,
    };
    let NewTopic { name: topic, partitions: expected, .. } = wanted;
    match info.partitions {
        found if found != expected => Err(CatalogError::Topic { topic, found, expected }),
        _ => Ok(topic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_the_code_of_its_remedy() {
        for (error, code) in [
            (CatalogError::Log(LogError::Unavailable(String::new())), Code::LogUnavailable),
            (CatalogError::Log(LogError::NoTopic(String::new())), Code::ControlTopic),
            (CatalogError::Conflict { expected: Expected::Absent, found: Some(3) }, Code::Conflict),
            (CatalogError::Unseen, Code::ControlWrite),
        ] {
            assert_eq!(error.code(), code, "{error}");
        }
    }
}
