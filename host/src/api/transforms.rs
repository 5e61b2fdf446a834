//! Transforms: deploy, show, list, delete.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::catalog::{CatalogError, Change, ChangeResult, Outcome};
use crate::deployment::Deployed;
use crate::model::codes::Code;
use crate::model::names::{TeamName, TransformId};
use crate::model::revision::Deployment;
use crate::model::spec::RawSpec;

use super::body::{self, Media, Received, Upload};
use super::deploy;
use super::problem::{ProblemDetails, Refusal};
use super::request::{Id, IfMatch, Name, Params};
use super::views::{ChangeView, TransformList, TransformSummary, TransformView};
use super::{AppState, Shared, blocking};

/// Room for the form's own lines around its parts.
pub const FORM_BYTES: usize = 64 * 1024;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PutParams {
    /// Check everything, change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// The form of a deployment with its module.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form for OpenAPI; the form itself is read part by part")]
pub struct DeployForm {
    /// The spec, as JSON or YAML.
    spec: String,
    /// The component's bytes.
    #[schema(value_type = Option<String>, format = Binary)]
    module: Option<Vec<u8>>,
}

/// Deploy a transform.
///
/// Validates the spec, the module, the topics and a trial of `init`, then accepts the change; the hosts take it over.
/// An identical request changes nothing.
#[utoipa::path(put, path = "/v1/teams/{team}/transforms/{name}", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path), PutParams,
        ("If-Match" = Option<String>, Header, description = "The ETag that the transform must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the transform must not exist"),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request: sent again, it is answered as the first time")),
    request_body(content((RawSpec = "application/json"), (RawSpec = "application/yaml"), (DeployForm = "multipart/form-data"))),
    responses((status = 202, description = "Accepted as a revision", body = ChangeView),
        (status = 200, description = "Nothing to change, or a dry run", body = ChangeView),
        (status = 409, description = "At another revision (E008)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "The spec, the module or a topic is refused", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn put(
    State(shared): AppState,
    Id(id): Id,
    Params(params): Params<PutParams>,
    precondition: IfMatch,
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
    let Received { bytes, share } = shared.receive(body, bytes_max).await?;
    let turn = shared.uploads.take().await?;
    let state = shared.state.clone();
    let dry_run = params.dry_run;
    let Deployed { result: applied, created_topics, warnings } = blocking(move || {
        let _held = (turn, share);
        let upload = upload_of(&media, &headers, bytes)?;
        deploy::deploy(&state, deploy::Request { id, upload, precondition, dry_run })
    })
    .await?;
    let creates = created_topics.iter().map(ToString::to_string).collect();
    let view = ChangeView { dry_run: params.dry_run, creates, warnings, ..ChangeView::of(&applied) };
    let accepted = !params.dry_run && applied.outcome != Outcome::Unchanged;
    let status = if accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
    let location = location(&applied.deployment.id);
    Ok((status, [(header::LOCATION, location), (header::ETAG, etag(&applied.deployment))], Json(view)).into_response())
}

fn upload_of(media: &Media, headers: &HeaderMap, bytes: Bytes) -> Result<Upload, Refusal> {
    match media {
        Media::Multipart => body::form(headers, bytes),
        media => Ok(Upload { spec: body::spec_of(media, &bytes)?, module: None }),
    }
}

/// Show a transform.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms/{name}", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path)),
    responses((status = 200, description = "The current revision; its number is the ETag", body = TransformView),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn show(State(shared): AppState, Id(id): Id) -> Result<Response, Refusal> {
    let deployment = find_understood(&shared, &id).await?;
    Ok(([(header::ETAG, etag(&deployment))], Json(TransformView::of(&deployment))).into_response())
}

/// Delete a transform.
///
/// Its workers stop; its topics, its committed offsets and the count of its revisions stay.
#[utoipa::path(delete, path = "/v1/teams/{team}/transforms/{name}", tag = "transforms",
    params(("team" = String, Path), ("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The ETag that the transform must have"),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request: sent again, it is answered as the first time")),
    responses((status = 204, description = "Deleted"),
        (status = 404, description = "No such transform (E023)", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "At another revision (E008)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn remove(State(shared): AppState, Id(id): Id, precondition: IfMatch) -> Result<StatusCode, Refusal> {
    change(&shared, id, precondition, Change::Delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List all transforms.
#[utoipa::path(get, path = "/v1/transforms", tag = "transforms",
    responses((status = 200, description = "By team and name", body = TransformList)))]
pub async fn list_all(State(shared): AppState) -> Json<TransformList> {
    Json(list(&shared, |_| true))
}

/// List a team's transforms.
#[utoipa::path(get, path = "/v1/teams/{team}/transforms", tag = "transforms", params(("team" = String, Path)),
    responses((status = 200, description = "By name", body = TransformList),
        (status = 400, description = "Not a team name (E001)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn list_team(State(shared): AppState, Name(team): Name<TeamName>) -> Json<TransformList> {
    Json(list(&shared, |id| id.team == team))
}

fn list(shared: &Shared, wanted: impl Fn(&TransformId) -> bool) -> TransformList {
    let all = shared.state.catalog.list();
    let wanted = all.iter().filter(|deployment| wanted(&deployment.id));
    let summary = |deployment| TransformSummary::of(deployment, shared.state.runtime.statuses(&deployment.id));
    TransformList { transforms: wanted.map(summary).collect() }
}

/// The transform, or E023. One that is not known is looked for in the log: another host may have made it a moment ago.
pub async fn find(shared: &Shared, id: &TransformId) -> Result<Deployment, Refusal> {
    if let Some(known) = shared.state.catalog.deployment(id) {
        return Ok(known);
    }
    let (catalog, id) = (shared.state.catalog.clone(), id.clone());
    blocking(move || {
        catalog.refresh()?;
        catalog.deployment(&id).ok_or_else(|| Refusal::new(Code::NoTransform, format!("there is no transform {id}")))
    })
    .await
}

/// The transform, or E226 where this host does not know its content.
pub async fn find_understood(shared: &Shared, id: &TransformId) -> Result<Deployment, Refusal> {
    let deployment = find(shared, id).await?;
    CatalogError::unless_understood(&deployment)?;
    Ok(deployment)
}

/// Makes a change that only looks at the precondition.
pub async fn change(
    shared: &Arc<Shared>,
    id: TransformId,
    precondition: IfMatch,
    change: Change,
) -> Result<ChangeResult, Refusal> {
    let catalog = shared.state.catalog.clone();
    blocking(move || Ok(catalog.change(&id, precondition.of(change))?)).await
}

pub fn etag(deployment: &Deployment) -> String {
    format!("\"{}\"", deployment.revision)
}

pub fn location(id: &TransformId) -> String {
    format!("/v1/teams/{}/transforms/{}", id.team, id.name)
}
