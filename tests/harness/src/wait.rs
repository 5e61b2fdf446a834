//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// The time that a test waits for a step that takes milliseconds on an idle machine and seconds on a loaded one.
pub const PATIENCE: Duration = Duration::from_secs(90);

const PAUSE: Duration = Duration::from_millis(10);

/// Calls `probe` until it returns `Ok`. Panics at the deadline, with the name of the condition and the last answer. A slow
/// machine may be the reason: tools/test.sh runs a test that fails so once more. For what may be lost there is
/// [`until_complete`].
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, probe: impl FnMut() -> Result<T, String>) -> T {
    ended(deadline, probe).unwrap_or_else(|last| panic!("{what}: not within {deadline:?}; the last word was: {last}"))
}

/// As [`until`], for records: one that is not there at the deadline counts as lost, and the test has failed.
#[track_caller]
pub fn until_complete<T>(what: &str, deadline: Duration, probe: impl FnMut() -> Result<T, String>) -> T {
    ended(deadline, probe).unwrap_or_else(|last| panic!("{what}: missing after {deadline:?}; the last word was: {last}"))
}

/// The last answer if the deadline passes.
fn ended<T>(deadline: Duration, mut probe: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let started = Instant::now();
    loop {
        match probe() {
            Err(_) if started.elapsed() <= deadline => std::thread::sleep(PAUSE),
            end => return end,
        }
    }
}
