//! Start records of a backup, for the topics that the restored cluster finds: a pure map.
//!
//! | the input | its entry in the record |
//! |---|---|
//! | is the topic that the record names | stays |
//! | is another topic of that name | has the new id, and counts every partition of both as begun |
//! | does not exist | has no id, which is filled in when the topic is there |
//!
//! A begun partition without an offset waits (E224), so none begins by itself at a place that was another topic's. Changelogs
//! keep their ids, by which a host finds that one is another topic (E220), unless the operator says that they were copied.

use std::collections::BTreeMap;

use crate::model::names::TopicName;
use crate::ports::TopicSize;
use crate::positions::{InputStart, StartRecord};

/// The source of offsets for inputs that are other topics than at the time of the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offsets {
    /// There is none: they wait, and an offset that a group has for such a topic is refused.
    Strict,
    /// The groups' own on this Kafka, which somebody put there for these topics.
    Group,
    /// The backup's, for groups without any: the topics were copied with their offsets.
    Backup,
}

/// Returns the record as it is to be written.
pub fn adapt(record: &StartRecord, now: &BTreeMap<TopicName, TopicSize>, offsets: Offsets) -> StartRecord {
    let input = |(topic, input): (&TopicName, &InputStart)| {
        let InputStart { id, partitions } = input.clone();
        let adapted = match now.get(topic) {
            Some(size) if is_same(&id, size) => InputStart { id, partitions },
            Some(size) => InputStart { id: size.id.clone(), partitions: partitions.max(size.partitions) },
            None => InputStart { id: String::new(), partitions },
        };
        (topic.clone(), adapted)
    };
    let changelog = |(topic, id): (&TopicName, &String)| {
        let id = match offsets {
            Offsets::Strict => id.clone(),
            Offsets::Group | Offsets::Backup => now.get(topic).map(|size| size.id.clone()).unwrap_or_default(),
        };
        (topic.clone(), id)
    };
    StartRecord {
        inputs: record.inputs.iter().map(input).collect(),
        changelogs: record.changelogs.iter().map(changelog).collect(),
    }
}

/// Returns true if the topic is known to be the one with this id.
pub fn is_same(id: &str, size: &TopicSize) -> bool {
    !id.is_empty() && id == size.id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: (&str, i32), now: Option<(&str, i32)>, expected: (&str, i32)) {
        let topic: TopicName = "t".parse().expect("valid");
        let start = |(id, partitions): (&str, i32)| InputStart { id: id.to_owned(), partitions };
        let inputs = [(topic.clone(), start(before))].into();
        let changelogs = [(topic.clone(), before.0.to_owned())].into();
        let size = |(id, partitions): (&str, i32)| TopicSize { id: id.to_owned(), partitions };
        let now: BTreeMap<TopicName, TopicSize> = now.map(|now| (topic.clone(), size(now))).into_iter().collect();
        let record = StartRecord { inputs, changelogs };
        for offsets in [Offsets::Strict, Offsets::Group, Offsets::Backup] {
            let adapted = adapt(&record, &now, offsets);
            assert_eq!(adapted.inputs[&topic], start(expected), "{offsets:?}");
            let copied = now.get(&topic).map(|size| size.id.as_str()).unwrap_or_default();
            let expected = if offsets == Offsets::Strict { before.0 } else { copied };
            assert_eq!(adapted.changelogs[&topic], expected, "{offsets:?}");
        }
    }

    #[test]
    fn only_the_same_topic_keeps_its_entry() {
        check(("a", 3), Some(("a", 3)), ("a", 3));
        // It has grown: the new partitions begin at their first records.
        check(("a", 3), Some(("a", 5)), ("a", 3));
        // Another one, with more partitions or fewer.
        check(("a", 3), Some(("b", 3)), ("b", 3));
        check(("a", 3), Some(("b", 5)), ("b", 5));
        check(("a", 3), Some(("b", 1)), ("b", 3));
        check(("a", 3), None, ("", 3));
        // One of the two is not known.
        check(("", 3), Some(("a", 5)), ("a", 5));
        check(("a", 3), Some(("", 5)), ("", 5));
    }
}
