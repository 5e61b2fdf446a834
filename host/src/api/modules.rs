//! Modules: upload, list, show.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api_types::{Line, ModuleList, ModuleSummary, ModuleView};
use crate::catalog::Catalog;
use crate::deployment::{Rejection, Upload};
use crate::model::codes::Code;
use crate::model::module::ModuleError;
use crate::model::names::{Digest, TeamName};

use super::body::{Media, RequestBody};
use super::problem::Refusal;
use super::request::{Name, Params};
use super::shared::{AppState, blocking};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadParams {
    /// The team whose ceiling the upload counts against; without it, it counts with all other uploads that name none.
    #[param(value_type = Option<String>)]
    team: Option<TeamName>,
}

/// Upload a module.
///
/// The host compiles the module and checks it against the world, then stores it under the SHA-256 of its bytes. A repeated
/// upload changes nothing.
#[utoipa::path(post, path = "/v1/modules", tag = "modules", params(UploadParams),
    request_body(content((Vec<u8> = "application/wasm"), (Vec<u8> = "application/octet-stream")), description = "The component"),
    responses((status = 201, description = "Stored", body = ModuleView),
        (status = 200, description = "The module was stored already", body = ModuleView),
        (status = 413, description = "Too large (E015)"),
        (status = 415, description = "Another content type (E006)"),
        (status = 422, description = "Not a transform (E010 to E018)"),
        (status = 429, description = "The team has uploaded too many bytes within a day (E060)")))]
pub async fn upload(
    State(shared): AppState,
    Params(params): Params<UploadParams>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let media = Media::of(&headers);
    if !matches!(media, Media::Wasm | Media::Absent) {
        return Err(media.refuse("application/wasm or application/octet-stream"));
    }
    let bytes_max = shared.state.limits.module_bytes_max;
    let RequestBody { bytes, share } = shared.receive(body, bytes_max).await.map_err(|problem| {
        let bytes = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let bytes_max = bytes_max as u64;
        match problem.code() {
            Code::BodyTooLarge => ModuleError::TooLarge { bytes: bytes.unwrap_or(bytes_max + 1), bytes_max }.into(),
            _ => problem,
        }
    })?;
    let permit = shared.uploads.take().await?;
    let state = shared.state.clone();
    let (stored, view) = blocking(move || {
        let _held = (permit, share);
        let info = state.modules.check(&bytes)?;
        let upload = Upload::reserve(&state.catalog, &state.teams, params.team.as_ref(), &info.digest, &bytes);
        let stored = upload.map_err(Rejection::from)?.store(&state.catalog)?;
        let used_by = users(&state.catalog).remove(&stored.digest).unwrap_or_default();
        Ok((stored, ModuleView::of(info, used_by)))
    })
    .await?;
    let status = if stored.new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/modules/{}", stored.digest);
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

/// List all modules.
#[utoipa::path(get, path = "/v1/modules", tag = "modules",
    responses((status = 200, description = "By digest", body = ModuleList)))]
pub async fn list(State(shared): AppState) -> Json<ModuleList> {
    let catalog = &shared.state.catalog;
    let mut users = users(catalog);
    let summary = |(digest, bytes)| ModuleSummary::of(digest, bytes, users.remove(&digest).unwrap_or_default());
    Json(ModuleList { modules: catalog.modules().into_iter().map(summary).collect() })
}

/// Show a module.
#[utoipa::path(get, path = "/v1/modules/{digest}", tag = "modules", params(("digest" = String, Path)),
    responses((status = 200, description = "The imports, exports and users of the module", body = ModuleView),
        (status = 400, description = "Not a digest (E001)"),
        (status = 404, description = "No such module (E024)")))]
pub async fn show(State(shared): AppState, Name(digest): Name<Digest>) -> Result<Json<ModuleView>, Refusal> {
    let permit = shared.lookups.take().await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = permit;
        let bytes = state.catalog.module(&digest)?;
        let bytes = bytes.ok_or_else(|| Refusal::new(Code::NoModule, format!("there is no module {digest}")))?;
        let info = state.modules.check(&bytes)?;
        let used_by = users(&state.catalog).remove(&digest).unwrap_or_default();
        Ok(Json(ModuleView::of(info, used_by)))
    })
    .await
}

/// The names of the transforms that use each module.
fn users(catalog: &Catalog) -> BTreeMap<Digest, Vec<Line>> {
    let mut users: BTreeMap<Digest, Vec<Line>> = BTreeMap::new();
    for deployment in catalog.list() {
        users.entry(deployment.module).or_default().push(Line::of(deployment.id));
    }
    users
}
