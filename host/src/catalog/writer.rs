//! The one way to write the deployments topic: compare and set, exact over all hosts.
//!
//! A turn makes this host the cluster's one writer ([`Log::exclusive`]: whoever wrote until now is fenced), asks where
//! the topic ends after that, waits until this host has read up to there, decides the request on the state there, and
//! commits its records in one transaction. A turn that is fenced, or whose commit nobody knows the end of, is taken
//! again: the new turn finds the records of the last one by the key of the request, so nothing is written twice.
//! Turns of one host wait for each other; hosts wait longer each time, so that one of them gets through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::debug;

use crate::model::names::{ClusterName, Digest, TopicName, TransformId};
use crate::model::random::random_u64;
use crate::model::revision::{Outcome, REQUESTS_MAX, RequestKey};
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{ExclusiveError, ExclusiveWriter, Log, LogError};
use crate::telemetry::metrics::Metrics;

use super::change::{Change, ChangeResult, Request, SEEN_TIMEOUT};
use super::collector::unused;
use super::control_topic::check_topic;
use super::decide::{decide, earlier_result};
use super::deployments::Deployments;
use super::error::CatalogError;
use super::materialized_topic::MaterializedTopic;
use super::modules::{MANIFESTS, Modules};

/// Longest time that a change is tried while other hosts fence it.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(45);
/// The first wait is longer than a turn usually takes: whoever fenced this host gets done in it.
const FENCED: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(4) };

pub struct Writer {
    log: Arc<dyn Log>,
    topic: TopicName,
    transactional_id: String,
    metrics: Metrics,
    turn: Mutex<()>,
}

/// The error of a turn that ended without an answer, classed by its remedy.
enum TurnError {
    Refused(CatalogError),
    /// Take another turn.
    Again {
        reason: &'static str,
        error: String,
    },
}

impl<E: Into<CatalogError>> From<E> for TurnError {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl From<ExclusiveError> for TurnError {
    fn from(error: ExclusiveError) -> Self {
        match error {
            ExclusiveError::Fenced(error) => Self::Again { reason: "fenced", error },
            ExclusiveError::Unknown(error) => Self::Again { reason: "unknown", error },
            ExclusiveError::Log(error) => Self::Refused(error.into()),
        }
    }
}

impl Writer {
    pub fn new(log: Arc<dyn Log>, cluster: &ClusterName, topic: TopicName, metrics: Metrics) -> Self {
        Self { log, topic, transactional_id: format!("sandbar.{cluster}.ctl"), metrics, turn: Mutex::new(()) }
    }

    /// One past the last committed record.
    pub fn end_offset(&self) -> Result<i64, LogError> {
        Ok(self.log.offsets(&self.topic, 0)?.1)
    }

    /// Carries out a request, once.
    pub fn change(
        &self,
        id: &TransformId,
        request: Request,
        deployments: &MaterializedTopic<Deployments>,
        modules: &Modules,
    ) -> Result<ChangeResult, CatalogError> {
        let started = Instant::now();
        let _turn = self.turn.lock();
        let mut attempt = Attempt { writer: self, id, request, deployments, modules, sent: None };
        let result = attempt.run(Instant::now() + CHANGE_TIME_MAX);
        let outcome = match &result {
            Ok((_, true)) => "repeated",
            Ok((ChangeResult { outcome: Outcome::Created, .. }, _)) => "created",
            Ok((ChangeResult { outcome: Outcome::Updated, .. }, _)) => "updated",
            Ok((ChangeResult { outcome: Outcome::Unchanged, .. }, _)) => "unchanged",
            Err(error) if error.code().entry().status < 500 => "refused",
            Err(_) => "failed",
        };
        self.metrics.catalog.changed(outcome, started.elapsed());
        result.map(|(result, _)| result)
    }
}

impl Writer {
    /// From here on nobody else changes the catalog, or this host's commit fails; all changes before are seen.
    fn acquire(&self, deployments: &MaterializedTopic<Deployments>) -> Result<Box<dyn ExclusiveWriter>, TurnError> {
        let Self { log, topic, transactional_id, .. } = self;
        check_topic(&**log, topic, 1, true)?;
        let exclusive = log.exclusive(transactional_id)?;
        let end_offset = exclusive.end_offset(topic, 0)?;
        if deployments.wait_for(end_offset, SEEN_TIMEOUT) {
            return Ok(exclusive);
        }
        Err(LogError::Unavailable(format!("{topic} cannot be read to its end")).into())
    }

