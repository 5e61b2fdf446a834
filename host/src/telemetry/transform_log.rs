//! The way of log lines, events and samples out of the data plane: a queue that never blocks.
//!
//! Each kind has a lane of its own, so that lines never push out events, nor samples lines; within a lane each
//! transform and team has its share ([`Lane`]). An entry that finds no room is dropped and counted. Two tasks take out
//! and write to the log (`cluster::recorder`); a log that is slow or away costs lines, never throughput.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::Notify;

use super::lane::{Lane, Weighed};
use super::rate::{Bucket, Rate, Rates};
use crate::model::journal::{Event, Level, LogEntry, Sample};
use crate::model::names::TransformId;
use crate::model::text;
use crate::model::units::Timestamp;

/// Records of a transform that this host shows in a second, over all of its partitions.
pub const SAMPLES_PER_SECOND: u32 = 20;
const SAMPLES: Rate = Rate { lines: SAMPLES_PER_SECOND, bytes: 1 };
/// Longest message of an entry, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;
/// About how much memory an entry takes beside its message.
const ENTRY_BYTES: usize = 256;
/// Events of one transform, and of all of a team together: a guest that fails and recovers all the time has an event
/// for each. A minute's worth may come at once, as when a host starts.
const EVENTS: Rate = Rate { lines: 1, bytes: 4096 };
const EVENTS_OF_TEAM: Rate = Rate { lines: 50, bytes: 64 * 1024 };
const EVENTS_BURST_S: u32 = 60;

/// The lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Event,
    Log,
    Sample,
}

/// An entry: something that is told of a transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Log(LogEntry),
    Sample(Box<Sample>),
}

/// The end that is written to. Cloning shares it.
#[derive(Clone)]
pub struct TransformLog {
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    events: CountedLane,
    logs: CountedLane,
    samples: CountedLane,
    /// Somebody waits for lines and events, and for samples.
    lines_told: Notify,
    samples_told: Notify,
    event_rates: Rates,
    samplings: Mutex<BTreeMap<TransformId, Arc<Sampling>>>,
}

/// A lane and the count of those that found no room in it.
struct CountedLane {
    lane: Mutex<Lane<Told>>,
    dropped: IntCounter,
}

/// An end that is read from: lines and events, or samples.
pub struct Entries {
    shared: Arc<Shared>,
    of_samples: bool,
}

/// Makes a journal of at most `bytes_max`, with its two ends: lines and events, and samples. `dropped` has the counter
/// of each kind.
pub fn journal(host: &str, bytes_max: usize, dropped: impl Fn(Kind) -> IntCounter) -> (TransformLog, [Entries; 2]) {
    let lane = |kind, bytes_max| CountedLane { lane: Mutex::new(Lane::new(bytes_max)), dropped: dropped(kind) };
    let shared = Arc::new(Shared {
        host: host.to_owned(),
        events: lane(Kind::Event, bytes_max / 4),
        logs: lane(Kind::Log, bytes_max / 2),
        samples: lane(Kind::Sample, bytes_max / 4),
        lines_told: Notify::new(),
        samples_told: Notify::new(),
        event_rates: Rates::new(EVENTS_OF_TEAM, EVENTS_BURST_S),
        samplings: Mutex::default(),
    });
    let entries = [false, true].map(|of_samples| Entries { shared: shared.clone(), of_samples });
    (TransformLog { shared }, entries)
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Log => "log",
            Self::Sample => "sample",
        }
    }
}

impl Weighed for Told {
    fn bytes(&self) -> usize {
        match self {
            Self::Log(entry) => ENTRY_BYTES + entry.message.len(),
            Self::Sample(sample) => sample.bytes(),
        }
    }
}

// === impl TransformLog ===

impl TransformLog {
    /// Puts in a line that the guest logged. Its rate is the caller's to keep. Tells whether it found room.
    pub fn log(&self, id: &TransformId, revision: u64, level: Level, message: &str) -> bool {
        let told = self.shared.logs.tell(id, self.entry(revision, level, None, message));
        self.shared.lines_told.notify_one();
        told
    }

    /// Puts in something that happened to a transform.
    pub fn event(&self, id: &TransformId, revision: u64, level: Level, event: Event, message: &str) {
        let Shared { events, event_rates, lines_told, .. } = &*self.shared;
        let entry = self.entry(revision, level, Some(event), message);
        if event_rates.of(id).take(EVENTS, entry.bytes(), Instant::now()) {
            events.tell(id, entry);
            lines_told.notify_one();
        } else {
            events.dropped.inc();
        }
    }

    fn entry(&self, revision: u64, level: Level, event: Option<Event>, message: &str) -> Told {
        let (at, host) = (Timestamp::now(), self.shared.host.clone());
        let message = text::cut(message, MESSAGE_BYTES_MAX).to_owned();
        Told::Log(LogEntry { at, host, revision, level, event, message })
    }

    pub fn sample(&self, id: &TransformId, sample: Sample) {
        self.shared.samples.tell(id, Told::Sample(Box::new(sample)));
        self.shared.samples_told.notify_one();
    }

    /// Returns the switch that tells whether a transform is sampled, and how much.
    pub fn sampling(&self, id: &TransformId) -> Arc<Sampling> {
        let mut samplings = self.shared.samplings.lock();
        if let Some(sampling) = samplings.get(id) {
            return sampling.clone();
        }
        // Deleted transforms would pile up.
        samplings.retain(|_, sampling| Arc::strong_count(sampling) > 1);
        samplings.entry(id.clone()).or_default().clone()
    }

