//! The topics that a transform's records, stores and messages come from. Pure.
//!
//! A store keeps the records of earlier inputs, and a log the lines of earlier revisions: so all kept revisions count.
//! Dead letters are records of the inputs of the transform that wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::deployments::Deployments;
use crate::model::names::{TopicName, TransformId};
use crate::model::spec::{RawSpec, Then};

/// The topics of which the content may be in something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    pub topics: BTreeSet<TopicName>,
    /// True if there may be others: this host does not understand a revision.
    pub is_partial: bool,
}

/// The sources of dead letters, by their topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterSources(BTreeMap<TopicName, Sources>);

/// The sources of dead letters of the last catalog that was asked for. With rules of redaction each request asks, and
/// transforms with all their revisions are many.
#[derive(Default)]
pub struct DeadLetterCache(Mutex<Option<(Weak<Deployments>, Arc<DeadLetterSources>)>>);

// === impl Sources ===

impl Sources {
    /// The topics that a spec reads.
    fn read_by(spec: &RawSpec) -> Self {
        let topics = spec.inputs.iter().chain(spec.tables.values());
        let parsed: Vec<Option<TopicName>> = topics.map(|topic| topic.parse().ok()).collect();
        let is_partial = parsed.iter().any(Option::is_none);
        Self { topics: parsed.into_iter().flatten().collect(), is_partial }
    }

    fn add(&mut self, other: Self) {
        self.topics.extend(other.topics);
        self.is_partial |= other.is_partial;
    }
}

impl From<BTreeSet<TopicName>> for Sources {
    fn from(topics: BTreeSet<TopicName>) -> Self {
        Self { topics, is_partial: false }
    }
}

// === impl DeadLetterSources ===

impl DeadLetterSources {
    /// Adds the sources of the dead letters that these topics have, and so on.
    pub fn complete(&self, mut sources: Sources) -> Sources {
        let mut waiting: Vec<TopicName> = sources.topics.iter().cloned().collect();
        while let Some(topic) = waiting.pop() {
            let Some(more) = self.0.get(&topic) else { continue };
            waiting.extend(more.topics.difference(&sources.topics).cloned());
            sources.add(more.clone());
        }
        sources
    }
}

// === impl DeadLetterCache ===

impl DeadLetterCache {
    pub fn of(&self, all: &Arc<Deployments>) -> Arc<DeadLetterSources> {
        let mut kept = self.0.lock();
        if let Some((of, found)) = &*kept
            && of.as_ptr() == Arc::as_ptr(all)
        {
            return found.clone();
        }
        let found = Arc::new(all.dead_letter_sources());
        *kept = Some((Arc::downgrade(all), found.clone()));
        found
    }
}

// === impl Deployments ===

impl Deployments {
    /// The topics that the kept revisions of a transform read.
    pub fn sources(&self, id: &TransformId) -> Sources {
        let mut sources = Sources::default();
        for spec in self.kept_specs(id) {
            sources.add(Sources::read_by(spec));
        }
        let current = self.get(id).is_none_or(|current| current.unread.is_some());
        sources.is_partial |= current || self.unread(id).next().is_some();
        sources
    }

    /// The topics for dead letters of all transforms, deleted ones too.
    pub fn dead_letter_sources(&self) -> DeadLetterSources {
        let mut all = DeadLetterSources::default();
        for id in self.keys() {
            let default: Option<TopicName> = format!("{}.{}.dead-letter", id.team, id.name).parse().ok();
            let is_partial = self.unread(id).next().is_some() || self.get(id).is_some_and(|it| it.unread.is_some());
            if let Some(topic) = default.clone().filter(|_| is_partial) {
                all.0.entry(topic).or_default().is_partial = true;
            }
            for spec in self.kept_specs(id) {
                if let Some(topic) = dead_letter_topic(spec, default.as_ref()) {
                    all.0.entry(topic.clone()).or_default().add(Sources::read_by(spec));
                }
            }
        }
        all
    }

