//! The changes of one host that wait for a turn of its writer, in their order.

use std::sync::Arc;

use parking_lot::Mutex;

use super::change::{Change, ChangeResult, Request};
use super::decide::{Decision, decide, earlier_result};
use super::deployments::Deployments;
use super::error::CatalogError;
use crate::model::names::{Digest, TransformId};
use crate::model::revision::{Deployment, REQUESTS_MAX, RequestKey};
use crate::telemetry::metrics::CatalogMetrics;

/// The result of a change; true if an earlier request had it already.
pub type Answer = Result<(ChangeResult, bool), CatalogError>;

/// The changes that wait for the writer of this host.
pub struct ChangeQueue {
    waiting: Mutex<Vec<Arc<QueuedChange>>>,
    metrics: CatalogMetrics,
}

/// The decision on a change.
pub enum Decided {
    Write(Decision),
    /// There is nothing to write: the content that it was decided on answers it.
    Answer(Answer),
}

/// A change on its way. Whoever has the turn of the writer carries it out, and its own thread takes the answer.
pub struct QueuedChange {
    pub id: TransformId,
    pub request: Request,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// A record was sent, under this key and as this change of the transform, and may be in the topic.
    sent: Option<(RequestKey, u64)>,
    answer: Option<Answer>,
}

// === impl ChangeQueue ===

impl ChangeQueue {
    pub fn new(metrics: CatalogMetrics) -> Self {
        Self { waiting: Mutex::default(), metrics }
    }

    /// Adds a change at the end.
    pub fn add(&self, id: &TransformId, request: Request) -> Arc<QueuedChange> {
        let change = Arc::new(QueuedChange { id: id.clone(), request, progress: Mutex::default() });
        let mut waiting = self.waiting.lock();
        waiting.push(change.clone());
        self.metrics.changes_waiting(waiting.len());
        change
    }

    /// Takes all changes that wait.
    pub fn take(&self) -> Vec<Arc<QueuedChange>> {
        let mut waiting = self.waiting.lock();
        self.metrics.changes_waiting(0);
        std::mem::take(&mut *waiting)
    }
}

// === impl QueuedChange ===

impl QueuedChange {
    pub fn is_answered(&self) -> bool {
        self.progress.lock().answer.is_some()
    }

    pub fn answer(&self, answer: Answer) {
        self.progress.lock().answer = Some(answer);
    }

    /// Takes the answer. There is one.
    pub fn into_answer(self: Arc<Self>) -> Answer {
        self.progress.lock().answer.take().expect("whoever had the turn has answered it")
    }

    pub fn is_sent(&self) -> bool {
        self.progress.lock().sent.is_some()
    }

    /// Notes that the record of the change may be in the topic from now on.
    pub fn note_sent(&self, deployment: &Deployment) {
        let entry = deployment.requests.last().expect("the request that made the record is noted in it");
        self.progress.lock().sent = Some((entry.key.clone(), deployment.changes));
    }

    /// Notes that nothing was written.
    pub fn forget_sent(&self) {
        self.progress.lock().sent = None;
    }

    pub fn needs_module(&self) -> bool {
        matches!(self.request.change, Change::Put { .. } | Change::Rollback { .. })
    }

    /// Decides the change on the catalog's content.
    pub fn decide(&self, all: &Deployments, module_bytes: &dyn Fn(&Digest) -> Option<u64>) -> Decided {
        match self.earlier_answer(all) {
            Ok(None) => {}
            Ok(Some(answer)) => return Decided::Answer(Ok(answer)),
            Err(error) => return Decided::Answer(Err(error)),
        }
        match decide(all, &self.id, &self.request, module_bytes) {
            Ok(decision) if decision.records.is_empty() => Decided::Answer(Ok((decision.result, false))),
            Ok(decision) => Decided::Write(decision),
            Err(error) => Decided::Answer(Err(error)),
        }
    }

    /// Finds the earlier answer to this request: of whichever host, or of a turn whose end was not known.
    fn earlier_answer(&self, all: &Deployments) -> Result<Option<(ChangeResult, bool)>, CatalogError> {
        let sent = self.progress.lock().sent.clone();
        let Some((key, change)) = sent else {
            return Ok(earlier_result(all, &self.id, &self.request)?.map(|result| (result, true)));
        };
        let request = Request { key: Some(key), ..self.request.clone() };
        if let Some(result) = earlier_result(all, &self.id, &request)? {
            return Ok(Some((result, false)));
        }
        // Since then there were so many changes that it may have been among them: nobody can say any more.
        if all.get(&self.id).is_some_and(|now| now.changes >= change.saturating_add(REQUESTS_MAX as u64)) {
            return Err(CatalogError::Unseen);
        }
        self.forget_sent();
        Ok(None)
    }
}
