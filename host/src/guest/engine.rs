//! wasmtime's engine: one for a host, and its clock.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};

use super::bindings::Transformer;
use super::instance::Context;

/// How often guests are looked at for their deadline: a call is ended at most this much late.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Compiles and runs modules. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Arc<Linker<Context>>,
}

impl Engine {
    /// With a thread that advances the epoch for as long as the engine is used.
    pub fn new() -> Result<Self, String> {
        let engine = wasmtime::Engine::new(&config()).map_err(|error| format!("{error:#}"))?;
        let mut linker = Linker::new(&engine);
        Transformer::add_to_linker::<_, HasSelf<_>>(&mut linker, |context| context).map_err(|error| format!("{error:#}"))?;
        let weak = engine.weak();
        let ticker = move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        };
        std::thread::Builder::new().name("epoch".into()).spawn(ticker).map_err(|error| error.to_string())?;
        Ok(Self { engine, linker: Arc::new(linker) })
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
    config.relaxed_simd_deterministic(true);
    // Nothing of a guest is for a person to step through; names in traps stay.
    config.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    config
}
