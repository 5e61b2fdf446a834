//! The record of a transform's status. A status that is too large for a record is cut, and says so: it is never lost.

use crate::model::format::{Format, encode};
use crate::model::status::{OmittedPartitions, PartitionStatus, State, TransformStatus};

/// Largest status of a transform that is told whole. Brokers take records of 1 MiB by default, and one that is refused
/// would keep all others from being told.
const STATUS_BYTES_MAX: usize = 512 * 1024;
/// The error of a partition where there is no room for each.
const ERROR_LEFT_OUT: &str = "there are too many errors to tell each: see the logs";

/// A status as its record holds it. Messages of its partitions are a guest's, and there may be many partitions: where
/// that is too much, messages are left out, and after that partitions.
pub fn status_json(status: &TransformStatus) -> Vec<u8> {
    let whole = encode(Format::Status, status);
    if whole.len() <= STATUS_BYTES_MAX {
        return whole;
    }
    let mut short = status.clone();
    for error in short.partitions.iter_mut().filter_map(|partition| partition.error.as_mut()) {
        error.message = ERROR_LEFT_OUT.to_owned();
    }
    let without_messages = encode(Format::Status, &short);
    if without_messages.len() <= STATUS_BYTES_MAX {
        return without_messages;
    }
    encode(Format::Status, &truncated(short))
}

/// Keeps as many partitions as fit, those with a problem first, and sums the others up.
fn truncated(status: TransformStatus) -> TransformStatus {
    let TransformStatus { partitions, .. } = &status;
    let head = TransformStatus { partitions: Vec::new(), ..status.clone() };
    // The sum of the others takes some bytes, too.
    let room = STATUS_BYTES_MAX.saturating_sub(encode(Format::Status, &head).len() + 1024);
    let mut order: Vec<usize> = (0..partitions.len()).collect();
    order.sort_by_key(|&index| partitions[index].state == State::Running);
    let mut bytes = 0;
    let fits = |&&index: &&usize| {
        bytes += serde_json::to_vec(&partitions[index]).map_or(0, |json| json.len() + 1);
        bytes <= room
    };
    let kept: std::collections::BTreeSet<usize> = order.iter().take_while(fits).copied().collect();
    let (listed, left): (Vec<_>, Vec<_>) = partitions.iter().cloned().enumerate().partition(|(at, _)| kept.contains(at));
    let unnumbered = |all: Vec<(usize, PartitionStatus)>| all.into_iter().map(|(_, partition)| partition).collect();
    let left: Vec<PartitionStatus> = unnumbered(left);
    TransformStatus { partitions: unnumbered(listed), truncated: true, omitted: OmittedPartitions::of(&left), ..head }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::codes::Code;
    use crate::model::status::{LastError, Rollout, RolloutState};
    use crate::model::units::Timestamp;

    fn partition(number: i32, error: Option<LastError>) -> PartitionStatus {
        PartitionStatus {
            restoring: None,
            stores: Vec::new(),
            topic: "in".parse().expect("valid"),
            partition: number,
            committed_offset: Some(7),
            end_offset: Some(9),
            lag: Some(2),
            state: if error.is_some() { State::Paused } else { State::Running },
            revision: 1,
            revision_since: 0,
            error,
        }
    }

    /// A status with so many partitions, of which every tenth failed with a message of so many control characters.
    fn status(partitions: i32, message: usize) -> TransformStatus {
        let error = || LastError { code: Code::Trap, message: "\x1b".repeat(message), offset: None, at: Timestamp(0) };
        TransformStatus {
            id: "t/n".parse().expect("valid"),
            state: State::Degraded,
            revision: 1,
            rollout: Rollout { revision: 1, state: RolloutState::Complete, error: None },
            host: "a".into(),
            error: Some(error()),
            partitions: (0..partitions).map(|number| partition(number, (number % 10 == 0).then(error))).collect(),
            truncated: false,
            omitted: None,
            hosts_wanted: None,
            activity: None,
        }
    }

    /// Writes the status and reads it back: as it was, without messages, or cut.
    #[track_caller]
    fn check(status: &TransformStatus, is_whole: bool, is_truncated: bool) -> TransformStatus {
        let told = status_json(status);
        assert!(told.len() <= STATUS_BYTES_MAX, "{} bytes", told.len());
        let read: TransformStatus = serde_json::from_slice(&told).expect("a status");
        assert_eq!((read == *status, read.truncated, &read.error), (is_whole, is_truncated, &status.error));
        let omitted = read.omitted.as_ref().map_or(0, |omitted| omitted.partitions);
        assert_eq!(read.partitions.len() + omitted, status.partitions.len(), "no partition is lost");
        read
    }

    #[test]
    fn a_status_fits_into_a_record() {
        check(&status(10, 2048), true, false);
        check(&status(400, 100), true, false);
        check(&status(1000, 100), true, false);
        check(&status(600, 2048), false, false);
    }

    #[test]
    fn a_status_that_is_too_large_is_cut_and_says_so() {
        let read = check(&status(20_000, 10), false, true);
        let failed = read.partitions.iter().filter(|partition| partition.state == State::Paused).count();
        assert_eq!(failed, 2000, "those with a problem are listed");
        let omitted = read.omitted.expect("the others");
        assert_eq!((omitted.state, omitted.lag), (State::Running, Some(2 * omitted.partitions as u64)));
        let numbers: Vec<i32> = read.partitions.iter().map(|partition| partition.partition).collect();
        assert!(numbers.is_sorted(), "in their order");
    }
}
