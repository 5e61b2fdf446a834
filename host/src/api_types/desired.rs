//! The purpose of a deployment.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::revision;

/// The purpose of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    Running,
    Paused,
    Deleted,
}

impl From<revision::Desired> for Desired {
    fn from(desired: revision::Desired) -> Self {
        match desired {
            revision::Desired::Running => Self::Running,
            revision::Desired::Paused => Self::Paused,
            revision::Desired::Deleted => Self::Deleted,
        }
    }
}
