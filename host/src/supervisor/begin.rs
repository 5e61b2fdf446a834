//! Begins a transform's partitions before its workers start, and those that its inputs get while the workers run.

use std::collections::BTreeMap;

use tokio::task::spawn_blocking;

use crate::model::names::{TopicName, TransformId};
use crate::model::revision::Desired;
use crate::ports::{LogError, TopicSize};
use crate::positions::{Inputs, PositionsError, StartRecord};

use super::error::PrepareError;
use super::membership::{BegunInputs, Membership};
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

/// Begins the partitions that have not begun, before workers start that open stores from these changelogs. Returns
/// what of each input has begun.
pub async fn begin(
    parts: &Parts,
    id: &TransformId,
    membership: &Membership,
    changelogs: Vec<TopicName>,
) -> Result<BegunInputs, PrepareError> {
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
) -> Result<BegunInputs, PositionsError> {
    let is_wanted = || {
        parts.catalog.refresh().map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(parts.catalog.deployment(id).is_some_and(|deployment| deployment.desired == Desired::Running))
    };
    let Membership { group, inputs, start, .. } = membership;
    parts.positions.begin(Inputs { id, group, topics: inputs, changelogs, start }, &is_wanted)
}

/// Compares the inputs as they were last looked at with those that the workers began with. (The start record may be
/// another host's by now, which has begun a recreated topic while workers here still read it by offsets of the old one.)
/// With stores, an input that grows is no change here: its keys are in other partitions then, and the transform stops for
/// that.
pub fn input_change(
    sizes: &BTreeMap<TopicName, TopicSize>,
    record: &StartRecord,
    begun: &BegunInputs,
    has_stores: bool,
) -> InputChange {
    let is_other = |topic, size: &TopicSize| begun.get(topic).is_some_and(|input| !input.is_of(&size.id));
    if sizes.iter().any(|(topic, size)| is_other(topic, size)) {
        return InputChange::Recreated;
    }
    let has_grown = |topic, size: &TopicSize| begun.get(topic).is_none_or(|input| size.partitions > input.partitions);
    let is_grown = sizes.iter().any(|(topic, size)| has_grown(topic, size)) || !record.covers(sizes);
    if is_grown && !has_stores { InputChange::Grown } else { InputChange::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::InputStart;

    #[test]
    fn an_input_changes_by_what_workers_began_with() {
        use InputChange::{Grown, None, Recreated};
        let topic: TopicName = "t".parse().expect("valid");
        let start = |(id, partitions): (&str, i32)| InputStart { id: id.to_owned(), partitions };
        let check = |begun, record, size: (&str, i32), expected: [InputChange; 2]| {
            let size = TopicSize { id: size.0.to_owned(), partitions: size.1 };
            let sizes = [(topic.clone(), size)].into();
            let record = StartRecord { inputs: [(topic.clone(), start(record))].into(), ..StartRecord::default() };
            let begun = [(topic.clone(), start(begun))].into();
            let changes = [false, true].map(|has_stores| input_change(&sizes, &record, &begun, has_stores));
            assert_eq!(changes, expected, "{begun:?} {record:?} {sizes:?}");
        };
        check(("a", 2), ("a", 2), ("a", 2), [None, None]);
        check(("a", 2), ("a", 2), ("a", 3), [Grown, None]);
        // Another host has begun what is new.
        check(("a", 2), ("a", 3), ("a", 3), [Grown, None]);
        check(("a", 2), ("a", 2), ("b", 2), [Recreated, Recreated]);
        check(("a", 2), ("b", 2), ("b", 2), [Recreated, Recreated]);
        // Where ids are not known.
        check(("", 2), ("a", 2), ("a", 2), [None, None]);
        check(("", 2), ("", 2), ("a", 2), [Grown, None]);
    }
}
