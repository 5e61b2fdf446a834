//! Decides which partitions begin, and where: a pure function of the start record, the inputs and the committed offsets.
//!
//! | the input | a partition | |
//! |---|---|---|
//! | is not in the record, and has no offset | each | begins at `start` |
//! | is not in the record, and has offsets: a host of version 0.1 began it | above the last with an offset | its first record |
//! | | below, without an offset | lost its offset: nothing |
//! | is in the record under this id | above the recorded number | its first record |
//! | | below, without an offset | lost its offset: nothing |
//! | is in the record under another id | each, with an offset of the old topic or not | its first record |

use std::collections::{BTreeMap, BTreeSet};

use crate::model::names::TopicName;
use crate::ports::TopicSize;

use super::record::{INPUTS_MAX, InputStart, StartRecord};

/// The point at which a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartingPoint {
    /// The `start` of the spec.
    Spec,
    /// Its first record: records came to it while the transform was there.
    FirstRecord,
}

/// The first offsets and the start record that are to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    pub starts: Vec<(TopicName, i32, StartingPoint)>,
    pub inputs: BTreeMap<TopicName, InputStart>,
}

/// Decides where partitions begin. `sizes` has every input, `committed` the partitions of them that have an offset.
pub fn plan(
    record: Option<&StartRecord>,
    sizes: &BTreeMap<TopicName, TopicSize>,
    committed: &BTreeSet<(TopicName, i32)>,
) -> Plan {
    let mut starts = Vec::new();
    let mut inputs = record.map(|record| record.inputs.clone()).unwrap_or_default();
    for (topic, TopicSize { id, partitions }) in sizes {
        let has_offset = |partition: i32| committed.contains(&(topic.clone(), partition));
        let begin =
            |from: StartingPoint, numbers: Vec<i32>| numbers.into_iter().map(move |number| (topic.clone(), number, from));
        match inputs.get(topic) {
            Some(input) if input.is_of(id) => {
                let new = (input.partitions..*partitions).filter(|&number| !has_offset(number));
                starts.extend(begin(StartingPoint::FirstRecord, new.collect()));
            }
            Some(_) => starts.extend(begin(StartingPoint::FirstRecord, (0..*partitions).collect())),
            None => match (0..*partitions).rev().find(|&number| has_offset(number)) {
                Some(last) => starts.extend(begin(StartingPoint::FirstRecord, (last + 1..*partitions).collect())),
                None => starts.extend(begin(StartingPoint::Spec, (0..*partitions).collect())),
            },
        }
        let before = inputs.get(topic).filter(|input| input.is_of(id));
        let id = before.map(|input| &input.id).filter(|_| id.is_empty()).unwrap_or(id).clone();
        let partitions = before.map_or(0, |input| input.partitions).max(*partitions);
        inputs.insert(topic.clone(), InputStart { id, partitions });
    }
    // A topic that was an input once stays in the record, for as long as there is room.
    while inputs.len() > INPUTS_MAX.max(sizes.len()) {
        let Some(dropped) = inputs.keys().find(|topic| !sizes.contains_key(*topic)).cloned() else { break };
        inputs.remove(&dropped);
    }
    Plan { starts, inputs }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> TopicName {
        "t".parse().expect("valid")
    }

    /// `known`: id and number. `committed`: the partitions of `t`, which has the id `a`, that have an offset.
    #[track_caller]
    fn check(
        known: Option<(&str, i32)>,
        partitions: i32,
        committed: &[i32],
        begins: &[(i32, StartingPoint)],
        remembered: i32,
    ) {
        let input = |(id, partitions): (&str, i32)| InputStart { id: id.to_owned(), partitions };
        let record = known.map(|known| StartRecord { inputs: [(topic(), input(known))].into(), ..StartRecord::default() });
        let sizes = [(topic(), TopicSize { id: "a".to_owned(), partitions })].into();
        let committed = committed.iter().map(|&number| (topic(), number)).collect();
        let found = plan(record.as_ref(), &sizes, &committed);
        let begun: Vec<(i32, StartingPoint)> = found.starts.iter().map(|(_, number, from)| (*number, *from)).collect();
        assert_eq!(begun, begins);
        assert_eq!(found.inputs[&topic()], input(("a", remembered)));
    }

    #[test]
    fn each_case_begins_where_nothing_is_skipped() {
        use StartingPoint::{FirstRecord as First, Spec as Start};
        // A new transform.
        check(None, 2, &[], &[(0, Start), (1, Start)], 2);
        // Begun by a host that remembered nothing.
        check(None, 3, &[0, 1, 2], &[], 3);
        check(None, 3, &[0], &[(1, First), (2, First)], 3);
        check(None, 3, &[0, 2], &[], 3);
        // Everything is as it was; an offset is lost, or all are.
        check(Some(("a", 2)), 2, &[0, 1], &[], 2);
        check(Some(("a", 2)), 2, &[1], &[], 2);
        check(Some(("a", 2)), 2, &[], &[], 2);
        // It has grown, while an offset was lost; somebody gave a new one an offset.
        check(Some(("a", 1)), 3, &[0], &[(1, First), (2, First)], 3);
        check(Some(("a", 1)), 3, &[], &[(1, First), (2, First)], 3);
        check(Some(("a", 1)), 3, &[0, 2], &[(1, First)], 3);
        // Another answer than before, of a broker that does not know the new partitions yet.
        check(Some(("a", 3)), 2, &[0, 1, 2], &[], 3);
        // Recreated, with other numbers of partitions; the old one's offsets are there or not.
        check(Some(("b", 2)), 2, &[0, 1], &[(0, First), (1, First)], 2);
        check(Some(("b", 3)), 1, &[], &[(0, First)], 1);
        check(Some(("b", 0)), 1, &[], &[(0, First)], 1);
        // Remembered where nobody knew ids.
        check(Some(("", 1)), 2, &[0], &[(1, First)], 2);
    }

    #[test]
    fn another_input_begins_at_start_and_the_first_is_remembered() {
        let record = |names: &[&str]| StartRecord {
            inputs: names
                .iter()
                .map(|name| (name.parse().expect("valid"), InputStart { id: "a".to_owned(), partitions: 1 }))
                .collect(),
            ..StartRecord::default()
        };
        let sizes: BTreeMap<TopicName, TopicSize> = [(topic(), TopicSize { id: "a".to_owned(), partitions: 1 })].into();
        let found = plan(Some(&record(&["s"])), &sizes, &BTreeSet::new());
        assert_eq!(found, Plan { starts: vec![(topic(), 0, StartingPoint::Spec)], inputs: record(&["s", "t"]).inputs });
        let many: Vec<String> = (0..2 * INPUTS_MAX).map(|i| format!("s{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let found = plan(Some(&record(&many)), &sizes, &BTreeSet::new());
        assert!(found.inputs.len() == INPUTS_MAX && found.inputs.contains_key(&topic()));
    }
}
