//! One instance of a module, for one task: its store, its limits, and the crossing of a batch.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, InstancePre};
use wasmtime::{ResourceLimiter, Store, Trap};

use super::bindings::sandbar::transform::types;
use super::bindings::{Transformer, TransformerPre};
use super::check::Surface;
use super::engine::{Engine, TICK};
use super::ticker::Ticker;
use super::ticker::exports::sandbar::transform::ticks;
use super::{PACKAGE, VERSION};
use crate::model::batch::{Batch, Failure, Output};
use crate::model::module::ModuleError;
use crate::model::names::{TopicName, TransformId};
use crate::model::spec::Spec;
use crate::model::units::Timestamp;
use crate::ports::{Call, Guest, GuestError, GuestFactory, Table, TrapKind};
use crate::state::State;
use crate::telemetry::metrics::TransformMetrics;
use crate::telemetry::rate::{Allowance, Rate};

/// Most bytes that one call may lift out of a guest. Spans and strings may overlap, so its memory limit alone does not
/// bound them.
const LIFTED_BYTES_MAX: usize = 128 << 20;
/// How wasmtime words that it was more.
const LIFT_LIMIT_TEXT: &str = "fuel allocated for hostcalls has been exhausted";
/// Entries of a guest's tables.
const TABLE_ELEMENTS_MAX: usize = 200_000;

/// What every instance of a revision starts with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub id: TransformId,
    pub revision: u64,
    pub config: String,
    pub inputs: Vec<TopicName>,
    pub outputs: Vec<String>,
    /// The names of its stores and tables, in the order of the spec.
    pub stores: Vec<String>,
    pub tables: Vec<String>,
    pub has_tick: bool,
    pub memory_bytes_max: usize,
    pub call_time_max: Duration,
    pub log_rate: Rate,
}

impl Settings {
    pub fn of(spec: &Spec, revision: u64) -> Self {
        Self {
            id: spec.id.clone(),
            revision,
            config: serde_json::Value::Object(spec.config.clone()).to_string(),
            inputs: spec.inputs.clone(),
            outputs: spec.outputs.keys().map(ToString::to_string).collect(),
            stores: spec.state.keys().map(ToString::to_string).collect(),
            tables: spec.tables.keys().map(ToString::to_string).collect(),
            has_tick: spec.tick.is_some(),
            memory_bytes_max: spec.limits.memory.as_usize(),
            call_time_max: spec.limits.batch_time.0,
            log_rate: Rate { lines: spec.limits.log_lines_per_second, bytes: spec.limits.log_bytes_per_second.0 },
        }
    }
}

/// A compiled module with the settings of one revision: makes instances.
pub struct Prepared {
    engine: Engine,
    module: TransformerPre<Context>,
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
    pub state: State,
    /// Open stores and tables.
    pub handles: u32,
    memory_bytes: usize,
    pub now: Timestamp,
    /// What this call asked for and did not get.
    memory_refused: bool,
    /// The limit of a store that this call went over, and that it traps for.
    pub state_refused: Option<String>,
    /// The last error that this call logged: where it panics, the panic's message.
    pub last_error: Option<String>,
}

struct Instance {
    store: Store<Context>,
    module: Transformer,
    ticker: Option<Ticker>,
    call_time_max: Duration,
}

impl Engine {
    /// Whether a component's functions have the world's types. Runs nothing of it.
    pub(super) fn type_check(&self, component: &Component) -> Result<(), ModuleError> {
        let linked = self.linker.instantiate_pre(component).map_err(|error| ModuleError::Invalid(format!("{error:#}")))?;
        TransformerPre::new(linked).map(drop).map_err(|error| ModuleError::Invalid(format!("{error:#}")))
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
            return Err(ModuleError::MissingExport { name: format!("{PACKAGE}/ticks@{VERSION}") });
        }
        let invalid = |error: wasmtime::Error| ModuleError::Invalid(format!("{error:#}"));
        let linked: InstancePre<Context> = engine.linker.instantiate_pre(component).map_err(invalid)?;
        let module = TransformerPre::new(linked).map_err(invalid)?;
        let (engine, settings) = (engine.clone(), Arc::new(settings));
        Ok(Self { engine, module, settings, tables, metrics, allowance })
    }
}

impl GuestFactory for Prepared {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        let context = Context {
            settings: self.settings.clone(),
            tables: self.tables.clone(),
            metrics: self.metrics.clone(),
            allowance: self.allowance.clone(),
            state: State::default(),
            handles: 0,
            memory_bytes: 0,
            now: Timestamp(0),
            memory_refused: false,
            state_refused: None,
            last_error: None,
        };
        let mut store = Store::new(&self.engine.engine, context);
        store.limiter(|context| context);
        store.set_hostcall_fuel(LIFTED_BYTES_MAX);
        let call_time_max = self.settings.call_time_max;
        store.set_epoch_deadline(ticks(call_time_max));
        let made = self.module.instance_pre().instantiate(&mut store).and_then(|instance| {
            let module = Transformer::new(&mut store, &instance)?;
            let ticker = self.settings.has_tick.then(|| Ticker::new(&mut store, &instance)).transpose()?;
            Ok((module, ticker))
        });
        let (module, ticker) = made.map_err(|error| trapped(&store, &error))?;
        let mut instance = Instance { store, module, ticker, call_time_max };
        instance.init(&self.settings)?;
        Ok(Box::new(instance))
    }
}

