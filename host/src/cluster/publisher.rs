//! Writes what this host has to say to the status topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::model::format::{Format, encode};
use crate::model::names::TransformId;
use crate::model::status::{HostStatus, TransformStatus};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogRecord};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::transform_log::TransformLog;

use super::fold::TAIL;
use super::tail_subscriptions::Asked;
use super::{BEAT, Cluster, EventRecorder, TailSubscriptions, ensure_status};

/// How soon a change of state, revision or error is told.
const TURN: Duration = Duration::from_millis(250);
/// How often offsets and lag are told while they change.
const OFFSETS_INTERVAL: Duration = Duration::from_secs(2);
/// Largest status of a transform that is told whole. Brokers take records of 1 MiB by default, and one that is refused
/// would keep all others from being told.
const STATUS_BYTES_MAX: usize = 512 * 1024;
/// How often a status is told that does not change: the log drops old ones, and the topic may have been made anew.
const AGAIN: Duration = Duration::from_secs(60);

/// What this host runs, at any time.
pub type Statuses = Box<dyn Fn() -> Vec<TransformStatus> + Send>;

/// See the module. One per host.
pub struct Publisher {
    log: Arc<dyn Log>,
    cluster: Arc<Cluster>,
    host: HostStatus,
    statuses: Statuses,
    tails: Arc<TailSubscriptions>,
    journal: TransformLog,
    narrator: EventRecorder,
    /// What was told last, and when.
    told: BTreeMap<TransformId, (TransformStatus, Instant)>,
    /// The transforms of which samples were asked for, and when last.
    asked: Asked,
    beat: Option<Instant>,
    failing: bool,
}

impl Publisher {
    /// The host by its name, and where its API is for others. `tails` are those who look through this host; what happens on it goes to the journal.
    pub fn new(
        log: Arc<dyn Log>,
        cluster: Arc<Cluster>,
        (host, url): (&str, Option<String>),
        statuses: Statuses,
        tails: Arc<TailSubscriptions>,
        (journal, metrics): (TransformLog, Metrics),
    ) -> Self {
        let host = HostStatus { url, ..HostStatus::new(host, Timestamp::now()) };
        let narrator = EventRecorder::new(journal.clone(), metrics);
        let (told, asked) = (BTreeMap::new(), Asked::default());
        Self { log, cluster, host, statuses, tails, journal, narrator, told, asked, beat: None, failing: false }
    }

    /// Tells until `shutdown` becomes true; then clears what was told.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TURN) => {}
                _ = shutdown.wait_for(|&down| down) => break,
            }
            let turned = tokio::task::spawn_blocking(move || {
                self.tell(Instant::now());
                self
            });
            // A panic in there was reported where it happened; status ends, the host's work goes on.
            let Ok(publisher) = turned.await else { return };
            self = publisher;
        }
        let farewell = tokio::task::spawn_blocking(move || self.clear());
        let _ = farewell.await;
    }

    fn tell(&mut self, now: Instant) {
        let statuses = (self.statuses)();
        self.narrator.tell(&statuses, now);
        self.journal.switches().turn_on_only(&self.cluster.sampled(now));
        let (mut records, asked) = self.ask(now);
        let gone = self.told.keys().filter(|id| !statuses.iter().any(|status| status.id == **id));
        let gone: Vec<TransformId> = gone.cloned().collect();
        records.extend(gone.iter().map(|id| self.record(Some(id), None)));
        let changed = statuses.iter().filter(|status| is_due(self.told.get(&status.id), status, now));
        let changed: Vec<TransformStatus> = changed.cloned().collect();
        records.extend(changed.iter().map(|status| self.record(Some(&status.id), Some(status_json(status)))));
        let beats = self.beat.is_none_or(|beat| now.duration_since(beat) >= BEAT);
        if beats {
            self.host.count(&statuses, Timestamp::now());
            records.push(self.record(None, Some(encode(Format::Host, &self.host))));
        }
        if records.is_empty() || !self.write(records) {
            return;
        }
        self.beat = if beats { Some(now) } else { self.beat };
        self.asked = asked;
        self.told.retain(|id, _| !gone.contains(id));
        self.told.extend(changed.into_iter().map(|status| (status.id.clone(), (status, now))));
    }

    /// Asks for the samples that somebody looks at through this host, and no longer for those that nobody does.
    fn ask(&self, now: Instant) -> (Vec<LogRecord>, Asked) {
        let mut asked = self.asked.clone();
        let turn = asked.turn(&self.tails.wanted(), now);
        let record = |(id, wanted): (TransformId, bool)| {
            self.keyed(format!("{TAIL}{id}@{}", self.host.host), wanted.then(|| b"{}".to_vec()))
        };
        (turn.into_iter().map(record).collect(), asked)
    }

    fn clear(mut self) {
        self.narrator.farewell();
        let told = std::mem::take(&mut self.told);
        let mut records: Vec<LogRecord> = told.keys().map(|id| self.record(Some(id), None)).collect();
        let asked = self.asked.ids().map(|id| self.keyed(format!("{TAIL}{id}@{}", self.host.host), None));
        records.extend(asked);
        records.push(self.record(None, None));
        self.write(records);
    }

    fn record(&self, id: Option<&TransformId>, value: Option<Vec<u8>>) -> LogRecord {
        let host = &self.host.host;
        self.keyed(id.map_or_else(|| host.clone(), |id| format!("{id}@{host}")), value)
    }

    fn keyed(&self, key: String, value: Option<Vec<u8>>) -> LogRecord {
        LogRecord { offset: 0, timestamp: Timestamp::now().0, key: Some(key.into_bytes()), value, headers: Vec::new() }
    }

    /// Whether it was written. What was not is told again in the next turn.
    fn write(&mut self, records: Vec<LogRecord>) -> bool {
        let Err(error) = self.log.append(&self.cluster.topic, Some(0), records) else {
            self.failing = false;
            return true;
        };
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(topic = %self.cluster.topic, %error, "the status topic cannot be written, trying again");
        }
        // Deleted, perhaps: a new one knows nothing of what was told.
        if ensure_status(&*self.log, &self.cluster.topic).is_ok() {
            self.told.clear();
            self.asked = Asked::default();
            self.beat = None;
        }
        false
    }
}

