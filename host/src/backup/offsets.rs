//! The offsets with which transforms go on after a restore: looked at before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use super::error::BackupError;
use super::header::{GroupLine, Offset};
use super::outcome::{InputFate, TransformFate};
use super::starts::{Offsets, is_same};
use super::survey::Survey;
use crate::model::names::{ClusterName, TopicName, TransformId};
use crate::model::revision::Progress;
use crate::ports::{GroupOffset, Log, TopicSize};
use crate::positions::{InputStart, StartEntry};

/// The topics that there are now, by name.
pub type Sizes = BTreeMap<TopicName, TopicSize>;

/// The fate of each input, and the offsets that the groups of transforms are given.
pub struct Plan {
    pub fates: Vec<InputFate>,
    pub given: BTreeMap<TransformId, Vec<GroupOffset>>,
}

/// Plans all transforms. Refuses a group with members, an offset that may be about another topic, and an offset of the file
/// that the topics do not hold.
pub fn plan(
    log: &dyn Log,
    cluster: &ClusterName,
    survey: &Survey,
    sizes: &Sizes,
    offsets: Offsets,
) -> Result<Plan, BackupError> {
    let mut plan = Plan { fates: Vec::new(), given: BTreeMap::new() };
    let ids: BTreeSet<&TransformId> = survey.starts.keys().chain(survey.groups.keys()).collect();
    for id in ids {
        plan.add(log, cluster, (id, survey), sizes, offsets)?;
    }
    Ok(plan)
}

impl Plan {
    fn add(
        &mut self,
        log: &dyn Log,
        cluster: &ClusterName,
        (id, survey): (&TransformId, &Survey),
        sizes: &Sizes,
        offsets: Offsets,
    ) -> Result<(), BackupError> {
        let group = id.group(cluster);
        let members = log.group_members(&group)?;
        if members > 0 {
            return Err(BackupError::InUse(format!("group {group} has {members} members")));
        }
        let line = survey.groups.get(id);
        let begun = survey.begun(id);
        let read = line.into_iter().flat_map(|line| line.inputs.keys());
        let topics: BTreeSet<&TopicName> = begun.keys().chain(read).collect();
        let there: Vec<TopicName> = topics.into_iter().filter(|topic| sizes.contains_key(*topic)).cloned().collect();
        let has = if there.is_empty() { Vec::new() } else { log.group_offsets(&group, &there)? };
        let is_other =
            |(topic, input): &(&TopicName, &InputStart)| sizes.get(*topic).is_some_and(|size| !is_same(&input.id, size));
        let others: Vec<&TopicName> = begun.iter().filter(is_other).map(|(topic, _)| topic).collect();
        let with_offsets = others.iter().find(|topic| has.iter().any(|offset| offset.topic == ***topic));
        if let Some(topic) = with_offsets.filter(|_| offsets != Offsets::Group) {
            let message =
                format!("{topic} is another topic than at the time of the backup, and group {group} has offsets for it");
            return Err(BackupError::Offsets(message));
        }
        let is_unreadable = matches!(survey.starts.get(id), Some(StartEntry::Unreadable(_)));
        if is_unreadable && !others.is_empty() {
            // It names ids that no longer count, and a host that understands it would begin the topics anew.
            let message = format!("a newer host wrote the start record of {id}, and its inputs are other topics here");
            return Err(BackupError::Unfit(message));
        }
        let given = match line {
            Some(line) if offsets == Offsets::Backup && has.is_empty() => taken_over(log, line, sizes)?,
            _ => Vec::new(),
        };
        // Topics that were inputs once are no part of what is told.
        for topic in line.into_iter().flat_map(|line| line.inputs.keys()) {
            let fate = match sizes.get(topic) {
                _ if is_unreadable => TransformFate::Unreadable,
                None => TransformFate::NoTopic,
                Some(size) => {
                    let of_topic = |offsets: &[GroupOffset]| -> BTreeSet<i32> {
                        offsets.iter().filter(|offset| offset.topic == *topic).map(|offset| offset.partition).collect()
                    };
                    fate(begun.get(topic), size, &of_topic(&has), &of_topic(&given))
                }
            };
            self.fates.push(InputFate { transform: id.to_string(), topic: topic.clone(), fate });
        }
        if !given.is_empty() {
            self.given.insert(id.clone(), given);
        }
        Ok(())
    }
}

