//! The compiled modules of a host: compiled once, kept as files, shared by all transforms that use them.
//!
//! A module is looked for in memory, among the refusals that are remembered, in the cache on the disk, and only then
//! compiled, when its turn comes ([`turns`]).

mod candidates;
mod memory_cache;
mod refusals;
mod turns;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use wasmtime::component::Component;

use self::candidates::CandidateBudgets;
use self::memory_cache::MemoryCache;
use self::refusals::Refusals;
use self::turns::{Busy, Queue, Turn, Turns};
use super::address_space::ADDRESS_SPACE_BYTES_MAX;
use super::budget::Budget;
use super::cache::{Cache, CacheEntry};
use super::check::{Surface, check_header};
use super::compile::{Compiler, Jail, is_out_of_memory};
use super::context::Tables;
use super::engine::Engine;
use super::error::root_text;
use super::instance_factory::InstanceFactory;
use super::settings::Settings;
use crate::model::module::{ModuleError, ModuleInfo};
use crate::model::names::{Digest, TeamName};
use crate::model::spec::Spec;
use crate::model::text::{self, OneLine};
use crate::ports::{GuestError, GuestFactory, TrapKind};
use crate::secrets::Secrets;
use crate::telemetry::GuestLog;
use crate::telemetry::metrics::ModuleMetrics;
use crate::telemetry::observer::TransformObserver;
use crate::telemetry::rate::{Allowance, Rate, Rates, TEAM_LOG_RATE};

/// Modules that are loaded from the cache at once, ahead of their transforms' preparation.
const LOADS_AT_ONCE_MAX: usize = 16;

/// The revision of candidates: the first one that is deployed is 1.
const CANDIDATE: u64 = 0;

/// The options of a host's modules.
#[derive(Debug, Clone)]
pub struct ModuleOptions {
    pub compiler: Compiler,
    /// Most bytes of compiled modules on the disk, and in memory. Default 1 GiB (`--compiled-cache-max`).
    pub cache_bytes_max: u64,
    /// Most address space of all instances together. Default 32 TiB (`--guest-address-space-max`).
    pub address_space_bytes_max: u64,
    /// Most memory of all instances together. Default: no limit here; a host's is half of the machine's
    /// (`--guest-memory-max`).
    pub memory_bytes_max: u64,
    /// Log lines of all dry runs together. Default: those of a team (`--team-log-lines-max`, `--team-log-bytes-max`).
    pub dry_run_log_rate: Rate,
    /// The secrets of the host. Default: none but variables.
    pub secrets: Secrets,
}

impl Default for ModuleOptions {
    fn default() -> Self {
        Self {
            compiler: Compiler::default(),
            cache_bytes_max: 1 << 30,
            address_space_bytes_max: ADDRESS_SPACE_BYTES_MAX,
            memory_bytes_max: u64::MAX,
            dry_run_log_rate: TEAM_LOG_RATE,
            secrets: Secrets::default(),
        }
    }
}

/// Compiles modules and makes instances of them. Cloning shares it; every call may block.
#[derive(Clone)]
pub struct Modules {
    shared: Arc<Shared>,
    /// The queue in which calls wait.
    queue: Queue,
}

struct Shared {
    engine: Engine,
    compiler: Compiler,
    cache: Cache,
    metrics: ModuleMetrics,
    /// The log lines of all dry runs: no team pays for them.
    dry_run_allowance: Arc<Allowance>,
    secrets: Secrets,
    memory_cache: Mutex<MemoryCache>,
    refusals: Mutex<Refusals>,
    candidates: CandidateBudgets,
    turns: Turns,
    loads: Arc<Semaphore>,
}

#[derive(Clone)]
struct CompiledModule {
    component: Component,
    info: ModuleInfo,
    surface: Surface,
    artifact_bytes: u64,
}

impl Modules {
    /// Opens the cache of compiled modules in `folder`. Calls wait among deployments, without a limit of time.
    pub fn open(folder: &Path, options: ModuleOptions, metrics: ModuleMetrics) -> Result<Self, String> {
        let ModuleOptions { compiler, cache_bytes_max, address_space_bytes_max, memory_bytes_max, .. } = options;
        let [of_space, of_memory] = [(); 2].map(|()| metrics.clone());
        let space = Budget::new(address_space_bytes_max, move |bytes| of_space.address_space(bytes));
        let memory = Budget::new(memory_bytes_max, move |bytes| of_memory.guest_memory(bytes));
        let engine = Engine::new()?.with_budgets(space, memory);
        let cache = Cache::open(folder, cache_bytes_max)?.of_build(&engine.engine.precompile_compatibility_hash());
        let turns = Turns::new(compiler.at_once_max, metrics.clone());
        let shared = Shared {
            engine,
            cache,
            metrics,
            dry_run_allowance: Rates::new(options.dry_run_log_rate, 1).apart(),
            secrets: options.secrets,
            memory_cache: Mutex::default(),
            refusals: Mutex::default(),
            candidates: CandidateBudgets::of_host(memory_bytes_max),
            turns,
            loads: Arc::new(Semaphore::new(LOADS_AT_ONCE_MAX)),
            compiler,
        };
        Ok(Self { shared: Arc::new(shared), queue: Queue::Deployments })
    }

