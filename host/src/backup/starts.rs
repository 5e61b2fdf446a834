//! Start records of a backup, for the topics that the restored cluster finds: a pure map.
//!
//! | the input | its entry in the record |
//! |---|---|
//! | is the topic that the record names | stays |
//! | is another topic of that name | has the new id, and counts every partition of both as begun |
//! | does not exist | has no id, which is filled in when the topic is there |
//!
//! A begun partition without an offset waits (E224), so none begins by itself at a place that was another topic's. Changelogs
//! keep their ids, by which a host finds that one is another topic (E220), unless the offsets of the backup are taken over:
//! then each of them was compared with the progress that was committed with an offset.

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

/// Returns the record as it is to be written. `takes_over`: its transform goes on at the offsets of the backup.
pub fn adapt(record: &StartRecord, now: &BTreeMap<TopicName, TopicSize>, takes_over: bool) -> StartRecord {
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
        let copied = now.get(topic).filter(|_| takes_over).map(|size| &size.id);
        (topic.clone(), copied.unwrap_or(id).clone())
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
        for takes_over in [false, true] {
            let adapted = adapt(&record, &now, takes_over);
            assert_eq!(adapted.inputs[&topic], start(expected), "{takes_over}");
            let copied = now.get(&topic).filter(|_| takes_over).map(|size| size.id.as_str());
            assert_eq!(adapted.changelogs[&topic], copied.unwrap_or(before.0), "{takes_over}");
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
