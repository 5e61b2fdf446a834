//! Checks of a topic and a partition that a request names.

use crate::model::codes::Code;
use crate::model::names::TopicName;
use crate::ports::TopicInfo;

use super::super::problem::Refusal;

pub fn check_partition(partition: i32, info: &TopicInfo) -> Result<(), Refusal> {
    if (0..info.partitions).contains(&partition) {
        return Ok(());
    }
    let message = format!("is {partition}, the topic has 0 to {}", info.partitions - 1);
    Err(Refusal::of_field(Code::Partition, "partition", message))
}

pub fn refuse_internal(topic: &TopicName) -> Result<(), Refusal> {
    if topic.is_internal() {
        return Err(Refusal::new(Code::TopicInternal, format!("{topic} is internal")));
    }
    Ok(())
}
