//! A compiled module with the settings of one revision: makes instances.

use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::component::{Component, InstancePre};

use super::address_space::reserve;
use super::bindings::transformer::TransformerPre;
use super::check::Surface;
use super::context::{Context, Tables};
use super::engine::Engine;
use super::error::root_text;
use super::instance::Instance;
use super::memory::Memory;
use super::settings::Settings;
use super::structure::Footprint;
use super::trap::no_memory;
use super::worlds::WORLDS;
use crate::model::module::ModuleError;
use crate::ports::{Guest, GuestError, GuestFactory, TrapKind};
use crate::secrets::{SecretValues, Secrets};
use crate::telemetry::GuestLog;

/// A compiled module with one revision's settings.
pub struct InstanceFactory {
    engine: Engine,
    module: TransformerPre<Context>,
    footprint: Footprint,
    settings: Arc<Settings>,
    tables: Tables,
    log: GuestLog,
    secrets: Secrets,
    /// The secrets that were read last. Instances share them until one changes.
    values: Mutex<Arc<SecretValues>>,
}

impl InstanceFactory {
    /// Links a component with its imports. `log` takes the lines of all instances.
    pub fn new(
        engine: &Engine,
        component: &Component,
        surface: &Surface,
        settings: Settings,
        tables: Tables,
        log: GuestLog,
        secrets: Secrets,
    ) -> Result<Self, ModuleError> {
        if settings.has_tick && !surface.has_ticks() {
            let newest = WORLDS.last().expect("there is one");
            return Err(ModuleError::MissingExport { name: newest.interface("ticks") });
        }
        let invalid = |error: wasmtime::Error| ModuleError::Invalid(root_text(&error));
        let linked: InstancePre<Context> = engine.linker.instantiate_pre(component).map_err(invalid)?;
        Ok(Self {
            engine: engine.clone(),
            module: TransformerPre::new(linked).map_err(invalid)?,
            footprint: surface.footprint,
            settings: Arc::new(settings),
            tables,
            log,
            secrets,
            values: Mutex::default(),
        })
    }

    /// Reads the secrets of the config again, as each new instance does.
    pub fn read_secrets(&self) -> Result<Arc<SecretValues>, GuestError> {
        let read = self.secrets.read(&self.settings.id.team, &self.settings.secrets).map_err(GuestError::Secret)?;
        let mut values = self.values.lock();
        if values.have_changed() || !values.is_same(&read) {
            self.secrets.follow(&read);
            *values = read;
        }
        Ok(values.clone())
    }
}

impl GuestFactory for InstanceFactory {
    fn instantiate(&self) -> Result<Box<dyn Guest>, GuestError> {
        let secrets = self.read_secrets()?;
        let reserved = reserve(&self.engine.address_space, self.footprint.memories);
        let address_space = reserved.map_err(GuestError::Host)?;
        let bytes_max = self.settings.memory_bytes_max;
        let Engine { memory: of_host, memory_of_team: of_team, .. } = &self.engine;
        let mut memory = Memory::new(bytes_max, &self.footprint, of_host, of_team.as_ref());
        if !memory.has_room() {
            let bytes = memory.bytes();
            let message = format!("an instance takes {bytes} bytes before its memory, of {bytes_max} (limits.memory)");
            return Err(GuestError::Trapped { kind: TrapKind::Memory, message });
        }
        memory.take_instance().map_err(|reason| no_memory(&reason))?;
        let Self { settings, tables, log, footprint, .. } = self;
        let context = Context::new(settings.clone(), tables.clone(), log.clone(), secrets, memory, *footprint);
        Ok(Box::new(Instance::new(&self.engine, &self.module, context, address_space)?))
    }
}
