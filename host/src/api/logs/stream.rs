//! An answer that goes on: lines as they come, until there were enough, the client leaves, or the host stops.
//!
//! A client that reads slowly is waited for: its place is an offset in the log, and nothing is held for it but one page.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::cluster::{Feed, Looking, Position};
use crate::ports::{LogError, LogRecord};

/// How long one read waits: also how long a stream takes to see that the host stops.
const READ_WAIT: Duration = Duration::from_millis(500);
/// A stream without lines shows that it stands.
const ALIVE: Duration = Duration::from_secs(10);
/// Before a read that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How lines go over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// NDJSON.
    Lines,
    /// Server-sent events.
    Events,
}

/// One JSON object on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub offset: i64,
    pub kind: &'static str,
    pub json: String,
}

/// Where lines come from.
pub struct Source {
    pub feed: Feed,
    pub position: Position,
    /// Makes a line of a record that is one.
    pub line: Box<dyn Fn(LogRecord) -> Option<Line> + Send>,
    /// What is looked at is sampled for as long as this is there.
    pub _looking: Option<Looking>,
}

/// When a stream ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    Gone,
    Had { lines: usize, deadline: Instant },
}

struct Going {
    form: Form,
    source: Source,
    until: Until,
    shutdown: watch::Receiver<bool>,
    said: Instant,
    failing: bool,
}

/// The answer: `first`, then what comes, if the stream is to go on. `turn` is held until it ends.
pub fn respond(
    form: Form,
    first: Vec<Line>,
    source: Source,
    until: Option<Until>,
    shutdown: watch::Receiver<bool>,
    turn: OwnedSemaphorePermit,
) -> Response {
    let content_type = match form {
        Form::Lines => "application/x-ndjson",
        Form::Events => "text/event-stream",
    };
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")];
    let first: Vec<u8> = first.iter().flat_map(|line| form.write(line)).collect();
    let begin = futures::stream::once(async move { Bytes::from(first) });
    let body = match until {
        None => Body::from_stream(begin.map(Ok::<_, Infallible>)),
        Some(until) => {
            let going = Going { form, source, until, shutdown, said: Instant::now(), failing: false };
            let going = begin.chain(going.stream()).map(move |bytes| {
                // Moved in here: the turn is over when the stream is.
                let _turn = &turn;
                Ok::<_, Infallible>(bytes)
            });
            Body::from_stream(going)
        }
    };
    (headers, body).into_response()
}

impl Going {
    fn stream(self) -> impl Stream<Item = Bytes> + Send {
        futures::stream::unfold(Some(self), |going| async move {
            let mut going = going?;
            loop {
                if going.is_over() {
                    return None;
                }
                let (back, read) = going.read().await?;
                going = back;
                if let Some(bytes) = going.take(read).await {
                    return Some((bytes, Some(going)));
                }
            }
        })
    }

    fn is_over(&self) -> bool {
        let had = match self.until {
            Until::Gone => false,
            Until::Had { lines, deadline } => lines == 0 || Instant::now() >= deadline,
        };
        had || *self.shutdown.borrow()
    }

    /// One read, on a thread that may block. `None`: it panicked, which was reported there.
    async fn read(mut self) -> Option<(Self, Result<Vec<Line>, LogError>)> {
        let read = tokio::task::spawn_blocking(move || {
            let Source { feed, position, line, .. } = &mut self.source;
            let found = feed.read(position, READ_WAIT);
            let lines = found.map(|found| found.records.into_iter().filter_map(&*line).collect());
            (self, lines)
        });
        read.await.ok()
    }

    /// What is to be sent now.
    async fn take(&mut self, read: Result<Vec<Line>, LogError>) -> Option<Bytes> {
        let mut lines = match read {
            Ok(lines) => {
                self.failing = false;
                lines
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(topic = %self.source.feed.topic(), %error, "the log of the transforms cannot be read, trying again");
                }
                tokio::time::sleep(RETRY).await;
                Vec::new()
            }
        };
        if let Until::Had { lines: left, .. } = &mut self.until {
            lines.truncate(*left);
            *left -= lines.len();
        }
        if lines.is_empty() {
            if self.said.elapsed() < ALIVE {
                return None;
            }
            self.said = Instant::now();
            return Some(Bytes::from_static(self.form.alive()));
        }
        self.said = Instant::now();
        Some(lines.iter().flat_map(|line| self.form.write(line)).collect::<Vec<u8>>().into())
    }
}

impl Form {
    fn write(self, line: &Line) -> Vec<u8> {
        let Line { offset, kind, json } = line;
        match self {
            Self::Lines => format!("{json}\n").into_bytes(),
            Self::Events => format!("id: {offset}\nevent: {kind}\ndata: {json}\n\n").into_bytes(),
        }
    }

    fn alive(self) -> &'static [u8] {
        match self {
            Self::Lines => b"\n",
            Self::Events => b": alive\n\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_both_forms() {
        let line = Line { offset: 3, kind: "log", json: r#"{"a":1}"#.into() };
        assert_eq!(Form::Lines.write(&line), b"{\"a\":1}\n");
        assert_eq!(Form::Events.write(&line), b"id: 3\nevent: log\ndata: {\"a\":1}\n\n");
    }
}
