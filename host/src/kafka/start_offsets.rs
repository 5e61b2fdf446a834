//! Start offsets of a session's partitions: their committed offsets, where those lie within the partition.
//!
//! A session gives no partition its first offset: `positions` does, before a session opens. So a partition without an
//! offset is not read, and neither is one whose committed offset lies outside of the partition: before its first offset records were
//! deleted unread, and behind its end the log was cut short, or another topic was made under the name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::config::CALL_TIMEOUT;
use super::credentials::Connection;
use super::raw::{Client, CommittedOffset, END, FIRST, NO_OFFSET, PartitionList, Position, RawError};
use crate::model::revision::Progress;
use crate::ports::NoPlace;

/// Times that a surprising answer is asked for: brokers have been seen to answer "no offset" for a group that had one, and a
/// leader that has just been elected may not know its partition's end yet.
const ASKED_MAX: usize = 2;
/// Between a surprising answer and the next question. The group waits for it.
const ASKED_AFTER: Duration = Duration::from_millis(300);
/// Longest time of a single question for committed offsets.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time for the partitions' ends: the group waits for them.
pub(super) const ENDS_TIMEOUT: Duration = Duration::from_secs(3);

/// A partition with its committed offset, and the problem with that, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StartOffset {
    pub position: Position,
    pub problem: Option<OffsetProblem>,
}

/// The reason why a partition cannot be read from its committed offset: see [`NoPlace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OffsetProblem {
    Missing,
    /// An open transaction may commit another offset.
    Unsettled,
    OutOfRange {
        first: i64,
        end: i64,
    },
}

impl OffsetProblem {
    /// `begun`: the number of partitions of the topic that have had an offset.
    pub fn reason(&self, position: &Position, begun: i32) -> NoPlace {
        match *self {
            Self::Missing if position.partition < begun => NoPlace::Forgotten,
            Self::Missing => NoPlace::Unbegun,
            Self::Unsettled => NoPlace::Unsettled,
            Self::OutOfRange { first, end } => NoPlace::Outside { next_offset: position.offset, first, end },
        }
    }
}

/// Finds the start offsets of these partitions, in their order.
pub(super) fn find(
    consumer: &Client,
    connection: &Connection,
    group: &str,
    partitions: &[(&str, i32)],
) -> Result<Vec<StartOffset>, RawError> {
    let is_missing = |start: &StartOffset| start.problem == Some(OffsetProblem::Missing);
    let committed = unsurprising(is_missing, || committed(consumer, group, partitions))?;
    let is_outside = |start: &StartOffset| matches!(start.problem, Some(OffsetProblem::OutOfRange { .. }));
    Ok(unsurprising(is_outside, || compared(consumer, connection, &committed)).unwrap_or_else(|error| {
        // A partition without a leader holds up no other: an offset that is not in it shows when it is fetched.
        tracing::debug!(%error, "the ends of partitions are not known");
        committed
    }))
}

/// Asks again while an answer is surprising, some times at most.
fn unsurprising(
    is_surprising: impl Fn(&StartOffset) -> bool,
    ask: impl Fn() -> Result<Vec<StartOffset>, RawError>,
) -> Result<Vec<StartOffset>, RawError> {
    let mut found = ask()?;
    for _ in 1..ASKED_MAX {
        if !found.iter().any(&is_surprising) {
            break;
        }
        std::thread::sleep(ASKED_AFTER);
        found = ask()?;
    }
    Ok(found)
}

/// The committed offset of each partition, as far as it is settled. It does not wait for open transactions.
pub(super) fn committed(consumer: &Client, group: &str, partitions: &[(&str, i32)]) -> Result<Vec<StartOffset>, RawError> {
    Ok(ask(consumer, group, &unknown(partitions))?.into_iter().map(uncompared).collect())
}

/// Returns true if one of these partitions has a committed offset, asked once.
pub(super) fn any_committed(consumer: &Client, group: &str, partitions: &[(&str, i32)]) -> Result<bool, RawError> {
    let committed = consumer.group_offsets(group, &unknown(partitions), true, OFFSETS_TIMEOUT)?;
    Ok(committed.into_iter().map(uncompared).any(|start| start.problem.is_none()))
}

fn unknown(partitions: &[(&str, i32)]) -> PartitionList {
    list_of(partitions.iter().map(|&(topic, partition)| (topic, partition, NO_OFFSET)))
}

