//! Faults in mid-flight: a job under load, and something done to its hosts at random moments.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sandbar_tests::{Message, Seed, wait};

use crate::job::Job;

/// Moments of a run, as numbers of committed records: `count` of them, one at random in each part of the run.
fn moments(records: usize, ahead: i64, seed: &mut Seed, count: u64) -> Vec<i64> {
    let part = (records as u64 - ahead as u64) / count;
    (0..count).map(|i| (i * part + seed.within(1..part)) as i64).collect()
}

/// Lets the producer finish when a test fails, which the scope waits for.
struct Release<'a>(&'a AtomicI64);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(i64::MAX / 2, Ordering::Relaxed);
    }
}

/// Runs the job, and calls `fault` at `count` moments, when the job is in mid-flight. The producer is `ahead` of what is
/// committed: there is always work under way. On a quick machine each fault may come `ahead` records after the one before.
pub fn run(job: &Job, messages: &[Message], ahead: i64, seed: &mut Seed, count: u64, mut fault: impl FnMut(u64)) {
    let seen = AtomicI64::new(0);
    let records = messages.len();
    let moments = moments(records, ahead, seed, count);
    std::thread::scope(|scope| {
        let _release = Release(&seen);
        scope.spawn(|| job.produce_ahead(messages, ahead, &seen));
        let mut last = 0;
        for (number, moment) in (0..).zip(moments) {
            // There is progress between any two faults: each meets a host at work, not one that starts.
            job.wait_total(moment.max(last + 1), &seen);
            // Anywhere within a commit interval: in a poll, a guest, a transaction, a commit.
            std::thread::sleep(seed.duration(Duration::from_millis(150)));
            let total = job.progress.total();
            last = total;
            assert!(total < records as i64, "all was done before fault {number}");
            println!("fault {number} at {total} committed records");
            fault(number);
        }
        job.wait_total(records as i64, &seen);
    });
    job.wait_through(wait::PATIENCE);
}