impl Instance {
    fn init(&mut self, settings: &Settings) -> Result<(), GuestError> {
        self.store.set_epoch_deadline(ticks(self.call_time_max));
        let inputs: Vec<&str> = settings.inputs.iter().map(TopicName::as_str).collect();
        let outputs: Vec<&str> = settings.outputs.iter().map(String::as_str).collect();
        let setup = types::Setup { config: &settings.config, inputs: &inputs, outputs: &outputs };
        let interface = self.module.sandbar_transform_transform();
        match interface.call_init(&mut self.store, setup) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(message)) => Err(GuestError::Init(message)),
            Err(error) => Err(trapped(&self.store, &error)),
        }
    }
}

impl Instance {
    /// Makes a call of the guest, with the state of its partition.
    fn call(
        &mut self,
        now: Timestamp,
        state: &mut State,
        call: impl FnOnce(&mut Self) -> wasmtime::Result<Result<types::Output, String>>,
    ) -> Result<Output, GuestError> {
        let context = self.store.data_mut();
        context.now = now;
        // A trap is explained by what happened in its own call.
        (context.memory_refused, context.state_refused, context.last_error) = (false, None, None);
        std::mem::swap(&mut context.state, state);
        self.store.set_epoch_deadline(ticks(self.call_time_max));
        let result = call(self);
        std::mem::swap(&mut self.store.data_mut().state, state);
        match result {
            Ok(Ok(output)) => Ok(from_guest(output)),
            Ok(Err(message)) => Err(GuestError::Returned(message)),
            Err(error) => Err(trapped(&self.store, &error)),
        }
    }
}

impl Guest for Instance {
    fn process(&mut self, batch: &Batch, call: Call, state: &mut State) -> Result<Output, GuestError> {
        let columns = types::Batch {
            input: call.partition.input,
            partition: u32::try_from(call.partition.number).unwrap_or(0),
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
        self.call(call.now, state, |instance| {
            instance.module.sandbar_transform_transform().call_process(&mut instance.store, columns)
        })
    }

    fn tick(&mut self, call: Call, state: &mut State) -> Result<Output, GuestError> {
        let partition = u32::try_from(call.partition.number).unwrap_or(0);
        let moment = ticks::Moment { input: call.partition.input, partition, now: call.now.0 };
        self.call(call.now, state, |instance| match &instance.ticker {
            Some(ticker) => ticker.sandbar_transform_ticks().call_tick(&mut instance.store, moment),
            None => wasmtime::bail!("the spec has no tick"),
        })
    }

    fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes
    }
}

fn from_guest(output: types::Output) -> Output {
    let failures = output.failures.into_iter().map(|failure| Failure { row: failure.row, message: failure.message });
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

fn trapped(store: &Store<Context>, error: &wasmtime::Error) -> GuestError {
    let context = store.data();
    if is_lift_limit(error) {
        let message = format!("what the call returned or logged is larger than {LIFTED_BYTES_MAX} bytes");
        return GuestError::Output { limit: true, message };
    }
    let trap = error.downcast_ref::<Trap>().copied();
    // A Rust guest that gets no memory aborts: the refusal is the cause, the trap its effect.
    let kind = match trap {
        Some(Trap::Interrupt) => TrapKind::Timeout,
        _ if context.memory_refused => TrapKind::Memory,
        _ if context.state_refused.is_some() => TrapKind::State,
        _ => TrapKind::Trap,
    };
    // A Rust guest logs its panic, then runs into `unreachable`.
    let panic = context.last_error.as_ref().filter(|_| trap == Some(Trap::UnreachableCodeReached));
    let message = match (kind, panic) {
        (TrapKind::Timeout, _) => format!("ran longer than {:?} (limits.batch_time)", context.settings.call_time_max),
        (TrapKind::Memory, _) => {
            format!("needs more than {} bytes of memory (limits.memory)", context.settings.memory_bytes_max)
        }
        (TrapKind::State, _) => context.state_refused.clone().unwrap_or_default(),
        (TrapKind::Trap, Some(panic)) => panic.clone(),
        (TrapKind::Trap, None) => trap.map_or_else(|| format!("{error:#}"), |trap| trap.to_string()),
    };
    GuestError::Trapped { kind, message }
}

/// wasmtime keeps the type of this error to itself, so it is known by its text; a test holds the two together.
fn is_lift_limit(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.to_string().contains(LIFT_LIMIT_TEXT))
}

impl ResourceLimiter for Context {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes + (desired - current);
        if total > self.settings.memory_bytes_max {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn memories(&self) -> usize {
        8
    }

    fn tables(&self) -> usize {
        32
    }

    fn instances(&self) -> usize {
        64
    }
}
