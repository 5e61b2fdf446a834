//! Runs transforms in plain unit tests, without wasm and without a host.
//!
//! Records pass through the same columns as in a module, so that a test sees the host's view.
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
mod data;

use crate::bindings::sandbar::transform::types::{Batch, Setup};
use crate::host::memory::{self, Memory};
use crate::value::read_json;
use crate::{Instance, Key, Record, Ticks, Transform, host, rows};
use sandbar_table::Rows;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub use data::{Failure, Input, Outcome, SentMessage};
pub use serde_json::{Value, json};

/// A transform under test, with its configuration. By default it reads the topic "input" and writes the output
/// "output"; offsets count from 0 over all runs, and its clock stands at 0.
///
/// Its stores are in memory, for each partition number their own, and keep the writes of all runs. By default the spec
/// declares the stores that the attribute names; its tables are empty.
///
/// A run is all or nothing, like on a host: if records have failed and state was written, the harness takes back all of
/// the run and runs its records again one by one, so that only the writes of the failed ones are missing.
pub struct Harness<T: Transform> {
    instance: Instance<T>,
    memory: Rc<RefCell<Memory>>,
    input: u32,
    now_ms: i64,
    offset_next: i64,
}

// === impl Harness ===

impl<T: Transform> Harness<T> {
    /// Reads the configuration as a module does.
    ///
    /// # Panics
    /// Panics if the transform refuses the configuration. [`Harness::try_new`] returns the error instead.
    pub fn new(config: impl Serialize) -> Self {
        Self::try_new(config).unwrap_or_else(|message| panic!("the transform refuses its configuration: {message}"))
    }

    /// Reads the configuration as a module does.
    ///
    /// # Errors
    /// Fails if the transform refuses the configuration.
    pub fn try_new(config: impl Serialize) -> Result<Self, String> {
        let config = serde_json::to_string(&config).map_err(|error| error.to_string())?;
        let memory = Rc::new(RefCell::new(Memory::default()));
        memory.borrow_mut().declared = T::STORES.iter().map(|&name| name.to_owned()).collect();
        memory.borrow_mut().tables = T::TABLES.iter().map(|&name| (name.to_owned(), Rows::default())).collect();
        let instance = memory::within(&memory, || Instance::new(setup(config)))?;
        Ok(Harness { instance, memory, input: 0, now_ms: 0, offset_next: 0 })
    }

