//! The one way to write the deployments topic: compare and set, exact over all hosts.
//!
//! A turn makes this host the cluster's one writer ([`Log::exclusive`]: whoever wrote until now is fenced), asks where
//! the topic ends after that, waits until this host has read up to there, decides the request on the state there, and
//! commits its records in one transaction. A turn that is fenced, or whose commit nobody knows the end of, is taken
//! again: the new turn finds the records of the last one by the key of the request, so nothing is written twice.
//! Turns of one host wait for each other; hosts wait longer each time, so that one of them gets through. Changes that wait
//! for a turn of this host share the next one: they are decided in their order, and committed together.
//! [`Turns`] keep the right to write for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::debug;

use crate::audit::AuditLog;
use crate::model::audit::AuditEntry;
use crate::model::names::{ClusterName, Digest, TopicName, TransformId};
use crate::model::random::random_u64;
use crate::model::revision::{Deployment, Outcome};
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{ExclusiveError, Log, LogError, LogRecord, PartitionWrite};
use crate::telemetry::metrics::Metrics;

use super::change::{ChangeResult, Request, SEEN_TIMEOUT};
use super::change_queue::{Answer, ChangeQueue, Decided, QueuedChange};
use super::collector::unused;
use super::control_topic::{check_topic, writer_id};
use super::deployments::Deployments;
use super::error::CatalogError;
use super::kept_writer::{KeptWriter, Turn, Turns};
use super::materialized_topic::MaterializedTopic;
use super::modules::{MANIFESTS, Modules};

/// Longest time that a change is tried while other hosts fence it.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(45);
/// The first wait is longer than a turn usually takes: whoever fenced this host gets done in it.
const FENCED: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(4) };

/// Bytes of records after which a transaction takes no more changes.
const TURN_BYTES_MAX: usize = 1 << 20;
/// Most modules that a turn deletes: changes wait for it.
const COLLECTED_MAX: usize = 1000;

