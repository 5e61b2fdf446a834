//! A transform's revisions, as the deployments topic holds them.

use serde::{Deserialize, Serialize};

use super::names::{Digest, TransformId};
use super::spec::{Problem, RawSpec, Spec};
use super::units::Timestamp;

/// The value of one record of the deployments topic: the full current state of one transform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: TransformId,
    /// 1, 2, 3, ...: each accepted change of spec, config or module is a new one. Deleting keeps it, so that a
    /// transform that is made again never runs a lower revision than it has committed.
    pub revision: u64,
    pub module: Digest,
    pub spec: RawSpec,
    pub desired: Desired,
    pub changed_at: Timestamp,
}

/// What a deployment is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    Running,
    Paused,
    Deleted,
}

impl Deployment {
    /// The validated spec. It was valid when it was accepted; a newer host may still refuse it.
    pub fn spec(&self) -> Result<Spec, Vec<Problem>> {
        Spec::parse(&self.spec, &self.id, Some(self.module))
    }
}
