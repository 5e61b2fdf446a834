//! Compiling, away from the host: a child process turns a module into machine code, so that a compile bomb costs only
//! its uploader.
//!
//! ```text
//! module --memory file--> child [limits, jail, compile] --pipe--> answer, artifact
//! ```
//!
//! The child shuts itself in before it reads a byte of the module ([`jail`]); it has no file system, no network and no
//! thread more. The parent believes it as little as it can: it reads a bounded answer, kills the child's process group
//! at the deadline and reaps it always. The artifact itself is machine code that the host will run: it is trusted as much
//! as the compiler is. Artifacts come from this child, or from the cache that proves it; never from Kafka or the API.

mod child;
mod frame;
#[expect(unsafe_code, reason = "limits of this process that std does not set")]
mod jail;
#[expect(unsafe_code, reason = "a child and its pipe, watched without a thread, and a file in memory")]
mod process;
mod process_end;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use child::{child_main, is_out_of_memory};
pub use jail::{Jail, Protection};

use self::process::{Limits, Process};
use self::process_end::ProcessEnd;
use super::Engine;
use super::check::{Surface, check_header, check_surface};
use super::error::root_text;
use super::structure;
use crate::model::module::ModuleError;
use crate::model::text;

/// The hidden subcommand by which the host calls itself.
pub const SUBCOMMAND: &str = "compile-module";

/// Factor by which a compiler's time on the clock may exceed its CPU time. The compiler has the lowest priority: on a busy
/// host it waits most of the time.
const CLOCK_PER_CPU_TIME: u32 = 5;
/// Threads of one compiler at most: each has memory of its own.
const THREADS_MAX: usize = 16;
/// The compiler's last words that are logged.
const LOGGED_BYTES_MAX: usize = 2000;

/// Compiles modules, by the program and within the limits that it has.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The `sandbar` binary; None compiles in this process (tests, the library used alone).
    pub program: Option<PathBuf>,
    /// Longest CPU time for one module, over all threads. Default 60 s (`--compile-time-max`).
    pub time_max: Duration,
    /// Most memory of the child's data, in bytes. Default 2 GiB (`--compile-memory-max`).
    pub memory_bytes_max: u64,
    /// Largest compiled module, in bytes. Default 256 MiB (`--compiled-module-max`).
    pub artifact_bytes_max: u64,
    /// Compilers at once. Default: half of the cores (`--compilers-max`).
    pub at_once_max: usize,
}

impl Default for Compiler {
    fn default() -> Self {
        Self {
            program: None,
            time_max: Duration::from_secs(60),
            memory_bytes_max: 2 << 30,
            artifact_bytes_max: 256 << 20,
            at_once_max: at_once_max(),
        }
    }
}

/// Half of the cores: the other half is for running transforms.
pub fn at_once_max() -> usize {
    (cores() / 2).max(1)
}

/// A compiled module.
pub struct Artifact {
    pub surface: Surface,
    /// Holds the artifact from `artifact_at` on.
    bytes: Vec<u8>,
    artifact_at: usize,
}

impl Artifact {
    pub fn artifact(&self) -> &[u8] {
        &self.bytes[self.artifact_at..]
    }
}

impl Compiler {
    /// Compiles a module. Blocks until the compiler has ended.
    pub fn compile(&self, engine: &Engine, module: &[u8]) -> Result<Artifact, ModuleError> {
        let made = match &self.program {
            Some(program) => self.compile_away(program, module).and_then(|(_, outcome)| outcome),
            None => compile_here(engine, module)
                .map(|(surface, bytes)| Artifact { surface, bytes, artifact_at: 0 })
                .and_then(|made| self.check_size(made)),
        };
        made.map_err(ModuleError::cut)
    }

    /// Starts a compiler on an empty module and asks it for its jail.
    pub fn jail(&self) -> Result<Jail, ModuleError> {
        let program =
            self.program.as_ref().ok_or_else(|| ModuleError::Host("modules are compiled in this process".into()))?;
        match self.compile_away(program, b"")? {
            (_, Err(ModuleError::Host(message))) => Err(ModuleError::Host(message)),
            (jail, _) => Ok(jail),
        }
    }

    /// Compiles in a child process. An outer error means that the child did not answer.
    fn compile_away(&self, program: &Path, module: &[u8]) -> Result<(Jail, Result<Artifact, ModuleError>), ModuleError> {
        let limits = Limits {
            cpu_seconds_max: self.time_max.as_secs() + u64::from(self.time_max.subsec_nanos() > 0),
            memory_bytes_max: self.memory_bytes_max,
            artifact_bytes_max: self.artifact_bytes_max,
            threads: cores().min(THREADS_MAX),
            parent: std::process::id(),
        };
        let host = |error: std::io::Error| ModuleError::Host(format!("the compiler's process: {error}"));
        let deadline = Instant::now() + self.time_max * CLOCK_PER_CPU_TIME;
        let output_bytes_max = frame::bytes_max(self.artifact_bytes_max);
        let process = Process::start(program, &limits, module).map_err(host)?;
        let ended = process.run(deadline, output_bytes_max).map_err(host)?;
        let answer = if ended.has_answered() { frame::parse(&ended.output) } else { None };
        let Some((answer, artifact_at)) = answer else {
            return Err(self.verdict(&ended));
        };
        let made = |surface| Artifact { surface, bytes: ended.output, artifact_at };
        Ok((answer.jail, answer.outcome.map(made).and_then(|made| self.check_size(made))))
    }

    /// Names the reason of a compiler that ended without an answer.
    fn verdict(&self, ended: &ProcessEnd) -> ModuleError {
        let said = String::from_utf8_lossy(&ended.errors);
        let error = if ended.is_out_of_time() {
            ModuleError::CompileTimeout { seconds: self.time_max.as_secs() }
        } else if ended.has_given_up() && child::is_out_of_memory(&said) {
            ModuleError::CompileMemory { bytes_max: self.memory_bytes_max }
        } else {
            ModuleError::CompileCrash { how: ended.to_string() }
        };
        // Only here: the text may quote the module.
        let said = text::one_line(text::cut(&said, LOGGED_BYTES_MAX));
        tracing::warn!(%error, ended = %ended, said = %said, "a compiler ended without an answer");
        error
    }

    fn check_size(&self, made: Artifact) -> Result<Artifact, ModuleError> {
        check_artifact(made.artifact().len() as u64, self.artifact_bytes_max)?;
        Ok(made)
    }
}

fn check_artifact(bytes: u64, bytes_max: u64) -> Result<(), ModuleError> {
    if bytes > bytes_max {
        return Err(ModuleError::ArtifactTooLarge { bytes, bytes_max });
    }
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Compiles and checks in this process.
fn compile_here(engine: &Engine, module: &[u8]) -> Result<(Surface, Vec<u8>), ModuleError> {
    check_header(module)?;
    let footprint = structure::check(module)?;
    let component = wasmtime::component::Component::new(&engine.engine, module)
        .map_err(|error| ModuleError::Invalid(root_text(&error)))?;
    let surface = check_surface(engine, &component, footprint)?;
    engine.type_check(&component)?;
    let artifact = component.serialize().map_err(|error| ModuleError::Host(root_text(&error)))?;
    Ok((surface, artifact))
}
