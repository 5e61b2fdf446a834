//! The HTTP server: connections within limits, and the steps before every route.
//!
//! A connection has a time for each head, a time for taking an answer, and its slot among the others ([`admission`]).
//! A request passes the [`Gate`], gets its id, and goes to the routes, or while the host starts to [`pages::starting`].
//! Large answers hold their bytes within a budget until they are taken. `/healthz` and `/readyz` answer through all of it.

mod admission;
mod bodies;
mod limits;
mod peer;
mod peer_stream;

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

use self::admission::{Admission, Slot};
use self::bodies::{IncomingBody, OutgoingBody};
use self::peer::{Peer, Wait};
use self::peer_stream::PeerStream;
use super::budget::Budget;
use super::gate::Gate;
use super::observe::{self, RequestId};
use super::pages;
use super::problem::Refusal;

pub use self::limits::ServerLimits;

/// Largest head of a request; reads and writes are about as large.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Time between two checks of all connections.
const SWEEP: Duration = Duration::from_millis(500);
/// Pause after a connection that could not be accepted: descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Headers of every answer that does not set them itself: a browser shows the answer, and no other page can use it.
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
    /// The routes, as soon as the host has started.
    pub routes: Arc<OnceLock<Router>>,
}

/// The parts that all connections share.
struct Frontend {
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
        let frontend = Arc::new(Frontend { gate, metrics: metrics.clone(), routes, answers });
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
                    if let Some(slot) = admission.admit(address.ip()) {
                        let connection = Connection { slot, frontend: frontend.clone(), limits, shutdown: shutdown.clone() };
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

/// One connection with its slot.
struct Connection {
    slot: Slot,
    frontend: Arc<Frontend>,
    limits: ServerLimits,
    shutdown: watch::Receiver<bool>,
}

// === impl Connection ===

impl Connection {
    async fn serve(self, stream: TcpStream, address: SocketAddr, _open: mpsc::Sender<Infallible>) {
        let Self { slot, frontend, limits, mut shutdown } = self;
        let _ = stream.set_nodelay(true);
        let peer = slot.peer.clone();
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (frontend, peer) = (frontend.clone(), peer.clone());
            async move { Ok::<_, Infallible>(frontend.answer(request, &peer).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_buf_size(BUFFER_BYTES_MAX);
        let connection = builder.serve_connection(TokioIo::new(PeerStream::new(stream, peer.clone())), service);
        tokio::pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        if error.is_timeout() {
                            frontend.metrics.connection_closed("head_time");
                        }
                        tracing::debug!(%address, %error, "a connection ended");
                    }
                    return;
                }
                why = peer.closed() => {
                    frontend.metrics.connection_closed(why.as_str());
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

// === impl Frontend ===

impl Frontend {
    async fn answer(&self, request: hyper::Request<Incoming>, peer: &Arc<Peer>) -> Response<OutgoingBody> {
        peer.done(Wait::Head);
        let mut request: Request = request.map(|body| Body::new(IncomingBody::new(body, peer.clone())));
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
            None => pages::starting(path),
        }
    }

    /// Sends a whole answer within the budget, or a refusal in its place.
    async fn within_budget(&self, response: Response, peer: &Arc<Peer>) -> Response<OutgoingBody> {
        let (parts, body) = response.into_parts();
        match OutgoingBody::new(body, peer, &self.answers).await {
            Ok(body) => Response::from_parts(parts, body),
            Err(_) => {
                let detail = "too many answers wait to be taken (answer_bytes_in_flight_max)";
                let (parts, body) = Refusal::new(Code::Busy, detail).into_response().into_parts();
                Response::from_parts(parts, OutgoingBody::small(body, peer))
            }
        }
    }
}