    /// Sets the input topics.
    pub fn inputs<S: Into<String>>(mut self, topics: impl IntoIterator<Item = S>) -> Self {
        self.instance.setup.inputs = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the aliases of the outputs.
    pub fn outputs<S: Into<String>>(mut self, aliases: impl IntoIterator<Item = S>) -> Self {
        self.instance.setup.outputs = aliases.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the stores that the spec declares.
    ///
    /// # Panics
    /// Panics if a store of the attribute is missing: a host would refuse the deployment.
    pub fn stores<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Self {
        self.memory.borrow_mut().declared = names.into_iter().map(Into::into).collect();
        memory::within(&self.memory, host::open_all::<T>)
            .unwrap_or_else(|message| panic!("the transform refuses its spec: {message}"));
        self
    }

    /// Sets the entries of a table, by the keys of its topic. As on a host, a key is found by what it says: in JSON with
    /// other spaces, with its columns in another order, with a schema around it.
    ///
    /// # Panics
    /// Panics if two keys say the same: a host would refuse the table.
    pub fn table<K: Into<Vec<u8>>, V: Into<Vec<u8>>>(self, name: &str, entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut rows = Rows::default();
        for (key, value) in entries {
            rows.put(&key.into(), Some(&value.into()), 0);
        }
        settle(name, &mut rows);
        self.memory.borrow_mut().tables.insert(name.to_owned(), rows);
        self
    }

    /// Changes one entry of a table, as a record of its topic would; a value of `None` deletes it.
    ///
    /// # Panics
    /// Panics if the table has the key in another spelling: a host would refuse the table.
    pub fn set_table_entry(&mut self, name: &str, key: impl Into<Vec<u8>>, value: Option<Vec<u8>>) -> &mut Self {
        let mut memory = self.memory.borrow_mut();
        let rows = memory.tables.entry(name.to_owned()).or_default();
        rows.put(&key.into(), value.as_deref(), 0);
        settle(name, rows);
        drop(memory);
        self
    }

    /// The entries of a store of the partition, as the host keeps them.
    pub fn state(&self, store: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.memory.borrow().entries(store)
    }

    /// The entries of a store of the partition, in the order of their keys' bytes.
    ///
    /// # Panics
    /// Panics if a key is no `K`, or a value no `V`.
    pub fn entries<K: Key + ?Sized, V: DeserializeOwned>(&self, store: &str) -> Vec<(K::Owned, V)> {
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let value = read_json(&value).expect("the store has values of the type that is asked for");
            (K::from_bytes(&key).expect("the store has keys of the type that is asked for"), value)
        };
        self.state(store).into_iter().map(read).collect()
    }

    /// Runs `call` with the stores and tables of the transform, to call its functions without the columns, or to put
    /// state there before a run. The writes of `call` stay.
    pub fn within<R>(&mut self, call: impl FnOnce() -> R) -> R {
        host::enter::<T>();
        let returned = memory::within(&self.memory, call);
        self.memory.borrow_mut().keep();
        returned
    }

    /// The following runs read this partition of the topic at this index, and see its stores.
    pub fn read_from(&mut self, input: usize, partition: u32) -> &mut Self {
        self.input = input as u32;
        self.memory.borrow_mut().partition = partition;
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
    /// Panics if the transform panics, or if its output contradicts the contract.
    pub fn run(&mut self, records: impl IntoIterator<Item = Input>) -> Outcome {
        let records: Vec<Input> = records.into_iter().collect();
        let offset = self.offset_next;
        self.offset_next += records.len() as i64;
        // A run that panicked may have left writes.
        self.memory.borrow_mut().take_back();
        let outcome = self.process(&records, offset);
        if outcome.failures.is_empty() || !self.memory.borrow().has_written() {
            self.memory.borrow_mut().keep();
            return outcome;
        }
        self.memory.borrow_mut().take_back();
        let mut outcome = Outcome::default();
        for (source, record) in records.iter().enumerate() {
            let one = self.process(std::slice::from_ref(record), offset + source as i64);
            if one.failures.is_empty() {
                self.memory.borrow_mut().keep()
            } else {
                self.memory.borrow_mut().take_back()
            }
            outcome.messages.extend(one.messages.into_iter().map(|sent| SentMessage { source, ..sent }));
            outcome.failures.extend(one.failures.into_iter().map(|failed| Failure { source, ..failed }));
        }
        outcome
    }

    /// One call, whose writes can be taken back.
    fn process(&mut self, records: &[Input], offset: i64) -> Outcome {
        let mut batch = columns::encode(records);
        (batch.input, batch.partition, batch.now) = (self.input, self.memory.borrow().partition, self.now_ms);
        batch.first_offset = offset;
        let output = memory::within(&self.memory, || self.instance.process(&batch));
        let output = output.expect("the batch has been encoded as the contract says");
        columns::decode(&batch, &output, &self.instance.setup.outputs)
    }
}

impl<T: Ticks> Harness<T> {
    /// Sets the clock, in ms since the Unix epoch, and calls the tick function for the partition of
    /// [`Harness::read_from`]. An error is the failure of row 0, and takes back its messages and writes.
    ///
    /// # Panics
    /// Panics if the function panics, or if its output contradicts the contract.
    pub fn tick(&mut self, now_ms: i64) -> Outcome {
        self.now_ms = now_ms;
        let partition = self.memory.borrow().partition;
        self.memory.borrow_mut().take_back();
        let output = memory::within(&self.memory, || self.instance.tick(self.input, partition, now_ms));
        match output {
            Ok(output) => {
                self.memory.borrow_mut().keep();
                let batch = columns::tick(now_ms);
                columns::decode(&batch, &output, &self.instance.setup.outputs)
            }
            Err(message) => {
                self.memory.borrow_mut().take_back();
                Outcome { messages: Vec::new(), failures: vec![Failure { source: 0, message }] }
            }
        }
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
        let records: Vec<Input> = records.into_iter().collect();
        Records { setup: setup("{}".to_owned()), batch: columns::encode(&records) }
    }

    /// The record at `index`; [`Record::typed`] reads its value.
    ///
    /// # Panics
    /// Panics if there are fewer records.
    pub fn get(&self, index: usize) -> Record<'_> {
        Record::raw(rows::rows(&self.batch, &self.setup).nth(index).expect("there are more records than `index`"))
    }
}

fn settle(name: &str, rows: &mut Rows) {
    rows.settle().unwrap_or_else(|refused| panic!("the host refuses the table {name:?}: {refused}"));
}

fn setup(config: String) -> Setup {
    Setup { config, inputs: vec!["input".to_owned()], outputs: vec!["output".to_owned()] }
}
