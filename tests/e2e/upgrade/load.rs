//! Records that keep coming while hosts change, and the longest time for which a partition stood still meanwhile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sandbar_harness::{Message, Producer};

use crate::job::Job;

const BATCH: usize = 100;
/// Between two batches of a stream, and between two looks at the committed offsets.
const PAUSE: Duration = Duration::from_millis(50);
/// A stream waits for its job when it is so far ahead: a host that is away leaves no more work than this.
const LEAD_MAX: i64 = 20_000;

/// The records of a job: each call makes the next of this number.
pub type Source<'a> = Box<dyn FnMut(usize) -> Vec<Message> + Send + 'a>;

/// The load while `steps` go on.
pub struct Load {
    is_over: AtomicBool,
    standstill: Mutex<Standstill>,
}

/// The progress of each partition of each job.
#[derive(Debug, Default)]
struct Standstill {
    /// The committed offset, and the time since which it is the same.
    partitions: Vec<Vec<(Option<i64>, Instant)>>,
    longest: Duration,
}

/// Ends the streams also when the steps panic.
struct End<'a>(&'a Load);

/// Runs the steps while the records of all jobs keep coming, and waits until the jobs are through.
#[track_caller]
pub fn under_load(streams: Vec<(&Job, Source<'_>)>, steps: impl FnOnce(&Load)) {
    let load = Load { is_over: AtomicBool::new(false), standstill: Mutex::default() };
    let jobs: Vec<&Job> = streams.iter().map(|(job, _)| *job).collect();
    std::thread::scope(|scope| {
        let _end = End(&load);
        for (job, source) in streams {
            scope.spawn(|| load.feed(job, source));
        }
        scope.spawn(|| load.watch(&jobs));
        steps(&load);
    });
    for job in &jobs {
        job.wait_through(2 * sandbar_harness::wait::PATIENCE);
    }
}

// === impl Load ===

impl Load {
    /// The longest standstill of a partition since the last call.
    pub fn take_longest_standstill(&self) -> Duration {
        let mut standstill = self.standstill.lock().expect("nobody panics with it");
        let open = standstill.partitions.iter().flatten().map(|(_, since)| since.elapsed()).max();
        let longest = standstill.longest.max(open.unwrap_or_default());
        *standstill = Standstill::default();
        longest
    }

    fn feed(&self, job: &Job, mut source: Source<'_>) {
        let producer = Producer::new(job.kafka);
        let mut sent = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            if sent - job.progress.total() < LEAD_MAX {
                let messages = source(BATCH);
                producer.send_all(&job.input, &messages);
                sent += messages.len() as i64;
            }
            std::thread::sleep(PAUSE);
        }
        println!("{}: {sent} records under load", job.transform);
    }

    fn watch(&self, jobs: &[&Job]) {
        while !self.is_over.load(Ordering::Relaxed) {
            let committed: Vec<Vec<Option<i64>>> = jobs.iter().map(|job| job.progress.committed()).collect();
            self.standstill.lock().expect("nobody panics with it").see(&committed, Instant::now());
            std::thread::sleep(PAUSE);
        }
    }
}

// === impl Standstill ===

impl Standstill {
    fn see(&mut self, committed: &[Vec<Option<i64>>], now: Instant) {
        if self.partitions.is_empty() {
            self.partitions = committed.iter().map(|job| job.iter().map(|&offset| (offset, now)).collect()).collect();
        }
        let seen = self.partitions.iter_mut().flatten().zip(committed.iter().flatten());
        for ((offset, since), &newer) in seen.filter(|((offset, _), newer)| offset != *newer) {
            self.longest = self.longest.max(now.duration_since(*since));
            *offset = newer;
            *since = now;
        }
    }
}

// === impl End ===

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}
