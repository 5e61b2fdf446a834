//! The sections of a core module.

use wasmparser::{ElementItems, ElementKind, ExternalKind, FunctionBody, Payload, TypeRef};

use super::footprint::CoreModule;
use super::{Counts, Part, StructureError};

/// Counts one section of a core module, for the component as a whole and for the module's instances.
pub(super) fn scan_module(
    payload: &Payload<'_>,
    module: &mut CoreModule,
    counts: &mut Counts,
) -> Result<(), StructureError> {
    match payload {
        Payload::TypeSection(section) => {
            for group in section.clone() {
                counts.add(Part::Types, group?.types().len() as u64)?;
            }
        }
        Payload::ImportSection(section) => {
            for import in section.clone().into_imports() {
                let import = import?;
                counts.add(Part::Imports, 1)?;
                counts.largest(Part::NameBytes, import.module.len().max(import.name.len()) as u64)?;
                match import.ty {
                    TypeRef::Func(_) | TypeRef::FuncExact(_) => module.functions_imported += 1,
                    TypeRef::Memory(_) => module.memories_imported += 1,
                    _ => module.others_imported += 1,
                }
                counts.largest(Part::MemoriesOfModule, module.memories_imported)?;
            }
        }
        Payload::FunctionSection(section) => {
            counts.add(Part::Functions, u64::from(section.count()))?;
            module.functions += u64::from(section.count());
        }
        Payload::TableSection(section) => {
            counts.add(Part::Tables, u64::from(section.count()))?;
            module.tables += u64::from(section.count());
        }
        Payload::MemorySection(section) => {
            counts.add(Part::Memories, u64::from(section.count()))?;
            module.memories += u64::from(section.count());
            counts.largest(Part::MemoriesOfModule, module.memories_imported.saturating_add(module.memories))?;
        }
        // Tags stand for exceptions, which are off; they count as globals until the validator refuses them.
        Payload::TagSection(section) => counts.add(Part::Globals, u64::from(section.count()))?,
        Payload::GlobalSection(section) => {
            counts.add(Part::Globals, u64::from(section.count()))?;
            module.globals += u64::from(section.count());
            module.function_references += u64::from(section.count());
        }
        Payload::ExportSection(section) => {
            for export in section.clone() {
                let export = export?;
                counts.add(Part::Exports, 1)?;
                counts.largest(Part::NameBytes, export.name.len() as u64)?;
                module.function_references += u64::from(export.kind == ExternalKind::Func);
            }
        }
        Payload::ElementSection(section) => {
            for segment in section.clone() {
                let segment = segment?;
                let items = match segment.items {
                    ElementItems::Functions(items) => u64::from(items.count()),
                    ElementItems::Expressions(_, items) => u64::from(items.count()),
                };
                counts.add(Part::ElementSegments, 1)?;
                counts.add(Part::ElementItems, items)?;
                module.function_references += items;
                module.segments += 1;
                module.passive_items += if let ElementKind::Active { .. } = segment.kind { 0 } else { items };
            }
        }
        Payload::DataSection(section) => {
            counts.add(Part::DataSegments, u64::from(section.count()))?;
            module.segments += u64::from(section.count());
        }
        Payload::CodeSectionEntry(body) => scan_function(body, counts)?,
        _ => {}
    }
    Ok(())
}

fn scan_function(body: &FunctionBody<'_>, counts: &mut Counts) -> Result<(), StructureError> {
    counts.largest(Part::FunctionBytes, body.range().len() as u64)?;
    let mut locals = 0u64;
    for group in body.get_locals_reader()? {
        let (count, _) = group?;
        locals = locals.saturating_add(u64::from(count));
        counts.largest(Part::Locals, locals)?;
    }
    Ok(())
}
