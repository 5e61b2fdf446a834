//! Teams: their limits, and how much of them they use.

use std::time::Instant;

use axum::Json;
use axum::extract::State;

use crate::api_types::{CeilingView, Line, SigningView, TeamList, TeamView, TopicGrantsView};
use crate::model::names::TeamName;
use crate::model::team::{Ceiling, TeamLimits};

use super::access::Caller;
use super::problem::Refusal;
use super::request::Name;
use super::shared::{AppState, Shared, blocking};

/// List the teams: those that have transforms, and those that the file of teams names.
#[utoipa::path(get, path = "/v1/teams", tag = "teams",
    responses((status = 200, description = "The limits of each team and its use of them, by name", body = TeamList)))]
pub async fn list(State(shared): AppState, caller: Caller) -> Result<Json<TeamList>, Refusal> {
    let permit = shared.lookups.take(caller.principal.sharer()).await?;
    // Sums over all deployments: more than a runtime's thread should do at once.
    blocking(move || {
        let _held = permit;
        let state = shared.state.teams.current();
        let mut names = shared.state.catalog.teams();
        names.extend(state.table.teams.keys().cloned());
        names.retain(|team| caller.sees_team(team));
        let uploaded = shared.state.teams.uploaded(None, Instant::now()).bytes;
        let bytes_max = state.table.defaults.upload_bytes_per_day_max;
        Ok(Json(TeamList {
            teams: names.iter().map(|team| view(&shared, &caller, team)).collect(),
            uploads_without_team: CeilingView::of(Ceiling::UploadBytes, Some(uploaded), bytes_max),
            // The message may name other teams.
            file_error: state.trouble.as_deref().filter(|_| caller.sees_all()).map(Line::from),
        }))
    })
    .await
}

/// Show a team's limits and its use of them.
#[utoipa::path(get, path = "/v1/teams/{team}", tag = "teams", params(("team" = String, Path)),
    responses((status = 200, description = "The limits; a team without transforms has them too", body = TeamView),
        (status = 400, description = "Not a team name (E001)")))]
pub async fn show(State(shared): AppState, caller: Caller, Name(team): Name<TeamName>) -> Result<Json<TeamView>, Refusal> {
    let permit = shared.lookups.take_for(&team).await?;
    blocking(move || {
        let _held = permit;
        Ok(Json(view(&shared, &caller, &team)))
    })
    .await
}

fn view(shared: &Shared, caller: &Caller, team: &TeamName) -> TeamView {
    let teams = &shared.state.teams;
    let state = teams.current();
    let limits: TeamLimits = *state.table.limits(team);
    let team_use = shared.state.catalog.team_use(team, shared.state.limits.state_hot_bytes_max);
    let uploaded = teams.uploaded(Some(team), Instant::now());
    let used = |ceiling| match ceiling {
        Ceiling::Uploads => Some(uploaded.modules),
        Ceiling::UploadBytes => Some(uploaded.bytes),
        Ceiling::CreatedPartitions => Some(uploaded.partitions),
        Ceiling::Follows => Some(shared.follows.taken(team)),
        // The rates of lines have a metric, which counts the lines that were dropped.
        other => team_use.under(other),
    };
    TeamView {
        team: Line::of(team),
        cpu_weight: limits.cpu_weight,
        allow_cycle: limits.allow_cycle,
        signing: SigningView::of(state.table.signing.of(team)),
        topics: state.table.topics.of(team).map(TopicGrantsView::of),
        ceilings: Ceiling::ALL.map(|it| CeilingView::of(it, used(it), limits.ceiling(it))).into(),
        // The message may name other teams.
        file_error: state.trouble.as_deref().filter(|_| caller.sees_all()).map(Line::from),
    }
}
