//! What moving committed offsets means, and whether it makes sense: a pure function from how the partitions are and
//! where they shall go on.

use std::collections::HashSet;

use crate::model::names::TopicName;
use crate::model::revision::Progress;
use crate::model::spec::Problem;
use crate::ports::GroupOffset;

use super::Target;

/// An input partition as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub topic: TopicName,
    pub partition: i32,
    /// The next offset and what was stored with it.
    pub committed: Option<(i64, String)>,
    /// It holds `first..end`.
    pub first: i64,
    pub end: i64,
}

/// One partition's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub topic: TopicName,
    pub partition: i32,
    pub from: Option<i64>,
    pub to: i64,
    /// Offsets that are processed again (above 0) or skipped (below 0).
    pub records: i64,
    /// Kept as it was where it is believed: no host runs a lower revision than it says.
    metadata: String,
}

impl Move {
    /// `to` lies within the partition. What retention has deleted is neither processed again nor skipped; without a
    /// committed offset nothing was processed, so nothing is processed again.
    pub fn of(place: &Place, to: i64) -> Self {
        let from = place.committed.as_ref().map(|(next_offset, _)| *next_offset);
        Self {
            topic: place.topic.clone(),
            partition: place.partition,
            from,
            to,
            records: from.map_or(0, |from| from.max(place.first).min(place.end) - to),
            metadata: place.committed.as_ref().map(|(_, metadata)| metadata.clone()).unwrap_or_default(),
        }
    }

    /// The offset to commit: without metadata that cannot be read, or is not to be kept.
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

/// The moves to these offsets, or everything that is wrong with them.
pub fn to_targets(places: &[Place], targets: &[Target]) -> Result<Vec<Move>, Vec<Problem>> {
    let (mut moves, mut problems, mut named) = (Vec::new(), Vec::new(), HashSet::new());
    for (i, target) in targets.iter().enumerate() {
        let mut refuse = |field: &str, message: String| {
            problems.push(Problem { field: format!("offsets[{i}].{field}"), message });
        };
        let Target { topic, partition, offset } = target;
        let of_topic = || places.iter().filter(|place| place.topic.as_str() == topic);
        let Some(place) = of_topic().find(|place| place.partition == *partition) else {
            match of_topic().count() {
                0 => refuse("topic", format!("{topic:?} is not an input of the transform")),
                partitions => refuse("partition", format!("{topic} has 0 to {}, not {partition}", partitions - 1)),
            }
            continue;
        };
        if !named.insert((topic, partition)) {
            refuse("partition", format!("{topic}/{partition} is named twice"));
        } else if !(place.first..=place.end).contains(offset) {
            refuse("offset", format!("{offset} is out of range: {topic}/{partition} has {} to {}", place.first, place.end));
        } else {
            moves.push(Move::of(place, *offset));
        }
    }
    if targets.is_empty() {
        problems.push(Problem { field: "offsets".into(), message: "names no partition".into() });
    }
    if problems.is_empty() { Ok(moves) } else { Err(problems) }
}

/// Offsets that are processed again or skipped, over all.
pub fn records(moves: &[Move]) -> i64 {
    moves.iter().map(|step| step.records).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition that holds 10 to 50.
    fn place(partition: i32, committed: Option<i64>) -> Place {
        let committed = committed.map(|offset| (offset, "{\"revision\":3}".to_owned()));
        Place { topic: "t".parse().expect("valid"), partition, committed, first: 10, end: 50 }
    }

    #[test]
    fn a_move_counts_what_is_there() {
        for (committed, to, records) in [
            (Some(30), 10, 20),
            (Some(30), 30, 0),
            (Some(30), 50, -20),
            (Some(50), 10, 40),
            // What was committed is gone already, or is not there any more.
            (Some(3), 10, 0),
            (Some(3), 20, -10),
            (Some(70), 40, 10),
            (None, 10, 0),
            (None, 50, 0),
        ] {
            let step = Move::of(&place(0, committed), to);
            assert_eq!((step.from, step.to, step.records), (committed, to, records));
            let metadata = if committed.is_some() { "{\"revision\":3}" } else { "" };
            assert_eq!(step.offset(|_| true).metadata, metadata, "the metadata is kept");
        }
    }

    #[test]
    fn targets_are_checked_one_by_one() {
        let places = [place(0, Some(30)), place(1, None)];
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
            let found = to_targets(&places, &targets);
            let found = found
                .map(|moves| moves.iter().map(|step| step.records).collect::<Vec<_>>())
                .map_err(|problems| problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>());
            let expected = expected.map_err(|fields| fields.into_iter().map(str::to_owned).collect());
            assert_eq!(found, expected, "{targets:?}");
        }
        let problems = to_targets(&places, &[Target { topic: "t".into(), partition: 0, offset: 9 }]).expect_err("too low");
        assert!(problems[0].message.contains("10 to 50"), "{problems:?}");
    }
}
