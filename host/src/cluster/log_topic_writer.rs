//! Writes the transforms' log lines, events and samples to their topics, in batches of a moment.
//!
//! There is one writer for lines and events, and one for samples, so that neither waits for the other's topic. While
//! the log is away the last batch is tried again and the queue fills up; an entry that finds no room then is dropped and
//! counted there. A record that the log refuses for its own sake (too large for its topic) is dropped and counted too: it would
//! hold up all that come after it. A topic that was deleted is created again. After a failure an entry may be there twice.

use std::time::Duration;

use tokio::sync::watch;

use crate::model::names::TransformId;
use crate::model::random::random_u64;
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{LogError, LogRecord};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::transform_log::{Entry, EntryKind, EntryReader};

use super::log_topic::{LogTopic, LogTopics};
use super::sample::SampleValue;

/// Time for which entries are gathered for one write.
const LINGER: Duration = Duration::from_millis(100);
/// Bytes of one kind that are written at once, about.
const BATCH_BYTES_MAX: usize = 1 << 20;
const RETRY: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(10) };

/// The writer of one queue of lines and events, or of samples. Two per host.
pub struct LogTopicWriter {
    topics: LogTopics,
    entries: EntryReader,
    metrics: Metrics,
    failing: bool,
}

type Batch = Vec<(EntryKind, LogRecord)>;

/// The result of a write.
enum WriteResult {
    All,
    /// Not now: it is to be tried again.
    Retry(Batch),
    /// The log does not take something of it.
    Refused(Batch),
}

impl LogTopicWriter {
    pub fn new(topics: LogTopics, entries: EntryReader, metrics: Metrics) -> Self {
        Self { topics, entries, metrics, failing: false }
    }

    /// Writes until `ended` becomes true, which is when nobody has anything to tell any more.
    pub async fn run(mut self, mut ended: watch::Receiver<bool>) {
        while !*ended.borrow() {
            let batch = self.gather();
            if batch.is_empty() {
                tokio::select! {
                    () = self.entries.wait() => {}
                    _ = ended.wait_for(|&ended| ended) => break,
                }
            } else {
                self.record(batch, &mut ended).await;
            }
            tokio::time::sleep(LINGER).await;
        }
        // What was told at the very end, if the log takes it now.
        loop {
            let batch = self.gather();
            if batch.is_empty() || matches!(self.write(batch).await, WriteResult::Retry(_)) {
                break;
            }
        }
    }

    fn gather(&self) -> Batch {
        let taken = self.entries.take(BATCH_BYTES_MAX).into_iter().map(|(id, told)| match told {
            Entry::Log(entry) => {
                let kind = if entry.event.is_some() { EntryKind::Event } else { EntryKind::Log };
                (kind, record(&id, entry.at, &entry))
            }
            Entry::Sample(sample) => {
                let at = sample.at;
                (EntryKind::Sample, record(&id, at, &SampleValue::of(*sample, self.entries.host())))
            }
        });
        let mut batch: Batch = taken.collect();
        // Events and lines wait apart; they are read in the order of their times.
        batch.sort_by_key(|(_, record)| record.timestamp);
        batch
    }

    /// Writes a batch, as often as it takes; gives up at the end.
    async fn record(&mut self, batch: Batch, ended: &mut watch::Receiver<bool>) {
        // One that was refused is written record by record: only the culprit is lost.
        let mut parts = vec![batch];
        let mut failures = 0;
        while let Some(part) = parts.pop() {
            match self.write(part).await {
                WriteResult::All => failures = 0,
                WriteResult::Refused(part) if part.len() == 1 => self.entries.lost(part[0].0, 1),
                WriteResult::Refused(part) => parts.extend(part.into_iter().rev().map(|record| vec![record])),
                WriteResult::Retry(part) => {
                    parts.push(part);
                    tokio::select! {
                        () = tokio::time::sleep(RETRY.spread(failures, random_u64())) => failures += 1,
                        _ = ended.wait_for(|&ended| ended) => return,
                    }
                }
            }
        }
    }

    async fn write(&mut self, batch: Batch) -> WriteResult {
        let topics = self.topics.clone();
        let written = tokio::task::spawn_blocking(move || {
            let topic = topic_of(&topics, &batch);
            let result = topic.append(batch.iter().map(|(_, record)| record.clone()).collect());
            if result.is_err() {
                // Deleted, perhaps. If it cannot be made either, the next attempt says so.
                let _ = topics.ensure();
            }
            (batch, result)
        });
        // A panic was reported where it happened; what it was about is lost.
        let Ok((batch, result)) = written.await else { return WriteResult::All };
        match result {
            Ok(()) => {
                self.failing = false;
                for kind in [EntryKind::Event, EntryKind::Log, EntryKind::Sample] {
                    let count = batch.iter().filter(|(own, _)| *own == kind).count();
                    self.metrics.transform_log.written(kind, count);
                }
                WriteResult::All
            }
            Err(LogError::Refused(_)) => WriteResult::Refused(batch),
            Err(error) => {
                self.report(&batch, &error);
                WriteResult::Retry(batch)
            }
        }
    }

    fn report(&mut self, batch: &Batch, error: &LogError) {
        if !std::mem::replace(&mut self.failing, true) {
            let topic = topic_of(&self.topics, batch).topic();
            tracing::warn!(%topic, %error, "the log of the transforms cannot be written, trying again");
        }
    }
}

fn topic_of<'a>(topics: &'a LogTopics, batch: &Batch) -> &'a LogTopic {
    match batch.first() {
        Some((EntryKind::Sample, _)) => &topics.samples,
        _ => &topics.logs,
    }
}

fn record(id: &TransformId, at: Timestamp, value: &impl serde::Serialize) -> LogRecord {
    let value = serde_json::to_vec(value).expect("plain data");
    LogRecord { offset: 0, timestamp: at.0, key: Some(id.to_string().into_bytes()), value: Some(value), headers: Vec::new() }
}