    /// Hands out these modules to requests of the API, which wait apart, and not for long.
    pub fn for_requests(&self) -> Self {
        Self { shared: self.shared.clone(), queue: Queue::Requests }
    }

    /// Starts a compiler, in its turn, to see whether it can, and how far its jail holds here.
    pub fn jail(&self) -> Result<Jail, ModuleError> {
        let place = self.shared.turns.enter(self.queue).map_err(|_| ModuleError::Busy)?;
        let _turn = place.turn(None, None).map_err(|_| ModuleError::Busy)?;
        self.shared.compiler.jail()
    }

    /// Compiles and checks a module in a turn of the team, or says why it may not run here.
    pub fn check(&self, team: Option<&TeamName>, bytes: &[u8]) -> Result<ModuleInfo, ModuleError> {
        Ok(self.compiled(team, bytes)?.info)
    }

    /// Instantiates a module once with the spec's config, so that a bad configuration is refused before it is deployed.
    pub fn try_init(&self, spec: &Spec, bytes: &[u8]) -> Result<(), ModuleError> {
        let prepared = self.prepare(spec, CANDIDATE, bytes, Tables::default(), None)?;
        match prepared.instantiate() {
            Ok(_) => Ok(()),
            Err(GuestError::Init(message)) => Err(ModuleError::Init(message)),
            Err(GuestError::Secret(error)) => Err(ModuleError::Secret(error)),
            Err(GuestError::Host(message) | GuestError::Stalled(message)) => Err(ModuleError::Host(message)),
            Err(GuestError::Trapped { kind: TrapKind::Timeout, message }) => Err(ModuleError::Timeout(message)),
            Err(GuestError::Trapped { kind: TrapKind::Memory, message }) => Err(ModuleError::Memory(message)),
            Err(error) => Err(ModuleError::Trap(error.to_string())),
        }
    }

    /// Prepares a module to make the instances of one revision. Without an observer it is a dry run, whose log lines count
    /// for nobody. Revision 0 is a candidate, whose instances count against the memory of the team's candidates as well.
    pub fn prepare(
        &self,
        spec: &Spec,
        revision: u64,
        bytes: &[u8],
        tables: Tables,
        observer: Option<&TransformObserver>,
    ) -> Result<InstanceFactory, ModuleError> {
        let CompiledModule { component, surface, .. } = self.compiled(Some(&spec.id.team), bytes)?;
        let dry_run_log = || GuestLog::of_dry_run(spec.id.clone(), self.shared.dry_run_allowance.clone());
        let log = observer.map_or_else(dry_run_log, |observer| observer.log.clone());
        let settings = Settings::of(spec, revision);
        let secrets = self.shared.secrets.clone();
        let engine = self.shared.engine.clone();
        let engine = if revision == CANDIDATE {
            engine.with_memory_of_team(self.shared.candidates.of(&spec.id.team))
        } else {
            engine
        };
        InstanceFactory::new(&engine, &component, &surface, settings, tables, log, secrets)
    }

    /// Loads a module into memory ahead of its use, if it was compiled before; otherwise waits for a turn of its team to
    /// compile it. None: it is known, or its refusal is. At a restart hundreds ask at once: they wait here, without a thread
    /// each, and give up when they are dropped.
    pub async fn turn_ahead(&self, team: &TeamName, digest: Digest) -> Option<Turn> {
        while !self.load_ahead(digest).await {
            let turn = self.shared.turns.turn(self.queue, team, digest).await;
            if turn.is_some() {
                return turn;
            }
        }
        None
    }

    /// Compiles a module ahead of its use, in the turn for it.
    pub fn compile_ahead(&self, turn: Turn, bytes: &[u8]) -> Result<(), ModuleError> {
        check_header(bytes)?;
        self.shared.compile_in_turn(turn, Digest::of(bytes), bytes).map(drop)
    }