/// Whether a status is to be told now: at once where it matters, offsets now and then, and all before it grows old.
fn is_due(told: Option<&(TransformStatus, Instant)>, status: &TransformStatus, now: Instant) -> bool {
    let Some((told, at)) = told else { return true };
    let age = now.duration_since(*at);
    age >= AGAIN || !told.is_alike(status) || (age >= OFFSETS_INTERVAL && told != status)
}

/// A status as its record holds it. Messages of its partitions are a guest's, and there may be many partitions: where
/// that is too much, they are left out.
fn status_json(status: &TransformStatus) -> Vec<u8> {
    let whole = encode(Format::Status, status);
    if whole.len() <= STATUS_BYTES_MAX {
        return whole;
    }
    let mut short = status.clone();
    for error in short.partitions.iter_mut().filter_map(|partition| partition.error.as_mut()) {
        error.message = "there are too many errors to tell each: see the logs".to_owned();
    }
    encode(Format::Status, &short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::codes::Code;
    use crate::model::status::{LastError, PartitionStatus, Rollout, RolloutState, State};

    /// A status with so many partitions that failed, with messages of so many control characters.
    #[track_caller]
    fn check(partitions: i32, message: usize, is_whole: bool) {
        let error = || LastError { code: Code::Trap, message: "\x1b".repeat(message), offset: None, at: Timestamp(0) };
        let partition = |partition| PartitionStatus {
            restoring: None,
            stores: Vec::new(),
            topic: "in".parse().expect("valid"),
            partition,
            committed_offset: Some(7),
            end_offset: None,
            lag: None,
            state: State::Paused,
            revision: 1,
            revision_since: 0,
            error: Some(error()),
        };
        let status = TransformStatus {
            id: "t/n".parse().expect("valid"),
            state: State::Degraded,
            revision: 1,
            rollout: Rollout { revision: 1, state: RolloutState::Complete, error: None },
            host: "a".into(),
            error: Some(error()),
            partitions: (0..partitions).map(partition).collect(),
        };
        let told = status_json(&status);
        assert!(told.len() <= STATUS_BYTES_MAX, "{} bytes", told.len());
        let read: TransformStatus = serde_json::from_slice(&told).expect("a status");
        assert_eq!((read == status, read.partitions.len(), read.error), (is_whole, partitions as usize, status.error));
    }

    #[test]
    fn a_status_fits_into_a_record() {
        check(10, 2048, true);
        check(400, 100, true);
        check(600, 2048, false);
    }
}
