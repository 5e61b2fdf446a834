//! A transform with its configuration: batch in, columns out. The wasm exports and the test harness both run this.

use crate::bindings::exports::sandbar::transform::transform::Guest;
use crate::bindings::sandbar::transform::types::{Batch, Output as Columns, Setup};
use crate::{Output, Record, Result, rows};
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::marker::PhantomData;

/// A transform. [`#[transform]`](crate::transform) implements it, on a type of the function's name.
pub trait Transform {
    /// What the spec's `config` is read as: once for each instance, before its first batch. An error refuses the
    /// configuration.
    type Config: DeserializeOwned;

    /// Transforms one record.
    ///
    /// # Errors
    /// Fail this record alone; what it has sent before is taken back.
    fn apply<'a>(record: Record<'a>, config: &'a Self::Config, out: &mut Output<'_>) -> Result<()>;
}

/// A transform with its configuration. Only modules that speak the raw columns need it.
pub struct Instance<T: Transform> {
    pub(crate) setup: Setup,
    config: T::Config,
    /// The size of the last batch's output: the next one is likely to need as much.
    data_bytes_last: usize,
}

// === impl Instance ===

impl<T: Transform> Instance<T> {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Where it is not what the transform expects; the message is for the user who wrote it.
    pub fn new(setup: Setup) -> Result<Self, String> {
        let config = serde_json::from_str(&setup.config).map_err(|error| format!("config: {error}"))?;
        Ok(Instance { setup, config, data_bytes_last: 0 })
    }

    /// Transforms a batch.
    ///
    /// # Errors
    /// Where the batch contradicts the contract. What a record fails with is among the output's failures.
    pub fn process(&mut self, batch: &Batch) -> Result<Columns, String> {
        rows::check(batch, &self.setup)?;
        let mut out = Output::new(batch, &self.setup, self.data_bytes_last);
        for (source, row) in rows::rows(batch, &self.setup).enumerate() {
            out.record(source, |out| T::apply(Record::raw(row), &self.config, out));
        }
        let columns = out.finish();
        self.data_bytes_last = columns.data.len();
        Ok(columns)
    }
}

/// The wasm exports of a transform.
#[doc(hidden)]
pub struct Exports<T>(PhantomData<T>);

impl<T: Transform + 'static> Guest for Exports<T> {
    fn init(setup: Setup) -> Result<(), String> {
        crate::log::log_panics();
        let instance = Instance::<T>::new(setup)?;
        INSTANCE.set(Some(Box::new(instance)));
        Ok(())
    }

    fn process(batch: Batch) -> Result<Columns, String> {
        INSTANCE.with_borrow_mut(|instance| match instance {
            Some(instance) => instance.process(&batch),
            None => Err("the host called `process` before `init`".to_owned()),
        })
    }
}

/// An instance of any transform: a static cannot be generic.
trait AnyInstance {
    fn process(&mut self, batch: &Batch) -> Result<Columns, String>;
}

impl<T: Transform> AnyInstance for Instance<T> {
    fn process(&mut self, batch: &Batch) -> Result<Columns, String> {
        Instance::process(self, batch)
    }
}

thread_local! {
    static INSTANCE: RefCell<Option<Box<dyn AnyInstance>>> = const { RefCell::new(None) };
}
