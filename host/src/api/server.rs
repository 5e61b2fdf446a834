//! The HTTP server: connections within limits, and the steps before every route.
//!
//! A connection has a time for its handshake ([`handshake`]), for each head and for taking an answer, and its slot among the
//! others ([`admission`]).
//! A request passes the [`Gate`], gets its id, and goes to the routes, or while the host starts to [`pages::starting`].
//! Large answers hold their bytes within a budget until they are taken. `/healthz` and `/readyz` are answered in any case.

mod admission;
mod bodies;
mod clock;
mod close_reason;
mod connection;
mod exchange;
mod frontend;
mod handshake;
mod limits;
mod peer;
mod peer_stream;
mod protocol;
mod streams;
mod tls;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::telemetry::metrics::HttpMetrics;

use self::admission::Admission;
use self::connection::Connection;
use self::frontend::Frontend;
use super::budget::Budget;
use super::gate::Gate;

pub use self::limits::ServerLimits;
pub use self::tls::{Tls, TlsFileError, TlsOptions};

/// Time between two checks of all connections.
const SWEEP: Duration = Duration::from_millis(500);
/// Pause after a connection that could not be accepted: descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The server, before it serves.
pub struct Server {
    pub gate: Gate,
    pub limits: ServerLimits,
    pub metrics: HttpMetrics,
    /// TLS for every connection; `None` is plain HTTP.
    pub tls: Option<Tls>,
    /// The routes, as soon as the host has started.
    pub routes: Arc<OnceLock<Router>>,
}

// === impl Server ===

impl Server {
    /// Serves until `shutdown` is true, then lets open requests finish.
    pub async fn serve(self, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
        let Self { gate, limits, metrics, tls, routes } = self;
        let answers = Budget::new(limits.answer_bytes_in_flight_max, metrics.answer_bytes.clone());
        let frontend = Arc::new(Frontend { gate, metrics: metrics.clone(), tls, routes, answers });
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
