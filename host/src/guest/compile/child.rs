//! The child's side: it shuts itself in, compiles the module on its standard input, and answers on its standard output.

use std::fmt;
use std::io::{Read, Write};
use std::process::ExitCode;

use super::frame::{ANSWER_BYTES_MAX, Answer};
use super::jail::{self, Jail};
use super::process::Limits;
use super::{check_artifact, compile_here, frame};
use crate::guest::Engine;
use crate::guest::check::Surface;
use crate::model::json;
use crate::model::module::ModuleError;

/// Runs the compiler's process. `limits` is the JSON of the parent's [`Limits`].
pub fn child_main(limits: &str) -> ExitCode {
    let limits: Limits = match json::read(limits.as_bytes()) {
        Ok(limits) => limits,
        Err(error) => return failed(error),
    };
    let (jail, compiled) = match shut_in(&limits) {
        Ok((jail, engine)) => (jail, compile(&engine, &limits)),
        Err(message) => (Jail::default(), Err(ModuleError::Host(format!("the compiler's process: {message}")))),
    };
    match answer(jail, compiled) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error),
    }
}

/// Ends without an answer. The parent reads standard error, and logs it.
fn failed(error: impl fmt::Display) -> ExitCode {
    // `eprintln!` panics if nobody reads.
    let _ = std::io::stderr().write_all(format!("{error}\n").as_bytes());
    ExitCode::FAILURE
}

/// Takes from the process whatever it needs no more. Threads are started before the limit on memory holds, so that a
/// thread that is refused is never taken for the module's doing.
fn shut_in(limits: &Limits) -> Result<(Jail, Engine), String> {
    let address_bytes_max = jail::limit(limits)?;
    let landlock = jail::deny_files();
    let engine = Engine::new()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(limits.threads);
    pool.build_global().map_err(|error| format!("its threads: {error}"))?;
    jail::limit_memory(limits.memory_bytes_max, address_bytes_max)?;
    Ok((Jail { landlock, seccomp: jail::deny_syscalls() }, engine))
}

fn compile(engine: &Engine, limits: &Limits) -> Result<(Surface, Vec<u8>), ModuleError> {
    let mut module = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut module);
    let read = read.map_err(|error| ModuleError::Host(format!("reading the module: {error}")));
    let compiled = read.and_then(|_| compile_here(engine, &module)).map_err(|error| match error {
        ModuleError::Invalid(message) | ModuleError::Host(message) if is_out_of_memory(&message) => {
            ModuleError::CompileMemory { bytes_max: limits.memory_bytes_max }
        }
        error => error.cut(),
    });
    let (surface, artifact) = compiled?;
    check_artifact(artifact.len() as u64, limits.artifact_bytes_max)?;
    Ok((surface, artifact))
}

fn answer(jail: Jail, compiled: Result<(Surface, Vec<u8>), ModuleError>) -> std::io::Result<()> {
    let (outcome, artifact) = match compiled {
        Ok((surface, artifact)) => (Ok(surface), artifact),
        Err(error) => (Err(error), Vec::new()),
    };
    let json = serde_json::to_vec(&Answer { jail: jail.clone(), outcome })?;
    let mut out = std::io::stdout().lock();
    if json.len() <= ANSWER_BYTES_MAX {
        return frame::write(&mut out, &json, &artifact);
    }
    let message = format!("the names of its imports and exports take {} bytes, the limit is {ANSWER_BYTES_MAX}", json.len());
    let refused = Answer { jail, outcome: Err(ModuleError::Invalid(message)) };
    frame::write(&mut out, &serde_json::to_vec(&refused)?, b"")
}

/// Recognizes an allocation that failed: Rust's own words before it aborts, and the system's in an error.
pub fn is_out_of_memory(message: &str) -> bool {
    ["memory allocation of ", "os error 12", "Cannot allocate memory", "out of memory"]
        .iter()
        .any(|words| message.contains(words))
}
