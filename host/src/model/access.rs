//! Rights of callers: roles, their scopes, and the principal that has them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names::TeamName;
use super::units::Timestamp;

/// A right to one kind of request. Every role includes [`Role::View`], and [`Role::Admin`] includes all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees transforms, their states, revisions and metrics.
    View,
    /// Sees records: samples, entries of stores, dry runs over an input's newest records, log lines of guests.
    Data,
    /// Deploys, rolls back and deletes.
    Deploy,
    /// Pauses, resumes and restarts; moves offsets; empties stores.
    Operate,
    /// Makes and revokes tokens, and reads the audit topic.
    Admin,
}

/// The reach of a role: one team, or the whole cluster with every team in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Cluster,
    Team(TeamName),
}

/// A role with its scope. Its text is `team:role`, or `*:role` for the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    pub scope: Scope,
    pub role: Role,
}

/// The name of the caller with the token of the host's configuration. No other token has it.
pub const ADMIN_TOKEN: &str = "admin";

/// The way in which a caller was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrincipalKind {
    /// Nobody signed in, on a host that asks nobody to.
    Anyone,
    /// The token of the host's own configuration.
    AdminToken,
    Token,
    Oidc,
    Certificate,
    /// A caller that was not recognised: it may do nothing.
    Unknown,
}

/// One or several callers that a limit counts as one: all of a team, or a principal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party(String);

/// A recognised caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub kind: PrincipalKind,
    /// The id of its token, `issuer#subject` of its identity provider, or the fingerprint of its certificate: no secret.
    pub id: String,
    /// A name for people.
    pub name: String,
    pub grants: Vec<Grant>,
    /// The proof of a caller that an identity provider vouches for.
    pub login: Option<Arc<Login>>,
}

/// The content of a caller's JWT on which its rights hang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub subject: String,
    pub groups: BTreeSet<String>,
    /// The fingerprint of the key that signed it.
    pub key: String,
    /// The first moment at which it admits nobody.
    pub ends_at: Timestamp,
}

// === impl Role ===

impl Role {
    pub const ALL: [Role; 5] = [Self::View, Self::Data, Self::Deploy, Self::Operate, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Data => "data",
            Self::Deploy => "deploy",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Returns true if whoever has this role may do all that `other` permits.
    pub fn includes(self, other: Self) -> bool {
        self == other || self == Self::Admin || other == Self::View
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|role| role.as_str() == raw).ok_or_else(|| format!("is none of the roles {}", known()))
    }
}

// === impl Scope ===

impl Scope {
    /// Returns true if this scope has the whole of `other` in it.
    pub fn covers(&self, other: &Self) -> bool {
        *self == Self::Cluster || self == other
    }

    pub fn team(&self) -> Option<&TeamName> {
        match self {
            Self::Cluster => None,
            Self::Team(team) => Some(team),
        }
    }
}

impl From<Option<TeamName>> for Scope {
    fn from(team: Option<TeamName>) -> Self {
        team.map_or(Self::Cluster, Self::Team)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("*"),
            Self::Team(team) => team.fmt(f),
        }
    }
}

// === impl Grant ===

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scope, self.role)
    }
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let (scope, role) = raw.split_once(':').ok_or("is not TEAM:ROLE")?;
        let scope = match scope {
            "*" => Scope::Cluster,
            team => Scope::Team(team.parse().map_err(|error| format!("{error}"))?),
        };
        Ok(Self { scope, role: role.parse()? })
    }
}

impl Serialize for Grant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(deserializer)?;
        raw.parse().map_err(|why| serde::de::Error::custom(format!("{raw:?} {why}")))
    }
}

// === impl Party ===

impl Party {
    /// A team, with all whose rights are in it alone.
    pub fn of(team: &TeamName) -> Self {
        // An id has no space.
        Self(format!("team {team}"))
    }
}

// === impl Principal ===

impl Principal {
    /// The caller of a host that asks nobody to sign in: it may do everything.
    pub fn anyone() -> Self {
        let grants = vec![Grant { scope: Scope::Cluster, role: Role::Admin }];
        Self { kind: PrincipalKind::Anyone, id: String::new(), name: "anyone".to_owned(), grants, login: None }
    }

    /// A caller that was not recognised.
    pub fn unknown() -> Self {
        Self { kind: PrincipalKind::Unknown, id: String::new(), name: "unknown".to_owned(), grants: Vec::new(), login: None }
    }

    pub fn may(&self, scope: &Scope, role: Role) -> bool {
        self.grants.iter().any(|grant| grant.scope.covers(scope) && grant.role.includes(role))
    }

