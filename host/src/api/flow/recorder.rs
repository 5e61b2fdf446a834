//! Records the flow: the view of now, for all readers, and the last minutes of every transform.
//!
//! A point of the history is taken each five seconds, whether or not somebody reads. The view is made once a second, and only
//! while there is a reader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::api_types::{FlowRecent, FlowTransform, HistoryView};
use crate::catalog::Catalog;
use crate::model::access::Party;
use crate::model::names::TransformId;
use crate::model::revision::Deployment;
use crate::model::units::Timestamp;
use crate::telemetry::metrics::HttpMetrics;

use super::super::runtime::Runtime;
use super::history::{History, POINT, Point};
use super::view::{self, Topics};

/// Time between two views.
const VIEW: Duration = Duration::from_secs(1);

/// The flow of now and of the last ten minutes. One per host; cloning shares it.
#[derive(Clone)]
pub struct FlowRecorder {
    parts: Arc<Parts>,
}

struct Parts {
    /// The newest view. Readers wait for the next one here.
    current: watch::Sender<Arc<FlowSnapshot>>,
    last: Mutex<Last>,
    /// Locked for moments only: requests read them on the threads that serve all.
    histories: Mutex<Histories>,
    /// The number of readers of each party that has some ([`Principal::party`](crate::model::access::Principal::party)).
    readers: Mutex<BTreeMap<Party, usize>>,
    metrics: HttpMetrics,
}

/// The work of earlier turns.
#[derive(Default)]
struct Last {
    topics: BTreeMap<TransformId, ((u64, Timestamp), Topics)>,
    view_at: Option<Instant>,
    version: u64,
}

/// The last minutes of all transforms.
#[derive(Default)]
struct Histories {
    by_id: BTreeMap<TransformId, History>,
    point_at: Option<(Instant, Timestamp)>,
}

/// The flow at one moment.
pub struct FlowSnapshot {
    pub at: Timestamp,
    pub transforms: BTreeMap<TransformId, Arc<FlowEntry>>,
}

/// One transform of a snapshot, as JSON.
pub struct FlowEntry {
    /// The number of the first snapshot that has this JSON.
    pub version: u64,
    pub json: Box<RawValue>,
}

/// A reader of the flow, until it is dropped.
pub struct FlowReader {
    pub recorder: FlowRecorder,
    pub snapshots: watch::Receiver<Arc<FlowSnapshot>>,
    party: Party,
}

/// The limit that keeps another reader out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowFull {
    OfHost,
    OfCaller,
}

// === impl FlowRecorder ===

impl FlowRecorder {
    pub fn new(metrics: HttpMetrics) -> Self {
        let nothing = FlowSnapshot { at: Timestamp(0), transforms: BTreeMap::new() };
        let (current, _) = watch::channel(Arc::new(nothing));
        let parts =
            Parts { current, last: Mutex::default(), histories: Mutex::default(), readers: Mutex::default(), metrics };
        Self { parts: Arc::new(parts) }
    }

    /// Records until `shutdown` becomes true.
    pub async fn record_for_ever(
        self,
        catalog: Arc<Catalog>,
        runtime: Arc<dyn Runtime>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut is_over = async || tokio::time::timeout(VIEW, shutdown.wait_for(|&down| down)).await.is_ok();
        while !is_over().await {
            if !self.is_read() && !self.is_point_due(Instant::now()) {
                continue;
            }
            let recorder = self.clone();
            let catalog = catalog.clone();
            let runtime = runtime.clone();
            // A panic in there was reported where it happened, and the next turn tries again.
            let _ = tokio::task::spawn_blocking(move || recorder.record(&catalog, &*runtime)).await;
        }
    }

    /// Makes the view of now if the newest is old: nobody may have read it.
    pub fn refresh(&self, catalog: &Catalog, runtime: &dyn Runtime) {
        let view_at = self.parts.last.lock().view_at;
        if view_at.is_none_or(|at| at.elapsed() >= VIEW) {
            self.record(catalog, runtime);
        }
    }

    /// Makes the view of now, and a point of each history if it is time. Blocks for as long as all statuses take.
    pub fn record(&self, catalog: &Catalog, runtime: &dyn Runtime) {
        // Held until the view is sent: views are made one after the other.
        let mut last = self.parts.last.lock();
        let at = Timestamp::now();
        let now = Instant::now();
        let takes_point = self.is_point_due(now);
        let mut points = Vec::new();
        let members = runtime.members();
        let previous = self.current();
        let mut transforms = BTreeMap::new();
        last.version += 1;
        let deployments = catalog.current();
        for deployment in deployments.all_live() {
            let id = &deployment.id;
            let topics = last.topics(deployment);
            let view = view::transform(deployment, topics, &runtime.statuses(id), &members);
            if takes_point {
                points.push((id.clone(), Point::of(view.lag, view.activity.as_ref())));
            }
            if let Some(entry) = entry(&view, previous.transforms.get(id), last.version) {
                transforms.insert(id.clone(), entry);
            }
        }
        last.topics.retain(|id, _| transforms.contains_key(id));
        if takes_point {
            self.parts.histories.lock().add(points, (now, at));
        }
        last.view_at = Some(now);
        self.parts.current.send_replace(Arc::new(FlowSnapshot { at, transforms }));
    }

