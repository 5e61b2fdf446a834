//! Calls of a transaction that are made again for as long as their errors are retriable.

use std::time::{Duration, Instant};

use super::raw::{Client, RawError};

/// Makes a call again while its error is retriable, which resumes it in librdkafka, and while there is time. Callbacks are
/// served in between.
pub(super) fn resumed(
    client: &Client,
    deadline: Instant,
    mut call: impl FnMut() -> Result<(), RawError>,
) -> Result<(), RawError> {
    loop {
        match call() {
            Err(error) if error.retriable && Instant::now() < deadline => client.poll(Duration::from_millis(1)),
            ended => return ended,
        }
    }
}
