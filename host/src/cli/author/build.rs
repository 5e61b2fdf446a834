//! `sandbar build`: makes a component of a guest crate. The component imports nothing but the Sandbar world.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use super::super::error::{Error, Result};
use super::super::text;
use super::module::read_module;
use crate::guest::check::{check_header, check_surface};
use crate::guest::{Engine, structure};
use crate::model::json;
use crate::model::module::ModuleError;
use crate::model::text::OneLine;

const TARGET: &str = "wasm32-unknown-unknown";

#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// The crate's Cargo.toml
    #[arg(long, value_name = "FILE", default_value = "Cargo.toml")]
    manifest_path: PathBuf,
    /// The file to write the component to, or its folder [default: target, beside the crate's Cargo.toml]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Let the module use 128-bit SIMD (on) or not
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "true|false")]
    simd: bool,
}

impl BuildArgs {
    pub fn run(self) -> Result<ExitCode> {
        let out = self.build().map_err(Error::failed)?;
        text::emit(&format!("{}\n", OneLine(out.display()))).map(|()| ExitCode::SUCCESS)
    }

    /// Builds the component, and returns its file.
    fn build(&self) -> anyhow::Result<PathBuf> {
        let core = self.cargo()?;
        let module = read_module(&core).with_context(|| core.display().to_string())?;
        let component = encode(&module)?;
        let engine = Engine::new().map_err(anyhow::Error::msg)?;
        check_header(&component)?;
        let refused = |error: ModuleError| anyhow::anyhow!("{error}\n  hint: {}", error.code().hint());
        let footprint = structure::check(&component).map_err(refused)?;
        let parsed =
            wasmtime::component::Component::new(engine.inner(), &component).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        check_surface(&engine, &parsed, footprint).map_err(refused)?;
        let out = self.out(&core);
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        std::fs::write(&out, &component).with_context(|| out.display().to_string())?;
        Ok(out)
    }

    /// The file of the component. A spec names it, so its place does not depend on the place of cargo's own target folder,
    /// which a workspace or the environment may have moved.
    fn out(&self, core: &Path) -> PathBuf {
        let name = core.file_name().unwrap_or_default();
        match &self.out {
            Some(out) if out.is_dir() => out.join(name),
            Some(out) => out.clone(),
            None => self.manifest_path.parent().unwrap_or(Path::new("")).join("target").join(name),
        }
    }

    /// Builds the core module and returns its path. Settings are environment variables, so that a crate needs no profile.
    fn cargo(&self) -> anyhow::Result<PathBuf> {
        let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        if self.simd {
            flags.push_str(" -C target-feature=+simd128");
        }
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--lib", "--target", TARGET, "--message-format=json-render-diagnostics"])
            .arg("--manifest-path")
            .arg(&self.manifest_path)
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
            .env("CARGO_PROFILE_RELEASE_LTO", "fat")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags.trim())
            .env_remove("RUSTFLAGS")
            .stderr(Stdio::inherit())
            .output()
            .context("cargo could not be started; is Rust installed?")?;
        if !output.status.success() {
            bail!("cargo build failed (if it misses `core` or `std` for {TARGET}: rustup target add {TARGET})");
        }
        let manifest = self.manifest_path.canonicalize().with_context(|| self.manifest_path.display().to_string())?;
        artifact(&output.stdout, &manifest).context(
            "the crate built no .wasm: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`, or --manifest-path names a \
             workspace: name a member",
        )
    }
}

/// The `.wasm` of the crate with this manifest, by cargo's messages. Other members of a workspace may be built beside it.
fn artifact(messages: &[u8], manifest: &Path) -> Option<PathBuf> {
    messages.split(|&byte| byte == b'\n').filter_map(|line| artifact_of_line(line, manifest)).next_back()
}

fn artifact_of_line(line: &[u8], manifest: &Path) -> Option<PathBuf> {
    let message: serde_json::Value = json::read(line).ok()?;
    let of = Path::new(message.get("manifest_path")?.as_str()?).canonicalize().ok()?;
    if of != manifest {
        return None;
    }
    let names = message.get("filenames")?.as_array()?;
    let path = names.iter().filter_map(|name| name.as_str()).find(|name| name.ends_with(".wasm"))?;
    Some(PathBuf::from(path))
}

fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let encoded =
        wit_component::ComponentEncoder::default().validate(true).module(module).and_then(|mut encoder| encoder.encode());
    encoded.context("the module does not fit the Sandbar world: is a function marked with #[transform]?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_artifact_is_the_crates_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("it is there");
        let manifest = |name: &str| root.join(name).join("Cargo.toml");
        for name in ["", "a", "b"] {
            std::fs::create_dir_all(root.join(name)).expect("made");
            std::fs::write(manifest(name), "").expect("written");
        }
        let message = |name: &str| {
            let files = serde_json::json!([format!("/target/{name}.wasm")]);
            let message = serde_json::json!({"reason": "compiler-artifact", "manifest_path": manifest(name),
                "target": {"name": name, "kind": ["cdylib"]}, "filenames": files, "fresh": true});
            format!("{message}\n")
        };
        let finished = "{\"reason\":\"build-finished\",\"success\":true}\n";
        let messages = format!("{}{}{finished}", message("a"), message("b"));
        for (name, expected) in [("a", Some("/target/a.wasm")), ("b", Some("/target/b.wasm")), ("", None)] {
            assert_eq!(artifact(messages.as_bytes(), &manifest(name)).as_deref(), expected.map(Path::new), "{name:?}");
        }
    }
}
