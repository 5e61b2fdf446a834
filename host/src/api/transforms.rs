//! Transforms: deploy, show, list, delete.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api_types::{ChangeView, DeployForm, Line, RawSpec, TransformList, TransformView};
use crate::catalog::{Change, Outcome};
use crate::deployment::DeployResult;
use crate::model::access::Party;
use crate::model::names::{TeamName, TransformId};
use crate::model::revision::Deployment;

use super::access::Caller;
use super::body::{self, FORM_BYTES, Media, RequestBody, Upload};
use super::deploy;
use super::deployments::{change, etag, find_understood, location};
use super::openapi::{NoTransform, OtherRevision};
use super::problem::Refusal;
use super::request::{Id, IfMatch, Name, Params};
use super::shared::{AppState, Shared, blocking};
use super::views;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PutParams {
    /// Check everything, change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Deploy a transform.
///
/// Checks the spec, the module, the topics and a run of `init`, then accepts the change; the hosts take it over. An
/// identical request changes nothing.
#[utoipa::path(put, path = "/v1/teams/{team}/transforms/{name}", tag = "transforms",
    params(Id, PutParams, IfMatch,
        ("If-None-Match" = Option<String>, Header, description = "`*`: the transform must not exist")),
    request_body(content((RawSpec = "application/json"), (RawSpec = "application/yaml"), (DeployForm = "multipart/form-data"))),
    responses((status = 202, description = "Accepted as a revision", body = ChangeView),
        (status = 200, description = "Nothing to change, or a dry run", body = ChangeView),
        OtherRevision,
        (status = 403, description = "A topic is another team's (E064, E065), or the module lacks a signature of the team (E087, E088)"),
        (status = 422, description = "The spec, the module or a topic is refused")))]
pub async fn put(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<PutParams>,
    precondition: IfMatch,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let media = Media::of(&headers);
    let limits = shared.state.limits;
    let bytes_max = match media {
        Media::Multipart => limits.module_bytes_max + limits.spec_bytes_max + FORM_BYTES,
        Media::Json | Media::Yaml => limits.spec_bytes_max,
        other => return Err(other.refuse("application/json, application/yaml or multipart/form-data")),
    };
    let RequestBody { bytes, share } = shared.receive(&caller.principal, body, bytes_max).await?;
    let permit = shared.uploads.take_for(&id.team).await?;
    let state = shared.state.clone();
    let dry_run = params.dry_run;
    let DeployResult { change, created_topics, warnings, signed_by } = blocking(move || {
        let _held = (permit, share);
        let upload = upload_of(&media, &headers, bytes, limits.spec_bytes_max)?;
        deploy::deploy(&state, deploy::Request { id, upload, precondition, dry_run })
    })
    .await?;
    let creates = created_topics.iter().map(Line::of).collect();
    let warnings = warnings.into_iter().map(Line::from).collect();
    let mut view = ChangeView { dry_run: params.dry_run, creates, warnings, ..views::change(&change) };
    view.transform.signed_by = signed_by.map(Line::of);
    let accepted = !params.dry_run && change.outcome != Outcome::Unchanged;
    let status = if accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
    let location = location(&change.deployment.id);
    Ok((status, [(header::LOCATION, location), (header::ETAG, etag(&change.deployment))], Json(view)).into_response())
}

fn upload_of(media: &Media, headers: &HeaderMap, bytes: Bytes, spec_bytes_max: usize) -> Result<Upload, Refusal> {
    match media {
        Media::Multipart => body::form(headers, bytes, spec_bytes_max),
        media => Ok(Upload { spec: body::spec_of(media, &bytes)?, module: None, signature: None }),
    }
}

/// Show a transform.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}", tag = "transforms",
    params(Id),
    responses((status = 200, description = "The deployed revision, whose number is the ETag, and the revisions that run", body = TransformView),
        NoTransform))]
pub async fn show(State(shared): AppState, Id(id): Id) -> Result<Response, Refusal> {
    let deployment = find_understood(&shared, &id).await?;
    let runtime = &shared.state.runtime;
    let view = views::transform(&deployment, &runtime.statuses(&id), &runtime.members());
    let rule = shared.state.teams.signing_rule(&id.team);
    let view =
        TransformView { signed_by: views::signed_by(&rule, &id, &deployment.module, deployment.signature.as_ref()), ..view };
    Ok(([(header::ETAG, etag(&deployment))], Json(view)).into_response())
}

/// Delete a transform.
///
/// Its workers stop; its topics, its committed offsets and the count of its revisions stay.
#[utoipa::path(delete, path = "/v1/teams/{team}/transforms/{name}", tag = "transforms",
    params(Id, IfMatch),
    responses((status = 204, description = "Deleted"),
        NoTransform,
        OtherRevision))]
pub async fn remove(State(shared): AppState, Id(id): Id, precondition: IfMatch) -> Result<StatusCode, Refusal> {
    change(&shared, id, precondition, Change::Delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List all transforms.
#[utoipa::path(get, path = "/v1/transforms", tag = "transforms",
    responses((status = 200, description = "Those that the caller may see, by team and name", body = TransformList)))]
pub async fn list_all(State(shared): AppState, caller: Caller) -> Result<Json<TransformList>, Refusal> {
    list(shared, caller.principal.sharer(), move |id| caller.sees(id)).await
}

/// List a team's transforms.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms", tag = "transforms", params(("team" = String, Path)),
    responses((status = 200, description = "By name", body = TransformList),
        (status = 400, description = "Not a team name (E001)")))]
pub async fn list_team(
    State(shared): AppState,
    caller: Caller,
    Name(team): Name<TeamName>,
) -> Result<Json<TransformList>, Refusal> {
    list(shared, caller.principal.sharer_for(Some(&team)), move |id| id.team == team).await
}

/// Lists transforms with their statuses, which is more than a runtime's thread should do at once. It is the party's look-up.
async fn list(
    shared: Arc<Shared>,
    party: Option<Party>,
    is_listed: impl Fn(&TransformId) -> bool + Send + 'static,
) -> Result<Json<TransformList>, Refusal> {
    let permit = shared.lookups.take(party).await?;
    blocking(move || {
        let _held = permit;
        let all = shared.state.catalog.current();
        let listed = all.all_live().filter(|deployment| is_listed(&deployment.id));
        let runtime = &shared.state.runtime;
        let members = runtime.members();
        let summary = |deployment: &Deployment| views::summary(deployment, &runtime.statuses(&deployment.id), &members);
        Ok(Json(TransformList { transforms: listed.map(summary).collect() }))
    })
    .await
}
