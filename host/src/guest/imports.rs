//! The imports of a guest: the log, its stores, its tables.

use wasmtime::component::Resource;

use super::bindings::transformer::sandbar::transform::{log, state, tables, types};
use super::context::{Context, HANDLES_MAX, StoreHandle, TableHandle};
use crate::cpu::thread_time;
use crate::model::log_entry::Level;
use crate::model::text;
use crate::state::StateError;

/// Longest log line of a guest, in bytes; the rest of a longer one is cut.
pub const LOG_LINE_BYTES_MAX: usize = 4096;
/// A name that no store and no table has is repeated up to this length.
const NAME_BYTES_MAX: usize = 128;

impl types::Host for Context {}

// === log ===

impl log::Host for Context {
    fn log(&mut self, level: log::Level, message: String) {
        let message = self.secrets.redact(&message, LOG_LINE_BYTES_MAX);
        let line = text::cut(&message, LOG_LINE_BYTES_MAX);
        if level == log::Level::Error {
            self.last_error = Some(line.to_owned());
        }
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.log.write(self.settings.revision, self.settings.log_rate, level, line);
    }
}

// === state ===

impl state::Host for Context {}

impl state::HostStore for Context {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<StoreHandle>, String>> {
        let found = self.settings.stores.iter().position(|store| *store == name);
        let missing = || {
            let name = text::brief(&name, NAME_BYTES_MAX);
            format!("the spec declares no store {name:?} (state: {{{name}: {{}}}})")
        };
        self.handle(found).map(|handle| handle.ok_or_else(missing))
    }

    fn get(&mut self, store: Resource<StoreHandle>, key: Vec<u8>) -> wasmtime::Result<Option<Vec<u8>>> {
        let found = self.state.get(store.rep() as usize, &key, self.now);
        self.granted(found)
    }

    fn put(&mut self, store: Resource<StoreHandle>, key: Vec<u8>, value: Vec<u8>) -> wasmtime::Result<()> {
        let put = self.state.put(store.rep() as usize, key, value, self.now);
        self.granted(put)
    }

    fn delete(&mut self, store: Resource<StoreHandle>, key: Vec<u8>) -> wasmtime::Result<()> {
        let deleted = self.state.delete(store.rep() as usize, key);
        self.granted(deleted)
    }

    fn scan(
        &mut self,
        store: Resource<StoreHandle>,
        start: Vec<u8>,
        end: Option<Vec<u8>>,
        limit: u32,
    ) -> wasmtime::Result<Vec<state::Entry>> {
        let Self { state, deadline, out_of_time, now, .. } = self;
        let mut began = thread_time();
        let mut goes_on = || {
            deadline.extend(thread_time() - began);
            *out_of_time = deadline.check();
            began = thread_time();
            out_of_time.is_none()
        };
        let keys = (&start[..], end.as_deref());
        let found = state.scan(store.rep() as usize, keys, limit as usize, *now, &mut goes_on);
        let entries = self.granted(found)?;
        Ok(entries.into_iter().map(|(key, value)| state::Entry { key, value }).collect())
    }

    fn drop(&mut self, _: Resource<StoreHandle>) -> wasmtime::Result<()> {
        self.handles = self.handles.saturating_sub(1);
        Ok(())
    }
}

impl Context {
    /// A handle that stands for an index.
    fn handle<T: 'static>(&mut self, index: Option<usize>) -> wasmtime::Result<Option<Resource<T>>> {
        let Some(index) = index else { return Ok(None) };
        self.handles += 1;
        wasmtime::ensure!(self.handles <= HANDLES_MAX, "more than {HANDLES_MAX} stores and tables are open");
        Ok(Some(Resource::new_own(u32::try_from(index)?)))
    }

    /// An access that went over a limit traps, and the trap is explained by it.
    fn granted<T>(&mut self, result: Result<T, StateError>) -> wasmtime::Result<T> {
        result.map_err(|error| {
            if let StateError::Limit(message) = &error {
                self.state_refused = Some(message.clone());
            }
            wasmtime::Error::new(error)
        })
    }
}

// === tables ===

impl tables::Host for Context {}

impl tables::HostTable for Context {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<TableHandle>, String>> {
        let found = self.settings.tables.iter().position(|table| *table == name);
        let missing = || {
            let name = text::brief(&name, NAME_BYTES_MAX);
            format!("the spec declares no table {name:?} (tables: {{{name}: TOPIC}})")
        };
        self.handle(found).map(|handle| handle.ok_or_else(missing))
    }

    fn get(&mut self, table: Resource<TableHandle>, key: Vec<u8>) -> wasmtime::Result<Option<Vec<u8>>> {
        match self.tables.get(table.rep() as usize) {
            Some(table) => Ok(table.get(&key)),
            None => wasmtime::bail!("a table can be read in process and tick only"),
        }
    }

    fn drop(&mut self, _: Resource<TableHandle>) -> wasmtime::Result<()> {
        self.handles = self.handles.saturating_sub(1);
        Ok(())
    }
}
