//! Whether bytes are a module that may run here. Every refusal names what it found.

use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};

use super::{Engine, PACKAGE, VERSION};
use crate::model::module::ModuleError;

/// What a component asks for and gives.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Surface {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

impl Surface {
    /// Whether it can be called between batches.
    pub fn has_ticks(&self) -> bool {
        self.exports.iter().any(|name| is_interface(name, "ticks"))
    }
}

/// A module's type is named up to this length.
const TYPE_CHARS_MAX: usize = 1000;

/// What a module must export, by name and type. The WIT has them too; wasmtime compares the two only when an instance
/// is made, and nothing of a module is run to check it.
const FUNCTIONS: [(&str, &str); 2] = [
    ("init", "func(record{config: string, inputs: list<string>, outputs: list<string>}) -> result<_, string>"),
    (
        "process",
        "func(record{input: u32, partition: u32, now: s64, first-offset: s64, offset-deltas: list<u32>, \
         timestamps: list<s64>, data: list<u8>, keys: list<u32>, values: list<u32>, header-counts: list<u32>, \
         headers: list<u32>}) -> result<record{data: list<u8>, targets: list<u32>, sources: list<u32>, \
         timestamps: list<s64>, keys: list<u32>, values: list<u32>, header-counts: list<u32>, headers: list<u32>, \
         failures: list<record{row: u32, message: string}>}, string>",
    ),
];

/// Refuses what is not a component by its first eight bytes: magic, then version and layer.
/// The same of what it may export beside, for a spec with a `tick`.
const TICK: (&str, &str) = (
    "tick",
    "func(record{input: u32, partition: u32, now: s64}) -> result<record{data: list<u8>, targets: list<u32>, \
     sources: list<u32>, timestamps: list<s64>, keys: list<u32>, values: list<u32>, header-counts: list<u32>, \
     headers: list<u32>, failures: list<record{row: u32, message: string}>}, string>",
);

/// What a module may import.
const IMPORTS: [&str; 4] = ["log", "state", "tables", "types"];

pub fn check_header(bytes: &[u8]) -> Result<(), ModuleError> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(ModuleError::CoreModule),
        [0, b'a', b's', b'm', ..] => Err(ModuleError::Invalid("unknown version or layer".into())),
        _ => Err(ModuleError::NotWasm),
    }
}

/// Refuses a component that does not fit the world: imports first, so that a wrong one is named.
pub fn check_surface(engine: &Engine, component: &Component) -> Result<Surface, ModuleError> {
    let ty = component.component_type();
    let surface = Surface {
        imports: ty.imports(&engine.engine).map(|(name, _)| name.to_owned()).collect(),
        exports: ty.exports(&engine.engine).map(|(name, _)| name.to_owned()).collect(),
    };
    for name in surface.imports.iter().chain(&surface.exports) {
        check_version(name)?;
    }
    for name in &surface.imports {
        if !IMPORTS.iter().any(|interface| is_interface(name, interface)) {
            return Err(ModuleError::ForbiddenImport { name: name.clone() });
        }
    }
    check_exports(engine, component, "transform", &FUNCTIONS)?;
    if surface.has_ticks() {
        check_exports(engine, component, "ticks", &[TICK])?;
    }
    Ok(surface)
}

/// Whether the module exports the interface, with these functions.
fn check_exports(
    engine: &Engine,
    component: &Component,
    interface: &str,
    functions: &[(&str, &str)],
) -> Result<(), ModuleError> {
    let exported = format!("{PACKAGE}/{interface}@{VERSION}");
    let ty = component.component_type();
    let found = ty.exports(&engine.engine).find(|(name, _)| is_interface(name, interface)).map(|(_, item)| item.ty);
    let Some(ComponentItem::ComponentInstance(found)) = found else {
        return Err(ModuleError::MissingExport { name: exported });
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
            let found: String = found.chars().take(TYPE_CHARS_MAX).collect();
            return Err(ModuleError::Invalid(format!("its {name} is {found}, it must be {expected}")));
        }
    }
    Ok(())
}

fn func_text(func: &ComponentFunc) -> String {
    let params: Vec<String> = func.params().map(|(_, ty)| type_text(&ty)).collect();
    let results: Vec<String> = func.results().map(|ty| type_text(&ty)).collect();
    let arrow = if results.is_empty() { "" } else { " -> " };
    format!("func({}){arrow}{}", params.join(", "), results.join(", "))
}

/// A type as WIT would write it in place. Types that the world does not use are named by their kind alone.
fn type_text(ty: &Type) -> String {
    let optional = |ty: Option<Type>| ty.map_or("_".to_owned(), |ty| type_text(&ty));
    match ty {
        Type::U8 => "u8".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::S64 => "s64".to_owned(),
        Type::String => "string".to_owned(),
        Type::List(list) => format!("list<{}>", type_text(&list.ty())),
        Type::Result(result) => format!("result<{}, {}>", optional(result.ok()), optional(result.err())),
        Type::Record(record) => {
            let fields: Vec<String> =
                record.fields().map(|field| format!("{}: {}", field.name, type_text(&field.ty))).collect();
            format!("record{{{}}}", fields.join(", "))
        }
        other => format!("{other:?}").split(['(', ' ']).next().unwrap_or_default().to_lowercase(),
    }
}

/// `sandbar:transform/<interface>@0.1.x`.
fn is_interface(name: &str, interface: &str) -> bool {
    let rest = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/'));
    rest.and_then(|rest| rest.split_once('@')).is_some_and(|(found, version)| found == interface && compatible(version))
}

fn check_version(name: &str) -> Result<(), ModuleError> {
    let versioned = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.split_once('@'));
    match versioned {
        Some((_, version)) if !compatible(version) => {
            Err(ModuleError::WrongWorld { found: format!("{PACKAGE}@{version}"), expected: format!("{PACKAGE}@{VERSION}") })
        }
        _ => Ok(()),
    }
}

/// Semver: below 1.0 the minor version is the one that breaks.
fn compatible(version: &str) -> bool {
    let minor = |version: &str| version.splitn(3, '.').take(2).map(str::to_owned).collect::<Vec<_>>();
    minor(version) == minor(VERSION)
}
