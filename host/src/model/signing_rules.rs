//! The signatures that the modules of teams need, as the operator's file says it.

use std::collections::BTreeMap;

use super::names::TeamName;
use super::signing_key::PublicKey;

/// Most signing keys of a team.
pub const KEYS_MAX: usize = 16;

/// The rule of one team.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningRule {
    /// True if a module without a signature of one of the keys is neither deployed nor run.
    pub required: bool,
    pub keys: Vec<PublicKey>,
}

/// The rules of all teams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningRules {
    /// The rule of a team that the file does not name.
    pub defaults: SigningRule,
    pub teams: BTreeMap<TeamName, SigningRule>,
}

// === impl SigningRules ===

impl SigningRules {
    /// The rule of a team.
    pub fn of(&self, team: &TeamName) -> &SigningRule {
        self.teams.get(team).unwrap_or(&self.defaults)
    }
}
