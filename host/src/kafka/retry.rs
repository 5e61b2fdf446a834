//! Calls that are made again: those of a transaction while their errors are retriable, those to the leaders of partitions,
//! and those whose connection ends before the answer.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;

use super::code::of_crate_error;
use super::config::CALL_TIMEOUT;
use super::raw::{Client, CodeName as E, RawError};

/// Time for a partition to get a leader: of a topic that was just created, or one whose leader moves.
const LEADER_TIME: Duration = Duration::from_secs(5);
const LEADER_LOOK: Duration = Duration::from_millis(50);
/// Between a lost connection and the next attempt.
const LOST_PAUSE: Duration = Duration::from_millis(100);

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
pub(super) fn led<T>(client: &Client, call: impl FnMut() -> Result<T, RawError>) -> Result<T, RawError> {
    led_after(call, || {
        // The next call says why it was of no use.
        let _ = client.refresh_metadata(LEADER_TIME);
    })
}

/// Does the same, and calls `refresh` before each further attempt, which lets the client look for the leaders.
pub(super) fn led_after<T, Error: CallError>(
    mut call: impl FnMut() -> Result<T, Error>,
    mut refresh: impl FnMut(),
) -> Result<T, Error> {
    let deadline = Instant::now() + LEADER_TIME;
    loop {
        match call() {
            Err(error) if error.has_no_leader() && Instant::now() < deadline => {
                std::thread::sleep(LEADER_LOOK);
                refresh();
            }
            ended => return ended,
        }
    }
}

/// The error of a call.
pub(super) trait CallError {
    fn name(&self) -> Option<E>;

    /// Returns true if the connection ended before the answer, as when a broker restarts, or if another broker has to be
    /// asked.
    fn is_to_be_repeated(&self) -> bool {
        matches!(
            self.name(),
            Some(
                E::RD_KAFKA_RESP_ERR__TRANSPORT
                    | E::RD_KAFKA_RESP_ERR__DESTROY_BROKER
                    | E::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION
                    | E::RD_KAFKA_RESP_ERR_NOT_CONTROLLER
                    | E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS
                    | E::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE
                    | E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR
            )
        )
    }

    /// Returns true if the broker that was asked does not lead a partition, or not yet.
    fn has_no_leader(&self) -> bool {
        matches!(
            self.name(),
            Some(
                E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
                    | E::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
                    | E::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
                    | E::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
                    | E::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE
                    | E::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR
            )
        )
    }
}

impl CallError for RawError {
    fn name(&self) -> Option<E> {
        self.code.name()
    }
}

impl CallError for KafkaError {
    fn name(&self) -> Option<E> {
        of_crate_error(self)?.name()
    }
}

/// Makes a call of the administration again whose answer was lost, for the time of one call: librdkafka makes it once. It has
/// to be one that may be carried out twice. It is given the time that is left.
pub(super) fn asked_again<T, Error: CallError>(mut call: impl FnMut(Duration) -> Result<T, Error>) -> Result<T, Error> {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let mut left = CALL_TIMEOUT;
    loop {
        match call(left) {
            Err(error) if error.is_to_be_repeated() => {
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The number of calls, of which the first fails with this error.
    #[track_caller]
    fn check(name: E, again: usize, led: usize) {
        let calls = Cell::new(0);
        let call = || {
            calls.set(calls.get() + 1);
            if calls.get() == 1 { Err(RawError::of("call", name)) } else { Ok(()) }
        };
        assert_eq!(asked_again(|_| call()).is_ok(), again > 1, "{name:?}");
        assert_eq!(calls.replace(0), again, "{name:?}");
        let refreshed = Cell::new(0);
        assert_eq!(led_after(call, || refreshed.set(refreshed.get() + 1)).is_ok(), led > 1, "{name:?}");
        assert_eq!((calls.get(), refreshed.get()), (led, led - 1), "{name:?}");
    }

    #[test]
    fn only_what_passes_is_asked_again() {
        check(E::RD_KAFKA_RESP_ERR__TRANSPORT, 2, 1);
        check(E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 2, 1);
        check(E::RD_KAFKA_RESP_ERR_NOT_CONTROLLER, 2, 1);
        check(E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 1, 2);
        check(E::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, 1, 2);
        // It has taken all the time that there was.
        check(E::RD_KAFKA_RESP_ERR__TIMED_OUT, 1, 1);
        check(E::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 1, 1);
        check(E::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, 1, 1);
    }
}
