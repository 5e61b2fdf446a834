//! The layers around every request: an id, a span, a report for the metrics, and an answer also when a handler panics.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, debug, info_span, warn};

use crate::model::text::{cut, one_line};

use super::access;
use super::problem::{self, Refusal};
use super::request_id::{REQUEST_ID, RequestId};
use super::shared::Shared;

/// Longest part of a refusal's detail that a line of the log repeats.
const LOGGED_BYTES_MAX: usize = 512;

pub fn layers(router: Router<Arc<Shared>>, shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    router
        .layer(middleware::from_fn_with_state(shared.clone(), access::check))
        .layer(CatchPanicLayer::custom(|panic: Box<dyn Any + Send>| {
            let message = panic.downcast_ref::<&str>().map(ToString::to_string);
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            problem::panicked(&message).into_response()
        }))
        .layer(middleware::from_fn_with_state(shared.clone(), around))
}

async fn around(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let given = request.extensions().get::<RequestId>().cloned();
    let id = given.unwrap_or_else(|| RequestId::of(request.headers()));
    request.extensions_mut().insert(id.clone());
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = info_span!("request", %id, method, route);
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let seconds = started.elapsed().as_secs_f64();
    (shared.state.on_request)(method, &route, status, seconds);
    span.in_scope(|| match response.extensions().get::<Refusal>() {
        Some(refusal) => {
            let code = refusal.code();
            let detail = one_line(cut(refusal.detail(), LOGGED_BYTES_MAX));
            match status {
                500.. => warn!(status, %code, %detail, seconds, "request failed"),
                _ => debug!(status, %code, %detail, seconds, "request refused"),
            }
        }
        None => debug!(status, seconds, "request answered"),
    });
    response.headers_mut().insert(REQUEST_ID, id.value());
    response
}

/// The label of a method. A label has few values, also if clients send others.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