pub struct Writer {
    log: Arc<dyn Log>,
    topic: TopicName,
    transactional_id: String,
    audit: AuditLog,
    metrics: Metrics,
    /// Changes that wait for a turn.
    queue: ChangeQueue,
    turns: Turns,
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
        let audit = AuditLog::new(log.clone(), cluster);
        let transactional_id = writer_id(cluster);
        let queue = ChangeQueue::new(metrics.catalog.clone());
        Self { log, topic, transactional_id, audit, metrics, queue, turns: Turns::default() }
    }

    /// One past the last committed record.
    pub fn end_offset(&self) -> Result<i64, LogError> {
        self.log.written_end(&self.topic, 0)
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
        let own = self.queue.add(id, request);
        let result = {
            let mut turn = self.turns.wait();
            // Perhaps the turn before this one carried it out.
            while !own.is_answered() {
                let together = self.queue.take();
                if together.is_empty() {
                    // The thread that had taken it panicked, after it was sent or before.
                    own.answer(Err(CatalogError::Unseen));
                }
                let mut batch = Batch { writer: self, turn: &mut turn, deployments, modules };
                batch.run(&together, Instant::now() + CHANGE_TIME_MAX);
            }
            own.into_answer()
        };
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
    fn acquire(
        &self,
        kept: Option<KeptWriter>,
        deployments: &MaterializedTopic<Deployments>,
    ) -> Result<KeptWriter, TurnError> {
        let Self { log, topic, transactional_id, .. } = self;
        check_topic(&**log, topic, 1, true)?;
        let writer = match kept {
            Some(kept) => kept,
            None => KeptWriter::new(log.exclusive(transactional_id)?),
        };
        let end_offset = writer.end_offset(topic, 0)?;
        if deployments.wait_for(end_offset, SEEN_TIMEOUT) {
            return Ok(writer);
        }
        Err(LogError::Unavailable(format!("{topic} cannot be read to its end")).into())
    }

    /// Deletes modules that nobody has used for `retention`, [`COLLECTED_MAX`] at most. One attempt: another host that gets
    /// in the way may have used one.
    pub fn collect(
        &self,
        deployments: &MaterializedTopic<Deployments>,
        modules: &Modules,
        now: Timestamp,
        retention: Duration,
    ) -> Result<Vec<Digest>, CatalogError> {
        let mut turn = self.turns.wait();
        drop(turn.take());
        let collect = || -> Result<Vec<Digest>, TurnError> {
            let writer = self.acquire(None, deployments)?;
            modules.catch_up()?;
            let mut unused = unused(&deployments.current(), &modules.current().stored, now, retention);
            unused.truncate(COLLECTED_MAX);
            if !unused.is_empty() {
                let records = modules.ends(&unused, now);
                writer.commit(&[PartitionWrite { topic: modules.topic().clone(), partition: MANIFESTS, records }])?;
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

/// Changes that are carried out together.
struct Batch<'a> {
    writer: &'a Writer,
    turn: &'a mut Turn,
    deployments: &'a MaterializedTopic<Deployments>,
    modules: &'a Modules,
}

/// A decided change, while its transaction is on its way.
struct Sent<'w> {
    change: &'w QueuedChange,
    result: ChangeResult,
}

impl Batch<'_> {
    /// Answers all of the changes.
    fn run(&mut self, changes: &[Arc<QueuedChange>], deadline: Instant) {
        let mut failures = 0;
        loop {
            let left: Vec<&QueuedChange> = changes.iter().map(Arc::as_ref).filter(|change| !change.is_answered()).collect();
            if left.is_empty() {
                return;
            }
            let kept = self.turn.take();
            let was_kept = kept.is_some();
            let (reason, error) = match self.turn(&left, kept) {
                Ok(true) => continue,
                Ok(false) => {
                    self.writer.metrics.catalog.turn_repeated("kept");
                    continue;
                }
                // It may be that of a client that is stale, or of a writer that is not the newest any more: then another host
                // is at its turn.
                Err(error) if was_kept => {
                    self.writer.metrics.catalog.turn_repeated("kept");
                    if matches!(error, TurnError::Again { .. }) {
                        std::thread::sleep(FENCED.spread(0, random_u64()));
                    }
                    continue;
                }
                Err(TurnError::Again { reason, error }) => (reason, error),
                Err(TurnError::Refused(error)) => {
                    // A sent record may be there: a refusal would say that it is not.
                    let unsent = left.iter().filter(|change| !change.is_sent());
                    unsent.for_each(|change| change.answer(Err(error.clone())));
                    ("unknown", error.to_string())
                }
            };
            let left = left.into_iter().filter(|change| !change.is_answered());
            let left: Vec<&QueuedChange> = left.collect();
            let Some(first) = left.first() else { return };
            self.writer.metrics.catalog.turn_repeated(reason);
            debug!(transform = %first.id, reason, error, failures, "a change takes another turn");
            let wait = FENCED.spread(failures, random_u64());
            if Instant::now() + wait > deadline {
                let end = |sent: bool| if sent { CatalogError::Unseen } else { CatalogError::Contended(error.clone()) };
                left.iter().for_each(|change| change.answer(Err(end(change.is_sent()))));
                return;
            }
            std::thread::sleep(wait);
            failures += 1;
        }
    }

    /// Decides the changes in their order, each on all before it, and commits them in one transaction. Those that there is
    /// no room for are left. Returns false if there is nothing to commit, and so nothing that would show whether the kept
    /// writer is still the one: the answers have to stand on a fresh one.
    fn turn(&mut self, changes: &[&QueuedChange], kept: Option<KeptWriter>) -> Result<bool, TurnError> {
        let was_kept = kept.is_some();
        let writer = self.writer.acquire(kept, self.deployments)?;
        if changes.iter().any(|change| change.needs_module()) {
            // From here on no other host can delete the module without fencing this one, and then the commit fails.
            self.modules.catch_up()?;
        }
        let mut all = self.deployments.current();
        let mut records = Vec::new();
        let mut entries = Vec::new();
        let mut sent = Vec::new();
        // Answers that stand on changes of this turn: they hold once these are committed.
        let mut answers: Vec<(&QueuedChange, Answer)> = Vec::new();
        for change in changes {
            let decision = match change.decide(&all, &|module| self.modules.bytes(module)) {
                Decided::Write(decision) => decision,
                Decided::Answer(answer) => {
                    answers.push((change, answer));
                    continue;
                }
            };
            if decision.result.outcome != Outcome::Unchanged {
                entries.push(change.request.audit_entry(&change.id, decision.result.deployment.revision));
            }
            sent.push(Sent { change, result: decision.result });
            records.extend(decision.records.iter().cloned());
            if sent.len() == changes.len() || bytes_of(&records) > TURN_BYTES_MAX || !apply(&mut all, &decision.records) {
                break;
            }
        }
        match (sent.is_empty(), was_kept) {
            (false, _) => self.commit(writer, records, &entries, sent)?,
            (true, false) => self.writer.turns.keep(self.turn, Some(writer)),
            (true, true) => return Ok(false),
        }
        answers.into_iter().for_each(|(change, answer)| change.answer(answer));
        Ok(true)
    }

    fn commit(
        &mut self,
        writer: KeptWriter,
        records: Vec<LogRecord>,
        entries: &[AuditEntry],
        sent: Vec<Sent<'_>>,
    ) -> Result<(), TurnError> {
        let mut writes = vec![PartitionWrite { topic: self.writer.topic.clone(), partition: 0, records }];
        if !entries.is_empty() {
            writes.push(self.writer.audit.write(entries));
        }
        sent.iter().for_each(|Sent { change, result }| change.note_sent(&result.deployment));
        let writer = match writer.commit(&writes) {
            Ok(writer) => writer,
            Err(ExclusiveError::Log(error)) => {
                sent.iter().for_each(|Sent { change, .. }| change.forget_sent());
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        // They are there: if this host does not see them in time, it will soon.
        let is_seen = |all: &Arc<Deployments>, deployment: &Deployment| {
            all.get(&deployment.id).is_some_and(|now| now.changes >= deployment.changes)
        };
        let all_seen = |all: &Arc<Deployments>| sent.iter().all(|Sent { result, .. }| is_seen(all, &result.deployment));
        // Its next turn would take the end of the topic for one that it has seen: only a new writer begins behind its markers.
        if self.deployments.wait_until(SEEN_TIMEOUT, all_seen) {
            self.writer.turns.keep(self.turn, writer);
        }
        sent.into_iter().for_each(|Sent { change, result }| change.answer(Ok((result, false))));
        Ok(())
    }
}

/// Shows later changes of the same turn what an earlier one writes. Returns false if it cannot be shown: then they take
/// another turn.
fn apply(all: &mut Arc<Deployments>, records: &[LogRecord]) -> bool {
    let all = Arc::make_mut(all);
    records.iter().all(|record| all.take(record).is_ok())
}

fn bytes_of(records: &[LogRecord]) -> usize {
    records.iter().map(|record| record.value.as_ref().map_or(0, Vec::len)).sum()
}
