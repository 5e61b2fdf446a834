//! Writes what this host has to say to the status topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::model::names::TransformId;
use crate::model::status::{HostStatus, TransformStatus};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogRecord};

use super::{BEAT, Cluster, RETENTION};

/// How soon a change of state, revision or error is told.
const TURN: Duration = Duration::from_millis(250);
/// How often offsets and lag are told while they change.
const OFFSETS_INTERVAL: Duration = Duration::from_secs(2);

/// What this host runs, at any time.
pub type Statuses = Box<dyn Fn() -> Vec<TransformStatus> + Send>;

/// See the module. One per host.
pub struct Publisher {
    log: Arc<dyn Log>,
    cluster: Arc<Cluster>,
    host: HostStatus,
    statuses: Statuses,
    /// What was told last, and when.
    told: BTreeMap<TransformId, (TransformStatus, Instant)>,
    beat: Option<Instant>,
    failing: bool,
}

impl Publisher {
    /// `url`: where this host's API is for others.
    pub fn new(log: Arc<dyn Log>, cluster: Arc<Cluster>, host: &str, url: Option<String>, statuses: Statuses) -> Self {
        let host = HostStatus { url, ..HostStatus::new(host, Timestamp::now()) };
        Self { log, cluster, host, statuses, told: BTreeMap::new(), beat: None, failing: false }
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
        let mut records = Vec::new();
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
        self.told.retain(|id, _| !gone.contains(id));
        self.told.extend(changed.into_iter().map(|status| (status.id.clone(), (status, now))));
    }

    fn clear(mut self) {
        let told = std::mem::take(&mut self.told);
        let mut records: Vec<LogRecord> = told.keys().map(|id| self.record(Some(id), None)).collect();
        records.push(self.record(None, None));
        self.write(records);
    }

    fn record(&self, id: Option<&TransformId>, value: Option<Vec<u8>>) -> LogRecord {
        let host = &self.host.host;
        let key = id.map_or_else(|| host.clone(), |id| format!("{id}@{host}"));
        LogRecord { offset: 0, timestamp: Timestamp::now().0, key: Some(key.into_bytes()), value, headers: Vec::new() }
    }

    /// Whether it was written. What was not is told again in the next turn.
    fn write(&mut self, records: Vec<LogRecord>) -> bool {
        match self.log.append(&self.cluster.topic, Some(0), records) {
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::warn!(topic = %self.cluster.topic, %error, "the status topic cannot be written, trying again");
            }
            Err(_) => {}
        }
        !self.failing
    }
}

/// Whether a status is to be told now: at once where it matters, offsets now and then, and all before it grows old.
fn is_due(told: Option<&(TransformStatus, Instant)>, status: &TransformStatus, now: Instant) -> bool {
    let Some((told, at)) = told else { return true };
    let age = now.duration_since(*at);
    age >= RETENTION / 2 || !told.is_alike(status) || (age >= OFFSETS_INTERVAL && told != status)
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data")
}
