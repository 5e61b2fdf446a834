//! One instance of a module, for one task: its store, its limits, and the crossing of a batch.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, InstancePre};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use super::address_space::Reservation;
use super::bindings::sandbar::transform::types;
use super::bindings::{Transformer, TransformerPre};
use super::check::Surface;
use super::deadline::Deadline;
use super::engine::{Engine, TICK};
use super::error::{TEXT_BYTES_MAX, classed, root_text, text};
use super::imports::HANDLES_MAX;
use super::memory::Memory;
use super::settings::{LIFTED_RECORDS, Settings};
use super::structure::Footprint;
use super::ticker::Ticker;
use super::ticker::exports::sandbar::transform::ticks;
use super::worlds::WORLDS;
use crate::model::batch::{Batch, Failure, Output, TICK_ROWS};
use crate::model::module::ModuleError;
use crate::model::names::TopicName;
use crate::model::text::brief;
use crate::model::units::Timestamp;
use crate::ports::{Call, Guest, GuestError, GuestFactory, Table, TrapKind};
use crate::state::KeyedState;
use crate::telemetry::metrics::TransformMetrics;
use crate::telemetry::rate::Allowance;

/// Messages of all failures of one call together, in bytes; those that come after are cut to nothing.
const FAILURE_TEXT_BYTES_MAX: usize = 256 << 10;
/// A core instance that wasmtime makes itself, to connect two components.
const ADAPTERS_MAX: usize = 256;

/// A compiled module with the settings of one revision: makes instances.
pub struct Prepared {
    engine: Engine,
    module: TransformerPre<Context>,
    footprint: Footprint,
    settings: Arc<Settings>,
    tables: Tables,
    metrics: Option<Arc<TransformMetrics>>,
    allowance: Arc<Allowance>,
}

/// The tables of a spec, in its order; empty where none is to be read: a trial of `init`.
pub type Tables = Arc<[Arc<dyn Table>]>;

/// A store, or a table, that a guest has opened: its index among those of the spec.
pub struct StoreHandle;
pub struct TableHandle;

/// What a guest's imports and limits work on.
pub(super) struct Context {
    pub settings: Arc<Settings>,
    pub tables: Tables,
    pub metrics: Option<Arc<TransformMetrics>>,
    pub allowance: Arc<Allowance>,
    /// That of the call's partition; without stores outside of a call.
    pub state: KeyedState,
    /// Open stores and tables.
    pub handles: u32,
    pub memory: Memory,
    footprint: Footprint,
    /// Most bytes that this call may return.
    pub lifted_bytes_max: usize,
    pub now: Timestamp,
    /// When this call ends that has not ended by itself.
    deadline: Deadline,
    /// The limit of a store that this call went over, and that it traps for.
    pub state_refused: Option<String>,
    /// The last error that this call logged: where it panics, the panic's message.
    pub last_error: Option<String>,
}

/// Fields are dropped in order: the address space is given back after the store has left it.
struct Instance {
    store: Store<Context>,
    module: Transformer,
    ticker: Option<Ticker>,
    _address_space: Reservation,
}

impl Engine {
    /// Whether a component's functions have the world's types. Runs nothing of it.
    pub(super) fn type_check(&self, component: &Component) -> Result<(), ModuleError> {
        let linked = self.linker.instantiate_pre(component).map_err(|error| ModuleError::Invalid(root_text(&error)))?;
        TransformerPre::new(linked).map(drop).map_err(|error| ModuleError::Invalid(root_text(&error)))
    }
}

impl Prepared {
    pub fn new(
        engine: &Engine,
        component: &Component,
        surface: &Surface,
        settings: Settings,
        tables: Tables,
        metrics: Option<Arc<TransformMetrics>>,
        allowance: Arc<Allowance>,
    ) -> Result<Self, ModuleError> {
        if settings.has_tick && !surface.has_ticks() {
            let newest = WORLDS.last().expect("there is one");
            return Err(ModuleError::MissingExport { name: newest.interface("ticks") });
        }
        let invalid = |error: wasmtime::Error| ModuleError::Invalid(root_text(&error));
        let linked: InstancePre<Context> = engine.linker.instantiate_pre(component).map_err(invalid)?;
        let module = TransformerPre::new(linked).map_err(invalid)?;
        let engine = engine.clone();
        let settings = Arc::new(settings);
        Ok(Self { engine, module, footprint: surface.footprint, settings, tables, metrics, allowance })
    }
}

impl GuestFactory for Prepared {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        let reserved = self.engine.address_space.reserve(self.footprint.memories);
        let address_space = reserved.map_err(GuestError::Host)?;
        let mut store = self.store()?;
        let made = self.module.instance_pre().instantiate(&mut store).and_then(|instance| {
            let module = Transformer::new(&mut store, &instance)?;
            let ticker = self.settings.has_tick.then(|| Ticker::new(&mut store, &instance)).transpose()?;
            Ok((module, ticker))
        });
        let (module, ticker) = made.map_err(|error| classed(store.data(), &error))?;
        let mut instance = Instance { store, module, ticker, _address_space: address_space };
        instance.init(&self.settings)?;
        Ok(Box::new(instance))
    }
}

