//! The compiled modules of a host: compiled once, kept as files, shared by all transforms that use them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use wasmtime::component::Component;

use super::cache::{Cache, Cached};
use super::check::{Surface, check_header};
use super::compile::Compiler;
use super::instance::Tables;
use super::{Engine, Prepared, Settings};
use crate::model::module::{ModuleError, ModuleInfo};
use crate::model::names::Digest;
use crate::model::spec::Spec;
use crate::ports::{GuestError, GuestFactory, TrapKind};
use crate::telemetry::metrics::{Metrics, TransformMetrics};

/// Compiles modules and hands out what runs them. Shared by API and supervisor; every call may block.
pub struct Modules {
    engine: Engine,
    compiler: Compiler,
    cache: Cache,
    metrics: Metrics,
    kept: Mutex<Kept>,
}

#[derive(Clone)]
struct Compiled {
    component: Component,
    info: ModuleInfo,
    artifact_bytes: u64,
}

/// Compiled modules in memory: as many as the cache keeps on the disk. Those that were used longest ago go first; whoever
/// runs one keeps it.
#[derive(Default)]
struct Kept {
    slots: HashMap<Digest, Slot>,
    /// Counts uses.
    clock: u64,
}

#[derive(Default)]
struct Slot {
    /// One lock per digest, so that two users of a module compile it once and other modules do not wait.
    compiled: Arc<Mutex<Option<Compiled>>>,
    bytes: u64,
    used: u64,
}

impl Kept {
    fn slot(&mut self, digest: Digest) -> Arc<Mutex<Option<Compiled>>> {
        self.clock += 1;
        let slot = self.slots.entry(digest).or_default();
        slot.used = self.clock;
        slot.compiled.clone()
    }

    /// A slot has been filled. Returns how many bytes are kept now.
    fn filled(&mut self, digest: Digest, bytes: u64, bytes_max: u64) -> u64 {
        self.slots.entry(digest).or_default().bytes = bytes;
        let mut total: u64 = self.slots.values().map(|slot| slot.bytes).sum();
        while total > bytes_max {
            let others = self.slots.iter().filter(|(other, slot)| **other != digest && slot.bytes > 0);
            let Some((&oldest, _)) = others.min_by_key(|(_, slot)| slot.used) else { break };
            total -= self.slots.remove(&oldest).map_or(0, |slot| slot.bytes);
        }
        total
    }
}

impl Modules {
    /// Artifacts are kept in `cache`.
    pub fn new(compiler: Compiler, cache: Cache, metrics: Metrics) -> Result<Self, String> {
        Ok(Self { engine: Engine::new()?, compiler, cache, metrics, kept: Mutex::default() })
    }

    /// Compiles and checks a module, or says why it may not run here.
    pub fn check(&self, bytes: &[u8]) -> Result<ModuleInfo, ModuleError> {
        Ok(self.compiled(bytes)?.info)
    }

    /// Instantiates once with the spec's config: what a bad configuration would fail on, before it is accepted.
    pub fn try_init(&self, spec: &Spec, bytes: &[u8]) -> Result<(), ModuleError> {
        let prepared = self.prepare(spec, 0, bytes, Tables::default(), None)?;
        match prepared.instantiate() {
            Ok(_) => Ok(()),
            Err(GuestError::Init(message)) => Err(ModuleError::Init(message)),
            Err(GuestError::Trapped { kind: TrapKind::Timeout, message }) => Err(ModuleError::Timeout(message)),
            Err(GuestError::Trapped { kind: TrapKind::Memory, message }) => Err(ModuleError::Memory(message)),
            Err(error) => Err(ModuleError::Trap(error.to_string())),
        }
    }

    /// What makes the instances of one revision.
    pub fn prepare(
        &self,
        spec: &Spec,
        revision: u64,
        bytes: &[u8],
        tables: Tables,
        metrics: Option<Arc<TransformMetrics>>,
    ) -> Result<Prepared, ModuleError> {
        let Compiled { component, info, .. } = self.compiled(bytes)?;
        let surface = Surface { imports: info.imports, exports: info.exports };
        let allowance = metrics.as_ref().map_or_else(|| self.metrics.tried(), |metrics| metrics.allowance.clone());
        Prepared::new(&self.engine, &component, &surface, Settings::of(spec, revision), tables, metrics, allowance)
    }