    /// From now on these transforms are sampled, and no others.
    pub fn sample_only(&self, wanted: &BTreeSet<TransformId>) {
        for (id, sampling) in &*self.shared.samplings.lock() {
            sampling.on.store(wanted.contains(id), Ordering::Relaxed);
        }
    }
}

impl CountedLane {
    fn tell(&self, id: &TransformId, told: Told) -> bool {
        let has_room = self.lane.lock().push(id, told);
        if !has_room {
            self.dropped.inc();
        }
        has_room
    }

    /// Takes out entries of about `bytes_max`.
    fn take(&self, bytes_max: usize, taken: &mut Vec<(TransformId, Told)>) {
        let mut lane = self.lane.lock();
        let mut bytes = 0;
        while bytes < bytes_max
            && let Some((id, told)) = lane.pop()
        {
            bytes += told.bytes();
            taken.push((id, told));
        }
    }
}

// === impl Entries ===

impl Entries {
    /// Waits until there is something to take; now and then there is nothing after all.
    pub async fn wait(&self) {
        match self.of_samples {
            true => self.shared.samples_told.notified().await,
            false => self.shared.lines_told.notified().await,
        }
    }

    /// Takes out the events, the lines and the samples that wait, each of about `bytes_max`.
    pub fn take(&self, bytes_max: usize) -> Vec<(TransformId, Told)> {
        let mut taken = Vec::new();
        match self.of_samples {
            true => self.shared.samples.take(bytes_max, &mut taken),
            false => {
                self.shared.events.take(bytes_max, &mut taken);
                self.shared.logs.take(bytes_max, &mut taken);
            }
        }
        taken
    }

    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// Counts entries that were taken out and could not be written.
    pub fn lost(&self, kind: Kind, count: usize) {
        let lane = match kind {
            Kind::Event => &self.shared.events,
            Kind::Log => &self.shared.logs,
            Kind::Sample => &self.shared.samples,
        };
        lane.dropped.inc_by(count as u64);
    }
}

/// The switch of a transform's samples: off, unless somebody looks. Shared by its workers on a host.
#[derive(Default)]
pub struct Sampling {
    on: AtomicBool,
    /// Samples that may be taken now.
    bucket: Mutex<Bucket>,
}

impl Sampling {
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// How many of `wanted` records may be shown now.
    pub fn take(&self, wanted: usize, now: Instant) -> usize {
        let mut bucket = self.bucket.lock();
        let mut taken = 0;
        while taken < wanted && bucket.has_room(SAMPLES, 1, now) {
            bucket.take(0);
            taken += 1;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(name: &str) -> TransformId {
        name.parse().expect("valid")
    }

    fn counter(_: Kind) -> IntCounter {
        IntCounter::new("a", "entries that were dropped").expect("a valid name")
    }

    #[test]
    fn a_flood_of_lines_is_dropped_and_counted_and_pushes_nothing_out() {
        let (journal, [entries, _]) = journal("a", 64 * 1024, counter);
        let flood = (0..1000).filter(|_| journal.log(&id("loud/a"), 1, Level::Info, &"x".repeat(8000))).count();
        assert!((1..10).contains(&flood), "{flood}");
        assert_eq!(journal.shared.logs.dropped.get(), 1000 - flood as u64);
        assert!(journal.log(&id("quiet/a"), 1, Level::Info, "x"));
        journal.event(&id("loud/a"), 1, Level::Info, Event::Paused, "x");
        let taken = entries.take(64 * 1024);
        assert_eq!(taken.len(), flood + 2);
        let place = taken.iter().position(|(id, _)| id.team.as_str() == "quiet");
        assert!(place.is_some_and(|place| place <= 3), "an event and a line of the flood are before it: {place:?}");
        let longest = taken.iter().map(|(_, told)| told.bytes()).max();
        assert_eq!(longest, Some(ENTRY_BYTES + MESSAGE_BYTES_MAX), "messages are cut");
        assert_eq!(entries.take(64 * 1024), []);
    }

    #[test]
    fn events_of_a_transform_are_bounded() {
        let (journal, [entries, _]) = journal("a", 8 << 20, counter);
        (0..1000).for_each(|_| journal.event(&id("t/a"), 1, Level::Info, Event::Degraded, "x"));
        journal.event(&id("t/b"), 1, Level::Info, Event::Degraded, "x");
        let taken = entries.take(8 << 20);
        assert!((61..70).contains(&taken.len()), "{}", taken.len());
        assert!(journal.shared.events.dropped.get() > 900);
    }

    #[test]
    fn samples_are_bounded_by_the_second() {
        let (sampling, start) = (Sampling::default(), Instant::now());
        for (at_ms, wanted, taken) in [(0, 5, 5), (0, 100, 15), (0, 1, 0), (1000, 7, 7), (1000, 100, 13), (500, 1, 0)] {
            assert_eq!(sampling.take(wanted, start + Duration::from_millis(at_ms)), taken, "{wanted} at {at_ms}");
        }
    }

    #[test]
    fn transforms_that_are_asked_for_are_sampled_and_no_others() {
        let [a, b] = ["t/a", "t/b"].map(id);
        let (journal, _entries) = journal("a", 1000, counter);
        let (of_a, of_b) = (journal.sampling(&a), journal.sampling(&b));
        assert!(!of_a.is_on());
        journal.sample_only(&BTreeSet::from([a.clone()]));
        assert_eq!((of_a.is_on(), of_b.is_on(), journal.sampling(&a).is_on()), (true, false, true));
        journal.sample_only(&BTreeSet::new());
        assert!(!of_a.is_on());
    }
}
