//! Desired state, kept in the log and nowhere else: which transforms there are, and the bytes of their modules.
//!
//! | topic | partitions | key | value |
//! |---|---|---|---|
//! | `_sandbar.<cluster>.deployments` | 1 | `team/name` | [`Deployment`] as JSON |
//! | | | `team/name@3` | [`Revision`] as JSON: the history, written in the same transaction |
//! | `_sandbar.<cluster>.modules` | 0: manifests | digest | size, chunk count, where its chunks begin |
//! | | 1: chunks | `digest/upload/number` | up to 512 KiB of the module |
//!
//! Both are compacted. The state is the fold of the topic: two followers read them for as long as the catalog lives,
//! publish what they see and never end because of what they read or cannot read. Everything here may block.
//!
//! Invariants: a change is decided on all changes before it, of whichever host, and is there as a whole or not at all
//! (see `writer`); a deployment is visible only after the log has it; a manifest is written after its chunks; bytes that
//! do not fit their digest are never handed out. The disk holds copies only.

mod change;
mod collector;
mod cycle;
pub(crate) mod encoding;
mod materialized_topic;
mod modules;
mod unread;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::info;

use crate::model::codes::Code;
use crate::model::names::{ClusterName, Digest, TopicName, TransformId};
use crate::model::revision::{Deployment, Desired, Revision};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError, NewTopic};
use crate::telemetry::metrics::Metrics;

pub use crate::model::revision::Outcome;
pub use change::{Change, ChangeResult, Precondition, Request};
pub use collector::{MODULE_RETENTION, collect_for_ever};
pub use encoding::State;
pub use materialized_topic::{Fold, MaterializedTopic};
pub use modules::Stored;

/// Every transform that there is or was, and its revisions: deleted ones stay, as [`Desired::Deleted`].
pub type Deployments = Arc<State>;

/// How long a change waits for the log to show what is there.
const SEEN_TIMEOUT: Duration = Duration::from_secs(15);

/// A failed call of the catalog.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    #[error(transparent)]
    Log(#[from] LogError),
    /// The transform is not where the caller thought.
    #[error("the request expects {expected}, the transform is {}", found_text(*.found))]
    Conflict { expected: Precondition, found: Option<u64> },
    /// There is nothing to pause, resume or delete.
    #[error("there is no transform {0}")]
    NoTransform(TransformId),
    /// Written, perhaps: the log did not show it in time.
    #[error("the change was sent to the log and not seen there within {} s", SEEN_TIMEOUT.as_secs())]
    Unseen,
    #[error("the log holds module {0} incompletely, or other bytes")]
    Corrupt(Digest),
    #[error("control topic {topic} {problem}")]
    Topic { topic: TopicName, problem: String },
    #[error("{id} has no revision {}", revision.map_or("before the current one".to_owned(), |revision| revision.to_string()))]
    NoRevision { id: TransformId, revision: Option<u64> },
    #[error("revision {revision} runs {module}, which is no longer stored")]
    ModuleGone { revision: u64, module: Digest },
    #[error("{0} is not stored, or not any more")]
    NoModule(Digest),
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    #[error("the transform would feed itself: {path}")]
    Cycle { path: String },
    /// Nothing was written: other hosts' changes got in the way each time.
    #[error("other hosts changed the catalog each time that this one tried ({0})")]
    Contended(String),
    /// Other inputs for stores that may be in use.
    #[error("{0} has stores, and would get other inputs while it may run: it is not paused")]
    InputsInUse(TransformId),
    /// A newer host wrote it: it is left as it is.
    #[error("{what} is not understood by this host, and is left as it is: {reason}")]
    Newer { what: String, reason: String },
    /// Too few threads or the like, while opening.
    #[error("{0}")]
    Host(String),
}

fn found_text(found: Option<u64>) -> String {
    found.map_or("absent".to_owned(), |revision| format!("at revision {revision}"))
}

