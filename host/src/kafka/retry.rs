//! Calls that are made again: those of a transaction while their errors are retriable, those to the leaders of partitions,
//! and those whose connection ends before the answer.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;

use super::code::of_crate_error;
use super::config::CALL_TIMEOUT;
use super::raw::{Client, CodeName as E, ErrorCode, RawError};

/// Time for a partition to get a leader: of a topic that was just created, or one whose leader moves.
const LEADER_TIME: Duration = Duration::from_secs(5);
const LEADER_LOOK: Duration = Duration::from_millis(50);
/// Between a lost connection and the next attempt.
const LOST_PAUSE: Duration = Duration::from_millis(50);

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

/// The error of a call.
pub(super) trait CallError {
    fn code(&self) -> Option<ErrorCode>;

    /// Returns true if the connection ended before the answer, as when a broker restarts.
    fn is_lost(&self) -> bool {
        let code = self.code().and_then(ErrorCode::name);
        matches!(
            code,
            Some(
                E::RD_KAFKA_RESP_ERR__TRANSPORT
                    | E::RD_KAFKA_RESP_ERR__DESTROY_BROKER
                    | E::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION
                    | E::RD_KAFKA_RESP_ERR_NOT_CONTROLLER
            )
        )
    }
}

impl CallError for RawError {
    fn code(&self) -> Option<ErrorCode> {
        Some(self.code)
    }
}

impl CallError for KafkaError {
    fn code(&self) -> Option<ErrorCode> {
        of_crate_error(self)
    }
}

/// Makes a call of the administration again whose answer was lost, for the time of one call: librdkafka makes it once. It has
/// to be one that may be carried out twice. It is given the time that is left.
pub(super) fn answered<T, Error: CallError>(mut call: impl FnMut(Duration) -> Result<T, Error>) -> Result<T, Error> {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let mut left = CALL_TIMEOUT;
    loop {
        match call(left) {
            Err(error) if error.is_lost() => {
                std::thread::sleep(LOST_PAUSE);
                left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(error);
                }
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
