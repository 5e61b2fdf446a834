//! Around every request: an id, a span, a report for the metrics, and an answer even where a handler panics.

use std::any::Any;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, debug, info_span, warn};

use crate::model::random::random_u64;
use crate::model::text::{cut, one_line};

use super::problem::{self, Refusal};
use super::shared::Shared;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 64;
/// Longest part of a refusal's detail that a line of the log repeats.
const LOGGED_BYTES_MAX: usize = 512;

/// A request's name in answers and in the log.
#[derive(Debug, Clone)]
pub struct RequestId(String);

pub fn layers(router: Router<Arc<Shared>>, shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    router
        .layer(CatchPanicLayer::custom(|panic: Box<dyn Any + Send>| {
            let message = panic.downcast_ref::<&str>().map(ToString::to_string);
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            problem::panicked(&message).into_response()
        }))
        .layer(middleware::from_fn_with_state(shared.clone(), around))
}

async fn around(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let given = request.extensions().get::<RequestId>().cloned();
    let id = given.unwrap_or_else(|| RequestId::of(request.headers()));
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = info_span!("request", id = id.0, method, route);
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

// === impl RequestId ===

impl RequestId {
    /// The caller's where it is a short word, else one of our own.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let fits =
            |id: &&str| !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.chars().all(|c| c.is_ascii_graphic());
        Self(given.filter(fits).map_or_else(new_id, str::to_owned))
    }

    pub fn value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a short word of visible ASCII")
    }
}

/// Different for every request, and for every process.
fn new_id() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(random_u64);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A label has few values, whatever clients send.
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
