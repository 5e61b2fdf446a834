//! Whether bytes are a module that may run here. Every refusal names what it found.

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::{Engine, PACKAGE, VERSION};
use crate::model::module::ModuleError;

/// What a component asks for and gives.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Surface {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// Refuses what is not a component by its first eight bytes: magic, then version and layer.
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
        let allowed = ["log", "types"].iter().any(|interface| is_interface(name, interface));
        if !allowed {
            return Err(ModuleError::ForbiddenImport { name: name.clone() });
        }
    }
    let exported = format!("{PACKAGE}/transform@{VERSION}");
    let interface = ty.exports(&engine.engine).find(|(name, _)| is_interface(name, "transform")).map(|(_, item)| item.ty);
    let Some(ComponentItem::ComponentInstance(interface)) = interface else {
        return Err(ModuleError::MissingExport { name: exported });
    };
    for function in ["init", "process"] {
        if interface.get_export(&engine.engine, function).is_none() {
            return Err(ModuleError::MissingExport { name: format!("{exported}#{function}") });
        }
    }
    Ok(surface)
}

/// `sandbar:transform/<interface>@0.1.x`.
fn is_interface(name: &str, interface: &str) -> bool {
    let rest = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/'));
    rest.and_then(|rest| rest.split_once('@')).is_some_and(|(found, version)| found == interface && compatible(version))
}

fn check_version(name: &str) -> Result<(), ModuleError> {
    let versioned = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.split_once('@'));
    match versioned {
        Some((_, version)) if !compatible(version) => Err(ModuleError::WrongWorld {
            found: format!("{PACKAGE}@{version}"),
            expected: format!("{PACKAGE}@{VERSION}"),
        }),
        _ => Ok(()),
    }
}

/// Semver: below 1.0 the minor version is the one that breaks.
fn compatible(version: &str) -> bool {
    let minor = |version: &str| version.splitn(3, '.').take(2).map(str::to_owned).collect::<Vec<_>>();
    minor(version) == minor(VERSION)
}
