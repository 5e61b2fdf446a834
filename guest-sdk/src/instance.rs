//! A transform with its configuration: batch in, columns out. The wasm exports and the test harness both run this.

use crate::bindings::exports::sandbar::transform::transform::Guest;
use crate::bindings::sandbar::transform::types::{Batch, Output as Columns, Setup};
use crate::bindings::ticker::exports::sandbar::transform::ticks;
use crate::{Output, Record, Result, Tick, Ticks, Transform, host, rows};
use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;

/// A transform with its configuration. Only modules that speak the raw columns need it.
pub struct Instance<T: Transform> {
    pub(crate) setup: Setup,
    config: T::Config,
    /// The size of the last batch's output: the next one is likely to need as much.
    data_bytes_last: usize,
}

// === impl Instance ===

impl<T: Transform> Instance<T> {
    /// Reads the configuration, and opens the stores and tables.
    ///
    /// # Errors
    /// Fails if the transform does not take the configuration, or if the spec does not declare a store or a table. The
    /// message is for the author of the spec.
    pub fn new(setup: Setup) -> Result<Self, String> {
        host::open_all::<T>()?;
        let config = serde_json::from_str(&setup.config).map_err(|error| format!("config: {error}"))?;
        Ok(Instance { setup, config, data_bytes_last: 0 })
    }

    /// Transforms a batch.
    ///
    /// # Errors
    /// Fails if the batch contradicts the contract. The failures of single records are in the output.
    pub fn process(&mut self, batch: &Batch) -> Result<Columns, String> {
        rows::check(batch, &self.setup)?;
        host::enter::<T>();
        let mut out = Output::new(batch, &self.setup, self.data_bytes_last);
        for (source, row) in rows::rows(batch, &self.setup).enumerate() {
            out.record(source, |out| T::apply(Record::raw(row), &self.config, out));
        }
        let columns = out.finish();
        self.data_bytes_last = columns.data.len();
        Ok(columns)
    }
}

impl<T: Ticks> Instance<T> {
    /// Runs the tick function for a partition, at a time in ms since the Unix epoch.
    ///
    /// # Errors
    /// The function's own, or a tick that contradicts the contract.
    pub fn tick(&mut self, input: u32, partition: u32, now_ms: i64) -> Result<Columns, String> {
        if input as usize >= self.setup.inputs.len() {
            return Err("the host's tick does not follow the contract of sandbar:transform".to_owned());
        }
        host::enter::<T>();
        let tick = Tick::new(&self.setup, input, partition, now_ms);
        let batch = tick.batch();
        let mut out = Output::new(&batch, &self.setup, 0);
        T::tick(tick, &self.config, &mut out).map_err(|error| error.to_string())?;
        Ok(out.finish())
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

/// The wasm exports of a tick, which only modules with one have.
#[doc(hidden)]
pub struct TickExports<T>(PhantomData<T>);

impl<T: Ticks + 'static> ticks::Guest for TickExports<T> {
    fn tick(at: ticks::Moment) -> Result<Columns, String> {
        INSTANCE.with_borrow_mut(|instance| {
            let instance = instance.as_deref_mut().map(|instance| instance as &mut dyn Any);
            match instance.and_then(|instance| instance.downcast_mut::<Instance<T>>()) {
                Some(instance) => instance.tick(at.input, at.partition, at.now),
                None => Err("the host called `tick` before `init`".to_owned()),
            }
        })
    }
}

/// An instance of any transform: a static cannot be generic.
trait AnyInstance: Any {
    fn process(&mut self, batch: &Batch) -> Result<Columns, String>;
}

impl<T: Transform + 'static> AnyInstance for Instance<T> {
    fn process(&mut self, batch: &Batch) -> Result<Columns, String> {
        Instance::process(self, batch)
    }
}

thread_local! {
    static INSTANCE: RefCell<Option<Box<dyn AnyInstance>>> = const { RefCell::new(None) };
}