    fn kept_specs(&self, id: &TransformId) -> impl Iterator<Item = &RawSpec> {
        let current = self.get(id).map(|current| &current.spec);
        current.into_iter().chain(self.understood(id).map(|revision| &revision.spec))
    }
}

/// The topic that a spec's dead letters go to. A spec whose failed records have another way may name any topic, with no right
/// to it: nothing follows for the records in that topic.
pub fn dead_letter_topic<'s>(spec: &'s RawSpec, default: Option<&'s TopicName>) -> Option<&'s TopicName> {
    let goes_there = spec.on_error.then == Then::DeadLetter;
    spec.on_error.dead_letter_topic.as_ref().or(default).filter(|_| goes_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(names: &[&str]) -> BTreeSet<TopicName> {
        names.iter().map(|name| name.parse().expect("valid")).collect()
    }

    /// Checks the sources of these topics, where dead letters have sources.
    #[track_caller]
    fn check(dead_letters: &[(&str, &[&str])], from: &[&str], expected: &[&str]) {
        let by_topic = |(topic, from): &(&str, &[&str])| (topic.parse().expect("valid"), topics(from).into());
        let all = DeadLetterSources(dead_letters.iter().map(by_topic).collect());
        assert_eq!(all.complete(topics(from).into()).topics, topics(expected), "{dead_letters:?}: {from:?}");
    }

    #[test]
    fn dead_letters_come_from_the_inputs_of_their_transform() {
        check(&[], &["a"], &["a"]);
        check(&[("a.dead", &["a"])], &["a"], &["a"]);
        check(&[("a.dead", &["a"])], &["a.dead", "b"], &["a", "a.dead", "b"]);
        check(&[("a.dead", &["a"]), ("b.dead", &["a.dead"])], &["b.dead"], &["a", "a.dead", "b.dead"]);
        check(&[("x", &["y"]), ("y", &["x"])], &["x"], &["x", "y"]);
    }

    #[test]
    fn the_sources_are_those_of_the_catalog_that_is_asked_for() {
        let cache = DeadLetterCache::default();
        let catalogs = [Arc::new(Deployments::default()), Arc::new(Deployments::default())];
        let found = cache.of(&catalogs[0]);
        assert!(Arc::ptr_eq(&found, &cache.of(&catalogs[0])));
        assert!(!Arc::ptr_eq(&found, &cache.of(&catalogs[1])), "another catalog has its own");
    }

    #[test]
    fn only_a_policy_with_dead_letters_has_a_topic_for_them() {
        let default: TopicName = "shop.x.dead-letter".parse().expect("valid");
        for (on_error, expected) in [
            (serde_json::json!({}), Some("shop.x.dead-letter")),
            (serde_json::json!({"dead_letter_topic": "shop.dead"}), Some("shop.dead")),
            (serde_json::json!({"then": "skip", "dead_letter_topic": "others.orders"}), None),
            (serde_json::json!({"then": "pause", "dead_letter_topic": "others.orders"}), None),
            (serde_json::json!({"then": "skip"}), None),
        ] {
            let spec: RawSpec = serde_json::from_value(serde_json::json!({"on_error": on_error})).expect("a spec");
            let found = dead_letter_topic(&spec, Some(&default));
            assert_eq!(found.map(TopicName::as_str), expected, "{on_error}");
        }
    }

    #[test]
    fn a_spec_with_names_that_are_no_topics_is_known_in_part() {
        let spec = |value| serde_json::from_value::<RawSpec>(value).expect("a spec");
        let read = Sources::read_by(&spec(serde_json::json!({"inputs": ["a"], "tables": {"t": "b"}})));
        assert_eq!(read, topics(&["a", "b"]).into());
        assert!(Sources::read_by(&spec(serde_json::json!({"inputs": ["a b"]}))).is_partial);
    }
}
