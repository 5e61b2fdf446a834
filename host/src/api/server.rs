//! The HTTP server: connections within limits, and the steps before every route.
//!
//! A connection has a time for each head, a time for taking an answer, and its place among the others ([`admission`]).
//! A request passes the [`Gate`], gets its id, and goes to the routes, or while the host starts to [`super::starting`].
//! Large answers hold their bytes within a budget until they are taken. `/healthz` and `/readyz` answer through all of it.

mod admission;
mod answer;
mod peer;
mod watched;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use crate::model::codes::Code;
use crate::telemetry::metrics::HttpMetrics;

use self::admission::{Admission, Place};
use self::answer::Counted;
use self::peer::{For, Peer};
use self::watched::Watched;
use super::budget::Budget;
use super::gate::Gate;
use super::observe::{self, RequestId};
use super::problem::Refusal;

/// Bounds on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one address (of an IPv6 address: of its /64).
    pub connections_per_address_max: usize,
    /// Time for the head of a request to arrive, also on a connection that is kept open after one.
    pub head_time: Duration,
    /// A connection that takes nothing for so long, while there is something to take, is closed.
    pub write_time: Duration,
    /// Bytes of answers that were not taken yet.
    pub answer_bytes_in_flight_max: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_address_max: 512,
            head_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            answer_bytes_in_flight_max: 256 * 1024 * 1024,
        }
    }
}

impl ServerLimits {
    /// File descriptors that the connections can take, those that were let in beyond the limits too.
    pub fn descriptors(&self) -> u64 {
        (self.connections_max + admission::EXTRA_MAX) as u64
    }
}

/// Largest head of a request; reads and writes are about as large.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Time between two looks at all connections.
const SWEEP: Duration = Duration::from_millis(500);
/// Pause after a connection that could not be accepted: descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Headers of every answer that has no other: a browser shows it, and does nothing with it on behalf of another page.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The server, before it serves.
pub struct Server {
    pub gate: Gate,
    pub limits: ServerLimits,
    pub metrics: HttpMetrics,
    /// The routes, as soon as the host is there.
    pub routes: Arc<OnceLock<Router>>,
}

/// The parts that all connections share.
struct Front {
    gate: Gate,
    metrics: HttpMetrics,
    routes: Arc<OnceLock<Router>>,
    answers: Budget,
}

// === impl Server ===

impl Server {
    /// Serves until `shutdown` is true, then lets open requests finish.
    pub async fn serve(self, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
        let Self { gate, limits, metrics, routes } = self;
        let answers = Budget::new(limits.answer_bytes_in_flight_max, metrics.answer_bytes.clone());
        let front = Arc::new(Front { gate, metrics: metrics.clone(), routes, answers });
        let admission = Arc::new(Admission::new(limits, metrics));
        // Every connection holds one end: the other end sees when the last is gone.
        let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
        let mut sweep = tokio::time::interval(SWEEP);
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = sweep.tick() => { admission.sweep(); continue }
                _ = shutdown.wait_for(|&down| down) => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    failing = false;
                    if let Some(place) = admission.admit(address.ip()) {
                        let connection = Connection { place, front: front.clone(), limits, shutdown: shutdown.clone() };
                        tokio::spawn(connection.serve(stream, address, open.clone()));
                    }
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "connections cannot be accepted, trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop((listener, open));
        loop {
            tokio::select! {
                _ = all_closed.recv() => return,
                _ = sweep.tick() => admission.sweep(),
            }
        }
    }
}

/// The peer was gone before its connection was accepted.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// One connection with its place.
struct Connection {
    place: Place,
    front: Arc<Front>,
    limits: ServerLimits,
    shutdown: watch::Receiver<bool>,
}

// === impl Connection ===

impl Connection {
    async fn serve(self, stream: TcpStream, address: SocketAddr, _open: mpsc::Sender<Infallible>) {
        let Self { place, front, limits, mut shutdown } = self;
        let _ = stream.set_nodelay(true);
        let peer = place.peer.clone();
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (front, peer) = (front.clone(), peer.clone());
            async move { Ok::<_, Infallible>(front.answer(request, &peer).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_buf_size(BUFFER_BYTES_MAX);
        let connection = builder.serve_connection(TokioIo::new(Watched::new(stream, peer.clone())), service);
        tokio::pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        if error.is_timeout() {
                            front.metrics.connection_closed("head_time");
                        }
                        tracing::debug!(%address, %error, "a connection ended");
                    }
                    return;
                }
                why = peer.closed() => {
                    front.metrics.connection_closed(why.as_str());
                    tracing::debug!(%address, why = why.as_str(), "a connection was closed");
                    return;
                }
                _ = shutdown.wait_for(|&down| down), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

// === impl Front ===

impl Front {
    async fn answer(&self, request: hyper::Request<Incoming>, peer: &Arc<Peer>) -> Response<Counted> {
        peer.done(For::Head);
        let mut request: Request = request.map(|body| Body::new(answer::Awaited::new(body, peer.clone())));
        let id = RequestId::of(request.headers());
        request.extensions_mut().insert(id.clone());
        let mut response = self.respond(request, peer.is_extra).await;
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        headers.insert(observe::REQUEST_ID, id.value());
        if peer.is_extra {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.within_budget(response, peer).await
    }

    async fn respond(&self, request: Request, is_extra: bool) -> Response {
        if let Err(refusal) = self.gate.check(request.method(), request.uri(), request.headers()) {
            let (code, detail) = (refusal.code(), refusal.detail());
            tracing::debug!(%code, detail, "request refused");
            self.metrics.request_refused(code);
            return refusal.into_response();
        }
        let path = request.uri().path();
        if is_extra && !["/healthz", "/readyz", "/metrics"].contains(&path) {
            let detail = "all connections are in use (connections_max, connections_per_address_max)";
            return Refusal::new(Code::Busy, detail).into_response();
        }
        match self.routes.get() {
            Some(router) => router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
            None => super::starting(path),
        }
    }

    /// An answer that is there as a whole is held until it is taken, or not sent at all.
    async fn within_budget(&self, response: Response, peer: &Arc<Peer>) -> Response<Counted> {
        let (parts, body) = response.into_parts();
        match Counted::new(body, peer, &self.answers).await {
            Ok(body) => Response::from_parts(parts, body),
            Err(_) => {
                let detail = "too many answers wait to be taken (answer_bytes_in_flight_max)";
                let (parts, body) = Refusal::new(Code::Busy, detail).into_response().into_parts();
                Response::from_parts(parts, Counted::small(body, peer))
            }
        }
    }
}
