//! The rules on a spec's topics: pure functions of the spec and of [`TopicFacts`].

use std::time::Duration;

use crate::model::codes::Code;
use crate::model::names::{Alias, TopicName};
use crate::model::spec::{Problem, Spec, StoreSpec, Then};
use crate::ports::{NewTopic, TopicInfo};

use super::rejection::{Rejection, Violation};
use super::topic_facts::TopicFacts;

/// A changelog of version 0.1 also deletes entries by their age. It must keep them longer than their store does: the clocks
/// of host and broker may differ by an hour.
const CHANGELOG_GRACE: Duration = Duration::from_secs(60 * 60);

/// The rules on topics that a deployment breaks.
pub fn check(spec: &Spec, topics: &TopicFacts) -> Vec<Violation> {
    let rules = [
        Violation::of_fields(Code::TableTopic, uncompacted_tables(spec, topics)),
        Violation::of_fields(Code::TopicMissing, missing_topics(spec, topics)),
        Violation::of_fields(Code::CoPartition, unequal_inputs(spec, topics)),
        Violation::of_fields(Code::Changelog, unfit_changelogs(spec, topics)),
    ];
    rules.into_iter().flatten().collect()
}

/// The topics that a deployment creates: the missing changelogs, and the missing dead-letter topic.
pub fn topics_to_create(spec: &Spec, topics: &TopicFacts) -> Vec<NewTopic> {
    let is_missing = |topic: &TopicName| !topics.settings.contains_key(topic);
    let partitions = topics.inputs.values().copied().max().unwrap_or(1);
    let changelogs = topics.changelogs.iter().filter(|name| is_missing(name));
    let mut new: Vec<NewTopic> = changelogs.map(|name| changelog_topic(name.clone(), partitions)).collect();
    if spec.then == Then::DeadLetter && is_missing(&spec.dead_letter_topic) {
        let name = spec.dead_letter_topic.clone();
        new.push(NewTopic { name, partitions, compacted: false, retention: None });
    }
    new
}

/// The changelog topic of a store. Its partition i belongs to partition i of each input. It deletes nothing by its age:
/// an entry with a `ttl` ends by a deletion that the host writes.
pub fn changelog_topic(name: TopicName, partitions: i32) -> NewTopic {
    NewTopic { name, partitions, compacted: true, retention: None }
}

/// Warns of topics that take the records of this spec, and may do something else with them than its author means.
pub fn warnings(spec: &Spec, topics: &TopicFacts) -> Vec<String> {
    let needs_keys = |topic: &TopicName| topics.settings.get(topic).is_some_and(|info| info.needs_keys == Some(true));
    let keyless = spec.outputs.iter().filter(|(_, topic)| needs_keys(topic)).map(|(alias, topic)| {
        format!("outputs.{alias}: topic {topic} is compacted: it refuses records without a key, which fail (E109)")
    });
    let mut warnings: Vec<String> = keyless.collect();
    let topic = &spec.dead_letter_topic;
    if spec.then == Then::DeadLetter && needs_keys(topic) {
        let message = format!("topic {topic} is compacted: of the dead letters of one key the last one stays");
        warnings.push(format!("on_error.dead_letter_topic: {message}"));
    }
    warnings
}

/// Checks that a revision can start with the topics that exist now: nothing is created for it.
pub fn check_start(spec: &Spec, topics: &TopicFacts) -> Result<(), Rejection> {
    let inputs = spec.inputs.iter().filter(|topic| !topics.inputs.contains_key(*topic));
    let written = spec.written_topics().filter(|topic| !topics.settings.contains_key(*topic));
    let gone = inputs.chain(written).map(|topic| of_spec(format!("there is no topic {topic}")));
    let lost = topics.changelogs.iter().filter(|topic| !topics.settings.contains_key(*topic));
    let lost = lost.map(|topic| of_spec(format!("there is no changelog topic {topic}")));
    let changed = topics.changelog_partitions().map(|expected| {
        let other = topics.inputs.iter().filter(move |(_, found)| **found != expected);
        other.map(move |(input, found)| of_spec(format!("{input} has {found} partitions, its changelogs have {expected}")))
    });
    let rules = [
        Violation::of_fields(Code::TopicGone, gone.collect()),
        Violation::of_fields(Code::StateLost, lost.collect()),
        Violation::of_fields(Code::PartitionsChanged, changed.into_iter().flatten().collect()),
    ];
    Rejection::of(rules.into_iter().flatten().collect()).map_or(Ok(()), Err)
}

