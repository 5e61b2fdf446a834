//! The audit topic, for admins.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api_types::{AuditList, AuditView};
use crate::audit::{AuditEntry, AuditOutcome, AuditPage};
use crate::model::access::{Role, Scope};
use crate::model::codes::Code;
use crate::model::names::TeamName;
use crate::model::units::{Span, Timestamp};
use crate::ports::LogError;

use super::access::Caller;
use super::problem::Refusal;
use super::request::Params;
use super::shared::{ApiState, AppState, blocking};

/// Writes the entry of a change that no transaction covers, before it is made. Blocks.
pub fn begin(state: &ApiState, entry: AuditEntry) -> Result<(), Refusal> {
    let entry = AuditEntry { outcome: AuditOutcome::Begun, ..entry };
    state.audit.append(&[entry]).map_err(|error| match error {
        LogError::Unavailable(_) => error.into(),
        error => Refusal::new(Code::AuditUnavailable, error.to_string()),
    })
}

/// Time that is looked back by default.
const SINCE: &str = "1h";
/// Most pages of the topic for one answer: one megabyte each. The answer says where the next one begins.
const PAGES_MAX: usize = 8;
/// Most entries of one answer, about.
const ENTRIES_MAX: usize = 2000;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditParams {
    /// Only entries that concern this team. Without it: those of every team that the caller administers, and for an admin
    /// of the cluster all entries.
    #[param(value_type = Option<String>)]
    team: Option<TeamName>,
    /// Time to look back, such as `10m` or `7d`. [default: 1h]
    since: Option<String>,
    /// The `next` of the page before.
    from: Option<i64>,
}

/// List who changed what, and who was refused.
#[utoipa::path(get, path = "/v1/audit", tag = "access", params(AuditParams),
    responses((status = 200, description = "Entries, oldest first", body = AuditList),
        (status = 403, description = "The caller is no admin (E076)")))]
pub async fn list(
    State(shared): AppState,
    caller: Caller,
    Params(params): Params<AuditParams>,
) -> Result<Json<AuditList>, Refusal> {
    match &params.team {
        Some(team) => caller.require_one(team, &[Role::Admin])?,
        None if !caller.principal.may_somewhere(Role::Admin) => return Err(caller.refusal("the role admin in any team")),
        None => {}
    }
    let since: Span =
        params.since.as_deref().unwrap_or(SINCE).parse().map_err(|why| Refusal::of_field(Code::Query, "since", why))?;
    let permit = shared.lookups.take(caller.principal.sharer_for(params.team.as_ref())).await?;
    blocking(move || {
        let _held = permit;
        let log = &shared.state.audit;
        let mut next = match params.from {
            Some(from) => Some(from.max(0)),
            None => Some(log.offset_at(Timestamp::now().before(since.0))?),
        };
        let mut entries = Vec::new();
        let mut pages = 0;
        while let Some(offset) = next
            && pages < PAGES_MAX
            && entries.len() < ENTRIES_MAX
        {
            let AuditPage { entries: page, next_offset } = log.read(offset)?;
            let wanted = page.into_iter().filter(|entry| match (&params.team, &entry.team) {
                (Some(wanted), team) => team.as_ref() == Some(wanted),
                (None, Some(team)) => caller.principal.may_in(team, Role::Admin),
                (None, None) => caller.principal.may(&Scope::Cluster, Role::Admin),
            });
            entries.extend(wanted.map(AuditView::from));
            next = next_offset;
            pages += 1;
        }
        Ok(Json(AuditList { entries, next }))
    })
    .await
}
