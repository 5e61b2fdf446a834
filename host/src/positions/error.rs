//! The errors of this module.

use crate::model::codes::Code;
use crate::model::names::{TopicName, TransformId};
use crate::ports::LogError;

/// A failed call of [`super::Positions`].
#[derive(Debug, thiserror::Error)]
pub enum PositionsError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the record of {id} in {topic} cannot be understood ({reason}); nothing is written over it")]
    Unreadable { topic: TopicName, id: TransformId, reason: String },
    #[error("other hosts began the same transform each time that this one tried ({0})")]
    Contended(String),
    #[error("changelog topic {0} was recreated: it is not the one that the store was built from")]
    ChangelogRecreated(TopicName),
    /// Hosts that have not noticed yet that an input was recreated. They leave within seconds, a killed one once its session
    /// has timed out.
    #[error("an input was recreated, and group {group} has {members} members that read the topic before it")]
    InUse { group: String, members: usize },
    /// The caller does not want it any more.
    #[error("the transform is not to run any more")]
    Unwanted,
}

impl PositionsError {
    pub fn code(&self) -> Code {
        match self {
            Self::Log(LogError::NoTopic(topic)) if topic.starts_with("_sandbar.") => Code::ControlTopic,
            Self::Log(LogError::NoTopic(_)) => Code::TopicGone,
            Self::Log(error) => error.code(),
            Self::Unwanted => Code::LogUnavailable,
            Self::Unreadable { .. } => Code::ControlTopic,
            Self::InUse { .. } => Code::OffsetsInUse,
            Self::Contended(_) => Code::Contended,
            Self::ChangelogRecreated(_) => Code::StateLost,
        }
    }
}
