//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::access::ClientCertificate;
use crate::telemetry::metrics::HttpMetrics;

use super::super::access::PeerAddress;
use super::admission::Slot;
use super::close_reason::CloseReason;
use super::exchange::Exchange;
use super::frontend::Frontend;
use super::handshake::{Failure, Secured, shake_hands};
use super::limits::ServerLimits;
use super::peer::Peer;
use super::peer_stream::PeerStream;
use super::protocol;
use super::streams::{self, Streams};
use super::tls::Tls;

/// One connection with its slot.
pub struct Connection {
    pub slot: Slot,
    pub frontend: Arc<Frontend>,
    pub limits: ServerLimits,
    pub shutdown: watch::Receiver<bool>,
}

/// A client with a certificate.
struct Client {
    certificate: ClientCertificate,
    /// The authorities that vouched for it.
    authorities: watch::Receiver<Option<Vec<u8>>>,
}

/// Resolves when the authorities are others; never without a client's certificate.
async fn changed(authorities: &mut Option<watch::Receiver<Option<Vec<u8>>>>) {
    let Some(authorities) = authorities else { return std::future::pending().await };
    // The sender is in the host's TLS, which lives as long as the server.
    let _ = authorities.changed().await;
}

// === impl Connection ===

impl Connection {
    pub async fn serve(mut self, stream: TcpStream, address: SocketAddr, _open: mpsc::Sender<Infallible>) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.frontend.tls.clone() else {
            let peer = self.slot.peer.clone();
            return self.answer(PeerStream::new(stream, peer), (None, false), address).await;
        };
        // From before the handshake on, so that no change is missed.
        let authorities = tls.authorities();
        match self.secure(&tls, stream).await {
            Ok(Secured { stream, certificate, is_http2 }) => {
                let client = certificate.map(|certificate| Client { certificate, authorities });
                self.answer(stream, (client, is_http2), address).await;
            }
            Err(Some(failure)) => {
                tls.metrics.handshake_failed(failure.as_str());
                if failure == Failure::Time {
                    self.frontend.metrics.connection_closed("handshake_time");
                }
                tracing::debug!(%address, why = failure.as_str(), "a connection without a handshake ended");
            }
            Err(None) => {}
        }
    }

    /// Makes the handshake. An error without a failure: the host ended it.
    async fn secure(&mut self, tls: &Tls, stream: TcpStream) -> Result<Secured<PeerStream<TcpStream>>, Option<Failure>> {
        let peer = self.slot.peer.clone();
        let handshake = async {
            let mut first = [0];
            match stream.peek(&mut first).await {
                // The watch is within TLS: a flush that waits for the peer is a wait of the socket.
                Ok(1..) => shake_hands(tls, first[0], PeerStream::new(stream, peer.clone())).await,
                _ => Err(Failure::Other),
            }
        };
        tokio::select! {
            done = tokio::time::timeout(self.limits.handshake_time, handshake) => {
                done.unwrap_or(Err(Failure::Time)).map_err(Some)
            }
            why = self.slot.peer.closed() => {
                self.frontend.metrics.connection_closed(why.as_str());
                Err(None)
            }
            _ = self.shutdown.wait_for(|&down| down) => Err(None),
        }
    }

    /// Answers the requests of a connection until it ends.
    async fn answer(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        (client, is_http2): (Option<Client>, bool),
        address: SocketAddr,
    ) {
        let Self { slot, frontend, limits, shutdown } = self;
        let peer = slot.peer.clone();
        let (certificate, authorities) = client.map(|client| (client.certificate, client.authorities)).unzip();
        let metrics = frontend.metrics.clone();
        let streams = Streams { peer: peer.clone(), admission: slot.admission().clone(), metrics: metrics.clone() };
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(PeerAddress(address.ip()));
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            let frontend = frontend.clone();
            let peer = peer.clone();
            async move {
                let exchange = streams::current().unwrap_or_else(|| Exchange::begin(&peer, false, peer.is_extra));
                Ok::<_, Infallible>(frontend.answer(request, exchange).await)
            }
        });
        let watch = Watch { peer: slot.peer.clone(), metrics, authorities, shutdown, address };
        let io = TokioIo::new(stream);
        if is_http2 {
            slot.peer.multiplexes();
            let connection = protocol::http2(limits, streams).serve_connection(io, service);
            watch.until_end(connection, |connection| connection.graceful_shutdown()).await;
        } else {
            let connection = protocol::http1(limits).serve_connection(io, service);
            watch.until_end(connection, |connection| connection.graceful_shutdown()).await;
        }
    }
}

/// The reasons for which a connection ends, beside its own end.
struct Watch {
    peer: Arc<Peer>,
    metrics: HttpMetrics,
    authorities: Option<watch::Receiver<Option<Vec<u8>>>>,
    shutdown: watch::Receiver<bool>,
    address: SocketAddr,
}

// === impl Watch ===

impl Watch {
    /// Runs a connection. When the host stops, `stop` lets its open requests finish.
    async fn until_end<C: Future<Output = hyper::Result<()>>>(mut self, connection: C, stop: impl Fn(Pin<&mut C>)) {
        let address = self.address;
        tokio::pin!(connection);
        let mut stopping = false;
        let why = loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        if error.is_timeout() {
                            self.metrics.connection_closed(CloseReason::HeadTime.as_str());
                        }
                        tracing::debug!(%address, %error, "a connection ended");
                    }
                    return;
                }
                why = self.peer.closed() => break why,
                () = changed(&mut self.authorities) => break CloseReason::ClientAuthorities,
                _ = self.shutdown.wait_for(|&down| down), if !stopping => {
                    stopping = true;
                    stop(connection.as_mut());
                }
            }
        };
        self.metrics.connection_closed(why.as_str());
        tracing::debug!(%address, why = why.as_str(), "a connection was closed");
    }
}
