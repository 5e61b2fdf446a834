//! The steps before every route, and after it: the gate, the id of the request, the headers of every answer.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::model::codes::Code;
use crate::telemetry::metrics::HttpMetrics;

use super::super::budget::Budget;
use super::super::gate::Gate;
use super::super::pages;
use super::super::problem::Refusal;
use super::super::request_id::{REQUEST_ID, RequestId};
use super::bodies::{IncomingBody, OutgoingBody};
use super::exchange::Exchange;
use super::tls::Tls;

/// Headers of every answer that does not set them itself: a browser shows the answer, and no other page can use it.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The parts that all connections share.
pub struct Frontend {
    pub gate: Gate,
    pub metrics: HttpMetrics,
    pub tls: Option<Tls>,
    pub routes: Arc<OnceLock<Router>>,
    pub answers: Budget,
}

// === impl Frontend ===

impl Frontend {
    pub async fn answer(&self, request: hyper::Request<Incoming>, exchange: Arc<Exchange>) -> Response<OutgoingBody> {
        let mut request: Request = request.map(|body| Body::new(IncomingBody::new(body, exchange.clone())));
        name_host(&mut request);
        let id = RequestId::of(request.headers());
        request.extensions_mut().insert(id.clone());
        let mut response = self.respond(request, exchange.is_extra).await;
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        headers.insert(REQUEST_ID, id.value());
        // HTTP/2 has no such header: it ends a connection by a frame.
        if exchange.is_extra && !exchange.is_own() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.within_budget(response, exchange).await
    }

    async fn respond(&self, request: Request, is_extra: bool) -> Response {
        if let Err(refusal) = self.gate.check(request.method(), request.uri(), request.headers()) {
            let code = refusal.code();
            let detail = refusal.detail();
            tracing::debug!(%code, detail, "request refused");
            self.metrics.request_refused(code);
            return refusal.into_response();
        }
        let path = request.uri().path();
        if is_extra && !["/healthz", "/readyz", "/metrics"].contains(&path) {
            let detail = "all connections are in use (connections_max, connections_per_address_max)";
            self.metrics.request_refused(Code::Busy);
            return Refusal::new(Code::Busy, detail).into_response();
        }
        match self.routes.get() {
            Some(router) => router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
            None => pages::starting(path),
        }
    }

    /// Sends a whole answer within the budget, or a refusal in its place.
    async fn within_budget(&self, response: Response, exchange: Arc<Exchange>) -> Response<OutgoingBody> {
        let (parts, body) = response.into_parts();
        match OutgoingBody::new(body, exchange.clone(), &self.answers).await {
            Ok(body) => Response::from_parts(parts, body),
            Err(_) => {
                let detail = "too many answers wait to be taken (answer_bytes_in_flight_max)";
                let (parts, body) = Refusal::new(Code::Busy, detail).into_response().into_parts();
                Response::from_parts(parts, OutgoingBody::small(body, exchange))
            }
        }
    }
}

/// Gives a request of HTTP/2 its Host header: HTTP/2 has the name in the target. The gate looks at both.
fn name_host(request: &mut Request) {
    if request.version() != Version::HTTP_2 || request.headers().contains_key(header::HOST) {
        return;
    }
    let authority = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = authority {
        request.headers_mut().insert(header::HOST, host);
    }
}
