//! What a change makes of a deployment: a pure function from the last record and the change to the next record.
//!
//! A revision is spent on every change of spec or module, never on pausing, resuming or deleting. The revision of a
//! deleted transform stays, so that it never runs a lower one than it has committed.

use std::fmt;

use crate::model::names::{Digest, TransformId};
use crate::model::revision::{Deployment, Desired};
use crate::model::spec::RawSpec;
use crate::model::units::Timestamp;

use super::CatalogError;

/// What the caller takes the transform to be (`If-Match`, `If-None-Match`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Any,
    /// It exists, at whatever revision (`If-Match: *`).
    Present,
    Revision(u64),
    /// It does not exist (`If-None-Match: *`).
    Absent,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("nothing"),
            Self::Present => f.write_str("a transform"),
            Self::Revision(revision) => write!(f, "revision {revision}"),
            Self::Absent => f.write_str("no transform"),
        }
    }
}

/// One change of one transform.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The spec and module that it shall have. A paused transform stays paused.
    Put {
        spec: Box<RawSpec>,
        module: Digest,
    },
    Pause,
    Resume,
    Delete,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The deployment as it is now.
    pub deployment: Deployment,
    pub outcome: Outcome,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Created,
    Updated,
    /// It was so already: nothing was written.
    Unchanged,
}

/// Whether the transform (`None`: absent or deleted) is what was expected.
pub fn check(expected: Expected, live: Option<&Deployment>) -> Result<(), CatalogError> {
    let found = live.map(|deployment| deployment.revision);
    let fits = match expected {
        Expected::Any => true,
        Expected::Present => found.is_some(),
        Expected::Revision(revision) => found == Some(revision),
        Expected::Absent => found.is_none(),
    };
    if fits { Ok(()) } else { Err(CatalogError::Conflict { expected, found }) }
}

/// The next record of a transform, `latest` being the last one (of a deleted transform too).
pub fn apply(
    id: &TransformId,
    latest: Option<&Deployment>,
    change: Change,
    now: Timestamp,
) -> Result<Applied, CatalogError> {
    match (change, latest) {
        (Change::Put { spec, module }, latest) => Ok(put(id, latest, *spec, module, now)),
        (_, None | Some(Deployment { desired: Desired::Deleted, .. })) => Err(CatalogError::NoTransform(id.clone())),
        (Change::Pause, Some(latest)) => Ok(desire(latest, Desired::Paused, now)),
        (Change::Resume, Some(latest)) => Ok(desire(latest, Desired::Running, now)),
        (Change::Delete, Some(latest)) => Ok(desire(latest, Desired::Deleted, now)),
    }
}

fn put(id: &TransformId, latest: Option<&Deployment>, spec: RawSpec, module: Digest, now: Timestamp) -> Applied {
    let spec = complete(spec, id, module);
    let live = latest.filter(|latest| latest.desired != Desired::Deleted);
    if let Some(live) = live.filter(|live| live.module == module && live.spec == spec) {
        return Applied { deployment: live.clone(), outcome: Outcome::Unchanged };
    }
    let deployment = Deployment {
        id: id.clone(),
        revision: latest.map_or(1, |latest| latest.revision + 1),
        module,
        spec,
        desired: live.map_or(Desired::Running, |live| live.desired),
        changed_at: now,
    };
    Applied { deployment, outcome: if live.is_some() { Outcome::Updated } else { Outcome::Created } }
}

fn desire(latest: &Deployment, desired: Desired, now: Timestamp) -> Applied {
    if latest.desired == desired {
        return Applied { deployment: latest.clone(), outcome: Outcome::Unchanged };
    }
    Applied { deployment: Deployment { desired, changed_at: now, ..latest.clone() }, outcome: Outcome::Updated }
}

/// The spec with its names and its module's digest written out, so that what is read can be sent back as it is.
fn complete(mut spec: RawSpec, id: &TransformId, module: Digest) -> RawSpec {
    spec.team = Some(id.team.to_string());
    spec.name = Some(id.name.to_string());
    spec.module = Some(module.to_string());
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TransformId {
        "orders/strip".parse().expect("valid")
    }

    fn put_of(input: &str) -> Change {
        let spec = serde_json::from_value(serde_json::json!({"inputs": [input], "outputs": {"o": "out"}})).expect("valid");
        Change::Put { spec: Box::new(spec), module: Digest::of(b"m") }
    }

    /// Runs the changes; each step says the revision, the desired state and the outcome it expects.
    fn check_all(steps: Vec<(Change, u64, Desired, Outcome)>) {
        let mut latest: Option<Deployment> = None;
        for (change, revision, desired, outcome) in steps {
            let text = format!("{change:?}");
            let applied = apply(&id(), latest.as_ref(), change, Timestamp(1)).expect(&text);
            let deployment = &applied.deployment;
            assert_eq!((deployment.revision, deployment.desired, applied.outcome), (revision, desired, outcome), "{text}");
            latest = Some(applied.deployment);
        }
    }

    #[test]
    fn revisions_count_changes_of_content() {
        use Desired::*;
        use Outcome::*;
        check_all(vec![
            (put_of("a"), 1, Running, Created),
            (put_of("a"), 1, Running, Unchanged),
            (put_of("b"), 2, Running, Updated),
            (Change::Pause, 2, Paused, Updated),
            (Change::Pause, 2, Paused, Unchanged),
            (put_of("c"), 3, Paused, Updated),
            (Change::Resume, 3, Running, Updated),
            (Change::Delete, 3, Deleted, Updated),
            (put_of("c"), 4, Running, Created),
        ]);
    }

    #[test]
    fn what_is_not_there_cannot_be_paused() {
        for change in [Change::Pause, Change::Resume, Change::Delete] {
            assert!(matches!(apply(&id(), None, change, Timestamp(1)), Err(CatalogError::NoTransform(_))));
        }
    }

    #[test]
    fn expectations_are_checked() {
        let live = apply(&id(), None, put_of("a"), Timestamp(1)).expect("valid").deployment;
        for (expected, live, fits) in [
            (Expected::Any, None, true),
            (Expected::Absent, None, true),
            (Expected::Absent, Some(&live), false),
            (Expected::Present, None, false),
            (Expected::Revision(1), Some(&live), true),
            (Expected::Revision(2), Some(&live), false),
            (Expected::Revision(1), None, false),
        ] {
            assert_eq!(check(expected, live).is_ok(), fits, "{expected:?}");
        }
    }
}
