//! Everything that a revision needs before it runs: its module compiled, its topics looked at, instances made.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Parts;
use crate::catalog::CatalogError;
use crate::crashes::CallMonitor;
use crate::model::codes::Code;
use crate::model::names::{Digest, TopicName};
use crate::model::revision::{Deployment, Desired, Generations, Progress};
use crate::model::spec::Spec;
use crate::ports::{Guest, GuestError, LogError, OpenError, SessionOptions, StateOpener};
use crate::stores::{MayOpen, TransformStores};
use crate::task::{RecordFailure, RunnableRevision, Settings};
use crate::telemetry::metrics::TransformMetrics;

/// A revision, ready to run.
pub struct Prepared {
    pub program: Arc<RunnableRevision>,
    /// What to go back to if it traps before its first commit.
    pub kept: Option<Arc<RunnableRevision>>,
    /// Without the transactional id, which is each worker's own.
    pub options: SessionOptions,
    pub workers: u32,
    /// What opens its stores, where it has any.
    pub stores: Option<TransformStores>,
    /// As many instances as were asked for.
    pub guests: Vec<Box<dyn Guest>>,
}

/// Why a revision cannot run now.
pub type Unprepared = (Code, String);

impl Prepared {
    /// Whether workers of `other` can go on with this without leaving their group.
    pub fn can_follow(&self, other: &SessionOptions, workers: usize) -> bool {
        let SessionOptions { group, inputs, delivery, .. } = &self.options;
        (group, inputs, delivery) == (&other.group, &other.inputs, &other.delivery) && self.workers as usize == workers
    }

    /// Whether its stores are the same as those.
    pub fn has_same_stores(&self, other: Option<&TransformStores>) -> bool {
        match (&self.stores, other) {
            (Some(own), Some(other)) => own.is_same(other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }
}

/// Compiles a deployment's module, unless that was done before, so that preparing it has none to wait for. After a restart
/// with an empty cache hundreds wait here: without a thread each, and each only for as long as its deployment is desired.
pub async fn compile(parts: &Parts, deployment: &Deployment) -> Result<(), Unprepared> {
    let digest = deployment.module;
    if parts.modules.load_ahead(digest).await {
        return Ok(());
    }
    let permit = parts.modules.compile_permit().await;
    let parts = parts.clone();
    let compiled = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let bytes = module(&parts, &digest)?;
        parts.modules.check(&bytes).map(drop).map_err(|error| (error.code(), error.to_string()))
    });
    compiled.await.unwrap_or_else(|error| Err((Code::Internal, error.to_string())))
}

fn module(parts: &Parts, digest: &Digest) -> Result<Vec<u8>, Unprepared> {
    let bytes = parts.catalog.module(digest).map_err(|error| (error.code(), error.to_string()))?;
    bytes.ok_or_else(|| (Code::ModuleMissing, format!("module {digest} is not in the catalog")))
}

