//! Writes what this host has to say to the status topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::model::names::TransformId;
use crate::model::status::{HostStatus, TransformStatus};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogRecord};
use crate::telemetry::journal::Journal;
use crate::telemetry::metrics::Metrics;

use super::fold::TAIL;
use super::{BEAT, Cluster, Narrator, Tails, ensure_status};

/// How soon a change of state, revision or error is told.
const TURN: Duration = Duration::from_millis(250);
/// How often offsets and lag are told while they change.
const OFFSETS_INTERVAL: Duration = Duration::from_secs(2);
/// Transforms whose samples this host asks for at once, and those of one team.
const ASKED_MAX: usize = 64;
const ASKED_PER_TEAM_MAX: usize = 16;
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
    tails: Arc<Tails>,
    journal: Journal,
    narrator: Narrator,
    /// What was told last, and when.
    told: BTreeMap<TransformId, (TransformStatus, Instant)>,
    /// The transforms of which samples were asked for, and when last.
    asked: BTreeMap<TransformId, Instant>,
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
        tails: Arc<Tails>,
        (journal, metrics): (Journal, Metrics),
    ) -> Self {
        let host = HostStatus { url, ..HostStatus::new(host, Timestamp::now()) };
        let narrator = Narrator::new(journal.clone(), metrics);
        let (told, asked) = (BTreeMap::new(), BTreeMap::new());
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
        self.journal.sample_only(&self.cluster.sampled(now));
        let (mut records, asked) = self.ask(now);
        let gone = self.told.keys().filter(|id| !statuses.iter().any(|status| status.id == **id));
        let gone: Vec<TransformId> = gone.cloned().collect();
        records.extend(gone.iter().map(|id| self.record(Some(id), None)));
        let changed = statuses.iter().filter(|status| is_due(self.told.get(&status.id), status, now));
        let changed: Vec<TransformStatus> = changed.cloned().collect();
        records.extend(changed.iter().map(|status| self.record(Some(&status.id), Some(json(status)))));
        let beats = self.beat.is_none_or(|beat| now.duration_since(beat) >= BEAT);
        if beats {
            self.host.count(&statuses, Timestamp::now());
            records.push(self.record(None, Some(json(&self.host))));
        }
        if records.is_empty() || !self.write(records) {
            return;
        }
        self.beat = if beats { Some(now) } else { self.beat };
        self.asked = asked;
        self.told.retain(|id, _| !gone.contains(id));
        self.told.extend(changed.into_iter().map(|status| (status.id.clone(), (status, now))));
    }

    /// Asks for the samples that somebody looks at through this host, and no longer for those that nobody does. Each
    /// transform has a record or two in a beat, however often somebody comes and goes.
    fn ask(&self, now: Instant) -> (Vec<LogRecord>, BTreeMap<TransformId, Instant>) {
        let wanted = self.tails.wanted();
        let mut asked = self.asked.clone();
        let is_fresh = |at: Instant| now.duration_since(at) < BEAT;
        asked.retain(|id, at| wanted.contains(id) || is_fresh(*at));
        let ended = self.asked.keys().filter(|id| !asked.contains_key(*id));
        let tail = |id: &TransformId| format!("{TAIL}{id}@{}", self.host.host);
        let mut records: Vec<LogRecord> = ended.map(|id| self.keyed(tail(id), None)).collect();
        for id in wanted {
            let of_team = asked.keys().filter(|other| other.team == id.team).count();
            let is_due = match asked.get(&id) {
                Some(at) => !is_fresh(*at),
                // Those that nobody looks at any more leave room in a moment.
                None => asked.len() < ASKED_MAX && of_team < ASKED_PER_TEAM_MAX,
            };
            if is_due {
                records.push(self.keyed(tail(&id), Some(b"{}".to_vec())));
                asked.insert(id, now);
            }
        }
        (records, asked)
    }

    fn clear(mut self) {
        self.narrator.farewell();
        let told = std::mem::take(&mut self.told);
        let mut records: Vec<LogRecord> = told.keys().map(|id| self.record(Some(id), None)).collect();
        let asked = self.asked.keys().map(|id| self.keyed(format!("{TAIL}{id}@{}", self.host.host), None));
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
            self.asked.clear();
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

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data")
}
