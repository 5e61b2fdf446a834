//! A module's structure: its parts are counted and limited before anything is compiled.
//!
//! A few bytes of a module can stand for much: a global is three bytes of a module and sixteen of each instance, a
//! component that instantiates another ten times does so for each of its own instances. So the parts are counted, in
//! one pass that neither validates nor recurses, and so is the memory that an instance of the module takes in the host
//! beside its linear memory ([`Footprint`]).
//!
//! The limits are twice and more the needs of modules from C, Rust, Go, JavaScript and Python; docs/modules.md has the
//! figures. They are no operator's matter: a module that is over one of them is broken, or made to do harm.

mod footprint;
mod module;
mod scan;
mod types;

pub use footprint::Footprint;

use super::error::TEXT_BYTES_MAX;
use crate::model::module::ModuleError;
use crate::model::text::brief;

/// Counts the parts of a component and the size of its instances. An error names the first limit that it goes over.
pub fn check(bytes: &[u8]) -> Result<Footprint, ModuleError> {
    scan::scan(bytes).map(|(_, footprint)| footprint).map_err(ModuleError::from)
}

/// The parts that are counted: all of a component together, those of its nested modules and components too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    ComponentDepth,
    Components,
    CoreModules,
    CoreInstances,
    ComponentInstances,
    Imports,
    Exports,
    NameBytes,
    Types,
    TypeDepth,
    CanonicalFunctions,
    Aliases,
    Functions,
    FunctionBytes,
    Locals,
    Globals,
    Memories,
    MemoriesOfModule,
    Tables,
    ElementSegments,
    ElementItems,
    DataSegments,
}

struct Limit {
    part: Part,
    /// Its name in an error and in docs/modules.md.
    name: &'static str,
    max: u64,
}

const fn limit(part: Part, name: &'static str, max: u64) -> Limit {
    Limit { part, name, max }
}

/// One row a part, in the order of [`Part`]. docs/modules.md has each with the largest measured need.
const LIMITS: [Limit; 22] = [
    limit(Part::ComponentDepth, "components nested in each other", 8),
    limit(Part::Components, "nested components", 64),
    limit(Part::CoreModules, "core modules", 80),
    // Each is a VMContext in the host.
    limit(Part::CoreInstances, "core instances", 80),
    limit(Part::ComponentInstances, "component instances", 64),
    limit(Part::Imports, "imports", 5_000),
    limit(Part::Exports, "exports", 12_000),
    limit(Part::NameBytes, "bytes of the longest name", 1024),
    limit(Part::Types, "types", 4_000),
    // Parsers and compilers walk them recursively.
    limit(Part::TypeDepth, "types nested in each other", 8),
    limit(Part::CanonicalFunctions, "canonical functions", 500),
    limit(Part::Aliases, "aliases", 4_000),
    limit(Part::Functions, "functions", 50_000),
    limit(Part::FunctionBytes, "bytes of the largest function", 1 << 20),
    // The compiler's time and memory grow faster than their number.
    limit(Part::Locals, "locals of one function", 2_000),
    limit(Part::Globals, "globals", 2_000),
    // Each reserves 4 GiB of address space.
    limit(Part::Memories, "memories", 8),
    // No language makes such modules; wasmtime's own adapters are some, so the proposal is on.
    limit(Part::MemoriesOfModule, "memories of one core module", 1),
    limit(Part::Tables, "tables", 16),
    limit(Part::ElementSegments, "element segments", 100),
    limit(Part::ElementItems, "items of element segments", 50_000),
    limit(Part::DataSegments, "data segments", 100_000),
];

/// The reason why a module was refused.
#[derive(Debug)]
pub(super) enum StructureError {
    Limit {
        name: &'static str,
        found: u64,
        max: u64,
    },
    /// A core module or a component is imported, or taken out of an instance: its instances cannot be counted.
    Unknown(&'static str),
    Parse(wasmparser::Error),
}

impl From<StructureError> for ModuleError {
    fn from(refused: StructureError) -> Self {
        match refused {
            StructureError::Limit { name, found, max } => Self::Structure { part: name.to_owned(), found, max },
            StructureError::Unknown(what) => Self::Invalid(format!("a component within it {what}, which is not supported")),
            StructureError::Parse(error) => Self::Invalid(brief(error, TEXT_BYTES_MAX)),
        }
    }
}

impl From<wasmparser::Error> for StructureError {
    fn from(error: wasmparser::Error) -> Self {
        Self::Parse(error)
    }
}

/// The parts found so far.
#[derive(Debug, Default)]
pub(super) struct Counts([u64; LIMITS.len()]);

impl Counts {
    /// Counts `more` of a part.
    fn add(&mut self, part: Part, more: u64) -> Result<(), StructureError> {
        self.note(part, self.0[part as usize].saturating_add(more))
    }

    /// Notes the size of a part of which the largest counts.
    fn largest(&mut self, part: Part, size: u64) -> Result<(), StructureError> {
        self.note(part, self.0[part as usize].max(size))
    }

    fn note(&mut self, part: Part, found: u64) -> Result<(), StructureError> {
        self.0[part as usize] = found;
        let Limit { part: row, name, max } = LIMITS[part as usize];
        debug_assert_eq!(row, part, "the table is in the order of the parts");
        if found > max { Err(StructureError::Limit { name, found, max }) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "structure_tests.rs"]
mod tests;
