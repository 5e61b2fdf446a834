//! The CPU time of one worker: of its own thread, and of the threads of its Kafka clients.
//!
//! Each thread enters by itself, and leaves before it ends. In between its clock can be read by any other thread: so nothing
//! is counted while threads work, and a reader of the metrics counts all of them at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::system_clock;

/// See the module.
pub struct Meter {
    readings: Mutex<Readings>,
}

struct Readings {
    /// The revision that the time goes to.
    revision: u64,
    threads: Vec<MeteredThread>,
    /// The time that was counted, and not taken yet.
    spent: SpentByRevision,
}

/// CPU time by revision.
pub type SpentByRevision = BTreeMap<u64, Duration>;

/// A thread, with the part of its time that was counted.
struct MeteredThread {
    clock: libc::clockid_t,
    counted: Duration,
}

/// The time in which this thread works for a meter.
#[must_use]
pub struct Metered {
    _thread: PhantomData<*const ()>,
}

thread_local! {
    static METER: RefCell<Option<Arc<Meter>>> = const { RefCell::new(None) };
}

// === impl Meter ===

impl Meter {
    /// Makes a meter for a worker that begins with a revision.
    pub fn new(revision: u64) -> Self {
        let readings = Readings { revision, threads: Vec::new(), spent: BTreeMap::new() };
        Self { readings: Mutex::new(readings) }
    }

    /// Counts this thread until the answer is dropped. The clients that it opens meanwhile count, too.
    pub fn enter(self: Arc<Self>) -> Metered {
        self.add_this_thread();
        let other = METER.replace(Some(self));
        assert!(other.is_none(), "a thread works for one meter at a time");
        Metered { _thread: PhantomData }
    }

    /// Returns the meter that this thread works for.
    pub fn of_this_thread() -> Option<Arc<Meter>> {
        METER.with_borrow(Clone::clone)
    }

    /// Counts this thread from now on, until [`Self::remove_this_thread`], which has to come before its end.
    pub fn add_this_thread(&self) {
        let clock = system_clock::of_this_thread();
        let thread = MeteredThread { clock, counted: system_clock::read(clock) };
        self.readings.lock().threads.push(thread);
    }

    pub fn remove_this_thread(&self) {
        let clock = system_clock::of_this_thread();
        let mut readings = self.readings.lock();
        readings.count();
        readings.threads.retain(|thread| thread.clock != clock);
    }

    /// Counts the time from now on for another revision.
    pub fn work_for(&self, revision: u64) {
        let mut readings = self.readings.lock();
        readings.count();
        readings.revision = revision;
    }

    /// Returns the revision that the time goes to.
    pub fn revision(&self) -> u64 {
        self.readings.lock().revision
    }

    /// Takes the time since the last call.
    pub fn take(&self) -> SpentByRevision {
        let mut readings = self.readings.lock();
        readings.count();
        std::mem::take(&mut readings.spent)
    }
}

// === impl Readings ===

impl Readings {
    /// Counts the time of all threads up to now.
    fn count(&mut self) {
        let since = |thread: &mut MeteredThread| {
            let now = system_clock::read_of_thread(thread.clock).unwrap_or(thread.counted);
            now.saturating_sub(std::mem::replace(&mut thread.counted, now))
        };
        let time: Duration = self.threads.iter_mut().map(since).sum();
        *self.spent.entry(self.revision).or_default() += time;
    }
}

// === impl Metered ===

impl Drop for Metered {
    fn drop(&mut self) {
        if let Some(meter) = METER.take() {
            meter.remove_this_thread();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let clock = system_clock::of_this_thread();
        let began = system_clock::read(clock);
        while system_clock::read(clock) - began < time {}
    }

    #[test]
    fn the_time_of_threads_goes_to_the_revision_of_its_moment() {
        const WORK: Duration = Duration::from_millis(30);
        let meter = Arc::new(Meter::new(1));
        // Nobody's yet.
        spin(WORK);
        let metered = meter.clone().enter();
        spin(WORK);
        meter.work_for(2);
        let of_client = Meter::of_this_thread().expect("it has entered");
        let client = std::thread::spawn(move || {
            of_client.add_this_thread();
            spin(WORK);
            of_client.remove_this_thread();
            spin(WORK);
        });
        client.join().expect("no panic");
        drop(metered);
        assert!(Meter::of_this_thread().is_none());
        spin(WORK);
        let spent = meter.take();
        assert_eq!(spent.keys().copied().collect::<Vec<_>>(), [1, 2]);
        // A busy machine takes none of a thread's CPU time, and the spinning goes a little beyond its end.
        let is_right = |time: &Duration| (WORK..WORK + Duration::from_millis(20)).contains(time);
        assert!(spent.values().all(is_right), "{spent:?}");
        assert_eq!(meter.take().values().sum::<Duration>(), Duration::ZERO);
    }

    #[test]
    fn a_scrape_reads_all_threads_that_live() {
        const THREADS: usize = 300;
        let meter = Arc::new(Meter::new(1));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let meter = meter.clone();
                let ready = ready.clone();
                let run = move || {
                    meter.add_this_thread();
                    ready.send(()).expect("somebody waits");
                    std::thread::park();
                    meter.remove_this_thread();
                };
                std::thread::Builder::new().stack_size(64 << 10).spawn(run).expect("a thread")
            })
            .collect();
        (0..THREADS).for_each(|_| is_ready.recv().expect("it starts"));
        meter.take();
        assert_eq!(meter.readings.lock().threads.len(), THREADS);
        for thread in threads {
            thread.thread().unpark();
            thread.join().expect("no panic");
        }
        assert!(meter.readings.lock().threads.is_empty());
    }
}
