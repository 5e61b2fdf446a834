//! Running transforms: pause, resume, restart, status.

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use crate::api_types::{ChangeView, HostList, HostView, StatusView};
use crate::catalog::Change;
use crate::model::codes::Code;
use crate::model::revision::Desired;
use crate::model::status::HostStatus;

use super::access::Caller;
use super::deployments::{accepted, change, find, find_understood};
use super::openapi::{NoTransform, OtherRevision};
use super::problem::Refusal;
use super::redaction::Sight;
use super::request::{Id, IfMatch};
use super::shared::AppState;
use super::views;

/// Pause a transform.
///
/// Every host finishes its open transaction and stops reading; offsets stay. The revision does not change.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/pause", tag = "transforms",
    params(Id, IfMatch),
    responses((status = 202, description = "Accepted", body = ChangeView),
        NoTransform,
        OtherRevision))]
pub async fn pause(State(shared): AppState, Id(id): Id, precondition: IfMatch) -> Result<Response, Refusal> {
    Ok(accepted(&change(&shared, id, precondition, Change::Pause).await?))
}

/// Resume a transform, and those of its partitions that stopped before a bad record.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/resume", tag = "transforms",
    params(Id, IfMatch),
    responses((status = 202, description = "Accepted", body = ChangeView),
        NoTransform,
        OtherRevision))]
pub async fn resume(State(shared): AppState, Id(id): Id, precondition: IfMatch) -> Result<Response, Refusal> {
    Ok(accepted(&change(&shared, id, precondition, Change::Resume).await?))
}

/// Restart a transform's workers on every host, from the committed offsets.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/restart", tag = "transforms",
    params(Id, IfMatch),
    responses((status = 202, description = "Accepted", body = ChangeView),
        NoTransform,
        (status = 409, description = "It is paused (E033)")))]
pub async fn restart(State(shared): AppState, Id(id): Id, precondition: IfMatch) -> Result<Response, Refusal> {
    if find_understood(&shared, &id).await?.desired == Desired::Paused {
        return Err(Refusal::new(Code::NotRunning, format!("{id} is paused")).with_hint("resume it"));
    }
    Ok(accepted(&change(&shared, id, precondition, Change::Restart).await?))
}

/// Show the status of a transform.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/status", tag = "transforms",
    params(Id),
    responses((status = 200, description = "The rollout; state, lag and last errors per host and partition, of the whole cluster", body = StatusView),
        NoTransform))]
pub async fn status(State(shared): AppState, Id(id): Id, caller: Caller) -> Result<Json<StatusView>, Refusal> {
    let deployment = find(&shared, &id).await?;
    let runtime = &shared.state.runtime;
    let mut hosts = runtime.statuses(&id);
    Sight::find(&shared, &caller, &id).await?.statuses(&mut hosts);
    Ok(Json(views::status(&deployment, hosts, &runtime.members())))
}

/// List the cluster's hosts.
#[utoipa::path(get, path = "/v1/hosts", tag = "hosts",
    responses((status = 200, description = "The hosts that gave a sign of life within 10 s, by name", body = HostList)))]
pub async fn hosts(State(shared): AppState) -> Json<HostList> {
    let members = shared.state.runtime.members();
    let placed = shared.placed(&members);
    let view = |host: HostStatus| {
        let placed = placed.get(&host.host).copied().unwrap_or(0);
        HostView { placed: Some(placed), ..HostView::from(host) }
    };
    Json(HostList { hosts: members.live.iter().cloned().map(view).collect() })
}
