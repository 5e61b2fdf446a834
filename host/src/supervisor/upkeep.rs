//! Looks after the workers between two changes: their threads, their inputs, and revisions that other hosts committed.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::model::clock::Monotonic;
use crate::model::codes::Code;
use crate::model::revision::Deployment;
use crate::ports::{OpenError, StateOpener};

use super::actor::Actor;
use super::begin::{InputChange, begin, input_change};
use super::error::PrepareError;
use super::newest::committed_revision;
use super::plan::RunState;
use super::workers::WorkerSessions;

/// Time between two counts of the partitions of inputs, for transforms with stores. Workers that commit count them before
/// each commit, so this one is for idle workers.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(5);
/// Time until new partitions are begun again after a failure.
const BEGIN_RETRY_AFTER: Duration = Duration::from_secs(5);

impl Actor {
    /// Looks after the workers.
    pub async fn inspect(&mut self, desired: Option<&Deployment>) {
        let target = self.report.borrow().target;
        if self.workers.has_ended() {
            self.start_failed(target, PrepareError::new(Code::Internal, "a worker ended unexpectedly"));
            return;
        }
        if let Some(error) = self.changed_partitions().await {
            self.stop_workers().await;
            self.start_failed(target, error);
            return;
        }
        self.begin_new_partitions().await;
        self.follow_ends();
        self.show_stale_tables();
        self.catch_up(desired).await;
        let phase = self.report.borrow().phase();
        if let Some(phase) = phase {
            self.parts.crashes.look(&self.id, phase);
        }
        if self.state != RunState::Idle {
            self.gauge();
        }
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
            self.workers.note_ends(&self.inputs.ends());
        }
        self.inputs.set_waiting(&self.id, waiting);
    }

    /// Shows a table that does not follow its topic, of the revisions that run.
    fn show_stale_tables(&mut self) {
        let running: BTreeSet<u64> = self.report.borrow().workers().iter().map(|worker| worker.revision).collect();
        // A worker without a session runs none; revisions before the lowest do not come back.
        let lowest = running.iter().copied().find(|revision| *revision > 0).unwrap_or(0);
        self.tables.retain(|revision, _| *revision >= lowest);
        let used = self.tables.iter().filter(|(revision, _)| running.contains(revision));
        let stale = self.parts.tables.stale(used.flat_map(|(_, topics)| topics));
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
        if self.begin_failed_at.is_some_and(|at| now < at.after(BEGIN_RETRY_AFTER)) {
            return;
        }
        let has_stores = self.workers.stores().is_some();
        match input_change(&self.parts.positions, &self.inputs, &self.id, &membership.inputs, &begun, has_stores) {
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
        let deployment = if newest == desired.revision && desired.unread.is_none() {
            desired.clone()
        } else {
            let catalog = self.parts.catalog.clone();
            let id = self.id.clone();
            match spawn_blocking(move || committed_revision(&catalog, &id, newest)).await {
                Ok(Ok(Some(revision))) => revision.to_deployment(desired.asked),
                Ok(Err(stranded)) => return self.workers.strand(stranded),
                // Not read from the catalog yet: looked for again.
                Ok(Ok(None)) | Err(_) => return,
            }
        };
        match self.prepare(&deployment).await {
            Ok((prepared, _)) if self.workers.can_swap(&prepared) => self.swap(prepared),
            Ok(_) => {}
            Err(error) => self.start_failed(deployment.revision, error),
        }
    }
}