impl Prepared {
    /// A store with every limit set, before anything of the guest is in it.
    fn store(&self) -> Result<Store<Context>, GuestError> {
        let settings = &self.settings;
        let memory = Memory::new(settings.memory_bytes_max, &self.footprint);
        if !memory.has_room() {
            let (bytes, bytes_max) = (memory.bytes(), settings.memory_bytes_max);
            let message = format!("an instance takes {bytes} bytes before its memory, of {bytes_max} (limits.memory)");
            return Err(GuestError::Trapped { kind: TrapKind::Memory, message });
        }
        let context = Context {
            settings: settings.clone(),
            tables: self.tables.clone(),
            metrics: self.metrics.clone(),
            allowance: self.allowance.clone(),
            state: KeyedState::default(),
            handles: 0,
            memory,
            footprint: self.footprint,
            lifted_bytes_max: 0,
            now: Timestamp(0),
            deadline: Deadline::after(settings.call_time_max),
            state_refused: None,
            last_error: None,
        };
        let mut store = Store::new(&self.engine.engine, context);
        store.limiter(|context| context);
        store.epoch_deadline_callback(|store| {
            let left = store.data().deadline.left();
            Ok(left.map_or(UpdateDeadline::Interrupt, |left| UpdateDeadline::Continue(ticks(left))))
        });
        store.set_max_component_handles(HANDLES_MAX as usize);
        begin(&mut store, 0);
        Ok(store)
    }
}

/// Sets the limits of a call: its time, and the bytes that it may return with the outputs of `records`.
fn begin(store: &mut Store<Context>, records: usize) {
    let context = store.data_mut();
    // A trap is explained by what happened in its own call.
    context.memory.begin_call();
    context.state_refused = None;
    context.last_error = None;
    let lifted_bytes_max = context.settings.lifted_bytes_max(records);
    context.lifted_bytes_max = lifted_bytes_max;
    let call_time_max = context.settings.call_time_max;
    context.deadline = Deadline::after(call_time_max);
    store.set_hostcall_fuel(lifted_bytes_max);
    store.set_epoch_deadline(ticks(call_time_max));
}

impl Instance {
    fn init(&mut self, settings: &Settings) -> Result<(), GuestError> {
        begin(&mut self.store, 0);
        let inputs: Vec<&str> = settings.inputs.iter().map(TopicName::as_str).collect();
        let outputs: Vec<&str> = settings.outputs.iter().map(String::as_str).collect();
        let setup = types::Setup { config: &settings.config, inputs: &inputs, outputs: &outputs };
        let interface = self.module.sandbar_transform_transform();
        match interface.call_init(&mut self.store, setup) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(message)) => Err(GuestError::Init(text(message))),
            Err(error) => Err(classed(self.store.data(), &error)),
        }
    }

    /// Makes a call of the guest, with the state of its partition.
    fn call(
        &mut self,
        now: Timestamp,
        records: usize,
        state: &mut KeyedState,
        call: impl FnOnce(&mut Self) -> wasmtime::Result<Result<types::Output, String>>,
    ) -> Result<Output, GuestError> {
        begin(&mut self.store, records);
        self.store.data_mut().now = now;
        std::mem::swap(&mut self.store.data_mut().state, state);
        let result = call(self);
        std::mem::swap(&mut self.store.data_mut().state, state);
        match result {
            Ok(Ok(output)) => Ok(from_guest(output)),
            Ok(Err(message)) => Err(GuestError::Returned(text(message))),
            Err(error) => Err(classed(self.store.data(), &error)),
        }
    }
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
        self.call(call.now, LIFTED_RECORDS, state, |instance| {
            instance.module.sandbar_transform_transform().call_process(&mut instance.store, columns)
        })
    }

    fn tick(&mut self, call: Call, state: &mut KeyedState) -> Result<Output, GuestError> {
        let partition = u32::try_from(call.partition.partition).unwrap_or(0);
        let moment = ticks::Moment { input: call.partition.input, partition, now: call.now.0 };
        self.call(call.now, TICK_ROWS as usize, state, |instance| match &instance.ticker {
            Some(ticker) => ticker.sandbar_transform_ticks().call_tick(&mut instance.store, moment),
            None => wasmtime::bail!("the spec has no tick"),
        })
    }

    fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }
}

fn from_guest(output: types::Output) -> Output {
    let mut text_bytes = FAILURE_TEXT_BYTES_MAX;
    let failures = output.failures.into_iter().map(|failure| {
        let message = brief(failure.message, TEXT_BYTES_MAX.min(text_bytes));
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

/// Epoch ticks that make up `time`, rounded up; the current tick is already running.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX - 1) + 1
}

impl ResourceLimiter for Context {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.memory.grow_linear(current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.grow_failed(root_text(&error));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.memory.grow_table(current, desired, maximum))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.grow_failed(root_text(&error));
        Ok(())
    }

    // The module's structure has been limited before it was compiled; these hold the two together.

    fn memories(&self) -> usize {
        self.footprint.memories as usize
    }

    fn tables(&self) -> usize {
        self.footprint.tables as usize
    }

    fn instances(&self) -> usize {
        self.footprint.core_instances as usize + ADAPTERS_MAX
    }
}
