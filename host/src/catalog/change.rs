//! Changes of the catalog, as requests ask for them, and their results.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::model::audit::{Action, Actor, AuditEntry};
use crate::model::names::{Digest, TransformId};
use crate::model::revision::{Deployment, Outcome, Progress, RequestKey};
use crate::model::signature::ModuleSignature;
use crate::model::spec::RawSpec;
use crate::model::team::TeamLimits;
use crate::model::units::{Rfc3339, Timestamp};

/// Longest wait for the log to show a record that was written: far above the lag of a healthy cluster.
pub const SEEN_TIMEOUT: Duration = Duration::from_secs(15);

/// The state that the caller expects the transform to be in (`If-Match`, `If-None-Match`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Precondition {
    Any,
    /// The transform exists, at whatever revision (`If-Match: *`).
    Present,
    Revision(u64),
    /// The transform does not exist (`If-None-Match: *`).
    Absent,
}

impl fmt::Display for Precondition {
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Change {
    /// Sets the spec and the module. A paused transform stays paused.
    Put {
        spec: Box<RawSpec>,
        module: Digest,
    },
    /// The spec and module of an earlier revision, as a new one. `None`: of the one before the current one.
    Rollback {
        to: Option<u64>,
    },
    Pause,
    /// Run again; also those partitions that stopped before a bad record.
    Resume,
    /// Every host stops its workers, and starts others.
    Restart,
    /// Begin with empty stores. Only a paused transform can.
    ResetState,
    Delete,
}

/// A change that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub expected: Precondition,
    pub change: Change,
    /// The client's name for this request: a repeated request gets the answer of the first.
    pub key: Option<RequestKey>,
    /// The author, for the audit topic.
    pub actor: Actor,
    pub now: Timestamp,
    /// The newest progress that the transform's group committed. A transform that the catalog does not know counts on from
    /// there: no lower revision may go on from those offsets.
    pub committed: Progress,
    /// The measures of a deployment or a rollback, which the ceilings of its team are checked with; None for other changes.
    pub growth: Option<Growth>,
    /// The signature of the module that a deployment or a rollback brings, as its host has verified it.
    pub signature: Option<ModuleSignature>,
    /// The part of the catalog that its host has prepared the change for; None if it has prepared nothing.
    pub assumes: Option<Assumption>,
}

/// A part of the catalog that a change was prepared for. Another change may come before the turn of this one: then the
/// preparation is of no use, and the change is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assumption {
    /// The content and the resets of a transform, for which the changelog topics after the next reset were created.
    Stores { revision: u64, resets: u64 },
    /// The revision that a rollback goes back to, which was checked like a deployment.
    Target(u64),
}

/// The measures of a deployment that its spec does not have, and the limits of its team at the time of the request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    pub limits: TeamLimits,
    /// The partitions of all inputs together.
    pub partitions: u32,
    /// The size of a module that came along with the request.
    pub module_bytes: u64,
    /// The memory for the hot entries of one partition of a store on disk.
    pub hot_bytes_max: u64,
}

impl Change {
    fn action(&self) -> Action {
        match self {
            Self::Put { .. } => Action::Deploy,
            Self::Rollback { .. } => Action::Rollback,
            Self::Pause => Action::Pause,
            Self::Resume => Action::Resume,
            Self::Restart => Action::Restart,
            Self::ResetState => Action::ResetState,
            Self::Delete => Action::Delete,
        }
    }
}

impl Request {
    /// The entry of the audit topic, once the request led to this revision.
    pub fn audit_entry(&self, id: &TransformId, revision: u64) -> AuditEntry {
        let TransformId { team, name } = id.clone();
        let entry = AuditEntry::new(self.actor.clone(), self.change.action(), Rfc3339(self.now));
        let signed_by = self.signature.as_ref().and_then(|signature| signature.key.clone());
        AuditEntry { team: Some(team), transform: Some(name), revision: Some(revision), signed_by, ..entry }
    }

    /// Tells one request from another by the content that the client sent; fields that the host adds do not count.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&(&self.expected, &self.change)).expect("a request is plain data"))
    }
}

/// The result of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeResult {
    /// The deployment as it is now.
    pub deployment: Deployment,
    pub outcome: Outcome,
}
