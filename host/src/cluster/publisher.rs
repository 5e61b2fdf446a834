//! Writes the status of this host and its transforms to the status topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::model::format::{Format, encode};
use crate::model::names::TransformId;
use crate::model::status::{HostStatus, TransformStatus};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogRecord};
use crate::telemetry::activity::ActivityMeter;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::transform_log::TransformLog;

use super::cluster_status::TAIL;
use super::event_recorder::EventRecorder;
use super::status_record::status_json;
use super::tail_subscriptions::{TailRequests, TailSubscriptions};
use super::times::{BEAT, HOST_RETENTION, SILENT_MAX};
use super::view::{Cluster, ensure_status};

/// Longest time until a change of state, revision or error is written.
const TURN: Duration = Duration::from_millis(250);
/// Time between two records of offsets and lag that change.
const OFFSETS_INTERVAL: Duration = Duration::from_secs(2);
/// Time between two records of a status that does not change: the log drops old ones, and the topic may be recreated.
const AGAIN: Duration = Duration::from_secs(60);

/// Gives the statuses of the transforms that this host runs.
pub type StatusSource = Box<dyn Fn() -> Vec<TransformStatus> + Send>;

/// The writer of this host's statuses. One per host.
pub struct Publisher {
    log: Arc<dyn Log>,
    cluster: Arc<Cluster>,
    host: HostStatus,
    statuses: StatusSource,
    tails: Arc<TailSubscriptions>,
    journal: TransformLog,
    events: EventRecorder,
    meter: ActivityMeter,
    metrics: Metrics,
    /// The last record of each status, and its time.
    told: BTreeMap<TransformId, (TransformStatus, Instant)>,
    /// The transforms of which samples were asked for, and when last.
    asked: TailRequests,
    beat: Option<Instant>,
    /// A host that was silent for that long is forgotten.
    host_retention: Duration,
    failing: bool,
}

impl Publisher {
    /// Makes the publisher of a host with this name, and the address of its API for others. `tails` are the clients that look
    /// through this host; events go to the journal.
    pub fn new(
        log: Arc<dyn Log>,
        cluster: Arc<Cluster>,
        (host, url): (&str, Option<String>),
        statuses: StatusSource,
        tails: Arc<TailSubscriptions>,
        (journal, metrics): (TransformLog, Metrics),
    ) -> Self {
        let host = HostStatus { url, ..HostStatus::new(host, Timestamp::now()) };
        let events = EventRecorder::new(journal.clone(), metrics.clone());
        let meter = ActivityMeter::new(metrics.clone());
        Self {
            log,
            cluster,
            host,
            statuses,
            tails,
            journal,
            events,
            meter,
            metrics,
            told: BTreeMap::new(),
            asked: TailRequests::default(),
            beat: None,
            host_retention: HOST_RETENTION,
            failing: false,
        }
    }

    /// Sets the time after which a silent host is forgotten.
    pub fn forgetting_hosts_after(mut self, time: Duration) -> Self {
        // A live one is never forgotten.
        self.host_retention = time.max(SILENT_MAX);
        self
    }

