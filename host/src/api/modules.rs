//! Modules: upload, list, show.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api_types::{Line, ModuleList, ModuleSummary, ModuleView};
use crate::audit::{Action, AuditEntry};
use crate::catalog::Catalog;
use crate::deployment::{DeployError, Upload};
use crate::model::access::Role;
use crate::model::codes::Code;
use crate::model::module::ModuleError;
use crate::model::names::{Digest, TeamName};
use crate::model::signature::Envelope;

use super::access::Caller;
use super::audit;
use super::body::{self, Media, RequestBody};
use super::deploy::{counted, deployer};
use super::problem::Refusal;
use super::request::{Name, Params};
use super::shared::{AppState, blocking};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UploadParams {
    /// The team whose ceiling the upload counts against; without it, it counts with all other uploads that name none.
    #[param(value_type = Option<String>)]
    team: Option<TeamName>,
}

/// The header with the signature of an upload: the base64 of an envelope.
const SIGNATURE: &str = "sandbar-signature";

/// Upload a module.
///
/// The host compiles the module and checks it against the world, then stores it under the SHA-256 of its bytes. A repeated
/// upload changes nothing.
#[utoipa::path(post, path = "/v1/modules", tag = "modules", params(UploadParams,
        ("Sandbar-Signature" = Option<String>, Header,
            description = "The base64 of the module's signature (`sandbar sign`), for a team that requires it. It is verified and not kept")),
    request_body(content((Vec<u8> = "application/wasm"), (Vec<u8> = "application/octet-stream")), description = "The component"),
    responses((status = 201, description = "Stored", body = ModuleView),
        (status = 200, description = "The module was stored already", body = ModuleView),
        (status = 403, description = "The module lacks a signature of the team (E087, E088)"),
        (status = 413, description = "Too large (E015)"),
        (status = 415, description = "Another content type (E006)"),
        (status = 422, description = "Not a transform (E010 to E018)"),
        (status = 429, description = "The team has uploaded or created too much within a day (E060)")))]
pub async fn upload(
    State(shared): AppState,
    Params(params): Params<UploadParams>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    // Without a team the upload is the cluster's.
    caller.require(&params.team.clone().into(), Role::Deploy)?;
    let media = Media::of(&headers);
    if !matches!(media, Media::Wasm | Media::Absent) {
        return Err(media.refuse("application/wasm or application/octet-stream"));
    }
    let bytes_max = shared.state.limits.module_bytes_max;
    let RequestBody { bytes, share } = shared.receive(&caller.principal, body, bytes_max).await.map_err(|problem| {
        let bytes = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let bytes_max = bytes_max as u64;
        match problem.code() {
            Code::BodyTooLarge => ModuleError::TooLarge { bytes: bytes.unwrap_or(bytes_max + 1), bytes_max }.into(),
            _ => problem,
        }
    })?;
    let signature = headers.get(SIGNATURE).map(signature_of).transpose()?;
    let permit = shared.uploads.take(caller.principal.sharer_for(params.team.as_ref())).await?;
    let state = shared.state.clone();
    let (stored, is_new, view) = blocking(move || {
        let _held = (permit, share);
        if let Some(team) = &params.team {
            let accepted = deployer(&state, team).accept(team, &Digest::of(&bytes), signature.as_ref(), None);
            counted(&state, accepted.map_err(DeployError::from))?;
        }
        let info = state.modules.check(params.team.as_ref(), &bytes)?;
        // An upload above a ceiling of its team changes nothing, and has no entry.
        let upload = Upload::reserve(&state.catalog, &state.teams, params.team.as_ref(), &info.digest, &bytes)?;
        let target = Some(info.digest.to_string());
        let team = params.team.clone();
        audit::begin(&state, AuditEntry { team, target, ..caller.entry(Action::UploadModule) })?;
        let stored = upload.store(&state.catalog)?;
        let used_by = users(&state.catalog, &caller).remove(&stored.digest).unwrap_or_default();
        let is_new = stored.new || (used_by.is_empty() && !caller.sees_all());
        Ok((stored, is_new, ModuleView::of(info, used_by)))
    })
    .await?;
    // Nobody learns here that another team has the same module.
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/modules/{}", stored.digest);
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

fn signature_of(header: &HeaderValue) -> Result<Envelope, Refusal> {
    let text = STANDARD.decode(header.as_bytes());
    let malformed = |_| Refusal::new(Code::BadSignature, "the header Sandbar-Signature is not base64");
    body::signature_of(&text.map_err(malformed)?)
}

/// List all modules.
#[utoipa::path(get, path = "/v1/modules", tag = "modules",
    responses((status = 200, description = "Those of transforms that the caller may see, by digest", body = ModuleList)))]
pub async fn list(State(shared): AppState, caller: Caller) -> Result<Json<ModuleList>, Refusal> {
    let permit = shared.lookups.take(caller.principal.sharer()).await?;
    // It goes over all modules and deployments: more than a runtime's thread should do at once.
    blocking(move || {
        let _held = permit;
        let catalog = &shared.state.catalog;
        let mut users = users(catalog, &caller);
        let all = catalog.modules().into_iter();
        let seen = all.filter(|(digest, _)| caller.sees_all() || users.contains_key(digest)).collect::<Vec<_>>();
        let summary = |(digest, bytes)| ModuleSummary::of(digest, bytes, users.remove(&digest).unwrap_or_default());
        Ok(Json(ModuleList { modules: seen.into_iter().map(summary).collect() }))
    })
    .await
}

/// Show a module.
#[utoipa::path(get, path = "/v1/modules/{digest}", tag = "modules", params(("digest" = String, Path)),
    responses((status = 200, description = "The imports, exports and users of the module", body = ModuleView),
        (status = 400, description = "Not a digest (E001)"),
        (status = 404, description = "No such module (E024)")))]
pub async fn show(State(shared): AppState, caller: Caller, Name(digest): Name<Digest>) -> Result<Json<ModuleView>, Refusal> {
    let no_module = move || Refusal::new(Code::NoModule, format!("there is no module {digest}"));
    let permit = shared.lookups.take(caller.principal.sharer()).await?;
    let state = shared.state.clone();
    blocking(move || {
        let _held = permit;
        let used_by = users(&state.catalog, &caller).remove(&digest).unwrap_or_default();
        if used_by.is_empty() && !caller.sees_all() {
            return Err(no_module());
        }
        let bytes = state.catalog.module(&digest)?;
        let bytes = bytes.ok_or_else(no_module)?;
        let info = state.modules.check(caller.principal.only_team(), &bytes)?;
        Ok(Json(ModuleView::of(info, used_by)))
    })
    .await
}

/// The names of the transforms that use each module, of those that the caller may see.
fn users(catalog: &Catalog, caller: &Caller) -> BTreeMap<Digest, Vec<Line>> {
    let mut users: BTreeMap<Digest, Vec<Line>> = BTreeMap::new();
    let all = catalog.current();
    for deployment in all.all_live().filter(|deployment| caller.sees(&deployment.id)) {
        users.entry(deployment.module).or_default().push(Line::of(&deployment.id));
    }
    users
}
