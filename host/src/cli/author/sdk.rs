//! The guest SDK of this version, as sources that a transform's crate depends on by a path. So no crate depends on a name of
//! a registry that anybody could take, and the SDK is always the one that the host was made with.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use toml::{Table, Value};

use super::super::error::{Error, Kind, Result};
use super::super::text;
use crate::bounded_input;

/// The folder of the SDK, beside a crate or in the root of its workspace.
pub const FOLDER: &str = "sandbar-sdk";

/// Paths below the SDK's folder, with their contents.
const FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));
/// The workspace's manifest: the SDK's manifests inherit values of it.
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");
const LICENSE: &str = include_str!("../../../../LICENSE");
/// Largest manifest that is looked at: that of the SDK has 2 KiB.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Args)]
pub struct SdkArgs {
    /// The folder to write to; a copy of the SDK that is there is replaced
    #[arg(default_value = FOLDER)]
    folder: PathBuf,
}

impl SdkArgs {
    pub fn run(self) -> Result<ExitCode> {
        let Self { folder } = self;
        if folder.exists() && !folder.is_dir() {
            return Err(Error::file(&folder, "is no folder").with_hint("name the folder of the SDK, or a new one"));
        }
        let is_taken = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        if is_taken && version_of(&folder).is_none() {
            let refused = Error::file(&folder, "the folder is not empty, and it is no copy of the SDK");
            return Err(refused.with_hint("name the folder of the SDK, or a new one"));
        }
        // Files that this version does not have any more must not stay.
        if is_taken {
            clear(&folder).map_err(|error| Error::file(&folder, error))?;
        }
        write(&folder)?;
        let version = env!("CARGO_PKG_VERSION");
        text::emit(&format!("{}: the SDK of Sandbar {version}\n", folder.display())).map(|()| ExitCode::SUCCESS)
    }
}

/// Removes all that is in a folder. The folder itself stays: it may be the current one.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Returns true for a copy of the SDK, and for a checkout's own.
pub fn is_sdk(folder: &Path) -> bool {
    let name = |manifest: &Table| Some(manifest.get("package")?.get("name")?.as_str()? == FOLDER);
    manifest(folder).as_ref().and_then(name).unwrap_or(false)
}

fn manifest(folder: &Path) -> Option<Table> {
    let file = File::open(folder.join("Cargo.toml")).ok()?;
    bounded_input::read_text(file, MANIFEST_BYTES_MAX).ok()?.parse().ok()
}

/// The version of the copy of the SDK in a folder. None: there is none, or it is a checkout's own.
pub fn version_of(folder: &Path) -> Option<String> {
    let manifest = manifest(folder)?;
    let package = manifest.get("package")?.as_table()?;
    let is_copy = package.get("name")?.as_str()? == FOLDER && !package.get("publish")?.as_bool()?;
    package.get("version").filter(|_| is_copy)?.as_str().map(str::to_owned)
}

/// Writes the SDK to a folder.
pub fn write(folder: &Path) -> Result<()> {
    let failed = |error: io::Error| Error::new(Kind::Failed, format_args!("{}: {error}", folder.display()));
    let workspace: Table = WORKSPACE.parse().expect("the workspace's own manifest");
    for (name, content) in FILES {
        let is_manifest = Path::new(name).file_name().is_some_and(|name| name == "Cargo.toml");
        let own = is_manifest.then(|| standalone(content, &workspace));
        write_file(&folder.join(name), own.as_deref().unwrap_or(content)).map_err(failed)?;
    }
    write_file(&folder.join("LICENSE"), LICENSE).map_err(failed)
}

pub fn write_file(file: &Path, content: &str) -> io::Result<()> {
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(file, content)
}

/// A manifest that inherits nothing: it works in every workspace. Its tests stay behind.
fn standalone(manifest: &str, workspace: &Table) -> String {
    let mut manifest: Table = manifest.parse().expect("a manifest of the SDK");
    let inherited = |section: &str, name: &str| workspace["workspace"][section][name].clone();
    for section in ["lints", "dev-dependencies"] {
        manifest.remove(section);
    }
    let package = manifest["package"].as_table_mut().expect("a package");
    for (name, value) in package.iter_mut().filter(|(_, value)| inherits(value)) {
        *value = inherited("package", name);
    }
    package.insert("publish".into(), false.into());
    let lib = manifest.entry("lib").or_insert_with(|| Table::new().into()).as_table_mut().expect("a table");
    lib.extend([("test".to_owned(), Value::from(false)), ("doctest".to_owned(), false.into())]);
    let mut dependencies: Vec<&mut Table> = Vec::new();
    for (name, value) in &mut manifest {
        let Some(table) = value.as_table_mut() else { continue };
        match name.as_str() {
            "dependencies" => dependencies.push(table),
            "target" => {
                let targets = table.iter_mut().filter_map(|(_, target)| target.get_mut("dependencies")?.as_table_mut());
                dependencies.extend(targets);
            }
            _ => {}
        }
    }
    for (name, value) in dependencies.into_iter().flatten() {
        if inherits(value) {
            *value = inherited("dependencies", name);
        } else if let Some(table) = value.as_table_mut().filter(|table| table.contains_key("path")) {
            // Its name is nobody's on a registry.
            table.remove("version");
        }
    }
    toml::to_string(&manifest).expect("a table of plain values")
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").is_some_and(|inherits| inherits.as_bool() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_stand_alone_and_name_no_crate_of_ours_on_a_registry() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path()).expect("written");
        for (name, package) in [
            ("", "sandbar-sdk"),
            ("macros", "sandbar-sdk-macros"),
            ("table", "sandbar-table"),
            ("debezium", "sandbar-debezium"),
        ] {
            let manifest = std::fs::read_to_string(folder.path().join(name).join("Cargo.toml")).expect("there");
            assert!(!manifest.contains("workspace"), "{manifest}");
            let manifest: Table = manifest.parse().expect("TOML");
            assert_eq!(manifest["package"]["name"].as_str(), Some(package));
            assert_eq!(manifest["package"]["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
            let dependencies = manifest.get("dependencies").and_then(Value::as_table).into_iter().flatten();
            for (dependency, source) in dependencies.filter(|(name, _)| name.starts_with("sandbar")) {
                assert!(source.get("path").is_some() && source.get("version").is_none(), "{dependency}: {source}");
            }
        }
        assert_eq!(version_of(folder.path()).as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(version_of(&folder.path().join("macros")), None);
        assert_eq!(version_of(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk"))), None, "it is nobody's copy");
    }
}
