//! The error of the catalog, and its code.

use crate::model::codes::Code;
use crate::model::names::{Digest, TopicName, TransformId};
use crate::model::revision::Deployment;
use crate::model::spec::Problem;
use crate::ports::LogError;

use super::change::{Precondition, SEEN_TIMEOUT};

/// A failed call of the catalog.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    #[error(transparent)]
    Log(#[from] LogError),
    /// The transform is not where the caller thought.
    #[error("the request expects {expected}, the transform is {}", found_text(*.found))]
    Conflict { expected: Precondition, found: Option<u64> },
    /// Another change came before this one, which was prepared for the transform as it was.
    #[error("another request changed {0} while this one was checked")]
    Overtaken(TransformId),
    #[error("{0} is not paused")]
    NotPaused(TransformId),
    /// There is nothing to pause, resume or delete.
    #[error("there is no transform {0}")]
    NoTransform(TransformId),
    /// Written, perhaps: the log did not show it in time.
    #[error("the change was sent to the log and not seen there within {} s", SEEN_TIMEOUT.as_secs())]
    Unseen,
    #[error("the log holds module {0} incompletely, or other bytes")]
    Corrupt(Digest),
    #[error("control topic {topic} {problem}")]
    Topic { topic: TopicName, problem: String },
    #[error("{id} has no revision {}", revision.map_or("before the current one".to_owned(), |revision| revision.to_string()))]
    NoRevision { id: TransformId, revision: Option<u64> },
    #[error("revision {revision} runs {module}, which is no longer stored")]
    ModuleGone { revision: u64, module: Digest },
    #[error("{0} is not stored, or not any more")]
    NoModule(Digest),
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    #[error("the transform would feed itself: {path}")]
    Cycle { path: String },
    /// The team would grow above its ceilings, in each of these fields of the spec.
    #[error("{}", messages(.0))]
    OverCeiling(Vec<Problem>),
    /// Nothing was written: other hosts' changes got in the way each time.
    #[error("other hosts changed the catalog each time that this one tried ({0})")]
    Contended(String),
    /// Other inputs for stores that may be in use.
    #[error("{0} has stores, and would get other inputs while it may run: it is not paused")]
    InputsInUse(TransformId),
    /// A newer host wrote it: it is left as it is.
    #[error("{what} is not understood by this host, and is left as it is: {reason}")]
    Newer { what: String, reason: String },
    /// Too few threads or the like, while opening.
    #[error("{0}")]
    Host(String),
}

fn messages(problems: &[Problem]) -> String {
    problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; ")
}

fn found_text(found: Option<u64>) -> String {
    found.map_or("absent".to_owned(), |revision| format!("at revision {revision}"))
}

impl CatalogError {
    /// Refuses a deployment whose newest record this host does not understand.
    pub fn unless_understood(deployment: &Deployment) -> Result<(), Self> {
        let refused = |reason: &String| Self::Newer { what: deployment.id.to_string(), reason: reason.clone() };
        deployment.unread.as_ref().map_or(Ok(()), |reason| Err(refused(reason)))
    }

    pub fn code(&self) -> Code {
        match self {
            Self::Log(LogError::NoTopic(_)) | Self::Topic { .. } => Code::ControlTopic,
            Self::Log(error) => error.code(),
            Self::Conflict { .. } | Self::Overtaken(_) => Code::Conflict,
            Self::NotPaused(_) => Code::NotRunning,
            Self::NoTransform(_) => Code::NoTransform,
            Self::NoRevision { .. } => Code::NoRevision,
            Self::ModuleGone { .. } => Code::RevisionModule,
            Self::NoModule(_) => Code::ModuleMissing,
            Self::KeyReused => Code::KeyReused,
            Self::Cycle { .. } => Code::Cycle,
            Self::OverCeiling(_) => Code::OverCeiling,
            Self::InputsInUse(_) => Code::InputsInUse,
            Self::Newer { .. } => Code::NewerFormat,
            Self::Contended(_) => Code::Contended,
            Self::Unseen => Code::ControlWrite,
            Self::Corrupt(_) => Code::ModuleCorrupt,
            Self::Host(_) => Code::HostResources,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_the_code_of_its_remedy() {
        for (error, code) in [
            (CatalogError::Log(LogError::Unavailable(String::new())), Code::LogUnavailable),
            (CatalogError::Log(LogError::NoTopic(String::new())), Code::ControlTopic),
            (CatalogError::Conflict { expected: Precondition::Absent, found: Some(3) }, Code::Conflict),
            (CatalogError::Overtaken("t/n".parse().expect("valid")), Code::Conflict),
            (CatalogError::NotPaused("t/n".parse().expect("valid")), Code::NotRunning),
            (CatalogError::Unseen, Code::ControlWrite),
        ] {
            assert_eq!(error.code(), code, "{error}");
        }
    }
}
