//! Bodies as their connection sees them: the host waits for more bytes of a request, and for the peer to take more of an
//! answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::super::budget::{Budget, FREE_BYTES, Kind, NoRoom, Share};
use super::close_reason::CloseReason;
use super::exchange::{Exchange, Wait};

/// Bytes after which the wait for a body begins again: a peer that sends less in a second counts as one that stands still.
const STEP_BYTES: usize = 64 * 1024;
/// Bytes of one piece of an answer: the host knows from piece to piece how much the peer has still to take.
const PIECE_BYTES: usize = 16 * 1024;

/// The body of a request. The host waits for the peer while it reads the body.
pub struct IncomingBody {
    body: Incoming,
    exchange: Arc<Exchange>,
    since_step: usize,
}

/// The body of an answer. It ends its exchange.
///
/// The host waits for the peer from piece to piece, until the body is asked for more and has nothing to say: a stream
/// without a line keeps nobody waiting. On HTTP/2 a piece is taken over when the peer has room for its first byte, and all
/// of it is held until there is room for the rest. So the last byte is a piece of its own: until it is taken over the clock
/// runs.
pub struct OutgoingBody {
    body: Body,
    /// Bytes that were taken from `body` and not handed on yet.
    rest: Bytes,
    share: Option<Share>,
    left: usize,
    exchange: Arc<Exchange>,
}

// === impl IncomingBody ===

impl IncomingBody {
    pub fn new(body: Incoming, exchange: Arc<Exchange>) -> Self {
        Self { body, exchange, since_step: 0 }
    }
}

impl HttpBody for IncomingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.exchange.still_wait(Wait::Body);
            return Poll::Pending;
        };
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        self.since_step += bytes;
        if self.since_step >= STEP_BYTES || frame.is_none() {
            self.since_step = 0;
            self.exchange.done(Wait::Body);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        self.exchange.done(Wait::Body);
    }
}

// === impl OutgoingBody ===

impl OutgoingBody {
    /// Takes the share of a large answer from the budget first.
    pub async fn new(body: Body, exchange: Arc<Exchange>, budget: &Budget) -> Result<Self, NoRoom> {
        let left = body.size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let share = if left > FREE_BYTES { Some(taken(budget, &exchange, left).await?) } else { None };
        let mut own = Self::small(body, exchange);
        own.share = share;
        own.left = left;
        Ok(own)
    }

    /// An answer of a few words.
    pub fn small(body: Body, exchange: Arc<Exchange>) -> Self {
        if body.is_end_stream() {
            exchange.answered();
        }
        exchange.wait(Wait::Answer);
        Self { body, rest: Bytes::new(), share: None, left: 0, exchange }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        let is_last = self.rest.len() <= PIECE_BYTES && self.body.is_end_stream();
        let length = match self.rest.len() {
            rest @ 2.. if is_last && self.exchange.is_own() => rest - 1,
            rest => rest.min(PIECE_BYTES),
        };
        let piece = self.rest.split_to(length);
        if is_last && self.rest.is_empty() {
            self.exchange.answered();
        }
        self.left = self.left.saturating_sub(piece.len());
        if let Some(share) = &mut self.share {
            share.shrink_to(self.left);
        }
        // The peer takes the answer piece by piece: the wait for each piece begins with it.
        self.exchange.wait(Wait::Answer);
        Frame::data(piece)
    }
}

async fn taken(budget: &Budget, exchange: &Arc<Exchange>, bytes: usize) -> Result<Share, NoRoom> {
    let exchange = Arc::downgrade(exchange);
    let mut share = budget.share(Kind::Whole, None, move || {
        if let Some(exchange) = exchange.upgrade() {
            exchange.close(CloseReason::AnswerBytes);
        }
    });
    share.grow_to(bytes).await?;
    Ok(share)
}

impl HttpBody for OutgoingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.exchange.done(Wait::Answer);
            return Poll::Pending;
        };
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    Poll::Ready(Some(Ok(self.piece())))
                }
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
            other => {
                self.exchange.answered();
                Poll::Ready(other)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        match hint.exact() {
            Some(bytes) => SizeHint::with_exact(bytes + rest),
            None => {
                hint.set_lower(hint.lower() + rest);
                hint
            }
        }
    }
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        self.exchange.done(Wait::Answer);
        self.exchange.end();
    }
}
