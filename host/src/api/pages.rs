//! The routes that are not under `/v1`: health, metrics, the description of the API and the errors' pages; also the answers
//! to requests without a route.

use std::sync::LazyLock;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api_types::{self, ErrorCodeList, ErrorCodeView, Line, Readiness};
use crate::model::codes::{self, Code};

use super::access::Caller;
use super::problem::Refusal;
use super::request::PageName;
use super::shared::AppState;

/// Liveness probe.
#[utoipa::path(get, path = "/healthz", tag = "host", responses((status = 200, description = "The process is alive", body = String, content_type = "text/plain")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Readiness probe.
#[utoipa::path(get, path = "/readyz", tag = "host",
    responses((status = 200, description = "The host does its work", body = Readiness), (status = 503, description = "The host does not do its work now, with the reasons", body = Readiness)))]
pub async fn readyz(State(shared): AppState, caller: Caller) -> (StatusCode, Json<Readiness>) {
    // Whoever has not signed in, or has no role at all, learns the status alone.
    let is_known = !caller.principal.grants.is_empty();
    let host = if is_known { Line::of(&shared.state.host) } else { Line::of("") };
    match shared.state.runtime.ready() {
        Ok(()) => (StatusCode::OK, Json(Readiness { host, ready: true, reasons: Vec::new() })),
        Err(reasons) => {
            let reasons = reasons.into_iter().filter(|_| is_known).map(Line::from).collect();
            (StatusCode::SERVICE_UNAVAILABLE, Json(Readiness { host, ready: false, reasons }))
        }
    }
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "host",
    responses((status = 200, description = "Prometheus' text form: the series of the teams that the caller may see, or all", body = String, content_type = "text/plain")))]
pub async fn metrics(State(shared): AppState, caller: Caller) -> Result<Response, Refusal> {
    let render = shared.state.render_metrics.clone();
    let text = if caller.sees_all() {
        shared.metrics_page.whole(move || render(&|_| true)).await?
    } else {
        // It bounds how many pages of one team wait for each other.
        let permit = shared.lookups.take(caller.principal.sharer()).await?;
        let sees = move |team: Option<&str>| team.is_some_and(|team| team.parse().is_ok_and(|team| caller.sees_team(&team)));
        shared
            .metrics_page
            .part(move || {
                let _held = permit;
                render(&sees)
            })
            .await?
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// The description of this API.
#[utoipa::path(get, path = "/openapi.json", tag = "host", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub async fn openapi(State(shared): AppState) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], shared.openapi.clone()).into_response()
}

/// The JSON Schema of a spec, by which editors complete and check `transform.yaml`.
#[utoipa::path(get, path = "/transform.schema.json", tag = "host", responses((status = 200, description = "JSON Schema, draft 2020-12", body = Object, content_type = "application/schema+json")))]
pub async fn spec_schema() -> Response {
    // Everybody may ask for it, without a rate: it is made once.
    static SCHEMA: LazyLock<Bytes> = LazyLock::new(|| api_types::spec_schema().to_string().into());
    ([(header::CONTENT_TYPE, "application/schema+json")], SCHEMA.clone()).into_response()
}

/// List the error codes: the meaning and the remedy of each, in short.
#[utoipa::path(get, path = "/errors", tag = "host", responses((status = 200, description = "All codes, in ascending order", body = ErrorCodeList)))]
pub async fn error_codes() -> Response {
    static LIST: LazyLock<Bytes> = LazyLock::new(|| {
        let list = ErrorCodeList { errors: codes::TABLE.iter().map(ErrorCodeView::from).collect() };
        serde_json::to_vec(&list).expect("a list of codes is plain data").into()
    });
    ([(header::CONTENT_TYPE, "application/json")], LIST.clone()).into_response()
}

/// Show the page of an error code: its meaning and the remedy.
#[utoipa::path(get, path = "/errors/{code}", tag = "host", params(("code" = String, Path)),
    responses((status = 200, description = "The page", body = String, content_type = "text/markdown"),
        (status = 404, description = "No such code (E002)")))]
pub async fn error_page(PageName(raw): PageName) -> Result<Response, Refusal> {
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

/// Answers while the host has not started yet: it is alive, and it is not ready.
pub fn starting(path: &str) -> Response {
    match path {
        "/healthz" => "ok\n".into_response(),
        _ => Refusal::new(Code::LogUnavailable, "the host is starting: it has not read the catalog from the log yet")
            .into_response(),
    }
}
