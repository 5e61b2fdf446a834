//! What is not under `/v1`: health, metrics, the description of the API, the errors' pages, and the ways out of it.

use std::sync::OnceLock;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::codes::Code;

use super::problem::{ProblemDetails, Refusal};
use super::{AppState, openapi};

/// A page of links.
#[utoipa::path(get, path = "/", tag = "host", responses((status = 200, description = "Links", body = String, content_type = "text/html")))]
pub async fn index(State(shared): AppState) -> Html<String> {
    let mut links = vec!["/v1/transforms", "/v1/modules", "/healthz", "/readyz", "/metrics", "/openapi.json"];
    if shared.state.topics_api {
        links.insert(2, "/v1/topics");
    }
    let links: String = links.iter().map(|path| format!("<li><a href=\"{path}\">{path}</a></li>\n")).collect();
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><title>Sandbar</title>\n<h1>Sandbar {}</h1>\n<ul>\n{links}</ul>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    ))
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "host", responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

#[derive(Serialize, ToSchema)]
pub struct Readiness {
    host: String,
    ready: bool,
    /// Why not.
    reasons: Vec<String>,
}

/// Whether the host does its work.
#[utoipa::path(get, path = "/readyz", tag = "host",
    responses((status = 200, description = "It does", body = Readiness), (status = 503, description = "Not now, and why", body = Readiness)))]
pub async fn readyz(State(shared): AppState) -> (StatusCode, Json<Readiness>) {
    let host = shared.state.host.clone();
    match shared.state.runtime.ready() {
        Ok(()) => (StatusCode::OK, Json(Readiness { host, ready: true, reasons: Vec::new() })),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, Json(Readiness { host, ready: false, reasons })),
    }
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "host",
    responses((status = 200, description = "Prometheus' text form", body = String, content_type = "text/plain")))]
pub async fn metrics(State(shared): AppState) -> Response {
    let text = (shared.state.render_metrics)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// The description of this API.
#[utoipa::path(get, path = "/openapi.json", tag = "host", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub async fn openapi(State(shared): AppState) -> Response {
    // Made once for each kind of host: it is the same at every request, and large.
    static DOCUMENTS: [OnceLock<Bytes>; 2] = [OnceLock::new(), OnceLock::new()];
    let topics_api = shared.state.topics_api;
    let make = || serde_json::to_vec(&openapi::document(topics_api)).expect("plain data").into();
    let document = DOCUMENTS[usize::from(topics_api)].get_or_init(make).clone();
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

/// What an error code means and what to do.
#[utoipa::path(get, path = "/errors/{code}", tag = "host", params(("code" = String, Path)),
    responses((status = 200, description = "Its page", body = String, content_type = "text/markdown"),
        (status = 404, description = "No such code (E002)", body = ProblemDetails, content_type = "application/problem+json")))]
pub async fn error_page(Path(raw): Path<String>) -> Result<Response, Refusal> {
    let code: Code = raw.parse().map_err(|message: String| Refusal::new(Code::NoRoute, message))?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], code.entry().page).into_response())
}

pub async fn no_route(OriginalUri(uri): OriginalUri) -> Refusal {
    Refusal::new(Code::NoRoute, format!("there is no route {}", shortened(uri.path())))
}

pub async fn no_method(method: Method, OriginalUri(uri): OriginalUri) -> Refusal {
    Refusal::new(Code::Method, format!("{} does not take {}", shortened(uri.path()), shortened(method.as_str())))
}

fn shortened(raw: &str) -> String {
    raw.chars().take(200).collect()
}
