//! Begins a transform's partitions before its workers start, and those that its inputs get while the workers run.

use tokio::task::spawn_blocking;

use crate::model::names::{TopicName, TransformId};
use crate::model::revision::Desired;
use crate::ports::LogError;
use crate::positions::{Inputs, Positions, PositionsError};

use super::error::PrepareError;
use super::inputs::InputWatch;
use super::membership::{BegunPartitions, Membership};
use super::parts::Parts;

/// The difference between the inputs and the partitions that workers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputChange {
    None,
    /// One has more partitions than workers were told of.
    Grown,
    /// One was deleted and created again: the offsets that workers know are of another topic.
    Recreated,
}

/// Begins the partitions that have not begun, before workers start that open stores from these changelogs. Returns how
/// many partitions of each input have begun.
pub async fn begin(
    parts: &Parts,
    id: &TransformId,
    membership: &Membership,
    changelogs: Vec<TopicName>,
) -> Result<BegunPartitions, PrepareError> {
    let parts = parts.clone();
    let id = id.clone();
    let membership = membership.clone();
    Ok(spawn_blocking(move || begin_now(&parts, &id, &membership, &changelogs)).await??)
}

fn begin_now(
    parts: &Parts,
    id: &TransformId,
    membership: &Membership,
    changelogs: &[TopicName],
) -> Result<BegunPartitions, PositionsError> {
    let is_wanted = || {
        parts.catalog.refresh().map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(parts.catalog.deployment(id).is_some_and(|deployment| deployment.desired == Desired::Running))
    };
    let Membership { group, inputs, start, .. } = membership;
    let begun = parts.positions.begin(Inputs { id, group, topics: inputs, changelogs, start }, &is_wanted)?;
    Ok(begun.into_iter().map(|(topic, input)| (topic, input.partitions)).collect())
}

/// Compares the inputs as they were last looked at with the partitions that have begun. With stores, an input that grows
/// is no change here: its keys are in other partitions then, and the transform stops for that.
pub fn input_change(
    positions: &Positions,
    watch: &InputWatch,
    id: &TransformId,
    inputs: &[TopicName],
    begun: &BegunPartitions,
    has_stores: bool,
) -> InputChange {
    let sizes = watch.sizes(&id.team, inputs);
    let Ok(record) = positions.record(id) else { return InputChange::None };
    let record = record.unwrap_or_default();
    let is_other = |topic, id: &str| record.inputs.get(topic).is_some_and(|input| !input.is_of(id));
    if sizes.iter().any(|(topic, size)| is_other(topic, &size.id)) {
        return InputChange::Recreated;
    }
    let has_grown = |topic, partitions: i32| begun.get(topic).is_none_or(|&begun| partitions > begun);
    let is_grown = sizes.iter().any(|(topic, size)| has_grown(topic, size.partitions)) || !record.covers(&sizes);
    if is_grown && !has_stores { InputChange::Grown } else { InputChange::None }
}