    /// The newest view.
    pub fn current(&self) -> Arc<FlowSnapshot> {
        self.parts.current.borrow().clone()
    }

    /// Takes the place of a reader, of which the host has `readers_max` and each party may take `of_caller_max`.
    pub fn reader(&self, party: Party, readers_max: usize, of_caller_max: usize) -> Result<FlowReader, FlowFull> {
        let mut readers = self.parts.readers.lock();
        if readers.values().sum::<usize>() >= readers_max {
            return Err(FlowFull::OfHost);
        }
        let own = readers.get(&party).copied().unwrap_or(0);
        if own >= of_caller_max {
            return Err(FlowFull::OfCaller);
        }
        readers.insert(party.clone(), own + 1);
        self.parts.metrics.flow_readers.inc();
        let mut snapshots = self.parts.current.subscribe();
        // The reader begins with the view that is there.
        snapshots.mark_changed();
        Ok(FlowReader { recorder: self.clone(), snapshots, party })
    }

    /// The last minutes of a transform.
    pub fn history(&self, id: &TransformId) -> HistoryView {
        let histories = self.parts.histories.lock();
        let until = histories.point_at.map_or(Timestamp(0), |(_, at)| at);
        histories.by_id.get(id).map_or_else(HistoryView::default, |history| history.view(until))
    }

    /// The last minutes of a transform, in the short form.
    pub fn recent(&self, id: &TransformId) -> Option<FlowRecent> {
        self.parts.histories.lock().by_id.get(id).map(|history| history.recent(id))
    }

    fn is_read(&self) -> bool {
        !self.parts.readers.lock().is_empty()
    }

    fn is_point_due(&self, now: Instant) -> bool {
        self.parts.histories.lock().point_at.is_none_or(|(point, _)| now.duration_since(point) >= POINT)
    }
}

/// The entry of a transform: the previous one if nothing has changed.
fn entry(view: &FlowTransform, previous: Option<&Arc<FlowEntry>>, version: u64) -> Option<Arc<FlowEntry>> {
    let json = serde_json::value::to_raw_value(view).ok()?;
    match previous.filter(|previous| previous.json.get() == json.get()) {
        Some(previous) => Some(previous.clone()),
        None => Some(Arc::new(FlowEntry { version, json })),
    }
}

// === impl Last ===

impl Last {
    /// The topics of a deployment: its spec is parsed once for each revision.
    fn topics(&mut self, deployment: &Deployment) -> Topics {
        let stamp = (deployment.revision, deployment.changed_at);
        match self.topics.get(&deployment.id) {
            Some((of, topics)) if *of == stamp => topics.clone(),
            _ => {
                let topics = Topics::of(deployment);
                self.topics.insert(deployment.id.clone(), (stamp, topics.clone()));
                topics
            }
        }
    }
}

// === impl Histories ===

impl Histories {
    /// Adds a point of each transform that there is, and forgets the others.
    fn add(&mut self, points: Vec<(TransformId, Point)>, at: (Instant, Timestamp)) {
        let mut before = std::mem::take(&mut self.by_id);
        for (id, point) in points {
            let mut history = before.remove(&id).unwrap_or_default();
            history.push(point);
            self.by_id.insert(id, history);
        }
        self.point_at = Some(at);
    }
}

// === impl FlowReader ===

impl Drop for FlowReader {
    fn drop(&mut self) {
        let mut readers = self.recorder.parts.readers.lock();
        let own = readers.get_mut(&self.party).expect("it was counted");
        *own -= 1;
        if *own == 0 {
            readers.remove(&self.party);
        }
        self.recorder.parts.metrics.flow_readers.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    fn party(team: &str) -> Party {
        Party::of(&team.parse().expect("valid"))
    }

    #[test]
    fn readers_are_limited_and_give_their_places_back() {
        let recorder = FlowRecorder::new(Metrics::new().http);
        let first = recorder.reader(party("a"), 3, 2);
        let second = recorder.reader(party("a"), 3, 2);
        assert_eq!(recorder.reader(party("a"), 3, 2).err(), Some(FlowFull::OfCaller));
        let third = recorder.reader(party("b"), 3, 2);
        assert_eq!(recorder.reader(party("c"), 3, 2).err(), Some(FlowFull::OfHost));
        assert!(first.is_ok() && second.is_ok() && third.is_ok() && recorder.is_read());
        drop((first, second, third));
        assert!(!recorder.is_read() && recorder.reader(party("a"), 1, 1).is_ok());
    }

    #[test]
    fn an_entry_without_a_change_keeps_its_version() {
        let view = |revision| FlowTransform {
            team: "a".into(),
            name: "b".into(),
            revision,
            running_revisions: Vec::new(),
            rollout: Default::default(),
            desired: Default::default(),
            state: Default::default(),
            error: None,
            changed_at: "".into(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            tables: Vec::new(),
            dead_letters: None,
            hosts: 0,
            running_on: BTreeMap::new(),
            partitions: BTreeMap::new(),
            lag: None,
            activity: None,
        };
        let first = entry(&view(1), None, 1).expect("JSON");
        let same = entry(&view(1), Some(&first), 2).expect("JSON");
        let other = entry(&view(2), Some(&same), 3).expect("JSON");
        assert_eq!((first.version, same.version, other.version), (1, 1, 3));
    }
}
