//! Calls that are made again: those of a transaction while their errors are retriable, and those to the leaders of partitions.

use std::time::{Duration, Instant};

use super::config::CALL_TIMEOUT;
use super::raw::{Client, CodeName as E, RawError};

/// Time for a partition to get a leader: of a topic that was just created, or one whose leader moves.
const LEADER_TIME: Duration = Duration::from_secs(5);
const LEADER_LOOK: Duration = Duration::from_millis(50);

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

/// Makes a call to the leaders of partitions again while one of them has no leader yet, or the client knows an earlier one.
pub(super) fn led<T>(client: &Client, mut call: impl FnMut() -> Result<T, RawError>) -> Result<T, RawError> {
    let deadline = Instant::now() + LEADER_TIME;
    loop {
        match call() {
            Err(error) if has_no_leader(&error) && Instant::now() < deadline => {
                std::thread::sleep(LEADER_LOOK);
                // The next call says why it was of no use.
                let _ = client.refresh_metadata(CALL_TIMEOUT);
            }
            ended => return ended,
        }
    }
}

fn has_no_leader(error: &RawError) -> bool {
    matches!(
        error.code.name(),
        Some(
            E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
                | E::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
                | E::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
                | E::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
        )
    )
}
