//! Looks after the workers between two changes: their threads, their inputs, and revisions that other hosts committed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::deployment::{Rejection, check_rights, check_signature};
use crate::model::clock::Monotonic;
use crate::model::codes::Code;
use crate::model::revision::Deployment;
use crate::ports::{OpenError, StateOpener};
use crate::teams::TeamsState;
use crate::telemetry::metrics::RefusedAt;

use super::actor::Actor;
use super::begin::{InputChange, begin, input_change};
use super::error::PrepareError;
use super::inspection::Inspection;
use super::newest::committed_revision;
use super::plan::RunState;
use super::prepare::RevisionBasis;
use super::report::Report;
use super::workers::WorkerSessions;

/// Time between two counts of the partitions of inputs, for transforms with stores. Workers that commit count them before
/// each commit, so this one is for idle workers.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(5);
/// Time until new partitions are begun again, or a newer revision is prepared again, after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The revisions of the workers that may not run any longer.
enum LostRights {
    /// A revision that runs.
    Running(PrepareError),
    /// Only revisions that workers would go back to.
    Fallback(PrepareError),
}

impl Actor {
    /// Looks after the workers.
    pub async fn inspect(&mut self, desired: Option<&Deployment>) {
        let target = self.report.borrow().target;
        if self.workers.has_ended() {
            self.stop_workers().await;
            self.start_failed(target, PrepareError::new(Code::Internal, "a worker ended unexpectedly"));
            return;
        }
        // A suspect's turn ends with time, whether anything changes or not.
        let phase = self.report.borrow().phase();
        let is_suspect = phase.is_some_and(|phase| self.parts.crashes.look(&self.id, phase));
        let has_inspected = self.has_inspected();
        self.is_quiet = has_inspected && !is_suspect;
        if has_inspected {
            return;
        }
        match self.lost_rights() {
            Some(LostRights::Running(error)) => {
                self.stop_workers().await;
                self.start_failed(target, error);
                return;
            }
            Some(LostRights::Fallback(PrepareError { code, message })) => {
                tracing::warn!(
                    transform = %self.id, %code, error = message,
                    "the revision to go back to may not run any longer: the workers are started again without it"
                );
                self.stop_workers().await;
                return;
            }
            None => {}
        }
        if let Some(error) = self.changed_partitions().await {
            self.stop_workers().await;
            self.start_failed(target, error);
            return;
        }
        self.begin_new_partitions().await;
        self.follow_ends();
        self.forget_bases();
        self.show_stale_tables();
        self.catch_up(desired).await;
        if self.state != RunState::Idle {
            self.gauge();
        }
    }

    /// Returns true if nothing has changed since the last inspection. Notes the facts of this one otherwise.
    fn has_inspected(&mut self) -> bool {
        let next = Inspection {
            at: Monotonic::now(),
            statuses: self.report.borrow().workers(),
            teams: self.parts.teams.current(),
            looks: self.inputs.looks(),
        };
        let is_covered = self.inspection.as_ref().is_some_and(|last| last.covers(&next));
        if !is_covered {
            self.inspection = Some(next);
        }
        is_covered
    }

    /// Checks the topics and signatures of the revisions that run, and of those that workers would go back to, whenever
    /// the revisions or the file of teams have changed.
    fn lost_rights(&mut self) -> Option<LostRights> {
        let newest = self.parts.teams.current();
        let running = self.running();
        let fallbacks = self.fallbacks();
        let all: BTreeSet<u64> = running.union(&fallbacks).copied().collect();
        let is_known = self.checked_rights.as_ref().is_some_and(|(known, of)| Arc::ptr_eq(known, &newest) && *of == all);
        if is_known {
            return None;
        }
        let loss =
            |revisions: &BTreeSet<u64>| revisions.iter().find_map(|revision| self.check_revision(*revision, &newest).err());
        let lost = loss(&running).map(LostRights::Running).or_else(|| loss(&fallbacks).map(LostRights::Fallback));
        self.checked_rights = lost.is_none().then_some((newest, all));
        lost
    }

    /// Checks a revision. One without a basis counts as lost: it is checked when it is prepared again.
    fn check_revision(&self, revision: u64, teams: &TeamsState) -> Result<(), PrepareError> {
        let Some(basis) = self.bases.get(&revision) else {
            let message = format!("revision {revision} runs, and its right to do so cannot be checked");
            return Err(PrepareError::new(Code::Internal, message));
        };
        self.check_basis(basis, teams).map_err(PrepareError::from)
    }

    fn check_basis(&self, basis: &RevisionBasis, teams: &TeamsState) -> Result<(), Rejection> {
        let RevisionBasis { spec, signature } = basis;
        check_rights(spec, &teams.table.topics)?;
        let team = &spec.id.team;
        let signed = check_signature(team, &spec.module, teams.table.signing.of(team), signature.as_ref());
        signed.inspect_err(|_| self.parts.metrics.signing.refused(RefusedAt::Run)).map_err(Rejection::from)
    }

    /// The revisions that workers run. A worker without a session runs none.
    fn running(&self) -> BTreeSet<u64> {
        let workers = self.report.borrow().workers();
        workers.iter().map(|worker| worker.revision).filter(|revision| *revision > 0).collect()
    }