    pub fn may_in(&self, team: &TeamName, role: Role) -> bool {
        let applies = |scope: &Scope| scope.team().is_none_or(|own| own == team);
        self.grants.iter().any(|grant| applies(&grant.scope) && grant.role.includes(role))
    }

    /// Whoever a limit for each caller counts this one with: a team can make tokens without end, so all callers whose rights
    /// are in one team are one party.
    pub fn party(&self) -> Party {
        self.only_team().map_or_else(|| Party(self.id.clone()), Party::of)
    }

    /// Returns the party that may use a part of the things that all callers share. There is none for callers who were not
    /// recognised: on a host that asks nobody to sign in they are all the same.
    pub fn sharer(&self) -> Option<Party> {
        (!matches!(self.kind, PrincipalKind::Anyone | PrincipalKind::Unknown)).then(|| self.party())
    }

    /// As [`Principal::sharer`], for a request that concerns a team, if it does: the team's where the caller was not recognised.
    pub fn sharer_for(&self, team: Option<&TeamName>) -> Option<Party> {
        self.sharer().or_else(|| team.map(Party::of))
    }

    /// The team in which all of its rights are, if that is so.
    pub fn only_team(&self) -> Option<&TeamName> {
        let mut teams = self.grants.iter().map(|grant| grant.scope.team());
        let first = teams.next()??;
        teams.all(|team| team == Some(first)).then_some(first)
    }

    /// Returns true if the caller has the role somewhere.
    pub fn may_somewhere(&self, role: Role) -> bool {
        self.grants.iter().any(|grant| grant.role.includes(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(grants: &[&str]) -> Principal {
        let grants = grants.iter().map(|grant| grant.parse().expect("a grant")).collect();
        Principal { kind: PrincipalKind::Token, id: "1".into(), name: "ci".into(), grants, login: None }
    }

    #[test]
    fn tokens_of_one_team_are_one_party() {
        for (grants, party) in [
            (&["stock:view", "stock:deploy"][..], "team stock"),
            (&["stock:view", "shop:view"], "1"),
            (&["stock:view", "*:view"], "1"),
            (&["*:admin"], "1"),
            (&[], "1"),
        ] {
            assert_eq!(principal(grants).party(), Party(party.to_owned()), "{grants:?}");
            assert_eq!(principal(grants).sharer(), Some(Party(party.to_owned())), "{grants:?}");
        }
    }

    /// Checks which of the five roles the grants give in the team `stock`, in `shop`, and in the cluster.
    #[track_caller]
    fn check(grants: &[&str], stock: &str, shop: &str, cluster: &str) {
        let principal = principal(grants);
        let team = |name: &str| name.parse::<TeamName>().expect("a name");
        let given = |may: &dyn Fn(Role) -> bool| {
            Role::ALL.into_iter().filter(|role| may(*role)).map(Role::as_str).collect::<Vec<_>>().join(" ")
        };
        let in_stock = given(&|role| principal.may_in(&team("stock"), role));
        let in_shop = given(&|role| principal.may_in(&team("shop"), role));
        let in_cluster = given(&|role| principal.may(&Scope::Cluster, role));
        assert_eq!([in_stock.as_str(), &in_shop, &in_cluster], [stock, shop, cluster], "{grants:?}");
        for name in ["stock", "shop"] {
            for role in Role::ALL {
                assert_eq!(principal.may(&Scope::Team(team(name)), role), principal.may_in(&team(name), role));
            }
        }
    }

    #[test]
    fn a_role_holds_in_its_scope_alone() {
        check(&[], "", "", "");
        check(&["stock:view"], "view", "", "");
        check(&["stock:data"], "view data", "", "");
        check(&["stock:deploy", "stock:operate"], "view deploy operate", "", "");
        check(&["stock:admin"], "view data deploy operate admin", "", "");
        check(&["stock:data", "shop:deploy"], "view data", "view deploy", "");
        check(&["*:view", "shop:operate"], "view", "view operate", "view");
        check(
            &["*:admin"],
            "view data deploy operate admin",
            "view data deploy operate admin",
            "view data deploy operate admin",
        );
    }

    #[test]
    fn grants_are_written_as_they_are_read() {
        for raw in ["stock:view", "*:admin", "a-b:operate"] {
            assert_eq!(raw.parse::<Grant>().expect(raw).to_string(), raw);
        }
        for raw in ["", "stock", "stock:", ":view", "stock:View", "stock:view:data", "**:view", "Stock:view", "stock: view"]
        {
            assert!(raw.parse::<Grant>().is_err(), "{raw}");
        }
    }
}