    async fn load_ahead(&self, digest: Digest) -> bool {
        if self.shared.known(&digest).is_some() {
            return true;
        }
        let permit = self.shared.loads.clone().acquire_owned().await;
        let shared = self.shared.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shared.found(digest).is_some()
        });
        loaded.await.unwrap_or(false)
    }

    fn compiled(&self, team: Option<&TeamName>, bytes: &[u8]) -> Result<CompiledModule, ModuleError> {
        check_header(bytes)?;
        let shared = &*self.shared;
        let digest = Digest::of(bytes);
        if let Some(known) = shared.known(&digest) {
            return known;
        }
        let busy = |_: Busy| {
            shared.metrics.not_compiled("busy");
            ModuleError::Busy
        };
        let place = shared.turns.enter(self.queue).map_err(busy)?;
        loop {
            if let Some(found) = shared.found(digest) {
                return found;
            }
            if let Some(turn) = place.turn(team, Some(digest)).map_err(busy)? {
                // This thread waits no more.
                drop(place);
                return shared.compile_in_turn(turn, digest, bytes);
            }
        }
    }
}

impl Shared {
    /// The module or its refusal, as far as that is in memory.
    fn known(&self, digest: &Digest) -> Option<Result<CompiledModule, ModuleError>> {
        if let Some(compiled) = self.memory_cache.lock().get(digest) {
            return Some(Ok(compiled));
        }
        let refused = self.refusals.lock().get(digest, Instant::now())?;
        self.metrics.not_compiled("remembered");
        Some(Err(refused))
    }

    /// The module or its refusal, if it is in memory or the module is on the disk. One thread at a time loads a module.
    fn found(&self, digest: Digest) -> Option<Result<CompiledModule, ModuleError>> {
        let lock = self.memory_cache.lock().lock(digest);
        let _one = lock.lock();
        self.known(&digest).or_else(|| self.cached(digest).map(Ok))
    }

    /// Loads a module from the disk.
    fn cached(&self, digest: Digest) -> Option<CompiledModule> {
        let started = Instant::now();
        let CacheEntry { surface, bytes, artifact } = self.cache.get(&digest)?;
        // Made by another build after all, perhaps: then it is made again.
        let compiled = self.load(digest, bytes, surface, &artifact).ok()?;
        self.keep(&compiled);
        self.metrics.compiled("cached", started.elapsed());
        Some(compiled)
    }

    /// Compiles a module, unless somebody else has done so before this turn.
    fn compile_in_turn(&self, turn: Turn, digest: Digest, bytes: &[u8]) -> Result<CompiledModule, ModuleError> {
        let made = self.found(digest).unwrap_or_else(|| self.compile(digest, bytes));
        turn.done();
        made
    }

    fn compile(&self, digest: Digest, bytes: &[u8]) -> Result<CompiledModule, ModuleError> {
        let started = Instant::now();
        let made = self.compiler.compile(&self.engine, bytes).and_then(|made| {
            let loaded = self.load(digest, bytes.len() as u64, made.surface.clone(), made.artifact());
            let compiled = loaded.map_err(|error| match error {
                ModuleError::Host(message) if !is_out_of_memory(&message) => {
                    tracing::warn!(%digest, error = %OneLine(text::cut(&message, 1000)), "a new artifact cannot be loaded");
                    ModuleError::CompileCrash { how: "its artifact cannot be loaded".into() }
                }
                error => error,
            })?;
            self.cache.put(&digest, &made.surface, compiled.info.bytes, made.artifact());
            Ok(compiled)
        });
        let result = match &made {
            Ok(_) => "ok",
            Err(ModuleError::CompileCrash { .. }) => "crashed",
            Err(_) => "refused",
        };
        self.metrics.compiled(result, started.elapsed());
        match &made {
            Ok(compiled) => {
                self.refusals.lock().forget(&digest);
                self.keep(compiled);
            }
            Err(error) => self.refusals.lock().put(digest, error, Instant::now()),
        }
        made
    }

    fn keep(&self, compiled: &CompiledModule) {
        let CompiledModule { info, artifact_bytes, .. } = compiled;
        let bytes = self.memory_cache.lock().put(info.digest, compiled.clone(), *artifact_bytes, self.cache.bytes_max());
        self.metrics.in_memory(bytes);
    }

    #[expect(unsafe_code, reason = "machine code: only this host's own is loaded")]
    fn load(&self, digest: Digest, bytes: u64, surface: Surface, artifact: &[u8]) -> Result<CompiledModule, ModuleError> {
        // SAFETY: our own compiler made these bytes: a moment ago, or earlier, which the cache has proved.
        let component = unsafe { Component::deserialize(&self.engine.engine, artifact) };
        let component = component.map_err(|error| ModuleError::Host(root_text(&error)))?;
        let Surface { imports, exports, .. } = surface.clone();
        let info = ModuleInfo { digest, bytes, imports, exports };
        Ok(CompiledModule { component, info, surface, artifact_bytes: artifact.len() as u64 })
    }
}