impl CatalogError {
    /// Refuses a deployment whose newest record this host does not understand.
    pub fn unless_understood(deployment: &Deployment) -> Result<(), Self> {
        let refused = |reason: &String| Self::Newer { what: deployment.id.to_string(), reason: reason.clone() };
        deployment.unread.as_ref().map_or(Ok(()), |reason| Err(refused(reason)))
    }

    pub fn code(&self) -> Code {
        match self {
            Self::Log(LogError::Unavailable(_)) => Code::LogUnavailable,
            Self::Log(LogError::Refused(_)) => Code::LogRefused,
            Self::Log(LogError::NoTopic(_)) | Self::Topic { .. } => Code::ControlTopic,
            Self::Conflict { .. } => Code::Conflict,
            Self::NoTransform(_) => Code::NoTransform,
            Self::NoRevision { .. } => Code::NoRevision,
            Self::ModuleGone { .. } => Code::RevisionModule,
            Self::NoModule(_) => Code::ModuleMissing,
            Self::KeyReused => Code::KeyReused,
            Self::Cycle { .. } => Code::Cycle,
            Self::InputsInUse(_) => Code::InputsInUse,
            Self::Newer { .. } => Code::NewerFormat,
            Self::Contended(_) => Code::Contended,
            Self::Unseen => Code::ControlWrite,
            Self::Corrupt(_) => Code::ModuleCorrupt,
            Self::Host(_) => Code::HostResources,
        }
    }
}

/// The catalog of one cluster, as one host sees and changes it.
pub struct Catalog {
    deployments: materialized_topic::MaterializedTopic<State>,
    writer: writer::Writer,
    modules: modules::Modules,
}

