//! Bodies as their connection sees them: the host waits for more bytes of a request, and for the peer to take more of an
//! answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::super::budget::{Budget, FREE_BYTES, Kind, NoRoom, Share};
use super::peer::{CloseReason, Peer, Wait};

/// Bytes after which the wait for a body begins again: a peer that sends less in a second counts as one that stands still.
const STEP_BYTES: usize = 64 * 1024;
/// Bytes of one piece of an answer: the host knows from piece to piece how much the peer has still to take.
const PIECE_BYTES: usize = 16 * 1024;

/// The body of a request. The host waits for the peer while it reads the body.
pub struct IncomingBody {
    body: Incoming,
    peer: Arc<Peer>,
    since_step: usize,
}

/// The body of an answer. Its end begins the wait for another request.
pub struct OutgoingBody {
    body: Body,
    /// Bytes that were taken from `body` and not handed on yet.
    rest: Bytes,
    /// True if the answer has a length: its bytes are in memory until they are taken.
    is_whole: bool,
    share: Option<Share>,
    left: usize,
    peer: Arc<Peer>,
}

// === impl IncomingBody ===

impl IncomingBody {
    pub fn new(body: Incoming, peer: Arc<Peer>) -> Self {
        Self { body, peer, since_step: 0 }
    }
}

impl HttpBody for IncomingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.peer.still_wait(Wait::Body);
            return Poll::Pending;
        };
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        self.since_step += bytes;
        if self.since_step >= STEP_BYTES || frame.is_none() {
            self.since_step = 0;
            self.peer.done(Wait::Body);
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
        self.peer.done(Wait::Body);
    }
}

// === impl OutgoingBody ===

impl OutgoingBody {
    /// Takes the share of a large answer from the budget first.
    pub async fn new(body: Body, peer: &Arc<Peer>, budget: &Budget) -> Result<Self, NoRoom> {
        let left = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let share = match left {
            Some(bytes) if bytes > FREE_BYTES => Some(taken(budget, peer, bytes).await?),
            _ => None,
        };
        let is_whole = left.is_some();
        let left = left.unwrap_or(0);
        Ok(Self { body, rest: Bytes::new(), is_whole, share, left, peer: peer.clone() })
    }

    /// An answer of a few words.
    pub fn small(body: Body, peer: &Arc<Peer>) -> Self {
        Self { body, rest: Bytes::new(), is_whole: false, share: None, left: 0, peer: peer.clone() }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.left = self.left.saturating_sub(piece.len());
        if let Some(share) = &mut self.share {
            share.shrink_to(self.left);
        }
        if self.is_whole {
            // The peer takes the answer piece by piece: the wait for each piece begins with it.
            self.peer.wait(Wait::Answer);
        }
        Frame::data(piece)
    }
}

async fn taken(budget: &Budget, peer: &Arc<Peer>, bytes: usize) -> Result<Share, NoRoom> {
    let peer = Arc::downgrade(peer);
    let mut share = budget.share(Kind::Whole, move || {
        if let Some(peer) = peer.upgrade() {
            peer.close(CloseReason::AnswerBytes);
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
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    Poll::Ready(Some(Ok(self.piece())))
                }
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
            other => Poll::Ready(other),
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
        self.peer.done(Wait::Answer);
        self.peer.wait(Wait::Head);
    }
}
