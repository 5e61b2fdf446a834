//! Everything that a revision needs before it runs: its module is compiled, its topics are looked at, instances are made.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::catalog::CatalogError;
use crate::crashes::CallMonitor;
use crate::deployment::{Rejection, TopicFacts, check_rights, check_signature, check_start};
use crate::model::codes::Code;
use crate::model::names::Digest;
use crate::model::revision::{Deployment, Desired, Generations, Progress};
use crate::model::signature::Envelope;
use crate::model::spec::Spec;
use crate::ports::{Guest, LogError, OpenError, log_of};
use crate::stores::tables::{TopicTable, counted};
use crate::stores::{MayOpen, TransformStores};
use crate::task::{RunnableRevision, Settings};
use crate::telemetry::metrics::RefusedAt;

use super::error::PrepareError;
use super::membership::Membership;
use super::parts::Parts;

/// A revision that can run, with all that its workers need.
pub struct PreparedRevision {
    pub runnable: Arc<RunnableRevision>,
    pub membership: Membership,
    pub workers: u32,
    /// The opener of its stores, where it has any.
    pub stores: Option<TransformStores>,
    pub basis: RevisionBasis,
    /// The instances, one for each partition that is owned now.
    pub guests: Vec<Box<dyn Guest>>,
}

/// The parts of a revision that its right to run depends on, which is checked again while it runs.
#[derive(Debug, Clone)]
pub struct RevisionBasis {
    pub spec: Arc<Spec>,
    pub signature: Option<Envelope>,
}

