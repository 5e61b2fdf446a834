//! Entries of the audit topic: who asked for what, from where, and how it ended.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::access::{Principal, PrincipalKind};
use super::codes::Code;
use super::names::{TeamName, TransformName};
use super::signing_key::KeyId;
use super::units::Rfc3339;

/// The author of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub kind: PrincipalKind,
    /// See [`Principal::id`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub name: String,
    /// The address that the connection came from: that of a proxy, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The request's id, which the host's log has too.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
}

/// The kind of a change, or the refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Deploy,
    Rollback,
    Pause,
    Resume,
    Restart,
    Delete,
    ResetState,
    SetOffsets,
    ResetOffsets,
    UploadModule,
    CreateToken,
    RevokeToken,
    CreateTopic,
    /// A request that was refused before it reached its route.
    Request,
}

/// The end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOutcome {
    /// The change is in the log, in the same transaction as the entry where it is one of the control topics.
    Done,
    /// The entry is written before the change is made, which no transaction covers.
    Begun,
    Refused,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub at: Rfc3339,
    pub actor: Actor,
    pub action: Action,
    pub outcome: AuditOutcome,
    /// The team that it concerns. None: the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<TransformName>,
    /// The revision that the change led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The object of a change that is no transform's (the id of a token, the digest of a module, a topic), or the route of a
    /// refused request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The key that the signature of a deployed module was verified with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<KeyId>,
    /// The code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The number of requests that the entry stands for.
    #[serde(default = "one")]
    pub count: u64,
}

fn one() -> u64 {
    1
}

// === impl Actor ===

impl Actor {
    pub fn new(principal: &Principal, address: Option<IpAddr>, request: &str) -> Self {
        let Principal { kind, id, name, .. } = principal;
        Self { kind: *kind, id: id.clone(), name: name.clone(), address, request: request.to_owned() }
    }

    /// The author of a request that no host asked to sign in.
    pub fn anyone() -> Self {
        Self::new(&Principal::anyone(), None, "")
    }
}

// === impl AuditEntry ===

impl AuditEntry {
    /// An entry of one change that is done, of the whole cluster.
    pub fn new(actor: Actor, action: Action, at: Rfc3339) -> Self {
        Self {
            at,
            actor,
            action,
            outcome: AuditOutcome::Done,
            team: None,
            transform: None,
            revision: None,
            target: None,
            signed_by: None,
            code: None,
            count: 1,
        }
    }
}
