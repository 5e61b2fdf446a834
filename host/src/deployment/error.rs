//! The error of a deployment, classed by its remedy.

use crate::catalog::CatalogError;
use crate::model::names::TransformId;
use crate::ports::LogError;

use super::rejection::{Rejection, Violation};

/// A deployment that was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeployError {
    /// The candidate breaks rules: its author mends them.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The catalog refuses the change, or cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The log failed: the request may be repeated.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A dry run without a spec, of a transform that does not exist.
    #[error("there is no transform {0}, and no spec was sent")]
    NoCandidate(TransformId),
}

impl From<Violation> for DeployError {
    fn from(violation: Violation) -> Self {
        Self::Rejected(violation.into())
    }
}
