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

/// What is committed with each offset of an input: as JSON, in the offset's metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The revision that processed what is before the offset. No lower one may go on from there.
    pub revision: u64,
    /// The first offset that it processed.
    pub since: i64,
}

impl Progress {
    /// Reads an offset's metadata; of an offset that somebody else committed nothing is known.
    pub fn parse(metadata: &str, next_offset: i64) -> Self {
        serde_json::from_str(metadata).unwrap_or(Self { revision: 0, since: next_offset })
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).expect("two numbers"))
    }
}

impl Deployment {
    /// The validated spec. It was valid when it was accepted; a newer host may still refuse it.
    pub fn spec(&self) -> Result<Spec, Vec<Problem>> {
        Spec::parse(&self.spec, &self.id, Some(self.module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_what_anybody_may_have_committed() {
        for (metadata, revision, since) in
            [(r#"{"revision":3,"since":40}"#, 3, 40), (r#"{"revision":3}"#, 3, 0), ("", 0, 7), ("by hand", 0, 7)]
        {
            assert_eq!(Progress::parse(metadata, 7), Progress { revision, since }, "{metadata}");
        }
        let progress = Progress { revision: 3, since: 40 };
        assert_eq!(Progress::parse(&progress.to_string(), 7), progress);
    }
}
