//! The deployment that a request names, and simple changes of it.

use std::sync::Arc;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::catalog::{CatalogError, Change, ChangeResult};
use crate::model::codes::Code;
use crate::model::names::TransformId;
use crate::model::revision::Deployment;

use super::problem::Refusal;
use super::request::IfMatch;
use super::shared::{Shared, blocking};
use super::views;

/// Finds the transform, or refuses with E023. An unknown transform is looked for in the log: another host may have made it
/// a moment ago.
pub async fn find(shared: &Shared, id: &TransformId) -> Result<Deployment, Refusal> {
    if let Some(known) = shared.state.catalog.deployment(id) {
        return Ok(known);
    }
    let permit = shared.lookups.take_for(&id.team).await?;
    let catalog = shared.state.catalog.clone();
    let id = id.clone();
    blocking(move || {
        let _held = permit;
        catalog.refresh()?;
        catalog.deployment(&id).ok_or_else(|| Refusal::new(Code::NoTransform, format!("there is no transform {id}")))
    })
    .await
}

/// Finds the transform, or refuses with E226 if this host does not understand its content.
pub async fn find_understood(shared: &Shared, id: &TransformId) -> Result<Deployment, Refusal> {
    let deployment = find(shared, id).await?;
    CatalogError::unless_understood(&deployment)?;
    Ok(deployment)
}

/// Makes a change that only checks the precondition.
pub async fn change(
    shared: &Arc<Shared>,
    id: TransformId,
    precondition: IfMatch,
    change: Change,
) -> Result<ChangeResult, Refusal> {
    let permit = shared.changes.take_for(&id.team).await?;
    let catalog = shared.state.catalog.clone();
    blocking(move || {
        let _held = permit;
        Ok(catalog.change(&id, precondition.of(change))?)
    })
    .await
}

/// Answers with 202 and the change.
pub fn accepted(change: &ChangeResult) -> Response {
    let headers = [(header::LOCATION, location(&change.deployment.id)), (header::ETAG, etag(&change.deployment))];
    (StatusCode::ACCEPTED, headers, Json(views::change(change))).into_response()
}

pub fn etag(deployment: &Deployment) -> String {
    format!("\"{}\"", deployment.revision)
}

pub fn location(id: &TransformId) -> String {
    format!("/v1/teams/{}/transforms/{}", id.team, id.name)
}
