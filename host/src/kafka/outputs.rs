//! The topics that a producer writes: their names, their handles, and the questions whether they still take records.

use std::time::Duration;

use super::error::restart;
use super::fault::{Fault, fault};
use super::raw::{Client, RawError, TopicHandle};
use crate::model::names::TopicName;
use crate::ports::SessionError;

/// Longest time for an answer about one topic.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// The topics, in the order in which `ProducerRecord::topic` counts. To be dropped before their client.
pub(super) struct OutputTopics(Vec<OutputTopic>);

struct OutputTopic {
    handle: TopicHandle,
    name: TopicName,
}

impl OutputTopics {
    pub fn new(client: &Client, names: &[TopicName]) -> Result<Self, SessionError> {
        let topic = |name: &TopicName| {
            let handle = client.topic(name.as_str()).map_err(restart)?;
            Ok(OutputTopic { handle, name: name.clone() })
        };
        Ok(Self(names.iter().map(topic).collect::<Result<_, SessionError>>()?))
    }

    pub fn handle(&self, topic: usize) -> &TopicHandle {
        &self.0[topic].handle
    }

    pub fn find(&self, topic: usize) -> Option<&TopicHandle> {
        self.0.get(topic).map(|topic| &topic.handle)
    }

    pub fn name(&self, topic: usize) -> &TopicName {
        &self.0[topic].name
    }

    /// The name of a topic by its handle's id; None for one that was written before.
    pub fn name_of(&self, topic_id: usize) -> Option<&TopicName> {
        self.0.iter().find(|topic| topic.handle.id() == topic_id).map(|topic| &topic.name)
    }

    /// Asks for each topic, since its records do not get through: the error of the first that takes none.
    pub fn check(&self, client: &Client) -> Result<(), SessionError> {
        for topic in &self.0 {
            // If nobody answers, there is no use in asking for the others.
            let Ok(error) = client.topic_error(&topic.handle, ASK_TIMEOUT) else { break };
            let Some(error) = error else { continue };
            if let Fault::Topic(code) = fault(error) {
                let message = format!("topic {}: {}", topic.name, RawError::of("metadata", error).message);
                return Err(SessionError::Withheld { code, message });
            }
        }
        Ok(())
    }

    /// Brings the client's own view of these topics up to date: it believes for long that there is none, unless it asks.
    pub fn refresh(&self, client: &Client, topic_ids: &[usize]) {
        for topic in self.0.iter().filter(|topic| topic_ids.contains(&topic.handle.id())) {
            let _ = client.topic_error(&topic.handle, ASK_TIMEOUT);
        }
    }
}