/// A problem of the spec as a whole.
fn of_spec(message: String) -> Problem {
    Problem { field: String::new(), message }
}

/// The topics of tables keep the last value of every key.
fn uncompacted_tables(spec: &Spec, topics: &TopicFacts) -> Vec<Problem> {
    let settings = |topic: &TopicName| topics.settings.get(topic);
    let uncompacted = spec.tables.iter().filter(|(_, topic)| settings(topic).is_some_and(|it| it.compacted == Some(false)));
    let problem = |(name, topic): (&Alias, &TopicName)| Problem {
        field: format!("tables.{name}"),
        message: format!("topic {:?} is not compacted: old entries would be lost", topic.as_str()),
    };
    uncompacted.map(problem).collect()
}

/// Inputs, outputs and tables that nobody has created: Sandbar creates none of them.
fn missing_topics(spec: &Spec, topics: &TopicFacts) -> Vec<Problem> {
    let inputs = spec.inputs.iter().enumerate().map(|(i, topic)| (format!("inputs[{i}]"), topic));
    let outputs = spec.outputs.iter().map(|(alias, topic)| (format!("outputs.{alias}"), topic));
    let tables = spec.tables.iter().map(|(name, topic)| (format!("tables.{name}"), topic));
    let inputs = inputs.filter(|(_, topic)| !topics.inputs.contains_key(*topic));
    let others = outputs.chain(tables).filter(|(_, topic)| !topics.settings.contains_key(*topic));
    let problem = |(field, topic): (String, &TopicName)| Problem {
        field,
        message: format!("topic {:?} does not exist", topic.as_str()),
    };
    inputs.chain(others).map(problem).collect()
}

/// The inputs of a transform with stores, unless they have equal numbers of partitions.
fn unequal_inputs(spec: &Spec, topics: &TopicFacts) -> Vec<Problem> {
    if spec.state.is_empty() || topics.equal_partitions().is_some() {
        return Vec::new();
    }
    let existing = spec.inputs.iter().enumerate().filter_map(|(i, topic)| Some((i, topic, topics.inputs.get(topic)?)));
    let problem = |(i, topic, partitions): (usize, &TopicName, &i32)| Problem {
        field: format!("inputs[{i}]"),
        message: format!("{topic} has {partitions} partitions"),
    };
    existing.map(problem).collect()
}

/// Changelogs that exist, and would lose entries of their stores or mix up partitions.
fn unfit_changelogs(spec: &Spec, topics: &TopicFacts) -> Vec<Problem> {
    let Some(partitions) = topics.equal_partitions() else { return Vec::new() };
    let existing = topics.changelogs.iter().zip(&spec.state).filter_map(|(name, (alias, store))| {
        let info = topics.settings.get(name)?;
        unfit_changelog(name, info, (alias, store), partitions)
    });
    existing.collect()
}

fn unfit_changelog(name: &TopicName, info: &TopicInfo, store: (&Alias, &StoreSpec), partitions: i32) -> Option<Problem> {
    let (alias, store) = store;
    if info.partitions != partitions {
        let message = format!("{name} has {} partitions, the inputs have {partitions}", info.partitions);
        return Some(Problem { field: format!("state.{alias}"), message });
    }
    // That of a store with a ttl may be one of version 0.1, which deletes by age too, and is not compacted only.
    if info.compacted == Some(false) && store.ttl.is_none() {
        return Some(Problem { field: format!("state.{alias}"), message: format!("{name} is not compacted") });
    }
    // It may keep entries for longer, not for less.
    let needed = store.ttl.map(|ttl| ttl.0 + CHANGELOG_GRACE);
    let (kept, needed) = info.deleted_after.zip(needed).filter(|(kept, needed)| kept < needed)?;
    let kept = kept.as_millis();
    let needed = needed.as_millis();
    let message = format!("{name} keeps entries for {kept} ms, too short for this ttl: set its retention.ms to {needed}");
    Some(Problem { field: format!("state.{alias}.ttl"), message })
}
