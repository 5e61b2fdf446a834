//! Places of a session's partitions: their committed offsets, where those lie within the partition.
//!
//! A session gives no partition its first offset: `positions` does, before a session opens. So a partition without an
//! offset is not read, and neither is one whose committed offset lies outside of what the partition has: before its
//! first offset records were deleted unread, and behind its end the log was cut short or made anew.

use std::time::Duration;

use super::config::KafkaConfig;
use super::producer::CALL_TIMEOUT;
use super::raw::{Client, END, FIRST, NO_OFFSET, PartitionList, Position, RawError};
use crate::ports::NoPlace;

/// How often a surprise is asked about: brokers have been seen to answer "no offset" for a group that had one, and a
/// leader that has just been elected may not know its partition's end yet.
const ASKED_MAX: usize = 2;
/// How long the partitions' ends may take: the group waits for it.
const ENDS_TIMEOUT: Duration = Duration::from_secs(3);

/// A partition with its committed offset, or with the reason for which it has no place.
pub(super) type Place = (Position, Option<Reason>);

/// See [`NoPlace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    NoOffset,
    Outside { first: i64, end: i64 },
}

impl Reason {
    /// `begun`: how many partitions of the topic have had an offset.
    pub fn of(&self, position: &Position, begun: i32) -> NoPlace {
        match *self {
            Self::NoOffset if position.partition < begun => NoPlace::Forgotten,
            Self::NoOffset => NoPlace::Unbegun,
            Self::Outside { first, end } => NoPlace::Outside { next_offset: position.offset, first, end },
        }
    }
}

/// Finds the places of these partitions, in their order.
pub(super) fn find(consumer: &Client, config: &KafkaConfig, partitions: &[(&str, i32)]) -> Result<Vec<Place>, RawError> {
    let committed = committed(consumer, partitions)?;
    let mut places = Vec::new();
    for _ in 0..ASKED_MAX {
        places = match compared(consumer, config, &committed) {
            Ok(places) => places,
            // A partition without a leader holds up no other: what is not there shows when it is fetched.
            Err(error) => {
                tracing::debug!(%error, "the ends of partitions are not known");
                return Ok(committed.into_iter().map(uncompared).collect());
            }
        };
        if !places.iter().any(|(_, reason)| matches!(reason, Some(Reason::Outside { .. }))) {
            break;
        }
    }
    Ok(places)
}

fn uncompared(position: Position) -> Place {
    let reason = (position.offset < 0).then_some(Reason::NoOffset);
    (position, reason)
}

/// The committed offset of each partition; negative for none.
pub(super) fn committed(consumer: &Client, partitions: &[(&str, i32)]) -> Result<Vec<Position>, RawError> {
    let mut committed = Vec::new();
    for _ in 0..ASKED_MAX {
        let list = list_of(partitions.iter().map(|&(topic, partition)| (topic, partition, NO_OFFSET)));
        consumer.committed(&list, CALL_TIMEOUT)?;
        committed = list.entries();
        if committed.iter().all(|position| position.offset >= 0) {
            break;
        }
    }
    Ok(committed)
}

fn compared(consumer: &Client, config: &KafkaConfig, committed: &[Position]) -> Result<Vec<Place>, RawError> {
    let known = || committed.iter().filter(|position| position.offset >= 0);
    let ask = |bound: i64| -> Result<Vec<Position>, RawError> {
        let list = list_of(known().map(|position| (position.topic.as_str(), position.partition, bound)));
        if known().next().is_some() {
            consumer.look_up_offsets(&list, ENDS_TIMEOUT)?;
        }
        Ok(list.entries())
    };
    let firsts = ask(FIRST)?;
    let mut ends = ask(END)?;
    let mut places = Vec::new();
    for position in committed {
        let is_own = |other: &&mut Position| (&other.topic, other.partition) == (&position.topic, position.partition);
        let first = firsts.iter().find(|other| (&other.topic, other.partition) == (&position.topic, position.partition));
        let (Some(first), Some(end)) = (first, ends.iter_mut().find(is_own)) else {
            places.push((position.clone(), Some(Reason::NoOffset)));
            continue;
        };
        if position.offset > end.offset {
            // An open transaction holds back the end that this consumer is told, and not what somebody else commits.
            end.offset = high_watermark(config, position)?.max(end.offset);
        }
        let first = first.offset;
        let end = end.offset;
        let outside = !(first..=end).contains(&position.offset);
        places.push((position.clone(), outside.then_some(Reason::Outside { first, end })));
    }
    Ok(places)
}

fn high_watermark(config: &KafkaConfig, position: &Position) -> Result<i64, RawError> {
    let client = Client::producer(&config.uncommitted())?;
    client.query_watermarks(&position.topic, position.partition, ENDS_TIMEOUT).map(|(_, end)| end)
}

fn list_of<'a>(partitions: impl Iterator<Item = (&'a str, i32, i64)>) -> PartitionList {
    let mut list = PartitionList::new();
    for (topic, partition, offset) in partitions {
        list.add(topic, partition, offset, "");
    }
    list
}