/// The fate of an input that exists, by its partitions with offsets: those that the group has, and those that it is given.
fn fate(begun: Option<&InputStart>, size: &TopicSize, has: &BTreeSet<i32>, given: &BTreeSet<i32>) -> TransformFate {
    let Some(last) = has.iter().chain(given).max() else {
        return if begun.is_some() { TransformFate::Waits } else { TransformFate::Begins };
    };
    // A host takes up to the last one with an offset for begun, where nobody recorded more. All partitions of another topic are.
    let recorded = match begun {
        Some(input) if !is_same(&input.id, size) => size.partitions,
        Some(input) => input.partitions.min(size.partitions),
        None => last.saturating_add(1).min(size.partitions),
    };
    let has_offset = |partition: &i32| has.contains(partition) || given.contains(partition);
    match () {
        () if !(0..recorded).all(|partition| has_offset(&partition)) => TransformFate::Partly,
        () if has.is_empty() => TransformFate::TakesOver,
        () => TransformFate::GoesOn,
    }
}

/// The offsets of the file for a group. Each lies within its partition, and the changelogs reach as far as they did.
fn taken_over(log: &dyn Log, line: &GroupLine, sizes: &Sizes) -> Result<Vec<GroupOffset>, BackupError> {
    let mut bounds: BTreeMap<&TopicName, Vec<(i64, i64)>> = BTreeMap::new();
    for topic in line.inputs.keys().filter(|topic| sizes.contains_key(*topic)) {
        bounds.insert(topic, log.bounds(topic)?);
    }
    let mut given = Vec::new();
    for Offset { topic, partition, offset, metadata } in &line.offsets {
        let Some(bounds) = bounds.get(topic) else { continue };
        let refused = |reason: String| BackupError::Offsets(format!("group {}: {reason}", line.group));
        let found = usize::try_from(*partition).ok().and_then(|partition| bounds.get(partition));
        let (first, end) = *found.ok_or_else(|| refused(format!("{topic} has no partition {partition}")))?;
        if !(first..=end).contains(offset) {
            let reason = format!("offset {offset} is outside of {topic}/{partition}, which has {first} to {end}");
            return Err(refused(reason));
        }
        let progress = Progress::parse(metadata, *offset).map_err(|error| {
            refused(format!("the metadata of its offset for {topic}/{partition} cannot be read: {error}"))
        })?;
        // An offset from before the last reset is about changelogs that are given up.
        let changelogs = progress.changelogs.iter().filter(|_| progress.resets == line.resets);
        for (store, reached) in changelogs {
            let Some(changelog) = line.changelogs.get(store) else { continue };
            let is_there = sizes.get(changelog).is_some_and(|size| (0..size.partitions).contains(partition));
            let end = if is_there { log.high_watermark(changelog, *partition)? } else { 0 };
            if end < *reached {
                let reason =
                    format!("changelog {changelog}/{partition} ends at {end}, and the store was built up to {reached}");
                return Err(refused(reason));
            }
        }
        let metadata = metadata.clone();
        given.push(GroupOffset { topic: topic.clone(), partition: *partition, next_offset: *offset, metadata });
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `begun`: id and number of partitions. The topic is `a`, with three.
    #[track_caller]
    fn check(begun: Option<(&str, i32)>, has: &[i32], given: &[i32], expected: TransformFate) {
        let input = begun.map(|(id, partitions)| InputStart { id: id.to_owned(), partitions });
        let size = TopicSize { id: "a".to_owned(), partitions: 3 };
        let set = |partitions: &[i32]| partitions.iter().copied().collect();
        assert_eq!(fate(input.as_ref(), &size, &set(has), &set(given)), expected);
    }

    #[test]
    fn a_partition_without_an_offset_is_told() {
        use TransformFate::{Begins, GoesOn, Partly, TakesOver, Waits};
        check(None, &[], &[], Begins);
        check(None, &[0, 1, 2], &[], GoesOn);
        check(None, &[1], &[], Partly);
        // Above the last one a host begins.
        check(None, &[0], &[], GoesOn);
        check(Some(("a", 3)), &[], &[], Waits);
        check(Some(("a", 3)), &[0, 1, 2], &[], GoesOn);
        check(Some(("a", 3)), &[0, 2], &[], Partly);
        check(Some(("a", 3)), &[], &[0, 1, 2], TakesOver);
        check(Some(("a", 3)), &[], &[1], Partly);
        // It has grown, or its record is of one that had more.
        check(Some(("a", 2)), &[0, 1], &[], GoesOn);
        check(Some(("a", 5)), &[0, 1, 2], &[], GoesOn);
        // Each partition of another topic has begun.
        check(Some(("b", 2)), &[0, 1], &[], Partly);
        check(Some(("b", 2)), &[], &[0, 1, 2], TakesOver);
    }
}
