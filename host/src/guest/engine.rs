//! wasmtime's engine: one for a host, and its clock.

use std::sync::Arc;

use wasmparser::WasmFeatures;
use wasmtime::component::{Component, Linker};

use super::address_space::{ADDRESS_SPACE_BYTES_MAX, GUARD_BYTES, LINEAR_BYTES};
use super::bindings::transformer::TransformerPre;
use super::budget::Budget;
use super::context::Context;
use super::epoch_clock::EpochClock;
use super::error::root_text;
use super::worlds;
use crate::model::module::ModuleError;

/// Compiles and runs modules. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Arc<Linker<Context>>,
    pub(super) clock: EpochClock,
    pub(super) address_space: Arc<Budget>,
    pub(super) memory: Arc<Budget>,
    /// A smaller budget of memory, against which the instances count as well.
    pub(super) memory_of_team: Option<Arc<Budget>>,
}

impl Engine {
    /// Makes an engine, and its clock.
    pub fn new() -> Result<Self, String> {
        let engine = wasmtime::Engine::new(&config()).map_err(|error| root_text(&error))?;
        let mut linker = Linker::new(&engine);
        worlds::WORLDS.iter().try_for_each(|world| (world.link)(&mut linker)).map_err(|error| root_text(&error))?;
        let clock = EpochClock::start(&engine).map_err(|error| error.to_string())?;
        let address_space = Arc::new(Budget::new(ADDRESS_SPACE_BYTES_MAX, |_| {}));
        let memory = Arc::new(Budget::new(u64::MAX, |_| {}));
        Ok(Self { engine, linker: Arc::new(linker), clock, address_space, memory, memory_of_team: None })
    }

    /// Counts the address space and the memory of instances against other budgets.
    pub fn with_budgets(self, space: Budget, memory: Budget) -> Self {
        Self { address_space: Arc::new(space), memory: Arc::new(memory), ..self }
    }

    /// Counts the memory of instances against this budget as well.
    pub(super) fn with_memory_of_team(self, memory: Arc<Budget>) -> Self {
        Self { memory_of_team: Some(memory), ..self }
    }

    /// Checks that a component's functions have the world's types. Runs nothing of it.
    pub(super) fn type_check(&self, component: &Component) -> Result<(), ModuleError> {
        let linked = self.linker.instantiate_pre(component).map_err(|error| ModuleError::Invalid(root_text(&error)))?;
        TransformerPre::new(linked).map(drop).map_err(|error| ModuleError::Invalid(root_text(&error)))
    }

    /// Returns wasmtime's own engine, for those who only want to look at a component.
    pub fn inner(&self) -> &wasmtime::Engine {
        &self.engine
    }
}

/// Makes machine code of a smallest module, and runs it: some systems forbid that to a process.
pub fn runs_machine_code() -> Result<(), String> {
    // (module (func (export "f")))
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0\x0a\x04\x01\x02\0\x0b";
    let run = || -> wasmtime::Result<()> {
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, MODULE)?;
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[])?;
        instance.get_typed_func::<(), ()>(&mut store, "f")?.call(&mut store, ())
    };
    run().map_err(|error| root_text(&error))
}

/// wasmtime's defaults are right (guard pages, signal traps, copy-on-write, speed); each other setting has its reason.
fn config() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    // A deadline for every call.
    config.epoch_interruption(true);
    // A guest is deterministic, so that replays and shadow runs are exact.
    config.cranelift_nan_canonicalization(true);
    // A trap's frames hold names that the guest has chosen, and nobody is shown them.
    config.wasm_backtrace_max_frames(None);
    config.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    // The defaults, said here because `address_space` counts them.
    config.memory_reservation(LINEAR_BYTES);
    config.memory_guard_size(GUARD_BYTES);
    config.guard_before_linear_memory(true);
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(PROPOSALS, true);
    config
}

/// The proposals that are on: docs/modules.md names a user of each. wasmtime knows many more, and each of them is more of
/// the compiler and of the runtime for a module to try: 64-bit memories, whose sizes a sum of 64 bits is too small for,
/// relaxed vectors, whose results differ from machine to machine, tail calls, garbage collection, ...
const PROPOSALS: WasmFeatures = WasmFeatures::COMPONENT_MODEL
    // Rust and C by default, and all that is made of C: QuickJS, SpiderMonkey, Python.
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::BULK_MEMORY)
    // `sandbar build`, unless it is told not to.
    .union(WasmFeatures::SIMD)
    // Modules that are linked when they are instantiated: Python, QuickJS.
    .union(WasmFeatures::EXTENDED_CONST)
    // wasmtime's own adapters between two components. A module with several memories is refused by its structure.
    .union(WasmFeatures::MULTI_MEMORY);
