//! The size of an instance in the host: everything but its linear memory and its tables' elements, which are counted
//! as they grow.
//!
//! Sizes are those of wasmtime's own structures on a 64-bit machine (`vmoffsets.rs`, `vmcomponent_offsets.rs`), taken a
//! little too large rather than too small.

use serde::{Deserialize, Serialize};

/// A core instance without anything: `VMContext`, `Instance`, its entries in the store.
const CORE_INSTANCE_BYTES: u64 = 1024;
/// A component instance without anything.
const COMPONENT_INSTANCE_BYTES: u64 = 1024;
/// A lowered, lifted or built-in function of a component: its trampoline and options.
const CANONICAL_FUNCTION_BYTES: u64 = 128;
/// `VMFunctionImport`, and `VMFuncRef` of a function that is exported or in an element segment.
const FUNCTION_BYTES: u64 = 32;
/// `VMGlobalDefinition`.
const GLOBAL_BYTES: u64 = 16;
/// `VMGlobalImport`, `VMTableImport`, `VMMemoryImport`, `VMTagImport`.
const IMPORT_BYTES: u64 = 32;
/// A table and a memory without their contents.
const TABLE_BYTES: u64 = 128;
const MEMORY_BYTES: u64 = 512;
/// `ValRaw`, of an element segment that is copied at run time.
const PASSIVE_ITEM_BYTES: u64 = 16;
/// A segment that is copied at run time.
const SEGMENT_BYTES: u64 = 32;

/// An instance of a component or of a core module, with all that is made along with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    pub core_instances: u64,
    pub component_instances: u64,
    pub memories: u64,
    pub tables: u64,
    /// Beside linear memory and the elements of tables.
    pub bytes: u64,
}

impl Footprint {
    /// A component instance without its functions and its inner instances.
    pub(super) const COMPONENT: Self =
        Self { core_instances: 0, component_instances: 1, memories: 0, tables: 0, bytes: COMPONENT_INSTANCE_BYTES };

    pub(super) fn add(&mut self, other: &Self) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.component_instances = self.component_instances.saturating_add(other.component_instances);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    pub(super) fn add_canonical_functions(&mut self, functions: u64) {
        self.bytes = self.bytes.saturating_add(functions.saturating_mul(CANONICAL_FUNCTION_BYTES));
    }
}

/// The parts of one core module that its instances have each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CoreModule {
    pub functions_imported: u64,
    pub functions: u64,
    /// Functions that can be referred to: exported, in element segments, in globals.
    pub function_references: u64,
    pub memories_imported: u64,
    /// Imported tables, globals and tags.
    pub others_imported: u64,
    pub globals: u64,
    pub tables: u64,
    pub memories: u64,
    pub passive_items: u64,
    pub segments: u64,
}

impl CoreModule {
    pub fn footprint(&self) -> Footprint {
        // The number of parts is limited far below what could wrap here.
        let references = self.function_references.min(self.functions + self.functions_imported);
        let bytes = CORE_INSTANCE_BYTES
            + (self.functions_imported + references) * FUNCTION_BYTES
            + (self.others_imported + self.memories_imported) * IMPORT_BYTES
            + self.globals * GLOBAL_BYTES
            + self.tables * TABLE_BYTES
            + self.memories * MEMORY_BYTES
            + self.passive_items * PASSIVE_ITEM_BYTES
            + self.segments * SEGMENT_BYTES;
        Footprint { core_instances: 1, component_instances: 0, memories: self.memories, tables: self.tables, bytes }
    }
}
