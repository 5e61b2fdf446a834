//! Running transforms: pause, resume, restart, status.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::catalog::{Change, ChangeResult};
use crate::model::codes::Code;
use crate::model::revision::Desired;

use super::AppState;
use super::problem::{ProblemDetails, Refusal};
use super::request::{Id, IfMatch};
use super::transforms::{change, etag, find, find_understood, location};
use super::views::{ChangeView, HostList, HostView, StatusView};

/// Pause a transform.
///
/// Every host finishes its open transaction and stops reading; offsets stay. The revision does not change.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/pause", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag that the transform must have"),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request: sent again, it is answered as the first time")),
    responses((status = 202, description = "Accepted", body = ChangeView),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "At another revision (E008)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn pause(State(shared): AppState, Id(id): Id, precondition: IfMatch) -> Result<Response, Refusal> {
    Ok(accepted(&change(&shared, id, precondition, Change::Pause).await?))
}

/// Resume a transform, and those of its partitions that stopped before a bad record.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/resume", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag that the transform must have"),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request: sent again, it is answered as the first time")),
    responses((status = 202, description = "Accepted", body = ChangeView),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "At another revision (E008)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn resume(State(shared): AppState, Id(id): Id, precondition: IfMatch) -> Result<Response, Refusal> {
    Ok(accepted(&change(&shared, id, precondition, Change::Resume).await?))
}

/// Restart a transform's workers on every host, from the committed offsets.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/restart", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag that the transform must have"),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request: sent again, it is answered as the first time")),
    responses((status = 202, description = "Accepted", body = ChangeView),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "It is paused (E033)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn restart(State(shared): AppState, Id(id): Id, precondition: IfMatch) -> Result<Response, Refusal> {
    if find_understood(&shared, &id).await?.desired == Desired::Paused {
        return Err(Refusal::new(Code::NotRunning, format!("{id} is paused")).with_hint("resume it"));
    }
    Ok(accepted(&change(&shared, id, precondition, Change::Restart).await?))
}

/// How a transform is doing.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/status", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path)),
    responses((status = 200, description = "The rollout; state, lag and last errors per host and partition, of the whole cluster", body = StatusView),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn status(State(shared): AppState, Id(id): Id) -> Result<Json<StatusView>, Refusal> {
    let deployment = find(&shared, &id).await?;
    let runtime = &shared.state.runtime;
    Ok(Json(StatusView::of(&deployment, runtime.statuses(&id), &runtime.hosts())))
}

/// List the cluster's hosts.
#[utoipa::path(get, path = "/v1/hosts", tag = "hosts",
    responses((status = 200, description = "Those that were heard of within 16 s, by name", body = HostList)))]
pub async fn hosts(State(shared): AppState) -> Json<HostList> {
    Json(HostList { hosts: shared.state.runtime.hosts().into_iter().map(HostView::of).collect() })
}

/// 202 with the change.
pub fn accepted(applied: &ChangeResult) -> Response {
    let headers = [(header::LOCATION, location(&applied.deployment.id)), (header::ETAG, etag(&applied.deployment))];
    (StatusCode::ACCEPTED, headers, Json(ChangeView::of(applied))).into_response()
}
