//! A wall clock that is set by an hour while a host works.

use std::time::{Duration, Instant};

use sandbar_harness::{Host, KafkaCluster, Message, Seed, WallClock, guests, wait};
use serde_json::json;

use crate::job::{Job, numbered, unchanged};

/// Records after each step of the clock.
const SLICE: usize = 300;
const STEPS: [&str; 7] = ["+0", "+1h", "-1h", "+0", "-1h", "+1h", "+0"];
/// The clock is seen after a second; the rest is for a busy machine. An hour would be far too long.
const SLICE_TIME_MAX: Duration = Duration::from_secs(30);

/// The job is exact, and no step holds it up, whether it works or waits for records at that moment. Then a stop is prompt.
#[test]
fn a_step_of_the_wall_clock_changes_no_output_and_stops_nothing() {
    let mut seed = Seed::new("clock");
    let clock = WallClock::new();
    let mut host = Host::start_with_clock(KafkaCluster::shared(), "clock", &clock);
    let job = Job::new("clock", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&host.api());
    job.wait_for_hosts(&host.api(), 1);
    let messages: Vec<Message> = numbered(SLICE * STEPS.len(), 20);
    for (step, (offset, slice)) in STEPS.iter().zip(messages.chunks(SLICE)).enumerate() {
        // Half of the steps come while the host has nothing to do.
        if seed.within(0..2) == 0 {
            clock.set(offset);
            std::thread::sleep(Duration::from_millis(1500));
            job.produce(slice);
        } else {
            job.produce(slice);
            clock.set(offset);
        }
        let began = Instant::now();
        job.wait_total((SLICE * (step + 1)) as i64, |_| {});
        assert!(began.elapsed() < SLICE_TIME_MAX, "step {step} ({offset}): {:?}", began.elapsed());
    }
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
    clock.set("-1h");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(host.sigterm_and_wait(), Some(0));
}
