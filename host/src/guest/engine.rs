//! wasmtime's engine: one for a host, and its clock.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};

use super::address_space::{ADDRESS_SPACE_BYTES_MAX, AddressSpace, GUARD_BYTES, LINEAR_BYTES};
use super::bindings::Transformer;
use super::error::root_text;
use super::instance::Context;

/// How often guests are looked at for their deadline: a call is ended at most this much late.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Compiles and runs modules. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Arc<Linker<Context>>,
    pub(super) address_space: Arc<AddressSpace>,
}

impl Engine {
    /// With a thread that advances the epoch for as long as the engine is used.
    pub fn new() -> Result<Self, String> {
        let engine = wasmtime::Engine::new(&config()).map_err(|error| root_text(&error))?;
        let mut linker = Linker::new(&engine);
        Transformer::add_to_linker::<_, HasSelf<_>>(&mut linker, |context| context).map_err(|error| root_text(&error))?;
        let weak = engine.weak();
        let ticker = move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        };
        std::thread::Builder::new().name("epoch".into()).spawn(ticker).map_err(|error| error.to_string())?;
        let address_space = Arc::new(AddressSpace::new(ADDRESS_SPACE_BYTES_MAX, None));
        Ok(Self { engine, linker: Arc::new(linker), address_space })
    }

    /// Counts the address space of instances against another budget.
    pub fn with_address_space(self, space: AddressSpace) -> Self {
        Self { address_space: Arc::new(space), ..self }
    }

    /// wasmtime's own engine, for those who only want to look at a component.
    pub fn inner(&self) -> &wasmtime::Engine {
        &self.engine
    }
}

/// wasmtime's defaults are right (guard pages, signal traps, copy-on-write, speed); what differs has its reason.
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
    proposals(&mut config);
    config
}

/// Turns off every proposal that nothing needs which C, Rust, Go, JavaScript and Python compile to (docs/modules.md says
/// what they need): each is more of the compiler and of the runtime for a module to try. Those that need a feature of
/// wasmtime that is not built in (threads, garbage collection, exceptions, async, ...) are off already.
fn proposals(config: &mut wasmtime::Config) {
    // Sizes that 64 bits are too few for to add.
    config.wasm_memory64(false);
    // Their results may differ from machine to machine.
    config.wasm_relaxed_simd(false);
    config.wasm_tail_call(false);
    config.wasm_wide_arithmetic(false);
    config.wasm_custom_page_sizes(false);
    config.wasm_branch_hinting(false);
    // On, and needed: what rustc and clang use by default (bulk memory, reference types, multi-value), vectors (`sandbar
    // build`), extended constant expressions (Python, QuickJS). wasmtime's own adapters between two components use several
    // memories: a module that does so itself is refused by its structure.
    config.wasm_simd(true);
    config.wasm_bulk_memory(true);
    config.wasm_multi_value(true);
    config.wasm_extended_const(true);
    config.wasm_multi_memory(true);
}
