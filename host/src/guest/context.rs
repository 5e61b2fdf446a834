//! The state of an instance on the host's side: its imports and its limits work on it.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::ResourceLimiter;

use super::deadline::{Deadline, Limit};
use super::error::{TEXT_BYTES_MAX, root_text, text};
use super::memory::Memory;
use super::settings::Settings;
use super::structure::Footprint;
use crate::model::units::Timestamp;
use crate::ports::Table;
use crate::secrets::SecretValues;
use crate::state::KeyedState;
use crate::telemetry::GuestLog;

/// Stores and tables that an instance may have open. They are meant to be opened once.
pub(super) const HANDLES_MAX: u32 = 1024;
/// Core instances that wasmtime makes itself, to connect two components.
const ADAPTERS_MAX: usize = 256;

/// The tables of a spec, in its order; empty where none is read: a dry run of `init`.
pub type Tables = Arc<[Arc<dyn Table>]>;

/// A store that a guest has opened: its index among those of the spec.
pub struct StoreHandle;
/// A table that a guest has opened: its index among those of the spec.
pub struct TableHandle;

/// The host's side of an instance.
pub(super) struct Context {
    pub settings: Arc<Settings>,
    pub tables: Tables,
    pub log: GuestLog,
    /// The secrets that its `init` gets.
    pub secrets: Arc<SecretValues>,
    /// The state of the call's partition; without stores outside of a call.
    pub state: KeyedState,
    /// Open stores and tables.
    pub handles: u32,
    pub memory: Memory,
    footprint: Footprint,
    /// Most bytes that this call may return.
    pub lifted_bytes_max: usize,
    pub now: Timestamp,
    pub deadline: Deadline,
    /// The limit of time that ended this call.
    pub out_of_time: Option<Limit>,
    /// The limit of a store that this call went over, and that it traps for.
    pub state_refused: Option<String>,
    /// The last error that this call logged: where it panics, the panic's message.
    pub last_error: Option<String>,
}

impl Context {
    pub fn new(
        settings: Arc<Settings>,
        tables: Tables,
        log: GuestLog,
        secrets: Arc<SecretValues>,
        memory: Memory,
        footprint: Footprint,
    ) -> Self {
        let deadline = Deadline::after(settings.call_time_max, None);
        Self {
            lifted_bytes_max: settings.lifted_bytes_max(0),
            settings,
            tables,
            log,
            secrets,
            state: KeyedState::default(),
            handles: 0,
            memory,
            footprint,
            now: Timestamp(0),
            deadline,
            out_of_time: None,
            state_refused: None,
            last_error: None,
        }
    }

    /// Takes secrets out of a text of the guest's, cuts it and escapes it. (A text that was cut first could end with a part
    /// of a secret.)
    pub fn text(&self, message: &str) -> String {
        text(self.secrets.redact(message, TEXT_BYTES_MAX))
    }

    /// Sets the limits of a call that returns the outputs of `records`: its time, which is over at `ends_at`, and
    /// its bytes.
    pub fn begin_call(&mut self, records: usize, ends_at: Option<Instant>) {
        // A trap is explained by what happened in its own call.
        self.memory.begin_call();
        self.state_refused = None;
        self.last_error = None;
        self.lifted_bytes_max = self.settings.lifted_bytes_max(records);
        self.out_of_time = None;
        self.deadline = Deadline::after(self.settings.call_time_max, ends_at);
    }
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
