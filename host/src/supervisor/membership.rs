//! A transform's place in its consumer group: the part of a session's options that all of its workers have in common.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::names::TopicName;
use crate::model::spec::{Delivery, Start};
use crate::ports::SessionOptions;
use crate::positions::InputStart;

/// The topics that inputs were when they began, and the numbers of partitions that have begun.
pub type BegunInputs = BTreeMap<TopicName, InputStart>;

/// A transform's settings for its consumer group.
#[derive(Debug, Clone)]
pub struct Membership {
    pub group: String,
    pub inputs: Vec<TopicName>,
    pub outputs: Vec<TopicName>,
    pub delivery: Delivery,
    pub transaction_timeout: Duration,
    pub start: Start,
    pub co_partitioned: bool,
}

impl Membership {
    /// Returns true if workers of `other` keep their place in the group with this one.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let has_time = self.transaction_timeout <= other.transaction_timeout;
        has_time && (&self.group, &self.inputs, &self.delivery) == (&other.group, &other.inputs, &other.delivery)
    }

    /// The options of one worker's session.
    pub fn session(&self, host: &str, worker: u32, begun: &BegunInputs) -> SessionOptions {
        SessionOptions {
            group: self.group.clone(),
            // Stable over restarts: opening the same id again ends what a crashed host left open.
            transactional_id: format!("{}.{host}.{worker}", self.group),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            delivery: self.delivery,
            transaction_timeout: self.transaction_timeout,
            start: self.start.clone(),
            begun: begun.iter().map(|(topic, input)| (topic.clone(), input.partitions)).collect(),
            co_partitioned: self.co_partitioned,
        }
    }
}
