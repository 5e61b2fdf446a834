//! The records of a test: its input, and the outcome of a run.

use serde::Serialize;
use serde_json::Value;

/// An input record: by default with a null key, no headers and no timestamp.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is null.
    pub value: Option<Vec<u8>>,
    /// Names and values; a value of `None` is null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The timestamp in ms since the Unix epoch.
    pub timestamp_ms: Option<i64>,
}

/// A message that a transform has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// The alias of the message's output.
    pub output: String,
    /// The index of the input record that caused the message.
    pub source: usize,
    /// The key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is null.
    pub value: Option<Vec<u8>>,
    /// Names and values; a value of `None` is null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The timestamp in ms since the Unix epoch: the message's own, or that of the input record.
    pub timestamp_ms: Option<i64>,
    /// The number of bytes that the transform has written. Bytes of the input do not count.
    pub bytes_written: usize,
}

/// An input record that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The index of the record.
    pub source: usize,
    /// The reason.
    pub message: String,
}

/// The outcome of a batch of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The messages, in the order in which they were sent.
    pub messages: Vec<SentMessage>,
    /// The records that failed, in the order of the input.
    pub failures: Vec<Failure>,
}

// === impl Input ===

impl Input {
    /// A record of this value.
    pub fn bytes(value: impl Into<Vec<u8>>) -> Self {
        Input { value: Some(value.into()), ..Input::default() }
    }

    /// A record of this value.
    pub fn text(value: &str) -> Self {
        Input::bytes(value)
    }

    /// A record of this value in JSON.
    ///
    /// # Panics
    /// Panics if the value refuses to be serialised.
    pub fn json(value: &impl Serialize) -> Self {
        Input::bytes(serde_json::to_vec(value).expect("a test's value can be serialised"))
    }

    /// A record of a null value.
    pub fn tombstone() -> Self {
        Input::default()
    }

    /// Sets the key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header; a value of `None` is null.
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }

    /// Sets the timestamp, in ms since the Unix epoch.
    pub fn timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

// === impl SentMessage ===

impl SentMessage {
    /// The value as text.
    ///
    /// # Panics
    /// Panics if the value is null or no UTF-8.
    pub fn text(&self) -> &str {
        str::from_utf8(self.value.as_deref().expect("the value is null")).expect("the value is no UTF-8")
    }

    /// The value as JSON.
    ///
    /// # Panics
    /// Panics if the value is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.text()).expect("the value is no JSON")
    }
}
