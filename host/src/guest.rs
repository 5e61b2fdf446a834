//! The sandbox: WebAssembly components that fit the `sandbar:transform` world, in wasmtime.
//!
//! ```text
//! bytes --check--> compiled artifact (child process, or the cache) --load--> Prepared --instantiate--> Instance (one per task)
//! ```
//!
//! Invariants: a module gets nothing that the world does not give it; a call ends within its deadline; what an
//! instance returns is not trusted before `Output::check`; an instance that trapped is never called again.
//! There is no WASI here, no clock and no randomness: a guest is a function of its batch, its config and its past.

mod address_space;
mod cache;
pub mod check;
pub mod compile;
mod deadline;
mod engine;
mod error;
mod imports;
mod instance;
mod memory;
mod modules;
mod settings;
pub mod structure;
mod worlds;

pub use address_space::{ADDRESS_SPACE_BYTES_MAX, AddressSpace};
pub use cache::Cache;
pub use engine::Engine;
pub use instance::{Prepared, Tables};
pub use modules::Modules;
pub use settings::Settings;

pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "transformer",
        ownership: Borrowing { duplicate_if_necessary: true },
        // Over a limit, an access to a store traps.
        imports: { "sandbar:transform/state": trappable, "sandbar:transform/tables": trappable },
        with: {
            "sandbar:transform/state.store": super::instance::StoreHandle,
            "sandbar:transform/tables.table": super::instance::TableHandle,
        },
    });
}

pub(crate) mod ticker {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "ticker",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "sandbar:transform/types": super::bindings::sandbar::transform::types },
    });
}
