//! The transform log: a queue that takes log lines, events and samples out of the data plane and never blocks it.
//!
//! Each kind has a lane of its own, so that lines never push out events, nor samples lines; within a lane each
//! transform and team has its share ([`Lane`]). An entry that finds no room is dropped and counted. Two tasks take
//! entries out and write them to Kafka (`cluster::recorder`); a log that is slow or away costs lines, never throughput.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::Notify;

use super::lane::{Lane, Weighed};
use super::rate::{Rate, Rates};
use super::sample_switch::SampleSwitches;
use crate::model::log_entry::{Event, Level, LogEntry};
use crate::model::names::TransformId;
use crate::model::sample::Sample;
use crate::model::text;
use crate::model::units::Timestamp;

/// Longest message of an entry, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;
/// About how much memory an entry takes beside its message.
const ENTRY_BYTES: usize = 256;
/// Events of one transform, and of all of a team together: a guest that fails and recovers all the time has an event
/// for each. A minute's worth may come at once, as when a host starts.
const EVENTS: Rate = Rate { lines: 1, bytes: 4096 };
const EVENTS_OF_TEAM: Rate = Rate { lines: 50, bytes: 64 * 1024 };
const EVENTS_BURST_S: u32 = 60;

/// The kinds of entries. Each has a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    Event,
    Log,
    Sample,
}

/// An entry of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A line of a guest, or an event.
    Log(LogEntry),
    Sample(Box<Sample>),
}

/// The end of the queue that is written to. Cloning shares it.
#[derive(Clone)]
pub struct TransformLog {
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    events: CountingLane,
    lines: CountingLane,
    samples: CountingLane,
    /// Wakes the reader of lines and events.
    lines_added: Notify,
    /// Wakes the reader of samples.
    samples_added: Notify,
    event_rates: Rates,
    switches: SampleSwitches,
}

/// A lane with the counter of entries that found no room in it.
struct CountingLane {
    lane: Mutex<Lane<Entry>>,
    dropped: IntCounter,
}

/// An end of the queue that is read from.
pub struct EntryReader {
    shared: Arc<Shared>,
    content: ReaderContent,
}

/// The entries that a reader takes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReaderContent {
    LinesAndEvents,
    Samples,
}

impl EntryKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Log => "log",
            Self::Sample => "sample",
        }
    }
}

impl Weighed for Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Log(entry) => ENTRY_BYTES + entry.message.len(),
            Self::Sample(sample) => sample.bytes(),
        }
    }
}

// === impl TransformLog ===

impl TransformLog {
    /// Makes a queue of at most `bytes_max`, with its readers: of lines and events, and of samples. `dropped` returns the
    /// counter of each kind.
    pub fn new(host: &str, bytes_max: usize, dropped: impl Fn(EntryKind) -> IntCounter) -> (Self, [EntryReader; 2]) {
        let lane = |kind, bytes_max| CountingLane { lane: Mutex::new(Lane::new(bytes_max)), dropped: dropped(kind) };
        let shared = Arc::new(Shared {
            host: host.to_owned(),
            events: lane(EntryKind::Event, bytes_max / 4),
            lines: lane(EntryKind::Log, bytes_max / 2),
            samples: lane(EntryKind::Sample, bytes_max / 4),
            lines_added: Notify::new(),
            samples_added: Notify::new(),
            event_rates: Rates::new(EVENTS_OF_TEAM, EVENTS_BURST_S),
            switches: SampleSwitches::default(),
        });
        let reader = |content| EntryReader { shared: shared.clone(), content };
        let readers = [ReaderContent::LinesAndEvents, ReaderContent::Samples].map(reader);
        (Self { shared }, readers)
    }

    /// Adds a line that a guest logged, whose rate the caller has checked. Returns false if there was no room for it.
    pub fn log(&self, id: &TransformId, revision: u64, level: Level, message: &str) -> bool {
        let has_room = self.shared.lines.push(id, self.entry(revision, level, None, message));
        self.shared.lines_added.notify_one();
        has_room
    }

    /// Adds an event of a transform, if the transform and its team are not over their rates.
    pub fn event(&self, id: &TransformId, revision: u64, level: Level, event: Event, message: &str) {
        let Shared { events, event_rates, lines_added, .. } = &*self.shared;
        let entry = self.entry(revision, level, Some(event), message);
        if event_rates.of(id).take(EVENTS, entry.bytes(), Instant::now()) {
            events.push(id, entry);
            lines_added.notify_one();
        } else {
            events.dropped.inc();
        }
    }

