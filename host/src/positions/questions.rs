//! Questions to the log, before a transform is begun: which topics there are now, and which offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::PositionsError;
use super::plan::StartingPoint;
use crate::model::names::TopicName;
use crate::model::spec::Start;
use crate::ports::{GroupOffset, Log, LogError, TopicSize};

/// Times that the answer "no offset" is asked for: brokers have been seen to answer so for a group that had one.
const ASKED_MAX: usize = 2;
/// Between two questions about a topic that was recreated.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Every topic's size; all of them have to exist.
pub fn sizes(log: &dyn Log, topics: &[TopicName]) -> Result<BTreeMap<TopicName, TopicSize>, LogError> {
    let sizes = log.sizes(topics)?;
    match topics.iter().find(|topic| !sizes.contains_key(*topic)) {
        Some(missing) => Err(LogError::NoTopic(missing.to_string())),
        None => Ok(sizes),
    }
}

/// The present ids of these topics, where they are known.
pub fn changelog_ids(log: &dyn Log, topics: &[TopicName]) -> Result<BTreeMap<TopicName, String>, LogError> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sizes = log.sizes(topics)?;
    Ok(sizes.into_iter().filter(|(_, size)| !size.id.is_empty()).map(|(topic, size)| (topic, size.id)).collect())
}

/// Fails unless a second question confirms these topics, of which one was recreated: a broker that lags behind may name the
/// old one, and then everything would be processed again.
pub fn confirm_topics(log: &dyn Log, sizes: &BTreeMap<TopicName, TopicSize>) -> Result<(), LogError> {
    std::thread::sleep(ASKED_AGAIN_AFTER);
    let topics: Vec<TopicName> = sizes.keys().cloned().collect();
    let again = log.sizes(&topics)?;
    match sizes.iter().find(|(topic, size)| again.get(*topic).is_none_or(|again| again.id != size.id)) {
        Some((topic, _)) => Err(LogError::Unavailable(format!("brokers differ in which topic {topic} is"))),
        None => Ok(()),
    }
}

/// Fails while a group has members: they may read a topic that was recreated by offsets of the old one, and would commit
/// theirs over its first ones.
pub fn refuse_members(log: &dyn Log, group: &str) -> Result<(), PositionsError> {
    match log.group_members(group)? {
        0 => Ok(()),
        members => Err(PositionsError::InUse { group: group.to_owned(), members }),
    }
}

/// The partitions of these topics for which a group has an offset.
pub fn committed(
    log: &dyn Log,
    group: &str,
    topics: &[TopicName],
    sizes: &BTreeMap<TopicName, TopicSize>,
) -> Result<BTreeSet<(TopicName, i32)>, LogError> {
    let all: i32 = sizes.values().map(|size| size.partitions).sum();
    let mut committed = BTreeSet::new();
    for _ in 0..ASKED_MAX {
        let offsets = log.group_offsets(group, topics)?;
        committed.extend(offsets.into_iter().map(|offset| (offset.topic, offset.partition)));
        if committed.len() as i32 >= all {
            break;
        }
    }
    Ok(committed)
}

/// The first offsets of partitions, as the log says now.
pub fn first_offsets(
    log: &dyn Log,
    starts: &[(TopicName, i32, StartingPoint)],
    start: &Start,
) -> Result<Vec<GroupOffset>, LogError> {
    let mut offsets = Vec::new();
    let mut points: BTreeMap<(&TopicName, StartingPoint), BTreeSet<i32>> = BTreeMap::new();
    for (topic, partition, from) in starts {
        points.entry((topic, *from)).or_default().insert(*partition);
    }
    for ((topic, from), partitions) in points {
        let start = if from == StartingPoint::Spec { start } else { &Start::Earliest };
        let is_wanted = |offset: &GroupOffset| partitions.contains(&offset.partition);
        offsets.extend(log.start_offsets(topic, start)?.into_iter().filter(is_wanted));
    }
    if offsets.len() == starts.len() {
        return Ok(offsets);
    }
    Err(LogError::Unavailable("a broker does not know every partition of the inputs yet".into()))
}
