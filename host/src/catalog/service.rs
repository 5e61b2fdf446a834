//! The catalog, as its callers see it: reads are answered from memory, changes go through the one writer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, info};

use crate::audit::{AUDIT_RETENTION, AuditLog};
use crate::model::names::{ClusterName, Digest, TeamName, TransformId};
use crate::model::revision::{Deployment, Revision};
use crate::model::signature::Envelope;
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError};
use crate::telemetry::metrics::Metrics;

use super::change::{Change, ChangeResult, Request, SEEN_TIMEOUT};
use super::collector;
use super::control_topic::{control_topics, ensure_topic};
use super::decide::{decide, earlier_result};
use super::deployments::Deployments;
use super::error::CatalogError;
use super::history::{no_revision, rollback_target};
use super::materialized_topic::MaterializedTopic;
use super::modules::{Modules, UploadResult};
use super::sources::{DeadLetterCache, DeadLetterSources};
use super::team_use::{Measure, TeamUse};
use super::writer::Writer;

/// The catalog of one cluster, as one host sees and changes it.
pub struct Catalog {
    deployments: MaterializedTopic<Deployments>,
    writer: Writer,
    modules: Modules,
    dead_letters: DeadLetterCache,
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
        AuditLog::new(log.clone(), cluster).ensure(AUDIT_RETENTION)?;
        let [deployments, modules] = control_topics(cluster);
        let topic = ensure_topic(&*log, deployments)?;
        let modules_topic = ensure_topic(&*log, modules)?;
        let deployments = MaterializedTopic::start(log.clone(), topic.clone(), 0, Deployments::default())?;
        let modules = Modules::open(log.clone(), modules_topic, cache_dir)?;
        let catalog = Catalog {
            deployments,
            writer: Writer::new(log, cluster, topic, metrics),
            modules,
            dead_letters: DeadLetterCache::default(),
        };
        info!(%cluster, transforms = catalog.current().all_live().count(), modules = catalog.modules().len(), "catalog read");
        Ok(catalog)
    }

    /// All deployments, as they change.
    pub fn watch(&self) -> watch::Receiver<Arc<Deployments>> {
        self.deployments.watch()
    }

    /// All deployments, as they are now.
    pub fn current(&self) -> Arc<Deployments> {
        self.deployments.current()
    }

    /// All deployments, as they are now, with the sources of their dead letters.
    pub fn current_with_dead_letters(&self) -> (Arc<Deployments>, Arc<DeadLetterSources>) {
        let all = self.current();
        let dead_letters = self.dead_letters.of(&all);
        (all, dead_letters)
    }

    /// The reasons why the control topics cannot be read now, if there are any.
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

    /// Decides a request on the catalog as it is now, and writes nothing.
    pub fn try_change(&self, id: &TransformId, request: &Request) -> Result<ChangeResult, CatalogError> {
        self.refresh()?;
        self.tried(id, request)
    }

    /// Refuses a deployment that the catalog would refuse, as far as this host has seen: before anything is written for it. It
    /// is decided again when the change is made.
    pub fn check_change(&self, id: &TransformId, request: &Request) -> Result<(), CatalogError> {
        if earlier_result(&self.deployments.current(), id, request)?.is_some() {
            return Ok(());
        }
        self.tried(id, request).map(drop)
    }

    fn tried(&self, id: &TransformId, request: &Request) -> Result<ChangeResult, CatalogError> {
        // A module may come along with the request itself, and is not stored for a try.
        let sent_bytes = || request.growth.map_or(0, |growth| growth.module_bytes);
        let is_put = matches!(request.change, Change::Put { .. });
        let module_bytes = |module: &Digest| self.modules.bytes(module).or_else(|| is_put.then(sent_bytes));
        let decision = decide(&self.deployments.current(), id, request, &module_bytes);
        decision.map(|decision| decision.result)
    }

    /// The use of a team, as far as this host has seen.
    pub fn team_use(&self, team: &TeamName, hot_bytes_max: u64) -> TeamUse {
        let modules = self.modules.current();
        let module_bytes = |module: &Digest| modules.stored.get(module).map_or(0, |stored| stored.manifest.bytes);
        TeamUse::of(&self.deployments.current(), team, &Measure { module_bytes: &module_bytes, hot_bytes_max })
    }

    /// The teams that have transforms.
    pub fn teams(&self) -> BTreeSet<TeamName> {
        self.current().all_live().map(|deployment| deployment.id.team.clone()).collect()
    }

    /// The answer to a request with a key that was carried out before, by whichever host.
    pub fn earlier_result(&self, id: &TransformId, request: &Request) -> Result<Option<ChangeResult>, CatalogError> {
        if request.key.is_none() {
            return Ok(None);
        }
        self.refresh()?;
        earlier_result(&self.deployments.current(), id, request)
    }

    /// The signatures of a module that transforms of the team have, or had, without repetitions.
    pub fn signatures(&self, team: &TeamName, module: &Digest) -> Vec<Envelope> {
        let all = self.deployments.current();
        let mut found: Vec<Envelope> = Vec::new();
        for envelope in all.signatures(team, module) {
            if !found.contains(envelope) {
                found.push(envelope.clone());
            }
        }
        found
    }

    /// The revision that a rollback would go back to.
    pub fn rollback_target(&self, id: &TransformId, to: Option<u64>) -> Result<Arc<Revision>, CatalogError> {
        rollback_target(&self.deployments.current(), id, to)
    }

    /// Every revision of a transform that is kept, newest first.
    pub fn revisions(&self, id: &TransformId) -> Vec<Arc<Revision>> {
        self.deployments.current().revisions(id)
    }

    pub fn revision(&self, id: &TransformId, revision: u64) -> Result<Arc<Revision>, CatalogError> {
        let all = self.deployments.current();
        let missing = || no_revision(&all, id, Some(revision));
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
        if self.deployments.wait_for(end_offset, SEEN_TIMEOUT) {
            return Ok(());
        }
        Err(LogError::Unavailable("the deployments topic cannot be read to its end".into()).into())
    }

    /// Stores a module: written and read back from the log before this returns. Storing it again changes nothing.
    pub fn put_module(&self, bytes: &[u8]) -> Result<UploadResult, CatalogError> {
        self.put_module_for(bytes, None)
    }

    /// Stores a module that a team has uploaded. Without a team, every team may deploy it by its digest.
    pub fn put_module_for(&self, bytes: &[u8], team: Option<&TeamName>) -> Result<UploadResult, CatalogError> {
        self.modules.put(bytes, team)
    }

    /// A module's bytes, if the team has uploaded the module, or has it in a revision. The work is the same for a module
    /// that is stored for others and for one that is not stored, so an answer does not tell them apart.
    pub fn module_of(&self, team: &TeamName, digest: &Digest) -> Result<Option<Vec<u8>>, CatalogError> {
        let is_for_team = || self.modules.is_for(digest, team) || self.deployments.current().uses(team, digest);
        if !is_for_team() {
            self.modules.catch_up()?;
        }
        if is_for_team() { self.module(digest) } else { Ok(None) }
    }

    /// Returns true if [`Catalog::module_of`] has bytes to read, by the manifests alone: a damaged module is stored, too. The work
    /// is the same for a module that is stored for others and for one that is not stored.
    pub fn has_module_of(&self, team: &TeamName, digest: &Digest) -> Result<bool, CatalogError> {
        let is_for_team = || self.modules.is_for(digest, team) || self.deployments.current().uses(team, digest);
        let is_there = || self.modules.has(digest) && is_for_team();
        if is_there() {
            return Ok(true);
        }
        self.modules.catch_up()?;
        Ok(is_there())
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

    /// Returns true if the module is stored, as far as this host has seen.
    pub fn has_module(&self, digest: &Digest) -> bool {
        self.modules.has(digest)
    }

    /// Returns true if a transform of the team, or of any team, keeps the module from being collected, as far as this host
    /// has seen.
    pub fn keeps_module(&self, team: Option<&TeamName>, digest: &Digest) -> bool {
        self.deployments.current().keeps(team, digest)
    }

    /// Deletes the modules that nobody has used for `retention`: see `collector`. Many of them take several turns, and
    /// changes come between.
    pub fn collect(&self, now: Timestamp, retention: Duration) -> Result<Vec<Digest>, CatalogError> {
        let mut all = Vec::new();
        loop {
            let unused = collector::unused(&self.deployments.current(), &self.modules.current().stored, now, retention);
            let collected = if unused.is_empty() {
                // Nothing that is worth a turn as the one writer.
                unused
            } else {
                self.writer.collect(&self.deployments, &self.modules, now, retention)?
            };
            self.modules.clear()?;
            if collected.is_empty() {
                return Ok(all);
            }
            info!(modules = collected.len(), "collected modules that nobody used");
            collected.iter().for_each(|module| debug!(%module, "collected a module that nobody used"));
            all.extend(collected);
        }
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
