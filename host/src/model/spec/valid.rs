//! The valid form of a spec.

use std::time::Duration;

use indexmap::IndexMap;

use super::checker::Checker;
use super::{CommitInterval, Delivery, GuestConfig, Limits, Problem, RawSpec, Retry, StartSpec, StoreSpec, Then, labels};
use crate::model::names::{Alias, ClusterName, Digest, TopicName, TransformId};

/// A valid spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub id: TransformId,
    pub module: Digest,
    pub inputs: Vec<TopicName>,
    pub outputs: IndexMap<Alias, TopicName>,
    pub config: GuestConfig,
    pub delivery: Delivery,
    pub retry: Retry,
    pub then: Then,
    pub dead_letter_topic: TopicName,
    pub limits: Limits,
    pub start: StartSpec,
    pub state: IndexMap<Alias, StoreSpec>,
    pub tables: IndexMap<Alias, TopicName>,
    pub tick: Option<Duration>,
    pub allow_cycle: bool,
    pub commit_interval: CommitInterval,
    pub workers: u32,
}

impl Spec {
    /// Validates `raw` for the transform `id`, with the digest of a module that came along with it, if one did.
    pub fn parse(raw: &RawSpec, id: &TransformId, uploaded: Option<Digest>) -> Result<Spec, Vec<Problem>> {
        let mut check = Checker::default();
        check.same("team", raw.team.as_deref(), id.team.as_str());
        check.same("name", raw.name.as_deref(), id.name.as_str());
        let module = check.module(raw.module.as_deref(), uploaded);
        check.problems.extend(labels::problems(&raw.labels));
        let inputs = check.inputs(&raw.inputs);
        let outputs = check.outputs(&raw.outputs, &inputs);
        let state = check.state(&raw.state);
        let tables = check.tables(&raw.tables);
        check.limits(raw);
        if !state.is_empty() && raw.delivery == Delivery::AtLeastOnce {
            // What is processed again would be counted again.
            check.problem("delivery", "must be exactly-once where there is state");
        }
        check.start(&raw.start, &inputs);
        let dead_letter_topic = check.dead_letter(raw, id, &inputs);
        check.config(&raw.config);
        let (Some(module), Some(dead_letter_topic), true) = (module, dead_letter_topic, check.problems.is_empty()) else {
            return Err(check.problems);
        };
        Ok(Spec {
            id: id.clone(),
            module,
            inputs,
            outputs,
            config: raw.config.clone(),
            delivery: raw.delivery,
            retry: raw.on_error.retry,
            then: raw.on_error.then,
            dead_letter_topic,
            limits: raw.limits,
            start: raw.start.clone(),
            state,
            tables,
            tick: raw.tick.map(|tick| tick.0),
            allow_cycle: raw.allow_cycle,
            commit_interval: raw.commit_interval,
            workers: raw.workers,
        })
    }

    /// Returns the consumer group, named after the transform and never after its revision.
    pub fn group(&self, cluster: &ClusterName) -> String {
        self.id.group(cluster)
    }

    /// Returns true if partitions of several inputs share stores: one worker must own all partitions of a number.
    pub fn shares_state(&self) -> bool {
        !self.state.is_empty() && self.inputs.len() > 1
    }

    /// Returns the changelog topics of the stores, in their order. They belong to the transform's name: a revision finds
    /// the state of the one before it. With each of the `resets` of its state a transform gets new topics.
    pub fn changelogs(&self, cluster: &ClusterName, resets: u64) -> Vec<TopicName> {
        let again = if resets == 0 { String::new() } else { format!(".{resets}") };
        let topic = |store: &Alias| format!("_sandbar.{cluster}.state.{}.{}.{store}{again}", self.id.team, self.id.name);
        let parse = |topic: String| topic.parse().expect("names are DNS labels, and a store's is short");
        self.state.keys().map(|store| parse(topic(store))).collect()
    }

    /// Returns every topic that this transform writes to.
    pub fn written_topics(&self) -> impl Iterator<Item = &TopicName> {
        let dead_letters = (self.then == Then::DeadLetter).then_some(&self.dead_letter_topic);
        self.outputs.values().chain(dead_letters)
    }
}
