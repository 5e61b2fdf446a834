//! The framing of a streaming answer: one JSON object on each line, or server-sent events.

use std::time::Duration;

use axum::http::{HeaderMap, header};

/// Time after which a stream without lines sends a sign of life: clients take 30 s of silence for a broken connection.
pub const ALIVE: Duration = Duration::from_secs(10);

/// The framing of lines in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// NDJSON.
    Lines,
    /// Server-sent events.
    Events,
}

impl Framing {
    /// The framing that a request asks for.
    pub fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("text/event-stream") { Self::Events } else { Self::Lines }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    /// Frames one JSON object. With an `id`, a client of events can come back to it.
    pub fn write(self, id: Option<i64>, kind: &str, json: &str) -> Vec<u8> {
        match (self, id) {
            (Self::Lines, _) => format!("{json}\n").into_bytes(),
            (Self::Events, Some(id)) => format!("id: {id}\nevent: {kind}\ndata: {json}\n\n").into_bytes(),
            (Self::Events, None) => format!("event: {kind}\ndata: {json}\n\n").into_bytes(),
        }
    }

    /// A sign of life.
    pub fn alive(self) -> &'static [u8] {
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
        assert_eq!(Framing::Lines.write(Some(3), "log", r#"{"a":1}"#), b"{\"a\":1}\n");
        assert_eq!(Framing::Events.write(Some(3), "log", r#"{"a":1}"#), b"id: 3\nevent: log\ndata: {\"a\":1}\n\n");
        assert_eq!(Framing::Events.write(None, "flow", "{}"), b"event: flow\ndata: {}\n\n");
    }
}
