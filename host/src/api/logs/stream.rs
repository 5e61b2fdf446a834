//! A streaming answer: it sends lines as they are written, until it has sent enough, the client leaves, or the host stops.
//!
//! A slow client is waited for: its position is an offset in the log, and the host holds only one page for it.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::Stream;
use tokio::sync::watch;

use crate::cluster::{LogPosition, LogTopic, TailSubscription};
use crate::ports::{LogError, LogRecord};

use super::super::follow_permits::FollowPermit;
use super::super::framing::{ALIVE, Framing};

/// Longest wait of one read: also the time after which a stream sees that the host stops.
const READ_WAIT: Duration = Duration::from_millis(500);
/// Pause before a failed read is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// One JSON object on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLine {
    pub offset: i64,
    pub kind: &'static str,
    pub json: String,
}

/// The source of lines.
pub struct Source {
    pub feed: LogTopic,
    pub position: LogPosition,
    /// Makes a line of a record, if the record is one.
    pub line: Box<dyn Fn(LogRecord) -> Option<StreamLine> + Send>,
    /// Given back when the stream ends.
    pub _permit: FollowPermit,
    /// Hosts sample the transform while the subscription lives.
    pub _subscription: Option<TailSubscription>,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// The client leaves.
    Client,
    /// After a number of lines, or at a time.
    Lines { left: usize, deadline: Instant },
    /// At an offset in the log. The stream breaks off if it finds no line for `search_time`.
    Offset { offset: i64, search_time: Duration },
}

/// The reasons for which a stream breaks off: its client must not take a part for the whole.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("there is more to look through than there was time for (logs_time)")]
    Time,
}

/// A stream while it is sent.
struct LineStream {
    framing: Framing,
    source: Source,
    end: End,
    shutdown: watch::Receiver<bool>,
    /// The time of the last line or sign of life.
    sent_at: Instant,
    /// True after a read that failed.
    failing: bool,
    /// The time of all reads since the last line.
    searched: Duration,
}

/// Answers with the lines from the source's position on.
pub fn respond(framing: Framing, source: Source, end: End, shutdown: watch::Receiver<bool>) -> Response {
    let headers = [(header::CONTENT_TYPE, framing.content_type()), (header::CACHE_CONTROL, "no-store")];
    let sent_at = Instant::now();
    let lines = LineStream { framing, source, end, shutdown, sent_at, failing: false, searched: Duration::ZERO };
    (headers, Body::from_stream(lines.stream())).into_response()
}

// === impl LineStream ===

impl LineStream {
    fn stream(self) -> impl Stream<Item = Result<Bytes, StreamError>> + Send {
        futures::stream::unfold(Some(self), |lines| async move {
            let mut lines = lines?;
            loop {
                if lines.is_over() {
                    return None;
                }
                let (back, read) = lines.read().await?;
                lines = back;
                match lines.take(read).await {
                    Ok(None) => {}
                    Ok(Some(bytes)) => return Some((Ok(bytes), Some(lines))),
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })
    }

    fn is_over(&self) -> bool {
        let is_complete = match self.end {
            End::Client => false,
            End::Lines { left, deadline } => left == 0 || Instant::now() >= deadline,
            End::Offset { offset, .. } => self.source.position.offset() >= offset,
        };
        is_complete || *self.shutdown.borrow()
    }

    /// Reads once, on a thread that may block. Returns `None` after a panic, which was reported there.
    async fn read(mut self) -> Option<(Self, Result<Vec<StreamLine>, LogError>)> {
        let read = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let Source { feed, position, line, .. } = &mut self.source;
            let found = feed.read(position, READ_WAIT);
            let lines = found.map(|found| found.records.into_iter().filter_map(&*line).collect());
            self.searched += started.elapsed();
            (self, lines)
        });
        read.await.ok()
    }

    /// Turns a read into the bytes to be sent now.
    async fn take(&mut self, read: Result<Vec<StreamLine>, LogError>) -> Result<Option<Bytes>, StreamError> {
        let mut lines = match (read, self.end) {
            (Ok(lines), _) => {
                self.failing = false;
                lines
            }
            // A stream that ends at an offset does not wait.
            (Err(error), End::Offset { .. }) => return Err(error.into()),
            (Err(error), _) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(topic = %self.source.feed.topic(), %error, "the log of the transforms cannot be read, trying again");
                }
                tokio::time::sleep(RETRY).await;
                Vec::new()
            }
        };
        match &mut self.end {
            End::Lines { left, .. } => {
                lines.truncate(*left);
                *left -= lines.len();
            }
            // The request does not ask for newer lines.
            End::Offset { offset, .. } => lines.retain(|line| line.offset < *offset),
            End::Client => {}
        }
        if lines.is_empty() {
            return self.without_lines();
        }
        self.sent_at = Instant::now();
        self.searched = Duration::ZERO;
        Ok(Some(self.write(&lines).into()))
    }

    fn write(&self, lines: &[StreamLine]) -> Vec<u8> {
        let framed = |line: &StreamLine| self.framing.write(Some(line.offset), line.kind, &line.json);
        lines.iter().flat_map(framed).collect()
    }

    fn without_lines(&mut self) -> Result<Option<Bytes>, StreamError> {
        if let End::Offset { offset, search_time } = self.end
            && self.searched > search_time
            && self.source.position.offset() < offset
        {
            return Err(StreamError::Time);
        }
        if self.sent_at.elapsed() < ALIVE {
            return Ok(None);
        }
        self.sent_at = Instant::now();
        Ok(Some(Bytes::from_static(self.framing.alive())))
    }
}
