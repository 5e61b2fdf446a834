//! The topics of a log, and new ones.

use crate::api_types::{Line, OffsetRange, TopicSettings, TopicView};
use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::{Log, LogError, NewTopic, PARTITIONS_MAX, TopicInfo};

use super::error::TopicError;

/// All topics but Sandbar's own, by name. Their offsets are not asked for.
pub fn list(log: &dyn Log) -> Result<Vec<(TopicName, TopicInfo)>, TopicError> {
    let mut topics = log.topics()?;
    topics.retain(|(name, _)| !name.is_internal());
    topics.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(topics)
}

/// A topic with the offsets of its partitions.
pub fn view(log: &dyn Log, name: &TopicName, info: &TopicInfo) -> Result<TopicView, TopicError> {
    let bounds = (0..).zip(log.bounds(name)?);
    let offsets = bounds.map(|(partition, (first, end))| OffsetRange { partition, first, end }).collect();
    Ok(TopicView { offsets, ..outline(name, info) })
}

/// A topic without offsets, for which nobody is asked.
pub fn outline(name: &TopicName, info: &TopicInfo) -> TopicView {
    let TopicInfo { partitions, record_bytes_max, .. } = *info;
    TopicView { name: Line::of(name), partitions, record_bytes_max, offsets: Vec::new() }
}

/// The topic, if it is there already. Refuses settings that cannot be, or that are not those of the topic.
pub fn find_before(log: &dyn Log, name: &TopicName, settings: &TopicSettings) -> Result<Option<TopicInfo>, TopicError> {
    let partitions = settings.partitions;
    if !(1..=PARTITIONS_MAX).contains(&partitions) {
        let message = format!("is {partitions}, but must be 1 to {PARTITIONS_MAX}");
        return Err(TopicError::of_field(Code::Malformed, "partitions", message));
    }
    let found = match log.topic(name) {
        Ok(info) => info,
        Err(LogError::NoTopic(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if found.partitions != partitions {
        let message = format!("{name} has {} partitions, not {partitions}", found.partitions);
        return Err(TopicError::of_field(Code::TopicDiffers, "partitions", message));
    }
    Ok(Some(found))
}

pub fn create(log: &dyn Log, name: &TopicName, settings: &TopicSettings) -> Result<(), TopicError> {
    let TopicSettings { partitions, compacted } = *settings;
    Ok(log.create_topic(&NewTopic { name: name.clone(), partitions, compacted, retention: None })?)
}
