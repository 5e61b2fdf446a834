//! The clocks of other hosts, as far as their records tell: those of the status topic have the time of their writer.

use std::time::Duration;

use crate::model::finding::Finding;
use crate::model::names::{ClusterName, TopicName};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError};

/// A clock may be so far behind another one: it says nothing of late records, which are older than they look.
const AHEAD_MAX: Duration = Duration::from_secs(5);
/// Offsets at the end of the topic that are looked at. Some of them are no records.
const OFFSETS: i64 = 100;
const READ_WAIT: Duration = Duration::from_secs(2);
const READ_BYTES_MAX: usize = 1 << 20;

/// Compares this machine's clock with the newest record of a host. None: there is no record.
pub fn finding(log: &dyn Log, cluster: &ClusterName, now: fn() -> Timestamp) -> Option<Finding> {
    match newest(log, &cluster.control_topic("status")) {
        // Read after the record: the brokers took their time.
        Ok(newest) => judge(newest?, now()),
        // The other checks tell it.
        Err(_) => None,
    }
}

fn newest(log: &dyn Log, topic: &TopicName) -> Result<Option<i64>, LogError> {
    let (first, end) = log.offsets(topic, 0)?;
    if first == end {
        return Ok(None);
    }
    let page = log.read(topic, 0, first.max(end - OFFSETS), READ_WAIT, READ_BYTES_MAX)?;
    Ok(page.records.iter().map(|record| record.timestamp).max())
}

fn judge(newest_ms: i64, now: Timestamp) -> Option<Finding> {
    let ahead_ms = newest_ms.saturating_sub(now.0);
    if ahead_ms > AHEAD_MAX.as_millis() as i64 {
        return Some(Finding::failure(
            "clock-of-others",
            format!("the newest record of a host is {} s ahead of this machine's clock", ahead_ms / 1000),
            "synchronise the clocks of all machines (chrony, systemd-timesyncd)",
        ));
    }
    Some(Finding::ok("clock-of-others", "no record of a host is ahead of this machine's clock"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::Outcome;

    #[track_caller]
    fn check(newest_ms: i64, expected: Outcome) {
        let finding = judge(newest_ms, Timestamp(1_000_000)).expect("there is a record");
        assert_eq!(finding.outcome, expected, "{finding:?}");
    }

    #[test]
    fn only_records_of_the_future_tell_something() {
        check(0, Outcome::Ok);
        check(1_000_000, Outcome::Ok);
        check(1_005_000, Outcome::Ok);
        check(1_005_001, Outcome::Failure);
        check(i64::MAX, Outcome::Failure);
        check(i64::MIN, Outcome::Ok);
    }
}
