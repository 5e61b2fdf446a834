//! The streams of a connection of HTTP/2: each is an exchange in a task of its own, which can be given up alone.
//!
//! hyper hands the future of each stream to an executor. The executor here begins the exchange of the stream, and makes it
//! known to the service within that future. A future that is dropped resets its stream, and its bytes are freed.

use std::sync::Arc;

use hyper::rt::Executor;

use crate::telemetry::metrics::HttpMetrics;

use super::admission::Admission;
use super::clock::ExchangeClocks;
use super::exchange::Exchange;
use super::peer::Peer;

tokio::task_local! {
    static CURRENT: Arc<Exchange>;
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub struct Streams {
    pub peer: Arc<Peer>,
    pub admission: Arc<Admission>,
    pub metrics: HttpMetrics,
}

/// The exchange of the stream that the caller runs in; none on HTTP/1.1.
pub fn current() -> Option<Arc<Exchange>> {
    CURRENT.try_with(Arc::clone).ok()
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        let Self { peer, admission, metrics } = self.clone();
        let clocks = Arc::new(ExchangeClocks::of_stream());
        // The first stream comes with the connection's own slot.
        let slot = if peer.has_exchanges() { Some(admission.admit_stream(peer.address, &clocks)) } else { None };
        let has_slot = slot.as_ref().is_none_or(Option::is_some);
        let exchange = Exchange::with_clocks(&peer, clocks, peer.is_extra || !has_slot);
        tokio::spawn(async move {
            let _slot = slot;
            tokio::select! {
                _ = CURRENT.scope(exchange.clone(), stream) => peer.count_end(exchange.is_answered()),
                why = exchange.closed() => metrics.stream_closed(why.as_str()),
            }
        });
    }
}
