//! One instance of a module, for one task: its store, its limits, and the crossing of a batch.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{ResourceLimiter, Store, Trap};

use super::bindings::sandbar::transform::log::{Host as LogHost, Level};
use super::bindings::sandbar::transform::types;
use super::bindings::{Transformer, TransformerPre};
use super::engine::{Engine, TICK};
use crate::model::batch::{Batch, Failure, Output};
use crate::model::journal;
use crate::model::module::ModuleError;
use crate::model::names::{TopicName, TransformId};
use crate::model::spec::Spec;
use crate::ports::{Call, Guest, GuestError, GuestFactory, TrapKind};
use crate::telemetry::metrics::TransformMetrics;

/// Longest log line of a guest, in bytes; the rest of a longer one is cut.
pub const LOG_LINE_BYTES_MAX: usize = 4096;
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
    pub memory_bytes_max: usize,
    pub call_time_max: Duration,
    pub log_lines_per_second: u32,
}

impl Settings {
    pub fn of(spec: &Spec, revision: u64) -> Self {
        Self {
            id: spec.id.clone(),
            revision,
            config: serde_json::Value::Object(spec.config.clone()).to_string(),
            inputs: spec.inputs.clone(),
            outputs: spec.outputs.keys().map(ToString::to_string).collect(),
            memory_bytes_max: spec.limits.memory.as_usize(),
            call_time_max: spec.limits.batch_time.0,
            log_lines_per_second: spec.limits.log_lines_per_second,
        }
    }
}

/// A compiled module with the settings of one revision: makes instances.
pub struct Prepared {
    engine: Engine,
    module: TransformerPre<Context>,
    settings: Arc<Settings>,
    metrics: Option<Arc<TransformMetrics>>,
    log_lines: Arc<Mutex<LogLines>>,
}

/// The log lines of one second (of the batches' own time), over all instances: a guest that traps on every record
/// would begin anew with each.
#[derive(Default)]
struct LogLines {
    second: i64,
    lines: u32,
}

/// What a guest's imports and limits work on.
pub(super) struct Context {
    settings: Arc<Settings>,
    metrics: Option<Arc<TransformMetrics>>,
    log_lines: Arc<Mutex<LogLines>>,
    memory_bytes: usize,
    now_ms: i64,
    /// What this call asked for and did not get.
    memory_refused: bool,
    /// The last error that this call logged: where it panics, the panic's message.
    last_error: Option<String>,
}

struct Instance {
    store: Store<Context>,
    module: Transformer,
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
        settings: Settings,
        metrics: Option<Arc<TransformMetrics>>,
    ) -> Result<Self, String> {
        let linked: InstancePre<Context> = engine.linker.instantiate_pre(component).map_err(|error| format!("{error:#}"))?;
        let module = TransformerPre::new(linked).map_err(|error| format!("{error:#}"))?;
        Ok(Self { engine: engine.clone(), module, settings: Arc::new(settings), metrics, log_lines: Arc::default() })
    }
}

impl GuestFactory for Prepared {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        let context = Context {
            settings: self.settings.clone(),
            metrics: self.metrics.clone(),
            log_lines: self.log_lines.clone(),
            memory_bytes: 0,
            now_ms: 0,
            memory_refused: false,
            last_error: None,
        };
        let mut store = Store::new(&self.engine.engine, context);
        store.limiter(|context| context);
        store.set_hostcall_fuel(LIFTED_BYTES_MAX);
        let call_time_max = self.settings.call_time_max;
        store.set_epoch_deadline(ticks(call_time_max));
        let module = match self.module.instantiate(&mut store) {
            Ok(module) => module,
            Err(error) => return Err(trapped(&store, &error)),
        };
        let mut instance = Instance { store, module, call_time_max };
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

impl Guest for Instance {
    fn process(&mut self, batch: &Batch, call: Call) -> Result<Output, GuestError> {
        let context = self.store.data_mut();
        context.now_ms = call.now.0;
        // A trap is explained by what happened in its own call.
        (context.memory_refused, context.last_error) = (false, None);
        self.store.set_epoch_deadline(ticks(self.call_time_max));
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
        let interface = self.module.sandbar_transform_transform();
        match interface.call_process(&mut self.store, columns) {
            Ok(Ok(output)) => Ok(from_guest(output)),
            Ok(Err(message)) => Err(GuestError::Returned(message)),
            Err(error) => Err(trapped(&self.store, &error)),
        }
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
        _ => TrapKind::Trap,
    };
    // A Rust guest logs its panic, then runs into `unreachable`.
    let panic = context.last_error.as_ref().filter(|_| trap == Some(Trap::UnreachableCodeReached));
    let message = match (kind, panic) {
        (TrapKind::Timeout, _) => format!("ran longer than {:?} (limits.batch_time)", context.settings.call_time_max),
        (TrapKind::Memory, _) => {
            format!("needs more than {} bytes of memory (limits.memory)", context.settings.memory_bytes_max)
        }
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

impl types::Host for Context {}

impl LogLines {
    /// Whether one more line fits into this second. Batches of several partitions may not agree on which that is.
    fn take(&mut self, second: i64, lines_max: u32) -> bool {
        if second > self.second {
            *self = Self { second, lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= lines_max
    }
}

impl LogHost for Context {
    fn log(&mut self, level: Level, message: String) {
        let line = cut(&message, LOG_LINE_BYTES_MAX);
        if level == Level::Error {
            self.last_error = Some(line.to_owned());
        }
        if !self.log_lines.lock().take(self.now_ms / 1000, self.settings.log_lines_per_second) {
            self.metrics.iter().for_each(|metrics| metrics.log_dropped.inc());
            return;
        }
        let (id, revision) = (&self.settings.id, self.settings.revision);
        let told = match level {
            Level::Debug => journal::Level::Debug,
            Level::Info => journal::Level::Info,
            Level::Warn => journal::Level::Warn,
            Level::Error => journal::Level::Error,
        };
        let name = told.as_str();
        // A guest's error is its team's matter: on the host's own scale it is a warning.
        match level {
            Level::Debug => tracing::debug!(target: "guest", transform = %id, revision, "{line}"),
            Level::Info => tracing::info!(target: "guest", transform = %id, revision, "{line}"),
            Level::Warn | Level::Error => tracing::warn!(target: "guest", transform = %id, revision, level = name, "{line}"),
        }
        self.metrics.iter().for_each(|metrics| metrics.logged(told, revision, line));
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}
