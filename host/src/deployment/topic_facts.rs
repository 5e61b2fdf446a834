//! The topics that a spec names, as the log has them.

use std::collections::BTreeMap;

use crate::model::names::TopicName;
use crate::model::spec::Spec;
use crate::ports::{Log, LogError, TopicInfo};

/// The topics of a spec that exist: a topic that is missing here does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicFacts {
    /// The numbers of partitions of the inputs.
    pub(super) inputs: BTreeMap<TopicName, i32>,
    /// The settings of the topics that are written or looked up.
    pub(super) settings: BTreeMap<TopicName, TopicInfo>,
    /// The changelog topics of the stores, in the order of the spec.
    pub(super) changelogs: Vec<TopicName>,
}

impl TopicFacts {
    /// Asks the log for the inputs, for every topic that is written and for the changelogs. Blocks.
    pub fn gather(log: &dyn Log, spec: &Spec, changelogs: Vec<TopicName>) -> Result<Self, LogError> {
        let mut facts = Self { changelogs, ..Self::gather_written(log, spec)? };
        for input in &spec.inputs {
            if let Some(partitions) = existing(log.partitions(input))? {
                facts.inputs.insert(input.clone(), partitions);
            }
        }
        facts.describe(log, facts.changelogs.clone().into_iter())?;
        Ok(facts)
    }

    /// Asks the log for every topic that is written. Blocks.
    pub fn gather_written(log: &dyn Log, spec: &Spec) -> Result<Self, LogError> {
        let mut facts = Self::default();
        facts.describe(log, spec.written_topics().cloned())?;
        Ok(facts)
    }

    /// Asks for the topics of the tables as well. Blocks.
    pub(super) fn with_tables(mut self, log: &dyn Log, spec: &Spec) -> Result<Self, LogError> {
        self.describe(log, spec.tables.values().cloned())?;
        Ok(self)
    }

    fn describe(&mut self, log: &dyn Log, topics: impl Iterator<Item = TopicName>) -> Result<(), LogError> {
        for topic in topics {
            if !self.settings.contains_key(&topic)
                && let Some(info) = existing(log.topic(&topic))?
            {
                self.settings.insert(topic, info);
            }
        }
        Ok(())
    }

    /// The changelogs that exist, in the order of the spec.
    pub fn changelogs(&self) -> Vec<(TopicName, TopicInfo)> {
        let described = |name: &TopicName| Some((name.clone(), self.settings.get(name)?.clone()));
        self.changelogs.iter().filter_map(described).collect()
    }

    /// The number of partitions that all existing inputs have; None if they differ, or none exists.
    pub(super) fn equal_partitions(&self) -> Option<i32> {
        let mut partitions = self.inputs.values().copied();
        let first = partitions.next()?;
        partitions.all(|other| other == first).then_some(first)
    }

    /// The partitions of all existing inputs together.
    pub(super) fn partitions(&self) -> u32 {
        let partitions = self.inputs.values().map(|partitions| u32::try_from(*partitions).unwrap_or(0));
        partitions.fold(0, u32::saturating_add)
    }

    /// The number of partitions of the stores' changelogs: that of the first one.
    pub fn changelog_partitions(&self) -> Option<i32> {
        self.changelogs.iter().find_map(|name| self.settings.get(name)).map(|info| info.partitions)
    }

    /// The largest record of each topic that is written, in the order of the spec. A topic that does not exist yet takes
    /// every record.
    pub fn record_bytes_max(&self, spec: &Spec) -> Vec<usize> {
        let bytes_max = |topic| self.settings.get(topic).map_or(usize::MAX, |info: &TopicInfo| info.sent_bytes_max);
        spec.written_topics().map(bytes_max).collect()
    }
}

/// A missing topic is a fact, and no failure of the log.
fn existing<T>(answer: Result<T, LogError>) -> Result<Option<T>, LogError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(LogError::NoTopic(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
