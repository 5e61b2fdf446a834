//! The input partitions of a transform, as the log has them.

use std::collections::{BTreeMap, BTreeSet};

use crate::api_types::{Line, OffsetView};
use crate::model::names::TopicName;
use crate::model::spec::{Spec, Start};
use crate::model::status::PartitionStatus;
use crate::ports::Log;

use super::super::problem::Refusal;
use super::super::shared::ApiState;
use super::plan::{InputPartition, Move};

/// Reads every input partition with its committed offset.
pub fn read(log: &dyn Log, group: &str, spec: &Spec) -> Result<Vec<InputPartition>, Refusal> {
    let committed = log.group_offsets(group, &spec.inputs)?;
    let committed = committed.into_iter().map(|at| ((at.topic, at.partition), (at.next_offset, at.metadata)));
    let mut committed: BTreeMap<(TopicName, i32), (i64, String)> = committed.collect();
    let mut partitions = Vec::new();
    for topic in &spec.inputs {
        for (partition, (first, end)) in (0..).zip(log.bounds(topic)?) {
            let committed = committed.remove(&(topic.clone(), partition));
            partitions.push(InputPartition { topic: topic.clone(), partition, committed, first, end });
        }
    }
    Ok(partitions)
}

/// Finds the partitions that have no committed offset and had one.
pub fn forgotten(
    state: &ApiState,
    spec: &Spec,
    partitions: &[InputPartition],
) -> Result<BTreeSet<(TopicName, i32)>, Refusal> {
    let without_offset = || partitions.iter().filter(|input| input.committed.is_none());
    if without_offset().next().is_none() {
        return Ok(BTreeSet::new());
    }
    let Some(record) = state.positions.record(&spec.id)? else { return Ok(BTreeSet::new()) };
    let sizes = state.log_of(&spec.id.team).sizes(&spec.inputs)?;
    let had_offset = |input: &&InputPartition| {
        let begun = record.inputs.get(&input.topic);
        let size = sizes.get(&input.topic);
        begun.zip(size).is_some_and(|(begun, size)| begun.is_of(&size.id) && input.partition < begun.partitions)
    };
    Ok(without_offset().filter(had_offset).map(|input| (input.topic.clone(), input.partition)).collect())
}

/// Moves every partition to the position that `start` names.
pub fn to_start(log: &dyn Log, spec: &Spec, partitions: &[InputPartition], start: &Start) -> Result<Vec<Move>, Refusal> {
    let mut times = BTreeMap::new();
    if let Some(moment) = start.moment() {
        for topic in &spec.inputs {
            times.insert(topic, log.offsets_at(topic, moment)?);
        }
    }
    let to = |input: &InputPartition| {
        let at = times.get(&input.topic).and_then(|of_topic| *of_topic.get(input.partition as usize)?);
        Move::of(input, start.offset(&input.topic, input.partition, (input.first, input.end), at))
    };
    Ok(partitions.iter().map(to).collect())
}

impl InputPartition {
    /// Shows the partition. `passed` is the offset that a worker has passed, as it reports itself.
    pub fn view(self, passed: Option<i64>, forgotten: bool) -> OffsetView {
        let (offset, metadata) = self.committed.unzip();
        let reached = offset.map(|offset| passed.unwrap_or(offset).max(offset));
        OffsetView {
            topic: Line::of(&self.topic),
            partition: self.partition,
            offset,
            forgotten,
            first_offset: Some(self.first),
            end_offset: Some(self.end),
            lag: PartitionStatus::lag(reached, Some(self.end)),
            metadata: metadata.unwrap_or_default().into(),
        }
    }
}