    pub fn sample(&self, id: &TransformId, sample: Sample) {
        self.shared.samples.push(id, Entry::Sample(Box::new(sample)));
        self.shared.samples_added.notify_one();
    }

    /// Returns the switches of samples.
    pub fn switches(&self) -> &SampleSwitches {
        &self.shared.switches
    }

    fn entry(&self, revision: u64, level: Level, event: Option<Event>, message: &str) -> Entry {
        Entry::Log(LogEntry {
            at: Timestamp::now(),
            host: self.shared.host.clone(),
            revision,
            level,
            event,
            message: text::cut(message, MESSAGE_BYTES_MAX).to_owned(),
        })
    }
}

impl CountingLane {
    /// Adds an entry. Returns false, and counts, if there was no room for it.
    fn push(&self, id: &TransformId, entry: Entry) -> bool {
        let has_room = self.lane.lock().push(id, entry);
        if !has_room {
            self.dropped.inc();
        }
        has_room
    }

    /// Moves entries of about `bytes_max` to `taken`.
    fn take(&self, bytes_max: usize, taken: &mut Vec<(TransformId, Entry)>) {
        let mut lane = self.lane.lock();
        let mut bytes = 0;
        while bytes < bytes_max
            && let Some((id, entry)) = lane.pop()
        {
            bytes += entry.bytes();
            taken.push((id, entry));
        }
    }
}

// === impl EntryReader ===

impl EntryReader {
    /// Waits until there are entries to take. It may return when there are none after all.
    pub async fn wait(&self) {
        match self.content {
            ReaderContent::LinesAndEvents => self.shared.lines_added.notified().await,
            ReaderContent::Samples => self.shared.samples_added.notified().await,
        }
    }

    /// Takes out waiting entries, about `bytes_max` of each kind.
    pub fn take(&self, bytes_max: usize) -> Vec<(TransformId, Entry)> {
        let mut taken = Vec::new();
        match self.content {
            ReaderContent::LinesAndEvents => {
                self.shared.events.take(bytes_max, &mut taken);
                self.shared.lines.take(bytes_max, &mut taken);
            }
            ReaderContent::Samples => self.shared.samples.take(bytes_max, &mut taken),
        }
        taken
    }

    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// Counts entries that were taken out and could not be written.
    pub fn lost(&self, kind: EntryKind, count: usize) {
        let lane = match kind {
            EntryKind::Event => &self.shared.events,
            EntryKind::Log => &self.shared.lines,
            EntryKind::Sample => &self.shared.samples,
        };
        lane.dropped.inc_by(count as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TransformId {
        name.parse().expect("valid")
    }

    fn counter(_: EntryKind) -> IntCounter {
        IntCounter::new("a", "entries that were dropped").expect("a valid name")
    }

    #[test]
    fn a_flood_of_lines_is_dropped_and_counted_and_pushes_nothing_out() {
        let (log, [reader, _]) = TransformLog::new("a", 64 * 1024, counter);
        let flood = (0..1000).filter(|_| log.log(&id("loud/a"), 1, Level::Info, &"x".repeat(8000))).count();
        assert!((1..10).contains(&flood), "{flood}");
        assert_eq!(log.shared.lines.dropped.get(), 1000 - flood as u64);
        assert!(log.log(&id("quiet/a"), 1, Level::Info, "x"));
        log.event(&id("loud/a"), 1, Level::Info, Event::Paused, "x");
        let taken = reader.take(64 * 1024);
        assert_eq!(taken.len(), flood + 2);
        let place = taken.iter().position(|(id, _)| id.team.as_str() == "quiet");
        assert!(place.is_some_and(|place| place <= 3), "an event and a line of the flood are before it: {place:?}");
        let longest = taken.iter().map(|(_, entry)| entry.bytes()).max();
        assert_eq!(longest, Some(ENTRY_BYTES + MESSAGE_BYTES_MAX), "messages are cut");
        assert_eq!(reader.take(64 * 1024), []);
    }

    #[test]
    fn events_of_a_transform_are_bounded() {
        let (log, [reader, _]) = TransformLog::new("a", 8 << 20, counter);
        (0..1000).for_each(|_| log.event(&id("t/a"), 1, Level::Info, Event::Degraded, "x"));
        log.event(&id("t/b"), 1, Level::Info, Event::Degraded, "x");
        let taken = reader.take(8 << 20);
        assert!((61..70).contains(&taken.len()), "{}", taken.len());
        assert!(log.shared.events.dropped.get() > 900);
    }
}
