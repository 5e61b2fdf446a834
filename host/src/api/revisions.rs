//! A transform's revisions: list, show, roll back.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::api_types::{ChangeView, RevisionList, RevisionSummary, RollbackRequest, TransformView};
use crate::model::codes::Code;
use crate::model::revision::Revision;

use super::access::Caller;
use super::body::{self, Media};
use super::deploy;
use super::deployments::{accepted, find};
use super::openapi::NoTransform;
use super::problem::Refusal;
use super::request::{Id, IdRevision, IfMatch};
use super::shared::{AppState, blocking};
use super::views;

/// Largest body of a rollback, which holds a number.
const BODY_BYTES_MAX: usize = 4096;

/// List a transform's revisions, newest first. The newest 50 are kept.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/revisions", tag = "transforms",
    params(Id),
    responses((status = 200, description = "Newest first", body = RevisionList),
        NoTransform))]
pub async fn list(State(shared): AppState, Id(id): Id) -> Result<Json<RevisionList>, Refusal> {
    let current = find(&shared, &id).await?.revision;
    let catalog = &shared.state.catalog;
    let running = views::running(&shared.state.runtime.statuses(&id));
    let summary =
        |revision: &Arc<Revision>| RevisionSummary::of(revision, current, &running, catalog.has_module(&revision.module));
    let revisions = catalog.revisions(&id).iter().map(summary).collect();
    Ok(Json(RevisionList { revisions }))
}

/// Show a transform as it was at a revision.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}/revisions/{revision}", tag = "transforms",
    params(Id, ("revision" = u64, Path)),
    responses((status = 200, description = "The spec and module of the revision", body = TransformView),
        (status = 404, description = "No such transform (E023) or revision (E034)")))]
pub async fn show(State(shared): AppState, IdRevision(id, revision): IdRevision) -> Result<Json<TransformView>, Refusal> {
    let current = find(&shared, &id).await?;
    let revision = shared.state.catalog.revision(&id, revision)?;
    let rule = shared.state.teams.signing_rule(&id.team);
    let signed_by = views::signed_by(&rule, &id, &revision.module, revision.signature.as_ref());
    Ok(Json(TransformView { signed_by, ..TransformView::of_revision(&revision, current.desired) }))
}

/// Roll a transform back: a new revision with the spec and module of an earlier one.
///
/// The host checks the revision like any deployment. A paused transform stays paused.
#[utoipa::path(post, path = "/v1/teams/{team}/transforms/{name}/rollback", tag = "transforms",
    params(Id, IfMatch),
    request_body(content = Option<RollbackRequest>, content_type = "application/json"),
    responses((status = 202, description = "Accepted", body = ChangeView),
        (status = 404, description = "No such transform (E023) or revision (E034)"),
        (status = 403, description = "No present key of the team has signed its module (E087, E088)"),
        (status = 409, description = "At another revision (E008), or its module is gone (E035)"),
        (status = 422, description = "The old spec is refused by now")))]
pub async fn rollback(
    State(shared): AppState,
    Id(id): Id,
    precondition: IfMatch,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let bytes = shared.receive(&caller.principal, body, BODY_BYTES_MAX).await?.bytes;
    let request = match Media::of(&headers) {
        _ if bytes.is_empty() => RollbackRequest::default(),
        Media::Json => body::json_of(&bytes, Code::Malformed)?,
        media => return Err(media.refuse("application/json")),
    };
    let permit = shared.rollbacks.take_for(&id.team).await?;
    let state = shared.state.clone();
    let change = blocking(move || {
        let _held = permit;
        deploy::rollback(&state, &id, precondition, request.revision)
    })
    .await?;
    Ok(accepted(&change))
}
