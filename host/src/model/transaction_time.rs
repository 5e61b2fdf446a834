//! The time that a transaction of a worker may take.
//!
//! ```text
//!   begin          deadline        deadline + grace                            end            timeout
//!     |-- commit interval --|-- commit interval --|-- one call, or init and one --|-- commit --|
//! ```
//!
//! A broker aborts a transaction at its timeout. So the worker must have committed before, and the timeout is derived from
//! the settings that make transactions long.

use std::time::Duration;

/// The shortest timeout: a dead host's open transaction holds back read_committed readers for that long.
pub const TIMEOUT_MIN: Duration = Duration::from_secs(15);
/// The part of the timeout that is left for the commit: deliveries, offsets, and the end of the transaction.
pub const COMMIT_MARGIN: Duration = Duration::from_secs(4);
/// Time on the clock for a call, as a multiple of its CPU time: on a busy host a call waits for a processor.
const CALL_FACTOR: u32 = 5;
/// The longest time between two polls of a member of a group. Each turn of a worker ends with its transaction at the latest.
pub const POLL_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// The largest settings of a spec.
pub const COMMIT_INTERVAL_MAX: Duration = Duration::from_secs(5);
pub const BATCH_TIME_MAX: Duration = Duration::from_secs(5);

/// The timeout of a transform's transactions: two commit intervals, a call that takes all of its time, and the commit.
pub fn timeout(commit_interval: Duration, batch_time: Duration) -> Duration {
    (2 * commit_interval + CALL_FACTOR * batch_time + COMMIT_MARGIN).max(TIMEOUT_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(commit_interval: Duration, batch_time: Duration, expected_ms: u64) {
        let timeout = timeout(commit_interval, batch_time);
        assert_eq!(timeout, Duration::from_millis(expected_ms));
        assert!(2 * commit_interval + batch_time < timeout - COMMIT_MARGIN);
        assert!(timeout < POLL_INTERVAL_MAX, "the group would throw the worker out first");
    }

    #[test]
    fn a_transaction_has_room_for_a_call() {
        check(Duration::from_millis(100), Duration::from_secs(2), 15_000);
        check(Duration::from_secs(5), Duration::from_secs(2), 24_000);
        check(Duration::from_millis(100), Duration::from_secs(5), 29_200);
        check(COMMIT_INTERVAL_MAX, BATCH_TIME_MAX, 39_000);
    }
}
