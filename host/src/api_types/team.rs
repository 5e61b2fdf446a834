//! The limits of teams, and their use of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Line, Word};
use crate::model::team;

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
    /// The reason why this host does not use the newest content of its file of teams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub file_error: Option<Line>,
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
