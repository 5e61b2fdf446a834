//! The stream of one reader: a first view of all that the caller sees, and then views of what has changed.
//!
//! A slow reader misses views between, and no change: each view is made against what the reader was sent before.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::api_types::FlowView;
use crate::model::names::TransformId;

use super::super::access::Caller;
use super::super::framing::{ALIVE, Framing};
use super::recorder::{FlowReader, FlowSnapshot};

/// Longest wait for a view before the stream looks if the host stops.
const TURN: Duration = Duration::from_millis(500);

/// A stream while it is sent.
struct FlowStream {
    framing: Framing,
    reader: FlowReader,
    caller: Caller,
    shutdown: watch::Receiver<bool>,
    /// The version of each transform that was sent.
    sent: BTreeMap<TransformId, u64>,
    is_first: bool,
    /// The time of the last view or sign of life.
    sent_at: Instant,
}

/// Answers with views until the client leaves.
pub fn respond(framing: Framing, reader: FlowReader, caller: Caller, shutdown: watch::Receiver<bool>) -> Response {
    let headers = [(header::CONTENT_TYPE, framing.content_type())];
    let sent = BTreeMap::new();
    let stream = FlowStream { framing, reader, caller, shutdown, sent, is_first: true, sent_at: Instant::now() };
    (headers, Body::from_stream(stream.views())).into_response()
}

// === impl FlowStream ===

impl FlowStream {
    fn views(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        futures::stream::unfold(self, |mut stream| async move {
            loop {
                if *stream.shutdown.borrow() {
                    return None;
                }
                if let Some(bytes) = stream.next().await {
                    return Some((Ok(bytes), stream));
                }
            }
        })
    }

    /// Waits for a view for a while. Returns a sign of life where there was none for long.
    async fn next(&mut self) -> Option<Bytes> {
        // An error says that there is no recorder any more: it lives as long as its reader.
        let is_new = matches!(tokio::time::timeout(TURN, self.reader.snapshots.changed()).await, Ok(Ok(())));
        let view = if is_new {
            let snapshot = self.reader.snapshots.borrow_and_update().clone();
            self.changes(&snapshot)
        } else {
            None
        };
        let bytes = view.or_else(|| (self.sent_at.elapsed() >= ALIVE).then(|| Bytes::from_static(self.framing.alive())))?;
        self.sent_at = Instant::now();
        Some(bytes)
    }

    /// The view of all that the reader does not have yet: none if that is nothing.
    fn changes(&mut self, snapshot: &FlowSnapshot) -> Option<Bytes> {
        let seen = |id: &TransformId| self.caller.sees(id);
        let is_new = |id: &TransformId, version: u64| self.sent.get(id).is_none_or(|sent| *sent != version);
        let changed = snapshot.transforms.iter().filter(|(id, entry)| seen(id) && is_new(id, entry.version));
        let (ids, transforms): (Vec<(TransformId, u64)>, Vec<&RawValue>) =
            changed.map(|(id, entry)| ((id.clone(), entry.version), &*entry.json)).unzip();
        let gone: Vec<TransformId> = self.sent.keys().filter(|id| !snapshot.transforms.contains_key(id)).cloned().collect();
        if ids.is_empty() && gone.is_empty() && !self.is_first {
            return None;
        }
        let recorder = &self.reader.recorder;
        let recent = ids.iter().filter(|_| self.is_first).filter_map(|(id, _)| recorder.recent(id)).collect();
        let gone_views = gone.iter().map(super::reference).collect();
        let view = FlowView { at: snapshot.at.0, transforms, gone: gone_views, recent };
        let json = serde_json::to_string(&view).expect("plain data");
        self.sent.extend(ids);
        self.sent.retain(|id, _| !gone.contains(id));
        self.is_first = false;
        Some(self.framing.write(None, "flow", &json).into())
    }
}
