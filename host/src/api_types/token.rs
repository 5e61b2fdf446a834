//! Tokens, the caller itself, and the audit topic.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Line, Word};
use crate::model::{access, audit};

/// A right to one kind of request. Every role includes `view`, and `admin` includes all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    View,
    Data,
    Deploy,
    Operate,
    Admin,
}

/// A token that is to be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// A name for people: 1 to 63 of a-z, 0-9 and '-'.
    pub name: String,
    /// The team in which the roles hold. Without it they hold in the whole cluster, with all its teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    pub roles: Vec<String>,
    /// Time until it expires, such as `90d`: at most 3650d. [default: 90d]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// A token without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    #[schema(value_type = String)]
    pub id: Line,
    #[schema(value_type = String)]
    pub name: Line,
    /// Absent for a token of the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub team: Option<Line>,
    #[schema(value_type = Vec<Role>)]
    pub roles: Vec<Word<Role>>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Line,
    #[schema(value_type = String)]
    pub created_by: Line,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Line,
    pub expired: bool,
}

/// The ways to sign in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignInView {
    /// False if the host asks nobody to sign in.
    pub required: bool,
    /// Absent if the host has no identity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<ProviderView>,
}

/// The OpenID provider whose tokens the host takes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProviderView {
    #[schema(value_type = String)]
    pub issuer: Line,
    /// The audience that a token must have. If it is the client's id, the ID token is the one for the host.
    #[schema(value_type = String)]
    pub audience: Line,
    /// The public client for people. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_id: Option<Line>,
    /// The scopes to ask for, with spaces between them.
    #[schema(value_type = String)]
    pub scopes: Line,
    /// The resource to ask a token for (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub resource: Option<Line>,
}

/// A new token. No other answer shows its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// The token itself, as it goes into an Authorization header behind `Bearer`.
    #[schema(value_type = String)]
    pub secret: Line,
    #[serde(flatten)]
    pub token: TokenView,
}

/// Tokens, by name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    pub tokens: Vec<TokenView>,
}

/// The caller, as the host recognises it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CallerView {
    /// The way in which it was recognised: `anyone`, `admin-token`, `token`, ..
    #[schema(value_type = String)]
    pub kind: Line,
    #[schema(value_type = String)]
    pub id: Line,
    #[schema(value_type = String)]
    pub name: Line,
    /// Its roles with their scopes: `team:role`, or `*:role` for the whole cluster.
    #[schema(value_type = Vec<String>)]
    pub grants: Vec<Line>,
}

/// Entries of the audit topic, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    pub entries: Vec<AuditView>,
    /// The value of `from` with which the next page is asked for. Absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// One entry of the audit topic.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    #[schema(value_type = String, format = DateTime)]
    pub at: Line,
    /// The name of the author.
    #[schema(value_type = String)]
    pub actor: Line,
    /// The way in which the author was recognised.
    #[schema(value_type = String)]
    pub kind: Line,
    /// The id of the author's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<Line>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<Line>,
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub request: Option<Line>,
    /// `deploy`, `pause`, `create-token`, ..; `request` for a request that was refused before it reached its route.
    #[schema(value_type = String)]
    pub action: Line,
    /// `done`, `refused`, or `begun` for a change that no transaction covers.
    #[schema(value_type = String)]
    pub outcome: Line,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub team: Option<Line>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub transform: Option<Line>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The object of the change, or the route of a refused request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub target: Option<Line>,
    /// The id of the key that the signature of a deployed module was verified with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub signed_by: Option<Line>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub code: Option<Line>,
    /// The number of requests that the entry stands for.
    pub count: u64,
}

impl From<access::Role> for Role {
    fn from(role: access::Role) -> Self {
        match role {
            access::Role::View => Self::View,
            access::Role::Data => Self::Data,
            access::Role::Deploy => Self::Deploy,
            access::Role::Operate => Self::Operate,
            access::Role::Admin => Self::Admin,
        }
    }
}

impl From<&access::Principal> for CallerView {
    fn from(principal: &access::Principal) -> Self {
        Self {
            kind: word(&principal.kind),
            id: Line::of(&principal.id),
            name: Line::of(&principal.name),
            grants: principal.grants.iter().map(Line::of).collect(),
        }
    }
}

impl From<audit::AuditEntry> for AuditView {
    fn from(entry: audit::AuditEntry) -> Self {
        let audit::Actor { kind, id, name, address, request } = entry.actor;
        let text = |text: String| Some(Line::from(text)).filter(|line| !line.is_empty());
        Self {
            at: Line::of(entry.at),
            actor: name.into(),
            kind: word(&kind),
            id: text(id),
            address: address.map(Line::of),
            request: text(request),
            action: word(&entry.action),
            outcome: word(&entry.outcome),
            team: entry.team.map(Line::of),
            transform: entry.transform.map(Line::of),
            revision: entry.revision,
            target: entry.target.map(Line::from),
            signed_by: entry.signed_by.map(Line::of),
            code: entry.code.map(Line::of),
            count: entry.count,
        }
    }
}

/// The word that a value of a closed list has in JSON.
fn word(value: &impl Serialize) -> Line {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.into(),
        _ => Line::default(),
    }
}
