//! The way of log lines, events and samples out of the data plane: a queue that never blocks.
//!
//! What does not fit (entries, or bytes) is dropped and counted. One task takes out and writes to the log
//! (`cluster::recorder`); a log that is slow or away costs lines, never throughput.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::model::journal::{Event, Level, LogEntry, Sample};
use crate::model::names::TransformId;
use crate::model::units::Timestamp;

/// Entries that may wait.
const ENTRIES_MAX: usize = 16_384;
/// Records of a transform that this host shows in a second, over all of its partitions.
pub const SAMPLES_PER_SECOND: u32 = 20;

/// What is told of a transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Log(LogEntry),
    Sample(Box<Sample>),
}

impl Told {
    fn bytes(&self) -> usize {
        match self {
            Self::Log(entry) => 128 + entry.message.len(),
            Self::Sample(sample) => sample.bytes(),
        }
    }
}

/// The end that is written to. Cloning shares it.
#[derive(Clone)]
pub struct Journal {
    queue: mpsc::Sender<(TransformId, Told)>,
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    bytes: AtomicUsize,
    bytes_max: usize,
    dropped: [IntCounter; 2],
    samplings: Mutex<BTreeMap<TransformId, Arc<Sampling>>>,
}

/// The end that is read from.
pub struct Entries {
    queue: mpsc::Receiver<(TransformId, Told)>,
    shared: Arc<Shared>,
}

/// A journal of at most `bytes_max`. `dropped` counts what did not fit: log entries, samples.
pub fn journal(host: &str, bytes_max: usize, dropped: [IntCounter; 2]) -> (Journal, Entries) {
    let (sender, queue) = mpsc::channel(ENTRIES_MAX);
    let (bytes, samplings) = (AtomicUsize::new(0), Mutex::default());
    let shared = Arc::new(Shared { host: host.to_owned(), bytes, bytes_max, dropped, samplings });
    (Journal { queue: sender, shared: shared.clone() }, Entries { queue, shared })
}

// === impl Journal ===

impl Journal {
    /// A line that the guest logged.
    pub fn log(&self, id: &TransformId, revision: u64, level: Level, message: String) {
        self.entry(id, revision, level, None, message);
    }

    /// Something that happened to a transform.
    pub fn event(&self, id: &TransformId, revision: u64, level: Level, event: Event, message: String) {
        self.entry(id, revision, level, Some(event), message);
    }

    fn entry(&self, id: &TransformId, revision: u64, level: Level, event: Option<Event>, message: String) {
        let (at, host) = (Timestamp::now(), self.shared.host.clone());
        self.tell(id, Told::Log(LogEntry { at, host, revision, level, event, message }));
    }

    pub fn sample(&self, id: &TransformId, sample: Sample) {
        self.tell(id, Told::Sample(Box::new(sample)));
    }

    fn tell(&self, id: &TransformId, told: Told) {
        let shared = &self.shared;
        let (bytes, kind) = (told.bytes(), usize::from(matches!(told, Told::Sample(_))));
        let fits = shared.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= shared.bytes_max;
        if !fits || self.queue.try_send((id.clone(), told)).is_err() {
            shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
            shared.dropped[kind].inc();
        }
    }

    /// Whether, and how much, a transform is sampled.
    pub fn sampling(&self, id: &TransformId) -> Arc<Sampling> {
        self.shared.samplings.lock().entry(id.clone()).or_default().clone()
    }

    /// From now on these transforms are sampled, and no others.
    pub fn sample_only(&self, wanted: &BTreeSet<TransformId>) {
        for (id, sampling) in &*self.shared.samplings.lock() {
            sampling.on.store(wanted.contains(id), Ordering::Relaxed);
        }
    }
}

// === impl Entries ===

impl Entries {
    /// The next entry; `None`: nobody is left who could tell one.
    pub async fn next(&mut self) -> Option<(TransformId, Told)> {
        let next = self.queue.recv().await;
        self.taken(next)
    }

    /// One that waits already.
    pub fn try_next(&mut self) -> Option<(TransformId, Told)> {
        let next = self.queue.try_recv().ok();
        self.taken(next)
    }

    fn taken(&self, next: Option<(TransformId, Told)>) -> Option<(TransformId, Told)> {
        let bytes = next.as_ref().map_or(0, |(_, told)| told.bytes());
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        next
    }

    pub fn host(&self) -> &str {
        &self.shared.host
    }
}

/// Whether a transform's records are sampled: off, unless somebody looks. Shared by its workers on a host.
#[derive(Default)]
pub struct Sampling {
    on: AtomicBool,
    /// The second (of the worker's time) that is counted, and what it had.
    window: Mutex<(i64, u32)>,
}

impl Sampling {
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// How many of `wanted` records may be shown now.
    pub fn take(&self, now: Timestamp, wanted: usize) -> usize {
        let mut window = self.window.lock();
        let second = now.0 / 1000;
        if second > window.0 {
            *window = (second, 0);
        }
        let taken = (SAMPLES_PER_SECOND - window.1).min(u32::try_from(wanted).unwrap_or(u32::MAX));
        window.1 += taken;
        taken as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> [IntCounter; 2] {
        ["a", "b"].map(|name| IntCounter::new(name, "what was dropped").expect("a valid name"))
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let id: TransformId = "t/n".parse().expect("valid");
        let dropped = counters();
        let (journal, mut entries) = journal("a", 1000, dropped.clone());
        for _ in 0..4 {
            journal.log(&id, 1, Level::Info, "x".repeat(200));
        }
        assert_eq!((dropped[0].get(), dropped[1].get()), (1, 0), "3 of 328 bytes fit into 1000");
        let mut taken = 0;
        while entries.try_next().is_some() {
            taken += 1;
        }
        assert_eq!(taken, 3);
        journal.log(&id, 1, Level::Info, "x".repeat(200));
        assert_eq!(dropped[0].get(), 1, "what was taken out makes room");
        drop(entries);
        journal.log(&id, 1, Level::Info, String::new());
        assert_eq!(dropped[0].get(), 2, "nobody writes it any more");
    }

    #[test]
    fn samples_are_bounded_by_the_second() {
        let sampling = Sampling::default();
        for (now, wanted, taken) in [(0, 5, 5), (10, 100, 15), (999, 1, 0), (1000, 7, 7), (500, 1, 1)] {
            assert_eq!(sampling.take(Timestamp(now), wanted), taken, "{wanted} at {now}");
        }
    }

    #[test]
    fn only_what_is_asked_for_is_sampled() {
        let [a, b] = ["t/a", "t/b"].map(|id| id.parse::<TransformId>().expect("valid"));
        let (journal, _entries) = journal("a", 1000, counters());
        let (of_a, of_b) = (journal.sampling(&a), journal.sampling(&b));
        assert!(!of_a.is_on());
        journal.sample_only(&BTreeSet::from([a.clone()]));
        assert_eq!((of_a.is_on(), of_b.is_on(), journal.sampling(&a).is_on()), (true, false, true));
        journal.sample_only(&BTreeSet::new());
        assert!(!of_a.is_on());
    }
}
