//! The sandbox: WebAssembly components that fit the `sandbar:transform` world, in wasmtime.
//!
//! ```text
//! bytes --check--> compiled artifact (child process, or the cache) --load--> Prepared --instantiate--> Instance (one per task)
//! ```
//!
//! Invariants: a module gets nothing that the world does not give it; a call ends within its deadline; nothing that an
//! instance returns is trusted before `Output::check`; an instance that trapped is never called again.
//! There is no WASI here and no randomness. A guest sees its config, its calls with their time, and its stores and tables.

mod address_space;
mod bindings;
mod budget;
mod cache;
pub mod check;
pub mod compile;
mod context;
mod deadline;
mod engine;
mod epoch_clock;
mod error;
mod imports;
mod instance;
mod instance_factory;
mod memory;
mod modules;
mod scheduled;
mod settings;
pub mod structure;
mod trap;
mod worlds;

pub use budget::Budget;
pub use context::Tables;
pub use engine::{Engine, runs_machine_code};
pub use instance_factory::InstanceFactory;
pub use modules::{ModuleOptions, Modules};
pub use scheduled::ScheduledFactory;
pub use settings::Settings;
