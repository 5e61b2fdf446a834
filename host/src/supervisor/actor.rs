//! One transform on this host: its desired state, its workers and its report, and the steps that all its duties take.
//!
//! `run` is the loop, `start` brings a revision into force, `upkeep` looks after workers between two changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::crashes::Permit;
use crate::model::clock::{Monotonic, Now};
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Desired};
use crate::model::status::{LastError, PartitionStatus, State};
use crate::model::units::Backoff;
use crate::teams::TeamsState;
use crate::telemetry::metrics::TransformMetrics;

use super::error::PrepareError;
use super::inputs::InputWatch;
use super::inspection::Inspection;
use super::parts::Parts;
use super::plan::{DeploymentStamp, RunState, WorkerSignal, signal};
use super::prepare::{PreparedRevision, PreviousRevision, RevisionBasis, prepare, prepare_previous, tables};
use super::report::Report;
use super::workers::Workers;

/// First and longest time until a failed preparation is tried again.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(30) };

/// One transform on this host.
pub struct Actor {
    pub id: TransformId,
    pub parts: Parts,
    pub inputs: InputWatch,
    pub desired: watch::Receiver<Option<Deployment>>,
    /// The deployment that was obeyed last; None before the first.
    pub obeyed: Option<DeploymentStamp>,
    pub report: watch::Sender<Report>,
    pub state: RunState,
    pub workers: Workers,
    /// The basis of each revision that runs, or may run again.
    pub bases: BTreeMap<u64, RevisionBasis>,
    /// The content of the file of teams, and the revisions, for which all rights were found last.
    pub checked_rights: Option<(Arc<TeamsState>, BTreeSet<u64>)>,
    /// The last time that new partitions could not be begun.
    pub begin_failed_at: Option<Monotonic>,
    /// The newer revision of another host that could not be prepared here last, and when.
    pub catch_up_failed: Option<(u64, Monotonic)>,
    /// The last time that the partitions of the inputs were counted.
    pub counted_at: Option<Monotonic>,
    pub inspection: Option<Inspection>,
    /// True if the last inspection found nothing new, and nothing is due with time alone.
    pub is_quiet: bool,
    /// Failures one after the other, without workers that ran for long in between.
    pub failures: u32,
    /// The time at which the last revision was started or swapped in, until that fails.
    pub started_at: Option<Monotonic>,
    /// The transform's metrics, which this actor holds until the transform is deleted or has moved to other hosts.
    pub metrics: Option<Arc<TransformMetrics>>,
}

impl Actor {
    pub fn new(
        id: TransformId,
        parts: Parts,
        inputs: InputWatch,
        desired: watch::Receiver<Option<Deployment>>,
        report: watch::Sender<Report>,
    ) -> Self {
        Self {
            id,
            parts,
            inputs,
            desired,
            obeyed: None,
            report,
            state: RunState::Idle,
            workers: Workers::default(),
            bases: BTreeMap::new(),
            checked_rights: None,
            begin_failed_at: None,
            catch_up_failed: None,
            counted_at: None,
            inspection: None,
            is_quiet: false,
            failures: 0,
            started_at: None,
            metrics: None,
        }
    }

    /// Carries out the commands that came since the last deployment.
    pub async fn obey(&mut self, deployment: &Deployment) {
        let now = DeploymentStamp::of(deployment);
        let Some(before) = self.obeyed.replace(now) else { return };
        match signal(before, now) {
            WorkerSignal::None => {}
            WorkerSignal::Resume => self.workers.resume(),
            // They are started again, as nothing runs.
            WorkerSignal::Stop => self.stop_workers().await,
        }
    }

    /// Asks whether the workers may be started, where none run and some should.
    pub fn permit(&self, desired: Option<&Deployment>) -> Permit {
        let to_start = |deployment: &&Deployment| deployment.desired == Desired::Running && deployment.unread.is_none();
        match desired.filter(to_start) {
            Some(deployment) if self.workers.is_empty() => self.parts.crashes.permit(&self.id, deployment.asked.resumes),
            Some(_) => Permit::Granted,
            None => {
                self.parts.crashes.set_back(&self.id);
                Permit::Granted
            }
        }
    }