/// Asks once. A coordinator that is changing, say, is asked again by the client itself, which waits for open transactions.
fn ask(consumer: &Client, group: &str, list: &PartitionList) -> Result<Vec<CommittedOffset>, RawError> {
    match consumer.group_offsets(group, list, true, OFFSETS_TIMEOUT) {
        Ok(answers) => Ok(answers),
        Err(error) => {
            tracing::debug!(group, %error, "the committed offsets are asked for again");
            consumer.committed(list, CALL_TIMEOUT)?;
            Ok(list.entries().into_iter().map(CommittedOffset::Stable).collect())
        }
    }
}

/// The workers that committed these offsets, as far as their metadata names them: also of offsets that are not settled.
pub(super) fn workers(consumer: &Client, group: &str, found: &[StartOffset]) -> BTreeSet<String> {
    let unsettled = found.iter().filter(|start| start.problem == Some(OffsetProblem::Unsettled));
    let list =
        list_of(unsettled.map(|StartOffset { position, .. }| (position.topic.as_str(), position.partition, NO_OFFSET)));
    let is_empty = list.entries().is_empty();
    let asked = if is_empty { Ok(Vec::new()) } else { consumer.group_offsets(group, &list, false, OFFSETS_TIMEOUT) };
    let committed = asked.unwrap_or_else(|error| {
        tracing::debug!(group, %error, "the owners of unsettled offsets are not known");
        Vec::new()
    });
    let unsettled = committed.into_iter().map(|offset| match offset {
        CommittedOffset::Stable(position) | CommittedOffset::Unstable(position) => position.metadata,
    });
    let settled = found.iter().map(|start| start.position.metadata.clone());
    settled.chain(unsettled).filter_map(|metadata| Progress::parse(&metadata, 0).ok()?.worker).collect()
}

fn uncompared(answer: CommittedOffset) -> StartOffset {
    match answer {
        CommittedOffset::Unstable(position) => StartOffset { position, problem: Some(OffsetProblem::Unsettled) },
        CommittedOffset::Stable(position) => {
            let problem = (position.offset < 0).then_some(OffsetProblem::Missing);
            StartOffset { position, problem }
        }
    }
}

/// Compares committed offsets with the partitions' first offsets and ends.
fn compared(consumer: &Client, connection: &Connection, committed: &[StartOffset]) -> Result<Vec<StartOffset>, RawError> {
    let with_offset = || committed.iter().filter(|start| start.problem.is_none()).map(|start| &start.position);
    let ask = |bound: i64| -> Result<Vec<Position>, RawError> {
        let list = list_of(with_offset().map(|position| (position.topic.as_str(), position.partition, bound)));
        if with_offset().next().is_some() {
            consumer.look_up_offsets(&list, ENDS_TIMEOUT)?;
        }
        Ok(list.entries())
    };
    let firsts = by_partition(ask(FIRST)?);
    let ends = by_partition(ask(END)?);
    // An open transaction holds back the end that this consumer sees, and not the offsets that others commit.
    let is_held_back = |position: &&Position| ends.get(&place(position)).is_some_and(|&end| position.offset > end);
    let held_back: Vec<&Position> = with_offset().filter(is_held_back).collect();
    let high_watermarks = high_watermarks(connection, &held_back)?;
    let mut found = Vec::new();
    for StartOffset { position, problem } in committed.iter().cloned() {
        let at = place(&position);
        let problem = match (firsts.get(&at), ends.get(&at)) {
            (Some(&first), Some(&stable_end)) => {
                let end = high_watermarks.get(&at).map_or(stable_end, |&end| end.max(stable_end));
                let is_outside = !(first..=end).contains(&position.offset);
                is_outside.then_some(OffsetProblem::OutOfRange { first, end })
            }
            _ => problem,
        };
        found.push(StartOffset { position, problem });
    }
    Ok(found)
}

/// Offsets by topic and partition.
type Bounds = BTreeMap<(String, i32), i64>;

fn place(position: &Position) -> (String, i32) {
    (position.topic.clone(), position.partition)
}

fn by_partition(positions: Vec<Position>) -> Bounds {
    positions.into_iter().map(|position| ((position.topic, position.partition), position.offset)).collect()
}

/// The ends of these partitions, open transactions included. No client is made for none.
fn high_watermarks(connection: &Connection, of: &[&Position]) -> Result<Bounds, RawError> {
    if of.is_empty() {
        return Ok(Bounds::new());
    }
    let list = list_of(of.iter().map(|position| (position.topic.as_str(), position.partition, END)));
    connection.uncommitted()?.look_up_offsets(&list, ENDS_TIMEOUT)?;
    Ok(by_partition(list.entries()))
}

fn list_of<'a>(partitions: impl Iterator<Item = (&'a str, i32, i64)>) -> PartitionList {
    let mut list = PartitionList::new();
    for (topic, partition, offset) in partitions {
        list.add(topic, partition, offset, "");
    }
    list
}
