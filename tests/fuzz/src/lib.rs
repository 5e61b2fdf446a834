//! Runs fuzz targets: random bytes, turned into inputs, given to an oracle that panics where something is wrong.
//!
//! The engine is [bolero](https://docs.rs/bolero)'s, on stable Rust, under `cargo test`. It draws inputs until a target's
//! share of the time is over, shrinks one that fails, and prints the seed that repeats it (`BOLERO_RANDOM_SEED`).
//! `SANDBAR_FUZZ_SECONDS` is the time for all targets together: 30 s if it is not set. A finding becomes a test of its own
//! beside the code that was wrong.

#![forbid(unsafe_code)]

mod entropy;
mod mutate;

use std::panic::RefUnwindSafe;
use std::time::Duration;

pub use entropy::Entropy;
pub use mutate::mutate;

/// Every target. They share the time, so each is named here.
pub const TARGETS: [&str; 14] = [
    "debezium_events",
    "debezium_json",
    "embedded_blocks",
    "control_deployments",
    "control_manifests",
    "control_positions",
    "control_progress",
    "control_statuses",
    "modules",
    "names",
    "outputs",
    "records",
    "specs_in_json",
    "specs_in_yaml",
];

const SECONDS_DEFAULT: u64 = 30;
/// Longest input, in bytes.
const BYTES_MAX: usize = 4096;
/// Longest time of the processor that one input may take: a loaded machine is no fault of an input.
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);

/// Runs a target for its share of the time. `oracle` panics where its input shows something wrong.
#[track_caller]
pub fn run(target: &str, oracle: impl Fn(&mut Entropy<'_>) + RefUnwindSafe) {
    assert!(TARGETS.contains(&target), "{target} is missing in TARGETS");
    let checked = |input: &[u8]| {
        let started = thread_time();
        oracle(&mut Entropy::new(input));
        let took = thread_time().saturating_sub(started);
        assert!(took < INPUT_TIME_MAX, "one input took {took:?}");
    };
    bolero::check!(name = target).with_test_time(share()).with_max_len(BYTES_MAX).for_each(checked);
}

/// The time of one target: as many run at once as there are processors.
fn share() -> Duration {
    let all = match std::env::var("SANDBAR_FUZZ_SECONDS") {
        Ok(text) => text.parse().expect("SANDBAR_FUZZ_SECONDS is a number"),
        Err(_) => SECONDS_DEFAULT,
    };
    let at_once = std::thread::available_parallelism().map_or(1, usize::from).min(TARGETS.len());
    Duration::from_secs(all) * at_once as u32 / TARGETS.len() as u32
}

/// Time of the processor that this thread has had; zero where the system does not say.
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}
