//! Compiling, away from the host: a child process with a limit on time and memory turns a module into an artifact
//! file, so that a compile bomb costs only its uploader.
//!
//! What the child makes, and what the cache proves to have been made so, are the only artifacts that are ever loaded:
//! they never come from Kafka or from the API.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Engine;
use super::check::{Surface, check_header, check_surface};
use super::error::root_text;
use super::structure;
use crate::model::module::ModuleError;

/// The hidden subcommand by which the host calls itself.
pub const SUBCOMMAND: &str = "compile-module";

/// Where and how modules are compiled.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The `sandbar` binary; None compiles in this process (tests, the library used alone).
    pub program: Option<PathBuf>,
    /// Longest time for one module. Default 60 s (`compile_time_max`).
    pub time_max: Duration,
    /// Most memory of the child's data, in bytes. Default 2 GiB (`compile_memory_max`).
    pub memory_bytes_max: u64,
}

impl Default for Compiler {
    fn default() -> Self {
        Self { program: None, time_max: Duration::from_secs(60), memory_bytes_max: 2 << 30 }
    }
}

/// What the child says on its standard output.
#[derive(serde::Serialize, serde::Deserialize)]
enum Answer {
    Compiled(Surface),
    Refused(Refusal),
}

/// The refusals that a child can come to.
#[derive(serde::Serialize, serde::Deserialize)]
enum Refusal {
    WrongWorld { found: String, expected: String },
    ForbiddenImport { name: String },
    MissingExport { name: String },
    Structure { part: String, found: u64, max: u64 },
    Invalid(String),
    Host(String),
}

impl Compiler {
    /// Compiles `module` (a file) to `artifact`. The file appears whole or not at all.
    pub fn compile(&self, engine: &Engine, module: &Path, artifact: &Path) -> Result<Surface, ModuleError> {
        let Some(program) = &self.program else {
            return compile_here(engine, module, artifact);
        };
        let child = Command::new(program)
            .arg(SUBCOMMAND)
            .args([module, artifact])
            .arg(self.memory_bytes_max.to_string())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.map_err(|error| ModuleError::Host(format!("starting the compiler: {error}")))?;
        // Read while it runs: an answer that fills the pipe (names are the module's) would stop the child for ever.
        let mut out = child.stdout.take().expect("it was asked for above");
        let answer = std::thread::spawn(move || {
            let mut answer = Vec::new();
            out.read_to_end(&mut answer).map(|_| answer)
        });
        let deadline = Instant::now() + self.time_max;
        let status = loop {
            match child.try_wait().map_err(|error| ModuleError::Host(error.to_string()))? {
                Some(status) => break status,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                None => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(ModuleError::CompileTimeout { seconds: self.time_max.as_secs() });
                }
            }
        };
        let answer = answer.join().expect("reading does not panic").map_err(|error| ModuleError::Host(error.to_string()))?;
        match serde_json::from_slice(&answer) {
            Ok(Answer::Compiled(surface)) if status.success() => Ok(surface),
            Ok(Answer::Refused(refusal)) => Err(refusal.into()),
            // It answers unless it was killed; what kills it is its memory limit.
            _ => Err(ModuleError::CompileMemory { bytes_max: self.memory_bytes_max }),
        }
    }
}

/// The child's side: compiles under a memory limit and answers on standard output.
pub fn child_main(module: &Path, artifact: &Path, memory_bytes_max: u64) -> std::process::ExitCode {
    let limit = libc::rlimit { rlim_cur: memory_bytes_max, rlim_max: memory_bytes_max };
    // SAFETY: sets this process's own limit from a valid struct.
    unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) };
    let compiled = Engine::new().map_err(ModuleError::Host).and_then(|engine| compile_here(&engine, module, artifact));
    let (answer, code) = match compiled {
        Ok(surface) => (Answer::Compiled(surface), 0),
        Err(error) => (Answer::Refused(error.into()), 1),
    };
    let written = serde_json::to_writer(std::io::stdout(), &answer);
    std::process::ExitCode::from(if written.is_ok() { code } else { 2 })
}

fn compile_here(engine: &Engine, module: &Path, artifact: &Path) -> Result<Surface, ModuleError> {
    let host = |error: std::io::Error| ModuleError::Host(format!("{}: {error}", artifact.display()));
    let bytes = std::fs::read(module).map_err(host)?;
    check_header(&bytes)?;
    let footprint = structure::check(&bytes)?;
    let component = wasmtime::component::Component::new(&engine.engine, &bytes)
        .map_err(|error| ModuleError::Invalid(root_text(&error)))?;
    let surface = check_surface(engine, &component, footprint)?;
    engine.type_check(&component)?;
    let serialized = component.serialize().map_err(|error| ModuleError::Host(root_text(&error)))?;
    let folder = artifact.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(host)?;
    std::io::Write::write_all(&mut file, &serialized).map_err(host)?;
    file.persist(artifact).map_err(|error| host(error.error))?;
    Ok(surface)
}

impl From<ModuleError> for Refusal {
    fn from(error: ModuleError) -> Self {
        match error {
            ModuleError::WrongWorld { found, expected } => Self::WrongWorld { found, expected },
            ModuleError::ForbiddenImport { name } => Self::ForbiddenImport { name },
            ModuleError::MissingExport { name } => Self::MissingExport { name },
            ModuleError::Structure { part, found, max } => Self::Structure { part, found, max },
            ModuleError::Invalid(message) => Self::Invalid(message),
            other => Self::Host(other.to_string()),
        }
    }
}

impl From<Refusal> for ModuleError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongWorld { found, expected } => Self::WrongWorld { found, expected },
            Refusal::ForbiddenImport { name } => Self::ForbiddenImport { name },
            Refusal::MissingExport { name } => Self::MissingExport { name },
            Refusal::Structure { part, found, max } => Self::Structure { part, found, max },
            Refusal::Invalid(message) => Self::Invalid(message),
            Refusal::Host(message) => Self::Host(message),
        }
    }
}