    /// Prepares a revision while another runs, with an instance for each partition that is owned now. Where
    /// nothing runs, it prepares the revision that ran last as well.
    pub async fn prepare(
        &self,
        deployment: &Deployment,
    ) -> Result<(PreparedRevision, Option<PreviousRevision>), PrepareError> {
        let parts = self.parts.clone();
        let deployment = deployment.clone();
        let instances = self.report.borrow().workers().iter().map(|worker| worker.partitions.len()).sum();
        let is_first = self.workers.is_empty();
        let tables = tables(&parts, &deployment).await?;
        let prepared = spawn_blocking(move || {
            let _open = tables;
            let prepared = prepare(&parts, &deployment, instances)?;
            let previous = if is_first { prepare_previous(&parts, &prepared, deployment.asked)? } else { None };
            Ok((prepared, previous))
        });
        prepared.await?
    }

    pub fn swap(&mut self, prepared: PreparedRevision) {
        let revision = prepared.runnable.settings.revision;
        self.bases.insert(revision, prepared.basis.clone());
        self.workers.swap(prepared, &self.report.borrow().workers());
        tracing::info!(transform = %self.id, revision, "prepared, to be swapped in");
    }

    pub fn start_failed(&mut self, revision: u64, error: PrepareError) {
        let PrepareError { code, message } = error;
        let now = Now::read();
        // Otherwise workers that end as soon as they run would be started each second for ever.
        if self.started_at.take().is_some_and(|at| now.mono >= at.after(RETRY.longest)) {
            self.failures = 0;
        }
        let pause = RETRY.after(self.failures);
        self.failures = self.failures.saturating_add(1);
        let kept = match self.state {
            RunState::Runs(kept) => Some(kept),
            RunState::Failed { kept, .. } => kept,
            RunState::Idle => None,
        };
        self.state = RunState::Failed { revision, retry_at: now.mono.after(pause), kept };
        self.parts.crashes.set_back(&self.id);
        tracing::warn!(transform = %self.id, revision, %code, error = message, ?pause, "could not be started, tried again");
        self.report.send_modify(|report| report.fail(LastError { code, message, offset: None, at: now.wall }));
    }

    pub async fn stop_workers(&mut self) {
        self.inputs.forget(&self.id);
        self.workers.stop(&self.id).await;
        self.state = RunState::Idle;
        self.report.send_modify(Report::stop);
    }

    /// Shows why nothing runs, or that an older revision does than the newest.
    pub fn show(&mut self, desired: Option<&Deployment>, permit: Permit) {
        if self.state != RunState::Idle {
            self.report.send_if_modified(|report| report.show_unread(desired));
            return;
        }
        let is_quarantined = matches!(permit, Permit::Quarantined { .. });
        if is_quarantined {
            // Whoever sees the status sees the gauge.
            self.metrics().quarantined(true);
        }
        self.report.send_modify(|report| report.show_idle(desired, permit));
        let state = self.report.borrow().state;
        if state == State::Stopped {
            self.forget_metrics();
            return;
        }
        self.metrics().quarantined(is_quarantined);
        self.gauge();
    }

    /// Returns the transform's metrics. It holds them from now on, as the transform is here.
    pub fn metrics(&mut self) -> Arc<TransformMetrics> {
        self.metrics.get_or_insert_with(|| self.parts.metrics.transform(&self.id)).clone()
    }

    /// Gives the metrics back, if the transform was here: it is deleted, or runs elsewhere.
    pub fn forget_metrics(&mut self) {
        if self.metrics.take().is_some() {
            self.parts.metrics.forget(&self.id);
        }
    }

    pub fn gauge(&mut self) {
        let metrics = self.metrics();
        let report = self.report.borrow();
        let workers = report.workers();
        let largest = workers.iter().map(|worker| worker.memory_bytes).max().unwrap_or(0);
        let total: usize = workers.iter().map(|worker| worker.memory_total_bytes).sum();
        let partitions = workers.iter().flat_map(|worker| &worker.partitions);
        metrics.state(report.status(&self.id).state);
        metrics.guest.memory(largest as u64, total as u64);
        metrics.failed_partitions(failed_by_code(partitions));
    }
}

/// Counts the failed partitions by the code of their error.
fn failed_by_code<'a>(partitions: impl Iterator<Item = &'a PartitionStatus>) -> BTreeMap<Code, u64> {
    let failed = partitions.filter(|partition| partition.state == State::Failed);
    let mut counts = BTreeMap::new();
    for error in failed.filter_map(|partition| partition.error.as_ref()) {
        *counts.entry(error.code).or_default() += 1;
    }
    counts
}
