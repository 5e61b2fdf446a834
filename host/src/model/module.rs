//! A module as the host knows it, and the reasons to refuse one.

use serde::{Deserialize, Serialize};

use super::codes::Code;
use super::names::Digest;
use super::secret::SecretError;
use super::text;

/// Most text of the module's own in an error.
const TEXT_BYTES_MAX: usize = 1000;

/// A module that was compiled and fits the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    pub digest: Digest,
    /// Size of the component.
    pub bytes: u64,
    /// Interfaces that it imports, all of them the world's.
    pub imports: Vec<String>,
    /// The interfaces that the module exports.
    pub exports: Vec<String>,
}

/// The reason why a module was refused. Each is the uploader's to mend, except [`ModuleError::Host`] and
/// [`ModuleError::Table`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ModuleError {
    #[error("the module does not begin with \\0asm: it is not WebAssembly")]
    NotWasm,
    #[error("the module is a core WebAssembly module, a component is needed")]
    CoreModule,
    #[error("the module was built for {found}, this host runs {expected}")]
    WrongWorld { found: String, expected: String },
    #[error("the module imports {name:?}, which transforms may not use")]
    ForbiddenImport { name: String },
    #[error("the module does not export {name:?}")]
    MissingExport { name: String },
    #[error("the module has {bytes} bytes, the limit is {bytes_max} (module_bytes_max)")]
    TooLarge { bytes: u64, bytes_max: u64 },
    /// The validator's message.
    #[error("the module is not valid: {0}")]
    Invalid(String),
    /// Checked before anything is compiled: see `guest::structure`.
    #[error("the module's structure goes over a limit: {found} {part}, at most {max}")]
    Structure { part: String, found: u64, max: u64 },
    /// CPU time, or five times as much on the clock.
    #[error("compiling took longer than {seconds} s (compile_time_max)")]
    CompileTimeout { seconds: u64 },
    #[error("compiling took more than {bytes_max} bytes of memory (compile_memory_max)")]
    CompileMemory { bytes_max: u64 },
    #[error("the module has {bytes} bytes when compiled, the limit is {bytes_max} (compiled_module_max)")]
    ArtifactTooLarge { bytes: u64, bytes_max: u64 },
    /// The compiler ended without an answer, and not by one of its limits.
    #[error("the compiler crashed on the module: {how}")]
    CompileCrash { how: String },
    /// Its turn to be compiled did not come in time.
    #[error("too many modules wait to be compiled (compilers_max)")]
    Busy,
    /// `init` returned an error: its message.
    #[error("init refused the configuration: {0}")]
    Init(String),
    /// The host that was asked cannot give a secret to `init`.
    #[error("a secret of the config cannot be used: {0}")]
    Secret(SecretError),
    /// `init` (or the start of an instance) trapped.
    #[error("the module trapped in init: {0}")]
    Trap(String),
    #[error("the module ran out of time in init ({0})")]
    Timeout(String),
    #[error("the module ran out of memory in init ({0})")]
    Memory(String),
    /// A table of the spec cannot be used now.
    #[error("{message}")]
    Table { code: Code, message: String },
    /// The host's own fault: no compiler process, no memory, no disk.
    #[error("{0}")]
    Host(String),
}

impl ModuleError {
    pub fn code(&self) -> Code {
        match self {
            Self::NotWasm => Code::NotWasm,
            Self::CoreModule => Code::CoreModule,
            Self::WrongWorld { .. } => Code::WrongWorld,
            Self::ForbiddenImport { .. } => Code::ForbiddenImport,
            Self::MissingExport { .. } => Code::MissingExport,
            Self::TooLarge { .. } => Code::ModuleTooLarge,
            Self::ArtifactTooLarge { .. } => Code::ModuleTooLarge,
            Self::Invalid(_) => Code::ModuleInvalid,
            Self::Structure { .. } => Code::ModuleStructure,
            Self::CompileTimeout { .. } => Code::CompileTime,
            Self::CompileMemory { .. } => Code::CompileMemory,
            Self::CompileCrash { .. } => Code::CompileCrash,
            Self::Busy => Code::Busy,
            Self::Init(_) => Code::Init,
            Self::Secret(SecretError::Missing(_)) => Code::SecretMissing,
            Self::Secret(SecretError::Unusable(_)) => Code::SecretUnusable,
            Self::Trap(_) => Code::Trap,
            Self::Timeout(_) => Code::Timeout,
            Self::Memory(_) => Code::Memory,
            Self::Table { code, .. } => *code,
            Self::Host(_) => Code::HostResources,
        }
    }

    /// Cuts and escapes the module's own text: its names may be as long as the module.
    pub fn cut(self) -> Self {
        let cut = |text: String| text::one_line(text::cut(&text, TEXT_BYTES_MAX)).into_owned();
        match self {
            Self::WrongWorld { found, expected } => Self::WrongWorld { found: cut(found), expected: cut(expected) },
            Self::ForbiddenImport { name } => Self::ForbiddenImport { name: cut(name) },
            Self::MissingExport { name } => Self::MissingExport { name: cut(name) },
            Self::Invalid(message) => Self::Invalid(cut(message)),
            Self::CompileCrash { how } => Self::CompileCrash { how: cut(how) },
            Self::Init(message) => Self::Init(cut(message)),
            Self::Trap(message) => Self::Trap(cut(message)),
            Self::Timeout(message) => Self::Timeout(cut(message)),
            Self::Memory(message) => Self::Memory(cut(message)),
            Self::Host(message) => Self::Host(cut(message)),
            Self::Table { code, message } => Self::Table { code, message: cut(message) },
            Self::Structure { part, found, max } => Self::Structure { part: cut(part), found, max },
            whole @ (Self::NotWasm
            | Self::CoreModule
            | Self::TooLarge { .. }
            | Self::CompileTimeout { .. }
            | Self::CompileMemory { .. }
            | Self::ArtifactTooLarge { .. }
            | Self::Secret(_)
            | Self::Busy) => whole,
        }
    }
}
