//! One instance of a module, for one task: its store, its calls, and the crossing of a batch.

use std::time::Instant;

use wasmtime::{Store, UpdateDeadline};

use super::bindings::ticker::Ticker;
use super::bindings::ticker::exports::sandbar::transform::ticks;
use super::bindings::transformer::sandbar::transform::types;
use super::bindings::transformer::{Transformer, TransformerPre};
use super::budget::Share;
use super::context::{Context, HANDLES_MAX};
use super::engine::Engine;
use super::epoch_clock::{EpochClock, RunningCall};
use super::error::TEXT_BYTES_MAX;
use super::settings::{LIFTED_RECORDS, Settings};
use super::trap::{guest_error, no_memory};
use crate::model::batch::{Batch, Failure, Output, TICK_ROWS};
use crate::model::names::TopicName;
use crate::model::text::brief;
use crate::ports::{Call, Guest, GuestError};
use crate::secrets::SecretValues;
use crate::state::KeyedState;

/// Messages of all failures of one call together, in bytes; those that come after are cut to nothing.
const FAILURE_TEXT_BYTES_MAX: usize = 256 << 10;

/// Ticks of the engine's clock between two looks at the deadline of a call.
const EPOCHS: u64 = 1;

/// Fields are dropped in order: the address space is given back after the store has left it.
pub(super) struct Instance {
    store: Store<Context>,
    module: Transformer,
    ticker: Option<Ticker>,
    clock: EpochClock,
    _address_space: Share,
}

impl Instance {
    /// Instantiates a module and runs its `init`. Every limit is set before anything of the guest is in the store.
    pub fn new(
        engine: &Engine,
        module: &TransformerPre<Context>,
        context: Context,
        address_space: Share,
    ) -> Result<Self, GuestError> {
        let settings = context.settings.clone();
        let mut store = Store::new(&engine.engine, context);
        store.limiter(|context| context);
        store.epoch_deadline_callback(|mut store| {
            let context = store.data_mut();
            context.out_of_time = context.deadline.check();
            Ok(if context.out_of_time.is_some() { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(EPOCHS) })
        });
        store.set_max_component_handles(HANDLES_MAX as usize);
        let clock = engine.clock.clone();
        let running = begin_call(&mut store, &clock, 0, None);
        let made = module.instance_pre().instantiate(&mut store).and_then(|instance| {
            let module = Transformer::new(&mut store, &instance)?;
            let ticker = settings.has_tick.then(|| Ticker::new(&mut store, &instance)).transpose()?;
            Ok((module, ticker))
        });
        let (module, ticker) = made.map_err(|error| guest_error(store.data(), &error))?;
        drop(running);
        let mut instance = Self { store, module, ticker, clock, _address_space: address_space };
        instance.init(&settings)?;
        Ok(instance)
    }

    fn init(&mut self, settings: &Settings) -> Result<(), GuestError> {
        let _running = begin_call(&mut self.store, &self.clock, 0, None);
        let inputs: Vec<&str> = settings.inputs.iter().map(TopicName::as_str).collect();
        let outputs: Vec<&str> = settings.outputs.iter().map(String::as_str).collect();
        let secrets = self.store.data().secrets.clone();
        let config = if settings.secrets.is_empty() { settings.config.clone() } else { secrets.fill(&settings.config) };
        let setup = types::Setup { config: &config, inputs: &inputs, outputs: &outputs };
        let interface = self.module.sandbar_transform_transform();
        match interface.call_init(&mut self.store, setup) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(message)) => Err(GuestError::Init(self.store.data().text(&message))),
            Err(error) => Err(guest_error(self.store.data(), &error)),
        }
    }

    /// Makes a call of the guest, with the state of its partition.
    fn call(
        &mut self,
        place: Call,
        records: usize,
        state: &mut KeyedState,
        call: impl FnOnce(&mut Self) -> wasmtime::Result<Result<types::Output, String>>,
    ) -> Result<Output, GuestError> {
        let _running = begin_call(&mut self.store, &self.clock, records, place.ends_at);
        self.store.data_mut().now = place.now;
        std::mem::swap(&mut self.store.data_mut().state, state);
        let result = call(self);
        std::mem::swap(&mut self.store.data_mut().state, state);
        match result {
            Err(error) => Err(guest_error(self.store.data(), &error)),
            // A guest that goes on without the memory may give another output than with it.
            Ok(result) => match (&self.store.data().memory.refused_by_host, result) {
                (Some(reason), _) => Err(no_memory(reason)),
                (None, Ok(output)) => Ok(from_guest(output, &self.store.data().secrets)),
                (None, Err(message)) => Err(GuestError::Returned(self.store.data().text(&message))),
            },
        }
    }
}

/// Sets the limits of a call: its time, and the bytes that it may return with the outputs of `records`. Its time is watched
/// until the answer is dropped.
fn begin_call(store: &mut Store<Context>, clock: &EpochClock, records: usize, ends_at: Option<Instant>) -> RunningCall {
    let context = store.data_mut();
    context.begin_call(records, ends_at);
    let lifted_bytes_max = context.lifted_bytes_max;
    store.set_hostcall_fuel(lifted_bytes_max);
    store.set_epoch_deadline(EPOCHS);
    clock.begin_call()
}

impl Guest for Instance {
    fn process(&mut self, batch: &Batch, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        let columns = types::Batch {
            input: call.partition.input,
            partition: u32::try_from(call.partition.partition).unwrap_or(0),
            now: call.now.0,
            first_offset: batch.first_offset,
            offset_deltas: &batch.offset_deltas,
            timestamps: &batch.timestamps,
            data: &batch.data,
            keys: &batch.keys,
            values: &batch.values,
            header_counts: &batch.header_counts,
            headers: &batch.headers,
        };
        self.call(call, LIFTED_RECORDS, state, |instance| {
            instance.module.sandbar_transform_transform().call_process(&mut instance.store, columns)
        })
    }

    fn tick(&mut self, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        let partition = u32::try_from(call.partition.partition).unwrap_or(0);
        let moment = ticks::Moment { input: call.partition.input, partition, now: call.now.0 };
        self.call(call, TICK_ROWS as usize, state, |instance| match &instance.ticker {
            Some(ticker) => ticker.sandbar_transform_ticks().call_tick(&mut instance.store, moment),
            None => wasmtime::bail!("the spec has no tick"),
        })
    }

    fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }

    fn is_outdated(&self) -> bool {
        self.store.data().secrets.have_changed()
    }
}

fn from_guest(output: types::Output, secrets: &SecretValues) -> Output {
    let mut text_bytes = FAILURE_TEXT_BYTES_MAX;
    let failures = output.failures.into_iter().map(|failure| {
        let bytes_max = TEXT_BYTES_MAX.min(text_bytes);
        let message = brief(secrets.redact(&failure.message, bytes_max), bytes_max);
        text_bytes = text_bytes.saturating_sub(message.len());
        Failure { row: failure.row, message }
    });
    Output {
        data: output.data,
        targets: output.targets,
        sources: output.sources,
        timestamps: output.timestamps,
        keys: output.keys,
        values: output.values,
        header_counts: output.header_counts,
        headers: output.headers,
        failures: failures.collect(),
    }
}
