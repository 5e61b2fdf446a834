//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// The time that a test waits for a step that takes milliseconds on an idle machine and seconds on a loaded one.
pub const PATIENCE: Duration = Duration::from_secs(90);

const PAUSE: Duration = Duration::from_millis(10);

/// Calls `probe` until it returns `Ok`. Panics at the deadline, with the name of the condition and the last answer.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) if started.elapsed() > deadline => {
                panic!("{what}: not within {deadline:?}; the last word was: {last}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