impl PreparedRevision {
    /// Returns true if both open the same stores, or none.
    pub fn has_same_stores(&self, other: Option<&TransformStores>) -> bool {
        match (&self.stores, other) {
            (Some(own), Some(other)) => own.is_same(other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }
}

/// Compiles a deployment's module, unless that was done before, so that preparing it has none to wait for. After a restart
/// with an empty cache hundreds wait here, in turns by team: without a thread each, and each only for as long as its
/// deployment is desired.
pub async fn compile(parts: &Parts, deployment: &Deployment) -> Result<(), PrepareError> {
    let digest = deployment.module;
    check_module(parts, deployment, &digest)?;
    let Some(turn) = parts.modules.turn_ahead(&deployment.id.team, digest).await else { return Ok(()) };
    let parts = parts.clone();
    let compiled = spawn_blocking(move || {
        let bytes = module(&parts, &digest)?;
        parts.modules.compile_ahead(turn, &bytes)?;
        Ok(())
    });
    compiled.await?
}

/// Opens a deployment's tables and waits for them, so that preparing it has none to wait for. While the result is held, they
/// stay open.
pub async fn tables(parts: &Parts, deployment: &Deployment) -> Result<Vec<Arc<TopicTable>>, PrepareError> {
    let spec = deployment.spec().map_err(|problems| PrepareError::of_spec(&problems))?;
    check_rights(&spec, &parts.teams.topic_rights())?;
    check_module(parts, deployment, &spec.module)?;
    let tables = parts.tables.open_ahead(&spec.id.team, spec.tables.values().cloned()).await;
    tables.map_err(|(code, message)| PrepareError::new(code, message))
}

fn module(parts: &Parts, digest: &Digest) -> Result<Vec<u8>, PrepareError> {
    let bytes = parts.catalog.module(digest)?;
    bytes.ok_or_else(|| PrepareError::new(Code::ModuleMissing, format!("module {digest} is not in the catalog")))
}

/// Checks the signature, before any part of the module is compiled or run.
fn check_module(parts: &Parts, deployment: &Deployment, module: &Digest) -> Result<(), PrepareError> {
    let team = &deployment.id.team;
    let checked = check_signature(team, module, &parts.teams.signing_rule(team), deployment.signature.as_ref());
    checked.map_err(|violation| {
        parts.metrics.signing.refused(RefusedAt::Start);
        Rejection::from(violation).into()
    })
}

/// The revision that takes over again if the next one is refused.
pub type PreviousRevision = (Arc<RunnableRevision>, RevisionBasis);

/// Prepares a deployment, with `instances` of its guest. Blocks.
pub fn prepare(parts: &Parts, deployment: &Deployment, instances: usize) -> Result<PreparedRevision, PrepareError> {
    let spec = deployment.spec().map_err(|problems| PrepareError::of_spec(&problems))?;
    check_rights(&spec, &parts.teams.topic_rights())?;
    check_module(parts, deployment, &spec.module)?;
    let bytes = module(parts, &spec.module)?;
    let resets = deployment.asked.resets;
    let changelogs = spec.changelogs(&parts.cluster, resets);
    let topics = TopicFacts::gather(&*log_of(&parts.log, &spec.id.team), &spec, changelogs.clone())?;
    check_start(&spec, &topics)?;
    let written: Vec<_> = spec.written_topics().cloned().collect();
    let observer = parts.observers.transform(&spec.id, &spec.inputs, &written);
    let stores = topics.changelog_partitions().map(|partitions| {
        let stores = parts.stores.of(&spec, &topics.changelogs(), partitions, observer.metrics.clone());
        stores.asking(may_open(parts, deployment))
    });
    let tables = parts.tables.of(&spec.id.team, spec.tables.values().cloned());
    let tables = tables.map_err(|(code, message)| PrepareError::new(code, message))?;
    let tables = counted(&tables, spec.tables.keys(), &observer.metrics);
    let settings = Settings::of(&spec, deployment.revision, changelogs, topics.record_bytes_max(&spec));
    let settings = Settings { resets, ..settings };
    let monitor = CallMonitor::new(&parts.crashes, &spec.id);
    let load = || parts.modules.prepare(&spec, deployment.revision, &bytes, tables, Some(&observer));
    let factory = monitor.load(load)?;
    // A host that lacks a secret stays out of the group: those that have it take all partitions.
    factory.read_secrets()?;
    let factory = monitor.factory(Arc::new(factory));
    let instantiate = |_| parts.processors.run(&spec.id.team, || factory.instantiate());
    let guests = (0..instances).map(instantiate).collect::<Result<Vec<_>, _>>()?;
    let membership = Membership {
        group: spec.group(&parts.cluster),
        inputs: spec.inputs.clone(),
        outputs: settings.outputs.clone(),
        delivery: spec.delivery,
        transaction_timeout: settings.transaction_timeout,
        start: spec.start.resolve(deployment.changed_at),
        co_partitioned: spec.shares_state(),
    };
    let runnable = Arc::new(RunnableRevision { settings, guests: factory, observer });
    let workers = spec.workers;
    let basis = RevisionBasis { spec: Arc::new(spec), signature: deployment.signature.clone() };
    Ok(PreparedRevision { runnable, membership, workers, stores, basis, guests })
}

/// Asks the catalog whether this is still how the transform's stores are used. A host that was cut off, or stood still,
/// may come back into the group with inputs that it has no longer, or with stores that were reset since: its partitions
/// wait until it has taken up the change.
fn may_open(parts: &Parts, deployment: &Deployment) -> MayOpen {
    let catalog = parts.catalog.clone();
    let wanted = deployment.clone();
    Arc::new(move || {
        match catalog.see_changes() {
            // Without the topic nobody can have changed anything.
            Ok(()) | Err(CatalogError::Log(LogError::NoTopic(_))) => {}
            Err(error) => return Err(OpenError::Unavailable(error.to_string())),
        }
        let Some(now) = catalog.known(&wanted.id) else { return Ok(()) };
        let uses = |deployment: &Deployment| (deployment.spec.inputs.clone(), deployment.asked.resets);
        if now.desired == Desired::Running && uses(&now) == uses(&wanted) {
            return Ok(());
        }
        let Deployment { id, revision, .. } = now;
        Err(OpenError::Unavailable(format!("{id} was changed meanwhile: its partitions wait for revision {revision} here")))
    })
}

/// The revision that the group committed with last, where that is an earlier one: new workers go back to it if the newer
/// one fails its trial. An error may pass, so it is no reason to go on without. Blocks.
pub fn prepare_previous(
    parts: &Parts,
    prepared: &PreparedRevision,
    asked: Generations,
) -> Result<Option<PreviousRevision>, PrepareError> {
    let PreparedRevision { runnable, membership, .. } = prepared;
    let Settings { id, revision, .. } = &runnable.settings;
    if *revision == 1 {
        return Ok(None);
    }
    let log = log_of(&parts.log, &id.team);
    let committed = match log.group_offsets(&membership.group, &membership.inputs) {
        Ok(committed) => committed,
        // Without one, records that a faulty revision traps at would be lost to its policy for errors.
        Err(error @ (LogError::Unavailable(_) | LogError::NoToken(_))) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    let newest = Progress::newest(committed.iter().map(|offset| offset.metadata.as_str())).revision;
    if newest == 0 || newest >= *revision {
        return Ok(None);
    }
    let previous = parts.catalog.revision(id, newest).map_err(PrepareError::from);
    match previous.and_then(|previous| prepare(parts, &previous.to_deployment(asked), 0)) {
        // Partitions count by input.
        Ok(previous) => {
            let has_same_inputs = previous.membership.inputs == membership.inputs;
            let is_alike = has_same_inputs && previous.has_same_stores(prepared.stores.as_ref());
            Ok(is_alike.then_some((previous.runnable, previous.basis)))
        }
        // Others may last: the newer one is the remedy for a table that is too large, say.
        Err(error) if matches!(error.code, Code::Busy | Code::LogUnavailable | Code::KafkaToken) => Err(error),
        Err(PrepareError { code, message }) => {
            tracing::warn!(transform = %id, revision = newest, %code, error = message, "there is no revision to go back to");
            Ok(None)
        }
    }
}