impl Catalog {
    /// Creates the control topics that are missing, reads the catalog to its end and follows it from there on.
    /// Copies of modules are kept in `cache_dir`.
    pub fn open(
        log: Arc<dyn Log>,
        cluster: &ClusterName,
        cache_dir: PathBuf,
        metrics: Metrics,
    ) -> Result<Catalog, CatalogError> {
        let topic = ensure_topic(&*log, compacted(cluster, "deployments", 1))?;
        let modules_topic = ensure_topic(&*log, compacted(cluster, "modules", modules::PARTITIONS))?;
        let deployments = materialized_topic::MaterializedTopic::start(log.clone(), topic.clone(), 0, State::default())?;
        let modules = modules::Modules::open(log.clone(), modules_topic, cache_dir)?;
        let catalog = Catalog { deployments, writer: writer::Writer::new(log, cluster, topic, metrics), modules };
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

    /// Why the control topics cannot be read now, if so.
    pub fn trouble(&self) -> Vec<String> {
        self.deployments.trouble().into_iter().chain(self.modules.trouble()).collect()
    }

    /// One deployment, unless it is deleted.
    pub fn deployment(&self, id: &TransformId) -> Option<Deployment> {
        self.deployments.current().live(id).cloned()
    }

    /// One deployment, also of a transform that was deleted.
    pub fn known(&self, id: &TransformId) -> Option<Deployment> {
        self.deployments.current().get(id).cloned()
    }

    /// Carries out one request, exactly as decided on everything before it, and waits until this host sees it.
    pub fn change(&self, id: &TransformId, request: Request) -> Result<ChangeResult, CatalogError> {
        self.writer.change(id, request, &self.deployments, &self.modules)
    }

    /// What a request would make of the catalog now.
    pub fn try_change(&self, id: &TransformId, request: &Request) -> Result<ChangeResult, CatalogError> {
        self.refresh()?;
        // A module may come along with the request itself, and is not stored for a try.
        let has_module = |module: &Digest| matches!(request.change, Change::Put { .. }) || self.modules.has(module);
        let decided = change::decide(&self.deployments.current(), id, request, &has_module);
        decided.map(|decided| decided.applied)
    }

    /// The answer to a request with a key that was carried out before, by whichever host.
    pub fn answered(&self, id: &TransformId, request: &Request) -> Result<Option<ChangeResult>, CatalogError> {
        if request.key.is_none() {
            return Ok(None);
        }
        self.refresh()?;
        change::answered(&self.deployments.current(), id, request)
    }

    /// The revision that a rollback would go back to.
    pub fn rollback_target(&self, id: &TransformId, to: Option<u64>) -> Result<Arc<Revision>, CatalogError> {
        change::rollback_target(&self.deployments.current(), id, to)
    }

    /// Every revision of a transform that is kept, newest first.
    pub fn revisions(&self, id: &TransformId) -> Vec<Arc<Revision>> {
        self.deployments.current().revisions(id)
    }

    pub fn revision(&self, id: &TransformId, revision: u64) -> Result<Arc<Revision>, CatalogError> {
        let all = self.deployments.current();
        let missing = || change::no_revision(&all, id, Some(revision));
        all.revision(id, revision).ok_or_else(missing)
    }

    /// Waits until this host has seen everything that was written before now, modules too.
    pub fn refresh(&self) -> Result<(), CatalogError> {
        self.modules.catch_up()?;
        self.see_changes()
    }

    /// Waits until this host has seen every change of a transform that was written before now.
    pub fn see_changes(&self) -> Result<(), CatalogError> {
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

    /// A module's bytes: from the disk, else from the log, where one that is not known is looked for: another host may have
    /// stored it a moment ago. `None`: it is not stored.
    pub fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, CatalogError> {
        if let Some(known) = self.modules.get(digest)? {
            return Ok(Some(known));
        }
        self.modules.catch_up()?;
        self.modules.get(digest)
    }

    /// Whether a module is stored.
    pub fn has_module(&self, digest: &Digest) -> bool {
        self.modules.has(digest)
    }

    /// Deletes the modules that nobody has used for `retention`: see `collector`.
    pub fn collect(&self, now: Timestamp, retention: Duration) -> Result<Vec<Digest>, CatalogError> {
        let unused = collector::unused(&self.deployments.current(), &self.modules.current().held, now, retention);
        let collected = match unused.is_empty() {
            // Nothing that is worth a turn as the one writer.
            true => Vec::new(),
            false => self.writer.collect(&self.deployments, &self.modules, now, retention)?,
        };
        if !collected.is_empty() {
            info!(modules = ?collected.iter().map(ToString::to_string).collect::<Vec<_>>(), "collected modules that nobody used");
        }
        self.modules.clear()?;
        Ok(collected)
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
    if let Err(LogError::NoTopic(_)) = log.topic(&wanted.name) {
        info!(topic = %wanted.name, partitions = wanted.partitions, "creating control topic");
        log.create_topic(&wanted)?;
    }
    check_topic(log, &wanted.name, wanted.partitions, wanted.retention.is_none())?;
    Ok(wanted.name)
}

/// Whether a control topic is there, with the settings that Sandbar relies on. `for_ever`: nothing in it is deleted by age.
fn check_topic(log: &dyn Log, topic: &TopicName, partitions: i32, for_ever: bool) -> Result<(), CatalogError> {
    let problem = match log.topic(topic) {
        Err(LogError::NoTopic(_)) => "does not exist any more".to_owned(),
        Err(error) => return Err(error.into()),
        Ok(info) if info.partitions != partitions => format!("has {} partitions, not {partitions}", info.partitions),
        Ok(info) if for_ever && info.compacted == Some(false) => "does not have cleanup.policy=compact".to_owned(),
        Ok(_) => return Ok(()),
    };
    Err(CatalogError::Topic { topic: topic.clone(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_the_code_of_its_remedy() {
        for (error, code) in [
            (CatalogError::Log(LogError::Unavailable(String::new())), Code::LogUnavailable),
            (CatalogError::Log(LogError::NoTopic(String::new())), Code::ControlTopic),
            (CatalogError::Conflict { expected: Precondition::Absent, found: Some(3) }, Code::Conflict),
            (CatalogError::Unseen, Code::ControlWrite),
        ] {
            assert_eq!(error.code(), code, "{error}");
        }
    }
}
