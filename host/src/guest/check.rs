//! Checks that bytes are a module that may run here. Every refusal names the part that it is about.

use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};

use super::Engine;
use super::error::text;
use super::structure::Footprint;
use super::worlds::{self, Function, PACKAGE, World};
use crate::model::module::ModuleError;
use crate::model::text::cut;

/// A component's imports and exports, and the size of an instance of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Surface {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub footprint: Footprint,
}

/// Imports, and exports, that a component may have itself. QuickJS and Python leave some that the world does not ask for.
const NAMES_MAX: usize = 256;
/// Bytes of each of their names.
const NAME_BYTES_MAX: usize = 256;

impl Surface {
    /// Returns true if the module can be called between batches.
    pub fn has_ticks(&self) -> bool {
        self.exports.iter().any(|name| is_interface(name, "ticks"))
    }
}

/// A module's type is named up to this length: twice that of `process`.
const TYPE_BYTES_MAX: usize = 1000;

/// Refuses bytes that do not begin as a component does: magic, then version and layer, eight bytes in all.
pub fn check_header(bytes: &[u8]) -> Result<(), ModuleError> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(ModuleError::CoreModule),
        [0, b'a', b's', b'm', ..] => Err(ModuleError::Invalid("unknown version or layer".into())),
        _ => Err(ModuleError::NotWasm),
    }
}

/// Refuses a component that does not fit the world: imports first, so that a wrong one is named.
pub fn check_surface(engine: &Engine, component: &Component, footprint: Footprint) -> Result<Surface, ModuleError> {
    let ty = component.component_type();
    let imports = names(ty.imports(&engine.engine).map(|(name, _)| name))?;
    let exports = names(ty.exports(&engine.engine).map(|(name, _)| name))?;
    let surface = Surface { imports, exports, footprint };
    let world = world_of(&surface)?;
    for name in &surface.imports {
        if !world.imports.iter().any(|interface| is_interface(name, interface)) {
            return Err(ModuleError::ForbiddenImport { name: name.clone() });
        }
    }
    check_exports(engine, component, &world.interface("transform"), world.functions)?;
    if surface.has_ticks() {
        check_exports(engine, component, &world.interface("ticks"), &[world.tick])?;
    }
    Ok(surface)
}

/// Names that are few, short, and fit to be shown: an answer of the API has them all.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, ModuleError> {
    let over = |part: &str, found: usize, max: usize| {
        Err(ModuleError::Structure { part: part.to_owned(), found: found as u64, max: max as u64 })
    };
    let mut kept = Vec::new();
    for name in names {
        if name.len() > NAME_BYTES_MAX {
            return over("bytes in the name of an import or export of the component itself", name.len(), NAME_BYTES_MAX);
        }
        kept.push(text(name));
    }
    if kept.len() > NAMES_MAX {
        return over("imports or exports of the component itself", kept.len(), NAMES_MAX);
    }
    Ok(kept)
}

/// Refuses a module that does not export an interface of the world, by its full name, with these functions.
fn check_exports(engine: &Engine, component: &Component, exported: &str, functions: &[Function]) -> Result<(), ModuleError> {
    let interface = part_of(exported).map_or(exported, |(interface, _)| interface);
    let ty = component.component_type();
    let found = ty.exports(&engine.engine).find(|(name, _)| is_interface(name, interface)).map(|(_, item)| item.ty);
    let Some(ComponentItem::ComponentInstance(found)) = found else {
        return Err(ModuleError::MissingExport { name: exported.to_owned() });
    };
    for (name, expected) in functions {
        let Some(item) = found.get_export(&engine.engine, name) else {
            return Err(ModuleError::MissingExport { name: format!("{exported}#{name}") });
        };
        let found = match item.ty {
            ComponentItem::ComponentFunc(func) => func_text(&func),
            _ => "not a function".to_owned(),
        };
        if found != *expected {
            return Err(ModuleError::Invalid(format!("its {name} is {}, it must be {expected}", text(found))));
        }
    }
    Ok(())
}

/// A function's type as WIT would write it, cut where it is longer than any that a module must have.
fn func_text(func: &ComponentFunc) -> String {
    let mut out = TypeText::default();
    out.list("func(", func.params().map(|(_, ty)| ty), ")");
    let results: Vec<Type> = func.results().collect();
    if !results.is_empty() {
        out.list(" -> ", results.into_iter(), "");
    }
    out.text
}

/// A type in words. A small type may expand to a text without end, as each of its fields may be the same large type: parts
/// over the length are neither written nor looked at.
#[derive(Default)]
struct TypeText {
    text: String,
}

impl TypeText {
    fn is_full(&self) -> bool {
        self.text.len() > TYPE_BYTES_MAX
    }

    fn push(&mut self, more: &str) {
        if !self.is_full() {
            self.text.push_str(cut(more, TYPE_BYTES_MAX));
        }
    }

    fn list(&mut self, before: &str, types: impl Iterator<Item = Type>, after: &str) {
        self.push(before);
        for (index, ty) in types.enumerate() {
            if self.is_full() {
                return;
            }
            if index > 0 {
                self.push(", ");
            }
            self.ty(&ty);
        }
        self.push(after);
    }

    /// Writes a type in place, in the syntax of WIT. Types that the world does not use are named by their kind alone.
    fn ty(&mut self, ty: &Type) {
        if self.is_full() {
            return;
        }
        match ty {
            Type::List(list) => self.list("list<", std::iter::once(list.ty()), ">"),
            Type::Result(result) => {
                self.push("result<");
                self.optional(result.ok());
                self.push(", ");
                self.optional(result.err());
                self.push(">");
            }
            Type::Record(record) => {
                self.push("record{");
                for (index, field) in record.fields().enumerate() {
                    if self.is_full() {
                        return;
                    }
                    self.push(if index > 0 { ", " } else { "" });
                    self.push(field.name);
                    self.push(": ");
                    self.ty(&field.ty);
                }
                self.push("}");
            }
            other => self.push(kind_text(other)),
        }
    }

    fn optional(&mut self, ty: Option<Type>) {
        match ty {
            Some(ty) => self.ty(&ty),
            None => self.push("_"),
        }
    }
}

fn kind_text(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::Tuple(_) => "tuple",
        Type::Variant(_) => "variant",
        Type::Enum(_) => "enum",
        Type::Option(_) => "option",
        Type::Flags(_) => "flags",
        Type::Own(_) => "own",
        Type::Borrow(_) => "borrow",
        _ => "a type that the world does not use",
    }
}

/// Interface and version of `sandbar:transform/<interface>@<version>`.
fn part_of(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@')
}

/// Tells whether a name is that of an interface, in a world that this host runs.
fn is_interface(name: &str, interface: &str) -> bool {
    part_of(name).is_some_and(|(found, version)| found == interface && worlds::of_version(version).is_some())
}

/// The one world that a component's imports and exports are of. One without any lacks those of the newest.
fn world_of(surface: &Surface) -> Result<&'static World, ModuleError> {
    let mut found: Option<&'static World> = None;
    for (_, version) in surface.imports.iter().chain(&surface.exports).filter_map(|name| part_of(name)) {
        let world = worlds::of_version(version);
        match (world, found) {
            (Some(world), Some(other)) if world.version != other.version => return Err(wrong_world(version)),
            (Some(world), _) => found = Some(world),
            (None, _) => return Err(wrong_world(version)),
        }
    }
    Ok(found.unwrap_or(worlds::WORLDS.last().expect("there is one")))
}

fn wrong_world(version: &str) -> ModuleError {
    ModuleError::WrongWorld { found: format!("{PACKAGE}@{version}"), expected: worlds::listed() }
}
