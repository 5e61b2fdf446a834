//! Writes what transforms say to the log: takes entries out of the journal's queue, a moment's worth at a time.
//!
//! While the log is away the last batch is tried again and the queue fills up; what then finds no room is dropped and
//! counted there. A topic that was deleted is made anew. After a failure an entry may be there twice.

use std::time::Duration;

use tokio::sync::watch;

use crate::model::names::TransformId;
use crate::model::units::{Backoff, Timestamp};
use crate::ports::{LogError, LogRecord};
use crate::telemetry::journal::{Entries, Told};
use crate::telemetry::metrics::Metrics;

use super::feed::{Feed, Feeds};
use super::sampled::Sampled;

/// How long entries are gathered for one write.
const LINGER: Duration = Duration::from_millis(100);
const BATCH_MAX: usize = 2048;
const RETRY: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(10) };

/// See the module. One per host.
pub struct Recorder {
    feeds: Feeds,
    entries: Entries,
    metrics: Metrics,
    failing: bool,
}

/// Records for both topics.
#[derive(Default, Clone)]
struct Batch {
    logs: Vec<LogRecord>,
    samples: Vec<LogRecord>,
}

impl Recorder {
    pub fn new(feeds: Feeds, entries: Entries, metrics: Metrics) -> Self {
        Self { feeds, entries, metrics, failing: false }
    }

    /// Writes until `ended` becomes true, which is when nobody has anything to tell any more.
    pub async fn run(mut self, mut ended: watch::Receiver<bool>) {
        loop {
            let first = tokio::select! {
                first = self.entries.next() => first,
                _ = ended.wait_for(|&ended| ended) => None,
            };
            let Some(first) = first else { break };
            tokio::time::sleep(LINGER).await;
            let mut batch = self.gather(Some(first));
            let mut failures = 0;
            while let Err(left) = self.write(batch).await {
                batch = left;
                tokio::select! {
                    () = tokio::time::sleep(RETRY.after(failures)) => failures += 1,
                    _ = ended.wait_for(|&ended| ended) => break,
                }
            }
        }
        // What was told at the very end, if the log takes it now.
        let last = self.gather(None);
        let _ = self.write(last).await;
    }

    fn gather(&mut self, first: Option<(TransformId, Told)>) -> Batch {
        let mut batch = Batch::default();
        let mut next = first.or_else(|| self.entries.try_next());
        while let Some((id, told)) = next {
            match told {
                Told::Log(entry) => batch.logs.push(record(&id, entry.at, &entry)),
                Told::Sample(sample) => {
                    let at = sample.at;
                    batch.samples.push(record(&id, at, &Sampled::of(*sample, self.entries.host())));
                }
            }
            let full = batch.logs.len() + batch.samples.len() >= BATCH_MAX;
            next = if full { None } else { self.entries.try_next() };
        }
        batch
    }

    /// Writes both parts; what was not written comes back.
    async fn write(&mut self, batch: Batch) -> Result<(), Batch> {
        let Batch { logs, samples } = batch;
        let logs = self.append("log", self.feeds.logs.clone(), logs).await;
        let samples = self.append("sample", self.feeds.samples.clone(), samples).await;
        if logs.is_empty() && samples.is_empty() {
            self.failing = false;
            return Ok(());
        }
        Err(Batch { logs, samples })
    }

    /// What is left to be written.
    async fn append(&mut self, kind: &str, feed: Feed, records: Vec<LogRecord>) -> Vec<LogRecord> {
        if records.is_empty() {
            return records;
        }
        let feeds = self.feeds.clone();
        let written = tokio::task::spawn_blocking(move || {
            let result = feed.append(records.clone());
            if result.is_err() {
                // Deleted, perhaps. If it cannot be made either, the next attempt says so.
                let _ = feeds.ensure();
            }
            (feed, records, result)
        });
        // A panic was reported where it happened; what it was about is lost.
        let Ok((feed, records, result)) = written.await else { return Vec::new() };
        match result {
            Ok(()) => {
                self.metrics.journal_entries(kind, records.len());
                Vec::new()
            }
            Err(error) => {
                self.report(&feed, &error);
                records
            }
        }
    }

    fn report(&mut self, feed: &Feed, error: &LogError) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(topic = %feed.topic(), %error, "the log of the transforms cannot be written, trying again");
        }
    }
}

fn record(id: &TransformId, at: Timestamp, value: &impl serde::Serialize) -> LogRecord {
    let value = serde_json::to_vec(value).expect("plain data");
    LogRecord { offset: 0, timestamp: at.0, key: Some(id.to_string().into_bytes()), value: Some(value), headers: Vec::new() }
}
