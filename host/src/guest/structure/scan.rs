//! The pass over a component's sections.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Instance, Parser,
    Payload,
};

use super::footprint::{CoreModule, Footprint};
use super::module::scan_module;
use super::{Counts, Part, StructureError, types};

/// A component whose sections are being read: its index spaces, as far as instances are made of them.
#[derive(Default)]
struct Component {
    modules: Vec<Footprint>,
    components: Vec<Footprint>,
    /// The size of one instance of the component, with all inner ones.
    total: Footprint,
}

enum Open {
    Module(CoreModule),
    Component(Component),
}

struct Scan<'a> {
    bytes: &'a [u8],
    counts: Counts,
    /// From the outermost component to the innermost, or to the module within it.
    open: Vec<Open>,
}

/// Counts everything in `bytes`. Something that this pass does not understand is left to the validator.
pub(super) fn scan(bytes: &[u8]) -> Result<(Counts, Footprint), StructureError> {
    let root = Component { total: Footprint::COMPONENT, ..Component::default() };
    let mut scan = Scan { bytes, counts: Counts::default(), open: vec![Open::Component(root)] };
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::End(_) = payload {
            if let Some(total) = scan.end()? {
                return Ok((scan.counts, total));
            }
            continue;
        }
        match scan.open.last_mut() {
            Some(Open::Module(module)) => scan_module(&payload, module, &mut scan.counts)?,
            _ => scan.component(&payload)?,
        }
    }
    // The parser reports an end that is missing.
    Ok((scan.counts, Footprint::default()))
}

impl Scan<'_> {
    /// Closes the innermost module or component, and puts it into the index space of the one around it.
    fn end(&mut self) -> Result<Option<Footprint>, StructureError> {
        let closed = self.open.pop();
        let footprint = match &closed {
            Some(Open::Module(module)) => module.footprint(),
            Some(Open::Component(component)) => component.total,
            None => return Ok(None),
        };
        match (closed, self.open.last_mut()) {
            (Some(Open::Module(_)), Some(Open::Component(outer))) => outer.modules.push(footprint),
            (_, Some(Open::Component(outer))) => outer.components.push(footprint),
            _ => return Ok(Some(footprint)),
        }
        Ok(None)
    }

    fn component(&mut self, payload: &Payload<'_>) -> Result<(), StructureError> {
        match payload {
            Payload::ModuleSection { .. } => {
                self.counts.add(Part::CoreModules, 1)?;
                self.open.push(Open::Module(CoreModule::default()));
            }
            Payload::ComponentSection { .. } => {
                self.counts.add(Part::Components, 1)?;
                self.counts.largest(Part::ComponentDepth, self.open.len() as u64)?;
                self.open.push(Open::Component(Component { total: Footprint::COMPONENT, ..Component::default() }));
            }
            Payload::ComponentTypeSection(section) => {
                let range = section.range();
                types::scan(&self.bytes[range.clone()], range.start, &mut self.counts)?;
            }
            Payload::CoreTypeSection(section) => {
                for ty in section.clone() {
                    self.counts.add(Part::Types, types::count_core(&ty?))?;
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    self.core_instance(&instance?)?;
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    self.component_instance(&instance?)?;
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias?)?;
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                let functions = u64::from(section.count());
                self.counts.add(Part::CanonicalFunctions, functions)?;
                self.innermost().total.add_canonical_functions(functions);
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    self.counts.add(Part::Imports, 1)?;
                    self.counts.largest(Part::NameBytes, import.name.name.len() as u64)?;
                    if let ComponentTypeRef::Module(_) | ComponentTypeRef::Component(_) = import.ty {
                        return Err(StructureError::Unknown("imports a core module or a component"));
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    self.export(export.name.name, export.kind, export.index)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn innermost(&mut self) -> &mut Component {
        match self.open.last_mut() {
            Some(Open::Component(component)) => component,
            _ => unreachable!("a module's sections are read elsewhere"),
        }
    }

    fn core_instance(&mut self, instance: &Instance<'_>) -> Result<(), StructureError> {
        match instance {
            Instance::Instantiate { module_index, args } => {
                self.counts.add(Part::Aliases, args.len() as u64)?;
                for arg in args {
                    self.counts.largest(Part::NameBytes, arg.name.len() as u64)?;
                }
                let component = self.innermost();
                // One that is not there is the validator's to refuse.
                let made = component.modules.get(*module_index as usize).copied().unwrap_or_default();
                component.total.add(&made);
            }
            Instance::FromExports(exports) => {
                self.counts.add(Part::Exports, exports.len() as u64)?;
                for export in exports {
                    self.counts.largest(Part::NameBytes, export.name.len() as u64)?;
                }
            }
        }
        self.check_total()
    }

    fn component_instance(&mut self, instance: &ComponentInstance<'_>) -> Result<(), StructureError> {
        match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                self.counts.add(Part::Aliases, args.len() as u64)?;
                for arg in args {
                    self.counts.largest(Part::NameBytes, arg.name.len() as u64)?;
                }
                let component = self.innermost();
                let made = component.components.get(*component_index as usize).copied().unwrap_or_default();
                component.total.add(&made);
            }
            ComponentInstance::FromExports(exports) => {
                self.counts.add(Part::Exports, exports.len() as u64)?;
                for export in exports {
                    self.counts.largest(Part::NameBytes, export.name.name.len() as u64)?;
                }
                self.innermost().total.component_instances += 1;
            }
        }
        self.check_total()
    }

    /// Checks the sum over instances of instances.
    fn check_total(&mut self) -> Result<(), StructureError> {
        let total = self.innermost().total;
        self.counts.largest(Part::CoreInstances, total.core_instances)?;
        self.counts.largest(Part::ComponentInstances, total.component_instances)?;
        self.counts.largest(Part::Memories, total.memories)?;
        self.counts.largest(Part::Tables, total.tables)
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), StructureError> {
        self.counts.add(Part::Aliases, 1)?;
        match alias {
            ComponentAlias::InstanceExport { kind, name, .. } => {
                self.counts.largest(Part::NameBytes, name.len() as u64)?;
                if let ComponentExternalKind::Module | ComponentExternalKind::Component = kind {
                    return Err(StructureError::Unknown("takes a core module or a component out of an instance"));
                }
            }
            ComponentAlias::CoreInstanceExport { name, .. } => self.counts.largest(Part::NameBytes, name.len() as u64)?,
            ComponentAlias::Outer { kind, count, index } => {
                let outer = self.open.iter().rev().nth(*count as usize);
                let Some(Open::Component(outer)) = outer else { return Ok(()) };
                let index = *index as usize;
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let found = outer.modules.get(index).copied().unwrap_or_default();
                        self.innermost().modules.push(found);
                    }
                    ComponentOuterAliasKind::Component => {
                        let found = outer.components.get(index).copied().unwrap_or_default();
                        self.innermost().components.push(found);
                    }
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
                }
            }
        }
        Ok(())
    }

    /// An export is an item of its own in the index space of its kind.
    fn export(&mut self, name: &str, kind: ComponentExternalKind, index: u32) -> Result<(), StructureError> {
        self.counts.add(Part::Exports, 1)?;
        self.counts.largest(Part::NameBytes, name.len() as u64)?;
        let component = self.innermost();
        let index = index as usize;
        match kind {
            ComponentExternalKind::Module => {
                let found = component.modules.get(index).copied().unwrap_or_default();
                component.modules.push(found);
            }
            ComponentExternalKind::Component => {
                let found = component.components.get(index).copied().unwrap_or_default();
                component.components.push(found);
            }
            _ => {}
        }
        Ok(())
    }
}
