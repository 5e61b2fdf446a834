//! An answer that goes on: lines as they come, until there were enough, the client leaves, or the host stops.
//!
//! A client that reads slowly is waited for: its place is an offset in the log, and nothing is held for it but one page.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::Stream;
use tokio::sync::watch;

use crate::cluster::{LogTopic, Position, TailSubscription};
use crate::ports::{LogError, LogRecord};

use super::follows::Turn;

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
    pub feed: LogTopic,
    pub position: Position,
    /// Makes a line of a record that is one.
    pub line: Box<dyn Fn(LogRecord) -> Option<Line> + Send>,
    /// Given back when the stream ends.
    pub _turn: Turn,
    /// What is looked at is sampled for as long as this is there.
    pub _looking: Option<TailSubscription>,
}

/// When a stream ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    Gone,
    /// There were so many lines, or it is time.
    Had {
        lines: usize,
        deadline: Instant,
    },
    /// The stream has come so far in the log. It breaks off where it finds no line for so long.
    End {
        offset: i64,
        search_time: Duration,
    },
}

/// The reasons for which a stream breaks off: its client must not take a part for the whole.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("there is more to look through than there was time for (logs_time)")]
    Time,
}

struct Going {
    form: Form,
    source: Source,
    until: Until,
    shutdown: watch::Receiver<bool>,
    said: Instant,
    failing: bool,
    /// Time of reads since the last line.
    searched: Duration,
}

/// Answers with the lines from the source's position on.
pub fn respond(form: Form, source: Source, until: Until, shutdown: watch::Receiver<bool>) -> Response {
    let content_type = match form {
        Form::Lines => "application/x-ndjson",
        Form::Events => "text/event-stream",
    };
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")];
    let said = Instant::now();
    let searched = Duration::ZERO;
    let going = Going { form, source, until, shutdown, said, failing: false, searched };
    (headers, Body::from_stream(going.stream())).into_response()
}

impl Going {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
        futures::stream::unfold(Some(self), |going| async move {
            let mut going = going?;
            loop {
                if going.is_over() {
                    return None;
                }
                let (back, read) = going.read().await?;
                going = back;
                match going.take(read).await {
                    Ok(None) => {}
                    Ok(Some(bytes)) => return Some((Ok(bytes), Some(going))),
                    Err(broken) => return Some((Err(broken), None)),
                }
            }
        })
    }

    fn is_over(&self) -> bool {
        let had = match self.until {
            Until::Gone => false,
            Until::Had { lines, deadline } => lines == 0 || Instant::now() >= deadline,
            Until::End { offset, .. } => self.source.position.offset() >= offset,
        };
        had || *self.shutdown.borrow()
    }

    /// One read, on a thread that may block. `None`: it panicked, which was reported there.
    async fn read(mut self) -> Option<(Self, Result<Vec<Line>, LogError>)> {
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
    async fn take(&mut self, read: Result<Vec<Line>, LogError>) -> Result<Option<Bytes>, Broken> {
        let mut lines = match (read, self.until) {
            (Ok(lines), _) => {
                self.failing = false;
                lines
            }
            // What ends is not waited for.
            (Err(error), Until::End { .. }) => return Err(error.into()),
            (Err(error), _) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(topic = %self.source.feed.topic(), %error, "the log of the transforms cannot be read, trying again");
                }
                tokio::time::sleep(RETRY).await;
                Vec::new()
            }
        };
        match &mut self.until {
            Until::Had { lines: left, .. } => {
                lines.truncate(*left);
                *left -= lines.len();
            }
            // Newer ones are not asked for.
            Until::End { offset, .. } => lines.retain(|line| line.offset < *offset),
            Until::Gone => {}
        }
        if lines.is_empty() {
            return self.without_lines();
        }
        (self.said, self.searched) = (Instant::now(), Duration::ZERO);
        Ok(Some(lines.iter().flat_map(|line| self.form.write(line)).collect::<Vec<u8>>().into()))
    }

    fn without_lines(&mut self) -> Result<Option<Bytes>, Broken> {
        if let Until::End { offset, search_time } = self.until
            && self.searched > search_time
            && self.source.position.offset() < offset
        {
            return Err(Broken::Time);
        }
        if self.said.elapsed() < ALIVE {
            return Ok(None);
        }
        self.said = Instant::now();
        Ok(Some(Bytes::from_static(self.form.alive())))
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