    /// Writes until `shutdown` becomes true; then clears the keys of this host. The work has a thread of its own: if requests
    /// use up those for blocking calls, the host must not look dead.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        let runtime = Handle::current();
        let (sent, ended) = oneshot::channel();
        let work = move || {
            self.publish(&runtime, shutdown);
            let _ = sent.send(());
        };
        if let Err(error) = std::thread::Builder::new().name("status".into()).spawn(work) {
            tracing::error!(%error, "the system gives no thread for the status: this host is seen by no other");
        }
        // After a panic, which was reported where it happened, status ends and the host's work goes on.
        let _ = ended.await;
    }

    fn publish(mut self, runtime: &Handle, mut shutdown: watch::Receiver<bool>) {
        let mut is_over =
            || runtime.block_on(async { tokio::time::timeout(TURN, shutdown.wait_for(|&down| down)).await.is_ok() });
        while !is_over() {
            self.tell(Instant::now());
        }
        self.clear();
    }

    fn tell(&mut self, now: Instant) {
        let mut statuses = (self.statuses)();
        self.meter.measure(&mut statuses, now);
        self.events.tell(&statuses, now);
        self.journal.switches().turn_on_only(&self.cluster.sampled(now));
        let (mut records, asked) = self.ask(now);
        let told_now: BTreeSet<&TransformId> = statuses.iter().map(|status| &status.id).collect();
        let mut gone = self.all_told();
        gone.retain(|id| !told_now.contains(&id));
        records.extend(gone.iter().map(|id| self.record(Some(id), None)));
        let changed = statuses.iter().filter(|status| is_due(self.told.get(&status.id), status, now));
        let changed: Vec<TransformStatus> = changed.cloned().collect();
        records.extend(changed.iter().map(|status| self.record(Some(&status.id), Some(status_json(status)))));
        let beats = self.beat.is_none_or(|beat| now.duration_since(beat) >= BEAT);
        let forgotten = if beats { self.cluster.forgotten(&self.host.host, self.host_retention, now) } else { Vec::new() };
        records.extend(forgotten.iter().map(|key| self.keyed(key.clone(), None)));
        if beats {
            self.host.count(&statuses, Timestamp::now());
            records.push(self.record(None, Some(encode(Format::Host, &self.host))));
        }
        if records.is_empty() || !self.write(records) {
            return;
        }
        for host in forgotten.iter().filter(|key| !key.contains('@')) {
            tracing::info!(host, "a host that has been silent for long is forgotten");
            self.metrics.hosts_forgotten.inc();
        }
        self.beat = if beats { Some(now) } else { self.beat };
        self.asked = asked;
        self.told.retain(|id, _| !gone.contains(id));
        self.told.extend(changed.into_iter().map(|status| (status.id.clone(), (status, now))));
    }

    /// Asks for the samples that somebody looks at through this host, and no longer for those that nobody does.
    fn ask(&self, now: Instant) -> (Vec<LogRecord>, TailRequests) {
        let mut asked = self.asked.clone();
        let turn = asked.turn(&self.tails.wanted(), &self.cluster.asked_by(&self.host.host), now);
        let record = |(id, wanted): (TransformId, bool)| self.tail(&id, wanted.then(|| b"{}".to_vec()));
        (turn.into_iter().map(record).collect(), asked)
    }

    fn clear(mut self) {
        self.events.farewell();
        let mut records: Vec<LogRecord> = self.all_told().iter().map(|id| self.record(Some(id), None)).collect();
        records.extend(self.all_asked().iter().map(|id| self.tail(id, None)));
        records.push(self.record(None, None));
        self.write(records);
    }

    /// The transforms of which others see a status of this host, or will in a moment. The topic alone has those that it told
    /// before it was killed, or before a write failed; nobody else clears them.
    fn all_told(&self) -> BTreeSet<TransformId> {
        let mut all = self.cluster.told_by(&self.host.host);
        all.extend(self.told.keys().cloned());
        all
    }

    /// The transforms whose samples this host has asked for, likewise.
    fn all_asked(&self) -> BTreeSet<TransformId> {
        let mut all = self.cluster.asked_by(&self.host.host);
        all.extend(self.asked.ids().cloned());
        all
    }

    fn record(&self, id: Option<&TransformId>, value: Option<Vec<u8>>) -> LogRecord {
        let host = &self.host.host;
        self.keyed(id.map_or_else(|| host.clone(), |id| format!("{id}@{host}")), value)
    }

    fn tail(&self, id: &TransformId, value: Option<Vec<u8>>) -> LogRecord {
        self.keyed(format!("{TAIL}{id}@{}", self.host.host), value)
    }

    fn keyed(&self, key: String, value: Option<Vec<u8>>) -> LogRecord {
        LogRecord { offset: 0, timestamp: Timestamp::now().0, key: Some(key.into_bytes()), value, headers: Vec::new() }
    }

    /// Returns false if the log did not take the records: they are written in the next turn.
    fn write(&mut self, records: Vec<LogRecord>) -> bool {
        let Err(error) = self.log.append(self.cluster.topic(), Some(0), records) else {
            self.failing = false;
            return true;
        };
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(topic = %self.cluster.topic(), %error, "the status topic cannot be written, trying again");
        }
        // Deleted, perhaps: a new one knows nothing of what was told.
        if ensure_status(&*self.log, self.cluster.topic()).is_ok() {
            self.told.clear();
            self.asked = TailRequests::default();
            self.beat = None;
        }
        false
    }
}

/// Returns true if a status is to be written now: at once if more than offsets changed, and always before it grows old.
fn is_due(told: Option<&(TransformStatus, Instant)>, status: &TransformStatus, now: Instant) -> bool {
    let Some((told, at)) = told else { return true };
    let age = now.duration_since(*at);
    age >= AGAIN || !told.is_alike(status) || (age >= OFFSETS_INTERVAL && told != status)
}
