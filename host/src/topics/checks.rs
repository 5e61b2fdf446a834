//! Checks of a topic and a partition that a request names.

use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::TopicInfo;

use super::error::TopicError;

pub(super) fn check_partition(partition: i32, info: &TopicInfo) -> Result<(), TopicError> {
    if (0..info.partitions).contains(&partition) {
        return Ok(());
    }
    let message = format!("is {partition}, the topic has 0 to {}", info.partitions - 1);
    Err(TopicError::of_field(Code::Partition, "partition", message))
}

pub fn refuse_internal(topic: &TopicName) -> Result<(), TopicError> {
    if topic.is_internal() {
        return Err(TopicError::Refused { code: Code::TopicInternal, message: format!("{topic} is internal") });
    }
    Ok(())
}