    /// Deletes the modules that nobody has used for `retention`. One attempt: another host that gets in the way may
    /// have used one.
    pub fn collect(
        &self,
        deployments: &MaterializedTopic<Deployments>,
        modules: &Modules,
        now: Timestamp,
        retention: Duration,
    ) -> Result<Vec<Digest>, CatalogError> {
        let _turn = self.turn.lock();
        let collect = || -> Result<Vec<Digest>, TurnError> {
            let exclusive = self.acquire(deployments)?;
            modules.catch_up()?;
            let unused = unused(&deployments.current(), &modules.current().stored, now, retention);
            if !unused.is_empty() {
                exclusive.commit(modules.topic(), MANIFESTS, modules.ends(&unused, now))?;
                modules.catch_up()?;
            }
            Ok(unused)
        };
        match collect() {
            Ok(collected) => Ok(collected),
            Err(TurnError::Refused(error)) => Err(error),
            Err(TurnError::Again { reason, error }) => {
                debug!(reason, error, "a collection of modules is left for later");
                Ok(Vec::new())
            }
        }
    }
}

/// One request on its way.
struct Attempt<'a> {
    writer: &'a Writer,
    id: &'a TransformId,
    request: Request,
    deployments: &'a MaterializedTopic<Deployments>,
    modules: &'a Modules,
    /// A record was sent, under this key and as this change of the transform, and may be in the topic.
    sent: Option<(RequestKey, u64)>,
}

impl Attempt<'_> {
    /// The answer, and whether an earlier request had it already.
    fn run(&mut self, deadline: Instant) -> Result<(ChangeResult, bool), CatalogError> {
        let mut failures = 0;
        loop {
            let (reason, error) = match self.turn() {
                Ok(answer) => return Ok(answer),
                Err(TurnError::Refused(error)) if self.sent.is_none() || matches!(error, CatalogError::Unseen) => {
                    return Err(error);
                }
                // The sent record may be there: a refusal would say that it is not.
                Err(TurnError::Refused(error)) => ("unknown", error.to_string()),
                Err(TurnError::Again { reason, error }) => (reason, error),
            };
            self.writer.metrics.catalog.turn_repeated(reason);
            debug!(transform = %self.id, reason, error, failures, "a change takes another turn");
            let wait = FENCED.spread(failures, random_u64());
            if Instant::now() + wait > deadline {
                return Err(if self.sent.is_some() { CatalogError::Unseen } else { CatalogError::Contended(error) });
            }
            std::thread::sleep(wait);
            failures += 1;
        }
    }

    fn turn(&mut self) -> Result<(ChangeResult, bool), TurnError> {
        let topic = &self.writer.topic;
        let exclusive = self.writer.acquire(self.deployments)?;
        if matches!(self.request.change, Change::Put { .. } | Change::Rollback { .. }) {
            // From here on no other host can delete the module without fencing this one, and then the commit fails.
            self.modules.catch_up()?;
        }
        let all = self.deployments.current();
        if let Some(answer) = self.earlier_answer(&all)? {
            return Ok(answer);
        }
        let decision = match decide(&all, self.id, &self.request, &|module| self.modules.bytes(module)) {
            Ok(decision) => decision,
            // Nothing was written, and by now it is certain.
            Err(error) => {
                self.sent = None;
                return Err(error.into());
            }
        };
        if decision.records.is_empty() {
            return Ok((decision.result, false));
        }
        let deployment = &decision.result.deployment;
        let answer = deployment.requests.last().expect("the request that made the record is noted in it");
        self.sent = Some((answer.key.clone(), deployment.changes));
        match exclusive.commit(topic, 0, decision.records) {
            Ok(()) => {}
            Err(ExclusiveError::Log(error)) => {
                self.sent = None;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
        let id = self.id;
        let changes = deployment.changes;
        // It is there: if this host does not see it in time, it will soon.
        let _ = self.deployments.wait_until(SEEN_TIMEOUT, |all| all.get(id).is_some_and(|now| now.changes >= changes));
        Ok((decision.result, false))
    }

    /// Finds the earlier answer to this request: of whichever host, or of a turn whose end was not known.
    fn earlier_answer(&mut self, all: &Deployments) -> Result<Option<(ChangeResult, bool)>, TurnError> {
        let Some((key, change)) = &self.sent else {
            return Ok(earlier_result(all, self.id, &self.request)?.map(|result| (result, true)));
        };
        let request = Request { key: Some(key.clone()), ..self.request.clone() };
        if let Some(result) = earlier_result(all, self.id, &request)? {
            return Ok(Some((result, false)));
        }
        // Since then there were so many changes that it may have been among them: nobody can say any more.
        if all.get(self.id).is_some_and(|now| now.changes >= change.saturating_add(REQUESTS_MAX as u64)) {
            return Err(CatalogError::Unseen.into());
        }
        self.sent = None;
        Ok(None)
    }
}