    fn compiled(&self, bytes: &[u8]) -> Result<Compiled, ModuleError> {
        check_header(bytes)?;
        let digest = Digest::of(bytes);
        let slot = self.kept.lock().slot(digest);
        let mut slot = slot.lock();
        if let Some(compiled) = &*slot {
            return Ok(compiled.clone());
        }
        let started = Instant::now();
        if let Some(compiled) = self.cached(digest, bytes) {
            self.metrics.compiled("cached", started.elapsed());
            self.keep(&compiled);
            return Ok(slot.insert(compiled).clone());
        }
        let made = self.compile(digest, bytes);
        self.metrics.compiled(made.as_ref().map_or("refused", |_| "ok"), started.elapsed());
        match made {
            Ok(compiled) => {
                self.keep(&compiled);
                Ok(slot.insert(compiled).clone())
            }
            Err(error) => {
                // A refused module leaves nothing behind.
                self.kept.lock().slots.remove(&digest);
                Err(error)
            }
        }
    }

    fn keep(&self, compiled: &Compiled) {
        let bytes = self.kept.lock().filled(compiled.info.digest, compiled.artifact_bytes, self.cache.bytes_max());
        self.metrics.compiled_kept(bytes);
    }

    fn cached(&self, digest: Digest, bytes: &[u8]) -> Option<Compiled> {
        let Cached { surface, artifact } = self.cache.get(&digest)?;
        // Of another wasmtime, perhaps: then it is made again.
        self.load(digest, bytes, surface, &artifact).ok()
    }

    fn compile(&self, digest: Digest, bytes: &[u8]) -> Result<Compiled, ModuleError> {
        let host = |error: std::io::Error| ModuleError::Host(format!("compiling: {error}"));
        let scratch = tempfile::tempdir_in(self.cache.folder()).map_err(host)?;
        let (module, artifact) = (scratch.path().join("module.wasm"), scratch.path().join("module.cwasm"));
        std::fs::write(&module, bytes).map_err(host)?;
        let surface = self.compiler.compile(&self.engine, &module, &artifact)?;
        let artifact = std::fs::read(&artifact).map_err(host)?;
        self.cache.put(&digest, &surface, &artifact);
        self.load(digest, bytes, surface, &artifact)
    }

    fn load(&self, digest: Digest, bytes: &[u8], surface: Surface, artifact: &[u8]) -> Result<Compiled, ModuleError> {
        // SAFETY: our own compiler made these bytes: a moment ago in a folder that was made for it alone, or earlier,
        // which the cache has proved.
        let component = unsafe { Component::deserialize(&self.engine.engine, artifact) };
        let component = component.map_err(|error| ModuleError::Host(format!("{error:#}")))?;
        let Surface { imports, exports } = surface;
        let info = ModuleInfo { digest, bytes: bytes.len() as u64, imports, exports };
        Ok(Compiled { component, info, artifact_bytes: artifact.len() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let digest = |name: &str| Digest::of(name.as_bytes());
        let mut kept = Kept::default();
        for name in ["a", "b", "c"] {
            kept.slot(digest(name));
            kept.filled(digest(name), 40, 120);
        }
        kept.slot(digest("a"));
        kept.slot(digest("being compiled"));
        kept.slot(digest("d"));
        assert_eq!(kept.filled(digest("d"), 70, 120), 110);
        let has = |name| kept.slots.contains_key(&digest(name));
        assert_eq!([has("a"), has("b"), has("c"), has("d"), has("being compiled")], [true, false, false, true, true]);
        // One that is larger than all is kept alone.
        kept.slot(digest("e"));
        assert_eq!(kept.filled(digest("e"), 500, 120), 500);
    }
}
