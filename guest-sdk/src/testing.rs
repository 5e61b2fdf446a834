//! Runs transforms in plain unit tests, without wasm and without a host.
//!
//! Records pass through the same columns as in a module, so a test sees what the host would see.
//!
//! ```
//! use sandbar_sdk::prelude::*;
//! use sandbar_sdk::testing::{Harness, Input, json};
//!
//! /// Sends orders without a number to the output "bad".
//! #[transform]
//! fn route(order: Record<'_, Json<Order>>) -> Message<'_> {
//!     order.forward().to(if order.value.id == 0 { "bad" } else { "good" })
//! }
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     id: u64,
//! }
//!
//! # fn main() {
//! let mut route = Harness::<route>::new(json!({})).outputs(["good", "bad"]);
//! let outcome = route.run([Input::json(&json!({"id": 0})).key("k"), Input::text("no JSON")]);
//! assert_eq!(outcome.messages[0].output, "bad");
//! assert_eq!(outcome.failures[0].message, "value: expected ident at line 1 column 2");
//! # }
//! ```

mod columns;

use crate::bindings::sandbar::transform::types::{Batch, Setup};
use crate::{Instance, Record, Transform, rows};
use serde::Serialize;

pub use serde_json::{Value, json};

/// An input record: by default with a null key, no headers and no timestamp.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is null.
    pub value: Option<Vec<u8>>,
    /// Names and values; a value of `None` is null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// In ms since the Unix epoch.
    pub timestamp_ms: Option<i64>,
}

/// A message that a transform has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The alias of the output that it is for.
    pub output: String,
    /// The index of the input record that it comes from.
    pub source: usize,
    /// The key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is null.
    pub value: Option<Vec<u8>>,
    /// Names and values; a value of `None` is null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// In ms since the Unix epoch: its own, or that of the input record.
    pub timestamp_ms: Option<i64>,
    /// How many of its bytes the transform has written; those that come from the input count nothing.
    pub bytes_written: usize,
}

/// An input record that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its index.
    pub source: usize,
    /// Why.
    pub message: String,
}

/// What a batch of records became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The messages, in the order in which they were sent.
    pub messages: Vec<Sent>,
    /// The records that failed, in the order of the input.
    pub failures: Vec<Failed>,
}

/// A transform under test, with its configuration. By default it reads the topic "input" and writes the output
/// "output"; offsets count from 0 over all runs, and its clock stands at 0.
pub struct Harness<T: Transform> {
    instance: Instance<T>,
    input: u32,
    partition: u32,
    now_ms: i64,
    offset_next: i64,
}

// === impl Harness ===

impl<T: Transform> Harness<T> {
    /// Reads the configuration as a module does.
    ///
    /// # Panics
    /// Where the transform refuses it: [`Harness::try_new`] tells instead.
    pub fn new(config: impl Serialize) -> Self {
        Self::try_new(config).unwrap_or_else(|message| panic!("the transform refuses its configuration: {message}"))
    }

    /// Reads the configuration as a module does.
    ///
    /// # Errors
    /// Where the transform refuses it.
    pub fn try_new(config: impl Serialize) -> Result<Self, String> {
        let config = serde_json::to_string(&config).map_err(|error| error.to_string())?;
        let instance = Instance::new(setup(config))?;
        Ok(Harness { instance, input: 0, partition: 0, now_ms: 0, offset_next: 0 })
    }

    /// Sets the topics that it reads.
    pub fn inputs<S: Into<String>>(mut self, topics: impl IntoIterator<Item = S>) -> Self {
        self.instance.setup.inputs = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the aliases of its outputs.
    pub fn outputs<S: Into<String>>(mut self, aliases: impl IntoIterator<Item = S>) -> Self {
        self.instance.setup.outputs = aliases.into_iter().map(Into::into).collect();
        self
    }

    /// The following runs read this partition of the topic at this index.
    pub fn read_from(&mut self, input: usize, partition: u32) -> &mut Self {
        (self.input, self.partition) = (input as u32, partition);
        self
    }

    /// Sets the clock, in ms since the Unix epoch.
    pub fn set_now(&mut self, now_ms: i64) -> &mut Self {
        self.now_ms = now_ms;
        self
    }

    /// Transforms the records, as one batch.
    ///
    /// # Panics
    /// Where the transform does, or where its output contradicts the contract.
    pub fn run(&mut self, records: impl IntoIterator<Item = Input>) -> Outcome {
        let mut batch = columns::encode(records);
        (batch.input, batch.partition, batch.now) = (self.input, self.partition, self.now_ms);
        batch.first_offset = self.offset_next;
        self.offset_next += batch.offset_deltas.len() as i64;
        let output = self.instance.process(&batch).expect("the batch has been encoded as the contract says");
        columns::decode(&batch, &output, &self.instance.setup.outputs)
    }
}

/// Records to call a transform's function with: `slim(records.get(0).typed()?, &config)`.
pub struct Records {
    setup: Setup,
    batch: Batch,
}

// === impl Records ===

impl Records {
    /// A batch of these records, of partition 0 of the topic "input".
    pub fn new(records: impl IntoIterator<Item = Input>) -> Self {
        Records { setup: setup("{}".to_owned()), batch: columns::encode(records) }
    }

    /// The record at `index`; [`Record::typed`] reads its value.
    ///
    /// # Panics
    /// Where there are fewer.
    pub fn get(&self, index: usize) -> Record<'_> {
        Record::raw(rows::rows(&self.batch, &self.setup).nth(index).expect("there are more records than `index`"))
    }
}

fn setup(config: String) -> Setup {
    Setup { config, inputs: vec!["input".to_owned()], outputs: vec!["output".to_owned()] }
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
    /// Where it refuses to be serialised.
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

// === impl Sent ===

impl Sent {
    /// The value as text.
    ///
    /// # Panics
    /// Where it is null or no UTF-8.
    pub fn text(&self) -> &str {
        str::from_utf8(self.value.as_deref().expect("the value is null")).expect("the value is no UTF-8")
    }

    /// The value as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.text()).expect("the value is no JSON")
    }
}
