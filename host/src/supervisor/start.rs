//! Brings a revision into force: prepares it, then has the workers swap it in, or starts others.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::model::clock::Monotonic;
use crate::model::revision::Deployment;
use crate::model::status::State;
use crate::task::Settings;
use crate::worker::Revisions;

use super::actor::Actor;
use super::begin::begin;
use super::error::PrepareError;
use super::newest::is_overtaken;
use super::plan::RunState;
use super::prepare::{PreparedRevision, PreviousRevision, compile};
use super::report::Report;
use super::workers::WorkerSessions;

/// Longest wait for the actor's desired state to catch up with the catalog.
const CATALOG_WAIT: Duration = Duration::from_secs(1);

/// The desired state has no source any more: the host ends.
type Ended = watch::error::RecvError;

impl Actor {
    pub async fn start(&mut self, deployment: &Deployment) -> Result<(), Ended> {
        let revision = deployment.revision;
        self.metrics().quarantined(false);
        self.report.send_modify(|report| report.begin(revision));
        // Its turn may be long in coming; meanwhile something else may be desired.
        let compiled = tokio::select! {
            compiled = compile(&self.parts, deployment) => compiled,
            changed = self.desired.changed() => {
                self.parts.crashes.settle(&self.id);
                return changed;
            }
        };
        let started = match compiled {
            Ok(()) => self.start_compiled(deployment).await,
            Err(error) => Err(error),
        };
        self.parts.crashes.settle(&self.id);
        match started {
            Ok(false) => return self.wait_for_change().await,
            Ok(true) => {
                self.started_at = Some(Monotonic::now());
                self.state = RunState::Runs(revision);
                self.report.send_modify(Report::complete);
            }
            Err(error) => self.start_failed(revision, error),
        }
        Ok(())
    }

    /// Has the workers swap the revision in, or starts others; false if by then something else is desired.
    async fn start_compiled(&mut self, deployment: &Deployment) -> Result<bool, PrepareError> {
        let (prepared, previous) = self.prepare(deployment).await?;
        let is_desired = self.desired.borrow().as_ref().is_some_and(|now| now.wants_same(deployment));
        if !is_desired {
            return Ok(false);
        }
        if self.workers.can_swap(&prepared) {
            self.swap(prepared);
            return Ok(true);
        }
        self.restart(prepared, previous, deployment).await
    }

    /// Starts workers in the place of those that run; false if by then something else is desired.
    async fn restart(
        &mut self,
        prepared: PreparedRevision,
        previous: Option<PreviousRevision>,
        deployment: &Deployment,
    ) -> Result<bool, PrepareError> {
        self.stop_workers().await;
        if self.is_overtaken(deployment).await {
            return Ok(false);
        }
        let PreparedRevision { runnable, mut membership, workers, stores, basis, .. } = prepared;
        let (previous, previous_basis) = previous.unzip();
        let others = previous.as_ref().map_or(Duration::ZERO, |previous| previous.settings.transaction_timeout);
        membership.transaction_timeout = membership.transaction_timeout.max(others);
        let Settings { outputs, changelogs, revision, .. } = &runnable.settings;
        let revision = *revision;
        let begun = begin(&self.parts, &self.id, &membership, outputs[changelogs.clone()].to_vec()).await?;
        self.inputs.add(&self.id, &membership.inputs);
        self.bases.insert(revision, basis);
        if let Some((previous, basis)) = previous.as_ref().zip(previous_basis) {
            self.bases.insert(previous.settings.revision, basis);
        }
        let revisions = Revisions { current: runnable.clone(), previous, rejected: None };
        let sessions = WorkerSessions { membership, begun };
        match self.workers.start(&self.parts, &self.id, workers, &revisions, sessions, stores) {
            Ok(handles) => self.report.send_modify(|report| {
                report.state = State::Starting;
                report.workers = handles;
            }),
            Err(error) => {
                self.stop_workers().await;
                return Err(error);
            }
        }
        tracing::info!(transform = %self.id, revision, workers, "started");
        Ok(true)
    }

    /// Asks the catalog whether another deployment is desired, of whichever host.
    async fn is_overtaken(&self, deployment: &Deployment) -> bool {
        let catalog = self.parts.catalog.clone();
        let deployment = deployment.clone();
        spawn_blocking(move || is_overtaken(&catalog, &deployment)).await.unwrap_or(true)
    }

    /// The catalog is ahead of this actor's desired state, for a moment.
    async fn wait_for_change(&mut self) -> Result<(), Ended> {
        tokio::select! {
            changed = self.desired.changed() => changed,
            () = tokio::time::sleep(CATALOG_WAIT) => Ok(()),
        }
    }
}
