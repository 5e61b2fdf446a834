//! Faults in mid-flight: a job under load, and something done to its hosts at random moments.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sandbar_harness::{Message, Seed, wait};

use crate::job::Job;

/// The time of a fault, as numbers of records.
struct Moment {
    /// The number of committed records at that time.
    committed: i64,
    /// No more are produced before it.
    produced: i64,
}

/// Returns `count` moments of a run, one at random in each part of it.
fn moments(records: i64, ahead: i64, seed: &mut Seed, count: u64) -> Vec<Moment> {
    let part = (records - ahead) as u64 / count;
    let moment =
        |i| Moment { committed: (i * part + seed.within(1..part)) as i64, produced: ((i + 1) * part) as i64 + ahead - 1 };
    (0..count).map(moment).collect()
}

/// Lets the producer finish when a test fails, which the scope waits for.
struct Release<'a>(&'a AtomicI64);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(i64::MAX / 2, Ordering::Relaxed);
    }
}

/// Runs the job, and calls `fault` at `count` moments, when the job is in mid-flight. The producer is `ahead` of the
/// commits, but waits for each fault: there is always work left for the next, however quick the machine is.
pub fn run(job: &Job, messages: &[Message], ahead: i64, seed: &mut Seed, count: u64, mut fault: impl FnMut(u64)) {
    let allowed = AtomicI64::new(ahead);
    let records = messages.len() as i64;
    let moments = moments(records, ahead, seed, count);
    std::thread::scope(|scope| {
        let _release = Release(&allowed);
        scope.spawn(|| job.produce_up_to(messages, &allowed));
        let mut last = 0;
        for (number, moment) in (0..).zip(moments) {
            let go_on = |total: i64| allowed.store(moment.produced.min(total + ahead), Ordering::Relaxed);
            // The job makes progress between any two faults: each meets a host at work, not one that starts.
            job.wait_total(moment.committed.max(last + 1), go_on);
            // Anywhere within a commit interval: in a poll, a guest, a transaction, a commit.
            std::thread::sleep(seed.duration(Duration::from_millis(150)));
            last = job.progress.total();
            assert!(last < records, "all was done before fault {number}");
            println!("fault {number} at {last} committed records of {}", allowed.load(Ordering::Relaxed));
            fault(number);
        }
        job.wait_total(records, |total| allowed.store(total + ahead, Ordering::Relaxed));
    });
    job.wait_through(wait::PATIENCE);
}