    /// The revisions that workers go back to if the one on trial fails.
    fn fallbacks(&self) -> BTreeSet<u64> {
        self.report.borrow().workers().iter().filter_map(|worker| worker.fallback).collect()
    }

    /// Forgets the bases of revisions that no worker comes back to.
    fn forget_bases(&mut self) {
        let workers = self.report.borrow().workers();
        // A worker goes back to nothing before its fallback, and to nothing at all where it has none. Without a session
        // (revision 0) it shows no fallback, and may have one.
        let lowest = workers.iter().flat_map(|worker| [worker.revision].into_iter().chain(worker.fallback)).min();
        self.bases.retain(|revision, _| *revision >= lowest.unwrap_or(0));
    }

    /// Counts the partitions of the inputs of a transform with stores. If one has others than it had, no key is where its
    /// state is.
    async fn changed_partitions(&mut self) -> Option<PrepareError> {
        let stores = self.workers.stores()?.clone();
        let now = Monotonic::now();
        if self.workers.is_empty() || self.counted_at.is_some_and(|at| now < at.after(PARTITIONS_INTERVAL)) {
            return None;
        }
        self.counted_at = Some(now);
        match spawn_blocking(move || stores.check_inputs()).await {
            Ok(Err(error @ OpenError::Partitions(_))) => Some(error.into()),
            _ => None,
        }
    }

    /// Has the ends of waiting partitions looked at, since their lag goes on, and tells the workers of them.
    fn follow_ends(&self) {
        let waiting = self.report.borrow().waiting();
        if !waiting.is_empty() {
            self.workers.note_ends(&self.inputs.ends(&self.id.team));
        }
        self.inputs.set_waiting(&self.id, waiting);
    }

    /// Shows a table that does not follow its topic, of the revisions that run.
    fn show_stale_tables(&mut self) {
        let running = self.running();
        let used = self.bases.iter().filter(|(revision, _)| running.contains(revision));
        let stale = self.parts.tables.stale(&self.id.team, used.flat_map(|(_, basis)| basis.spec.tables.values()));
        self.report.send_if_modified(|report| {
            let is_news = report.stale_table != stale;
            report.stale_table = stale;
            is_news
        });
    }

    /// Takes up inputs that have got partitions, or were deleted and created again, while workers read them.
    async fn begin_new_partitions(&mut self) {
        let now = Monotonic::now();
        let Some(WorkerSessions { membership, begun }) = self.workers.sessions().cloned() else { return };
        if self.begin_failed_at.is_some_and(|at| now < at.after(RETRY_AFTER)) {
            return;
        }
        let sizes = self.inputs.sizes(&self.id.team, &membership.inputs);
        let Ok(record) = self.parts.positions.record(&self.id) else { return };
        let has_stores = self.workers.stores().is_some();
        match input_change(&sizes, &record.unwrap_or_default(), &begun, has_stores) {
            InputChange::None => {}
            InputChange::Recreated => {
                tracing::warn!(transform = %self.id, "an input was recreated: it is begun at its first records");
                // Workers are started again, and begin first.
                self.stop_workers().await;
            }
            InputChange::Grown => match begin(&self.parts, &self.id, &membership, Vec::new()).await {
                Ok(begun) => {
                    tracing::info!(transform = %self.id, "an input has got more partitions");
                    self.workers.set_begun(begun);
                }
                Err(PrepareError { code, message }) => {
                    self.begin_failed_at = Some(now);
                    tracing::warn!(transform = %self.id, %code, error = message, "new partitions could not be begun yet");
                }
            },
        }
    }

    /// Gives workers the revision that another host has committed with on partitions that are theirs now: it was
    /// refused here, perhaps, but nothing lower may go on from there.
    async fn catch_up(&mut self, desired: Option<&Deployment>) {
        let newest = self.report.borrow().workers().iter().filter_map(|worker| worker.outrun_by).max();
        let Some((newest, desired)) = newest.zip(desired) else { return };
        let now = Monotonic::now();
        if self.catch_up_failed.is_some_and(|(revision, at)| revision == newest && now < at.after(RETRY_AFTER)) {
            return;
        }
        let deployment = if newest == desired.revision && desired.unread.is_none() {
            desired.clone()
        } else {
            let catalog = self.parts.catalog.clone();
            let id = self.id.clone();
            match spawn_blocking(move || committed_revision(&catalog, &id, newest)).await {
                Ok(Ok(Some(revision))) => revision.to_deployment(desired.asked),
                Ok(Err(stranded)) => {
                    self.catch_up_failed = Some((newest, now));
                    return self.workers.strand(stranded);
                }
                // Not read from the catalog yet: looked for again.
                Ok(Ok(None)) | Err(_) => return,
            }
        };
        let is_desired = deployment.revision == desired.revision;
        match self.prepare(&deployment).await {
            Ok((prepared, _)) if self.workers.can_swap(&prepared) => {
                self.swap(prepared);
                if is_desired {
                    self.state = RunState::Runs(newest);
                    self.report.send_modify(Report::complete);
                }
            }
            Ok(_) => {}
            Err(error) => {
                self.catch_up_failed = Some((newest, Monotonic::now()));
                if is_desired {
                    self.start_failed(newest, error);
                } else {
                    // The desired revision is not the one that failed, and is not to be started again.
                    self.workers.strand(error);
                }
            }
        }
    }
}