/// Prepares a deployment, with `instances` of its guest. Blocks.
pub fn prepare(parts: &Parts, deployment: &Deployment, instances: usize) -> Result<Prepared, Unprepared> {
    let spec = deployment.spec().map_err(|problems| {
        let listed: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        (Code::SpecRefused, listed.join("; "))
    })?;
    let bytes = module(parts, &spec.module)?;
    for topic in &spec.inputs {
        parts.log.partitions(topic).map_err(of_log)?;
    }
    let mut record_bytes_max = Vec::new();
    for topic in spec.written_topics() {
        record_bytes_max.push(parts.log.topic(topic).map_err(of_log)?.sent_bytes_max);
    }
    let written: Vec<_> = spec.written_topics().cloned().collect();
    let observer = parts.observers.transform(&spec.id, &spec.inputs, &written);
    let resets = deployment.asked.resets;
    let changelogs = spec.changelogs(&parts.cluster, resets);
    let stores = stores(parts, &spec, &changelogs, &observer.metrics)?;
    let stores = stores.map(|stores| stores.asking(may_open(parts, deployment)));
    let tables = parts.tables.of(spec.tables.values().cloned())?;
    let settings = Settings::of(&spec, deployment.revision, changelogs, record_bytes_max);
    let settings = Settings { resets, ..settings };
    let monitor = CallMonitor::new(&parts.crashes, &spec.id);
    let load = || parts.modules.prepare(&spec, deployment.revision, &bytes, tables, Some(&observer));
    let factory = monitor.load(load).map_err(|error| (error.code(), error.to_string()))?;
    let factory = monitor.factory(Arc::new(factory));
    let guests = (0..instances).map(|_| factory.instantiate()).collect::<Result<Vec<_>, _>>().map_err(of_guest)?;
    let options = SessionOptions {
        group: spec.group(&parts.cluster),
        transactional_id: String::new(),
        inputs: spec.inputs.clone(),
        outputs: settings.outputs.clone(),
        delivery: spec.delivery,
        start: spec.start.resolve(deployment.changed_at),
        begun: BTreeMap::new(),
        co_partitioned: spec.shares_state(),
    };
    let program = Arc::new(RunnableRevision { settings, guests: factory, observer });
    Ok(Prepared { program, kept: None, options, workers: spec.workers, stores, guests })
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

/// Opens nothing yet; but that every input still has the partitions of the changelogs is looked at now.
fn stores(
    parts: &Parts,
    spec: &Spec,
    changelogs: &[TopicName],
    metrics: &Arc<TransformMetrics>,
) -> Result<Option<TransformStores>, Unprepared> {
    if changelogs.is_empty() {
        return Ok(None);
    }
    let (mut partitions, mut found) = (None, Vec::new());
    for changelog in changelogs {
        let info = parts.log.topic(changelog).map_err(|error| match error {
            LogError::NoTopic(topic) => (Code::StateLost, format!("there is no changelog topic {topic}")),
            error => of_log(error),
        })?;
        partitions.get_or_insert(info.partitions);
        found.push((changelog.clone(), info));
    }
    let stores = parts.stores.of(spec, &found, partitions.unwrap_or_default(), metrics.clone());
    stores.check_inputs().map_err(|error| (error.code(), error.to_string()))?;
    Ok(Some(stores))
}

/// The revision that the group has committed with last, where that is an earlier one: new workers go back to it, as
/// workers do that were there before. An error may pass: it is no reason to go on without. Blocks.
pub fn prepare_proven(
    parts: &Parts,
    prepared: &Prepared,
    asked: Generations,
) -> Result<Option<Arc<RunnableRevision>>, Unprepared> {
    let Prepared { program, options, .. } = prepared;
    let Settings { id, revision, .. } = &program.settings;
    if *revision == 1 {
        return Ok(None);
    }
    let Ok(committed) = parts.log.group_offsets(&options.group, &options.inputs) else { return Ok(None) };
    let newest = Progress::newest(committed.iter().map(|offset| offset.metadata.as_str())).revision;
    if newest == 0 || newest >= *revision {
        return Ok(None);
    }
    let proven = parts.catalog.revision(id, newest).map_err(|error| (error.code(), error.to_string()));
    match proven.and_then(|proven| prepare(parts, &proven.to_deployment(asked), 0)) {
        // Partitions count by input.
        Ok(proven) => {
            let alike = proven.options.inputs == options.inputs && proven.has_same_stores(prepared.stores.as_ref());
            Ok(alike.then_some(proven.program))
        }
        Err((code @ Code::Busy, error)) => Err((code, error)),
        Err((code, error)) => {
            tracing::warn!(transform = %id, revision = newest, %code, error, "there is no revision to go back to");
            Ok(None)
        }
    }
}

fn of_log(error: LogError) -> Unprepared {
    let code = match error {
        LogError::NoTopic(_) => Code::TopicGone,
        LogError::Refused(_) => Code::LogRefused,
        LogError::Unavailable(_) => Code::LogUnavailable,
    };
    (code, error.to_string())
}

fn of_guest(error: GuestError) -> Unprepared {
    let failed = RecordFailure::of_guest(&error);
    (failed.code, failed.message)
}
