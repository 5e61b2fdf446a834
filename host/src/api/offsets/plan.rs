//! Moves of committed offsets: the effect of a move on each partition, and the problems of a request. Pure.

use std::collections::HashSet;

use crate::api_types::{Line, MoveList, MoveView, Target};
use crate::model::names::TopicName;
use crate::model::revision::Progress;
use crate::model::spec::Problem;
use crate::ports::GroupOffset;

/// An input partition of a transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPartition {
    pub topic: TopicName,
    pub partition: i32,
    /// The next offset and its metadata.
    pub committed: Option<(i64, String)>,
    /// The first offset that the partition holds.
    pub first: i64,
    /// The offset after the last record.
    pub end: i64,
}

/// The move of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub topic: TopicName,
    pub partition: i32,
    pub from: Option<i64>,
    pub to: i64,
    /// Offsets that are processed again (above 0) or skipped (below 0).
    pub records: i64,
    /// Metadata that is believed is kept: no host runs a lower revision than it names.
    metadata: String,
}

impl Move {
    /// Moves a partition to an offset within it. Records that retention has deleted are neither processed again nor
    /// skipped; without a committed offset nothing was processed, so nothing is processed again.
    pub fn of(input: &InputPartition, to: i64) -> Self {
        let from = input.committed.as_ref().map(|(next_offset, _)| *next_offset);
        Self {
            topic: input.topic.clone(),
            partition: input.partition,
            from,
            to,
            records: from.map_or(0, |from| from.max(input.first).min(input.end) - to),
            metadata: input.committed.as_ref().map(|(_, metadata)| metadata.clone()).unwrap_or_default(),
        }
    }

    /// The offset to commit: without metadata that cannot be read, or that is not kept.
    pub fn offset(&self, is_kept: impl Fn(&Progress) -> bool) -> GroupOffset {
        let is_kept = Progress::parse(&self.metadata, self.to).is_ok_and(|progress| is_kept(&progress));
        GroupOffset {
            topic: self.topic.clone(),
            partition: self.partition,
            next_offset: self.to,
            metadata: if is_kept { self.metadata.clone() } else { String::new() },
        }
    }
}

/// The moves to these offsets, or all problems of the request.
pub fn to_targets(partitions: &[InputPartition], targets: &[Target]) -> Result<Vec<Move>, Vec<Problem>> {
    let mut moves = Vec::new();
    let mut problems = Vec::new();
    let mut named = HashSet::new();
    for (i, target) in targets.iter().enumerate() {
        let mut refuse = |field: &str, message: String| {
            problems.push(Problem { field: format!("offsets[{i}].{field}"), message });
        };
        let Target { topic, partition, offset } = target;
        let of_topic = || partitions.iter().filter(|input| input.topic.as_str() == topic);
        let Some(input) = of_topic().find(|input| input.partition == *partition) else {
            match of_topic().count() {
                0 => refuse("topic", format!("{topic:?} is not an input of the transform")),
                partitions => refuse("partition", format!("{topic} has 0 to {}, not {partition}", partitions - 1)),
            }
            continue;
        };
        if !named.insert((topic, partition)) {
            refuse("partition", format!("{topic}/{partition} is named twice"));
        } else if !(input.first..=input.end).contains(offset) {
            refuse("offset", format!("{offset} is out of range: {topic}/{partition} has {} to {}", input.first, input.end));
        } else {
            moves.push(Move::of(input, *offset));
        }
    }
    if targets.is_empty() {
        problems.push(Problem { field: "offsets".into(), message: "names no partition".into() });
    }
    if problems.is_empty() { Ok(moves) } else { Err(problems) }
}

/// Shows the moves.
pub fn list(dry_run: bool, moves: &[Move]) -> MoveList {
    let view = |step: &Move| MoveView {
        topic: Line::of(&step.topic),
        partition: step.partition,
        from: step.from,
        to: Some(step.to),
        records: step.records,
    };
    MoveList { dry_run, records: records(moves), offsets: moves.iter().map(view).collect() }
}

/// The sum of the offsets that are processed again (above 0) or skipped (below 0).
pub fn records(moves: &[Move]) -> i64 {
    moves.iter().map(|step| step.records).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition that holds 10 to 50.
    fn input(partition: i32, committed: Option<i64>) -> InputPartition {
        let committed = committed.map(|offset| (offset, "{\"revision\":3}".to_owned()));
        InputPartition { topic: "t".parse().expect("valid"), partition, committed, first: 10, end: 50 }
    }

    #[test]
    fn a_move_counts_what_is_there() {
        for (committed, to, records) in [
            (Some(30), 10, 20),
            (Some(30), 30, 0),
            (Some(30), 50, -20),
            (Some(50), 10, 40),
            // The committed offset is before the first record, or after the last.
            (Some(3), 10, 0),
            (Some(3), 20, -10),
            (Some(70), 40, 10),
            (None, 10, 0),
            (None, 50, 0),
        ] {
            let step = Move::of(&input(0, committed), to);
            assert_eq!((step.from, step.to, step.records), (committed, to, records));
            let metadata = if committed.is_some() { "{\"revision\":3}" } else { "" };
            assert_eq!(step.offset(|_| true).metadata, metadata, "the metadata is kept");
        }
    }

    #[test]
    fn targets_are_checked_one_by_one() {
        let partitions = [input(0, Some(30)), input(1, None)];
        for (targets, expected) in [
            (vec![("t", 0, 12)], Ok(vec![18])),
            (vec![("t", 1, 50), ("t", 0, 50)], Ok(vec![0, -20])),
            (vec![], Err(vec!["offsets"])),
            (vec![("u", 0, 12)], Err(vec!["offsets[0].topic"])),
            (vec![("t", 0, 12), ("t", 2, 12), ("t", -1, 12)], Err(vec!["offsets[1].partition", "offsets[2].partition"])),
            (vec![("t", 0, 9), ("t", 1, 51)], Err(vec!["offsets[0].offset", "offsets[1].offset"])),
            (vec![("t", 0, 12), ("t", 0, 13)], Err(vec!["offsets[1].partition"])),
        ] {
            let targets: Vec<Target> = targets
                .into_iter()
                .map(|(topic, partition, offset)| Target { topic: topic.into(), partition, offset })
                .collect();
            let found = to_targets(&partitions, &targets);
            let found = found
                .map(|moves| moves.iter().map(|step| step.records).collect::<Vec<_>>())
                .map_err(|problems| problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>());
            let expected = expected.map_err(|fields| fields.into_iter().map(str::to_owned).collect());
            assert_eq!(found, expected, "{targets:?}");
        }
        let problems =
            to_targets(&partitions, &[Target { topic: "t".into(), partition: 0, offset: 9 }]).expect_err("too low");
        assert!(problems[0].message.contains("10 to 50"), "{problems:?}");
    }
}
