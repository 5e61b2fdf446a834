//! The limits of teams, and their use of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Line, Word};
use crate::model::redaction::RedactionRule;
use crate::model::signing_rules::SigningRule;
use crate::model::team;
use crate::model::topic_rights::{TopicGrants, TopicPattern};

/// A team's limits, and its use of them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TeamView {
    #[schema(value_type = String)]
    pub team: Line,
    /// The share of a host's CPU, relative to the weights of the other teams.
    pub cpu_weight: u32,
    /// True if a spec of the team may have `allow_cycle: true`.
    pub allow_cycle: bool,
    pub ceilings: Vec<CeilingView>,
    /// The topics that the team may use. Absent: the file of teams does not bound them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<TopicGrantsView>,
    /// The signatures that the team's modules need. Absent: the file of teams has neither a key nor a requirement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<SigningView>,
    /// The reason why this host does not use the newest content of its file of teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub file_error: Option<Line>,
}

/// The topics of a team, as patterns.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicGrantsView {
    #[schema(value_type = Vec<String>)]
    pub owns: Vec<Line>,
    #[schema(value_type = Vec<String>)]
    pub read: Vec<Line>,
    #[schema(value_type = Vec<String>)]
    pub write: Vec<Line>,
    /// The teams that may write into the topics that this team owns.
    #[schema(value_type = Vec<String>)]
    pub accepts_from: Vec<Line>,
    /// The team's rules of redaction for topics that it owns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<RedactionView>,
}

/// A rule of redaction: callers without the role `data` in the owner's team see these parts of a record masked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RedactionRule)]
pub struct RedactionView {
    /// The topic, or a pattern of topics.
    #[schema(value_type = String)]
    pub topic: Line,
    /// The masked places of values, and of keys that are JSON.
    #[schema(value_type = Vec<String>)]
    pub paths: Vec<Line>,
    /// True if keys are masked.
    pub keys: bool,
    /// The headers whose values are masked; `*` stands for all.
    #[schema(value_type = Vec<String>)]
    pub headers: Vec<Line>,
    /// True if values are masked whole.
    pub values: bool,
    /// True if callers without the role `data` see masked records as well.
    pub viewers: bool,
    /// Other teams whose role `data` shows the records whole.
    #[schema(value_type = Vec<String>)]
    pub shown_to: Vec<Line>,
}

/// The signatures that a team's modules need.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SigningView {
    /// True if a module without a signature of one of the keys is neither deployed nor run.
    pub required: bool,
    pub keys: Vec<SigningKeyView>,
}

/// A public key of a team.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SigningKeyView {
    /// The first 16 hexadecimal digits of the key's SHA-256.
    #[schema(value_type = String, example = "21fe31dfa154a261")]
    pub id: Line,
    #[schema(value_type = String, example = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")]
    pub key: Line,
}

/// One ceiling of a team.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CeilingView {
    /// The name of the ceiling in the file of teams.
    #[schema(value_type = String, example = "transforms_max")]
    pub key: Line,
    /// The use now, in `unit`. Absent for rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// The ceiling, in `unit`.
    pub max: u64,
    #[schema(value_type = Unit)]
    pub unit: Word<Unit>,
    #[schema(value_type = Scope)]
    pub scope: Word<Scope>,
}

/// The unit of a ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = CeilingUnit)]
pub enum Unit {
    Count,
    Bytes,
    Millis,
}

/// The extent over which the use of a ceiling is summed up: all transforms of the cluster, the host that answers, or each
/// transform alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = CeilingScope)]
pub enum Scope {
    Cluster,
    Host,
    Transform,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TeamList {
    pub teams: Vec<TeamView>,
    /// The uploads that name no team, all of them together.
    pub uploads_without_team: CeilingView,
    /// The reason why this host does not use the newest content of its file of teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub file_error: Option<Line>,
}

impl TopicGrantsView {
    pub fn of(grants: &TopicGrants) -> Self {
        let shown = |patterns: &[TopicPattern]| patterns.iter().map(Line::of).collect();
        Self {
            owns: shown(&grants.owns),
            read: shown(&grants.read),
            write: shown(&grants.write),
            accepts_from: grants.accepts_from.iter().map(Line::of).collect(),
            redact: grants.redact.iter().map(|(topic, rule)| RedactionView::of(topic, rule)).collect(),
        }
    }
}

impl RedactionView {
    fn of(topic: &TopicPattern, rule: &RedactionRule) -> Self {
        Self {
            topic: Line::of(topic),
            paths: rule.paths.iter().map(Line::of).collect(),
            keys: rule.keys,
            headers: rule.headers.iter().map(|name| Line::from(name.as_str())).collect(),
            values: rule.values,
            viewers: rule.viewers,
            shown_to: rule.shown_to.iter().map(Line::of).collect(),
        }
    }
}

impl SigningView {
    /// The rule as it is shown; None if the file says nothing.
    pub fn of(rule: &SigningRule) -> Option<Self> {
        let says = rule.required || !rule.keys.is_empty();
        let keys = rule.keys.iter().map(|key| SigningKeyView { id: Line::of(key.id()), key: Line::of(key) });
        says.then(|| Self { required: rule.required, keys: keys.collect() })
    }
}

impl CeilingView {
    pub fn of(ceiling: team::Ceiling, used: Option<u64>, max: u64) -> Self {
        let unit = match ceiling.unit() {
            team::Unit::Count => Unit::Count,
            team::Unit::Bytes => Unit::Bytes,
            team::Unit::Millis => Unit::Millis,
        };
        let scope = match ceiling.scope() {
            team::Scope::Cluster => Scope::Cluster,
            team::Scope::Host => Scope::Host,
            team::Scope::Transform => Scope::Transform,
        };
        Self { key: ceiling.key().into(), used, max, unit: unit.into(), scope: scope.into() }
    }

    /// Shows an amount in the ceiling's unit, as people write it. A unit that is not known shows the number.
    pub fn show(&self, amount: u64) -> String {
        match &self.unit {
            Word::Known(Unit::Bytes) => team::Unit::Bytes.show(amount),
            Word::Known(Unit::Millis) => team::Unit::Millis.show(amount),
            Word::Known(Unit::Count) | Word::Unknown(_) => amount.to_string(),
        }
    }
}
