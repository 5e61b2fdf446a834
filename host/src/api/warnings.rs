//! Warnings that come with a deployment: it is accepted, and may do something else than its author means.

use crate::model::names::TopicName;
use crate::model::spec::{Spec, Then};
use crate::ports::LogError;

use super::problem::Refusal;
use super::shared::ApiState;

/// Looks at every topic that the spec writes. One that is missing is nobody's warning.
pub fn of(state: &ApiState, spec: &Spec) -> Result<Vec<String>, Refusal> {
    let mut warnings = Vec::new();
    for (alias, topic) in &spec.outputs {
        if needs_keys(state, topic)? {
            let message = format!("topic {topic} is compacted: it refuses records without a key, which fail (E109)");
            warnings.push(format!("outputs.{alias}: {message}"));
        }
    }
    if spec.then == Then::DeadLetter && needs_keys(state, &spec.dead_letter_topic)? {
        let topic = &spec.dead_letter_topic;
        let message = format!("topic {topic} is compacted: of the dead letters of one key the last one stays");
        warnings.push(format!("on_error.dead_letter_topic: {message}"));
    }
    Ok(warnings)
}

fn needs_keys(state: &ApiState, topic: &TopicName) -> Result<bool, Refusal> {
    match state.log.topic(topic) {
        Ok(info) => Ok(info.needs_keys == Some(true)),
        Err(LogError::NoTopic(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
