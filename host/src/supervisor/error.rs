//! The error of a revision that cannot run now.

use crate::catalog::CatalogError;
use crate::deployment::Rejection;
use crate::model::codes::Code;
use crate::model::module::ModuleError;
use crate::model::spec::Problem;
use crate::ports::{GuestError, LogError, OpenError};
use crate::positions::PositionsError;
use crate::task::RecordFailure;

/// A failed preparation or start. It is tried again after a back-off; the code says whether that is likely to help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PrepareError {
    pub code: Code,
    pub message: String,
}

impl PrepareError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A spec that an earlier host accepted, and this one does not.
    pub fn of_spec(problems: &[Problem]) -> Self {
        let listed: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        Self::new(Code::SpecRefused, listed.join("; "))
    }
}

impl From<tokio::task::JoinError> for PrepareError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(Code::Internal, error.to_string())
    }
}

impl From<CatalogError> for PrepareError {
    fn from(error: CatalogError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<ModuleError> for PrepareError {
    fn from(error: ModuleError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<OpenError> for PrepareError {
    fn from(error: OpenError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<PositionsError> for PrepareError {
    fn from(error: PositionsError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Rejection> for PrepareError {
    fn from(rejection: Rejection) -> Self {
        Self::new(rejection.first.code, rejection.to_string())
    }
}

impl From<LogError> for PrepareError {
    fn from(error: LogError) -> Self {
        let code = if matches!(error, LogError::NoTopic(_)) { Code::TopicGone } else { error.code() };
        Self::new(code, error.to_string())
    }
}

impl From<GuestError> for PrepareError {
    fn from(error: GuestError) -> Self {
        let failed = RecordFailure::of_guest(&error);
        Self::new(failed.code, failed.message)
    }
}
