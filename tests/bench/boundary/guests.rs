//! The components that are measured. They are built as `sandbar build` builds them, when they are missing or old.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use sandbar::cli::{Cli, Command as Subcommand};

/// A module of the Sandbar world.
pub fn transform(directory: &str) -> Vec<u8> {
    let manifest = root().join(directory).join("Cargo.toml");
    let out = target().join(directory.replace('/', "-")).with_extension("wasm");
    std::fs::create_dir_all(target()).expect("target is writable");
    let arguments = ["sandbar".as_ref(), "build".as_ref(), "--manifest-path".as_ref(), manifest.as_os_str()];
    let arguments = arguments.into_iter().chain(["--out".as_ref(), out.as_os_str()]);
    let Subcommand::Build(build) = Cli::parse_from(arguments).command else { unreachable!("it says build") };
    build.run().expect("the guest builds");
    std::fs::read(out).expect("just written")
}

/// The module of the alternatives, whose world is its own: with the compiler settings of `sandbar build`.
pub fn alternatives() -> Vec<u8> {
    let status = Command::new("cargo")
        .args(["build", "--release", "--lib", "--target", "wasm32-unknown-unknown", "--manifest-path"])
        .arg(root().join("tests/bench/alternatives/Cargo.toml"))
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-C target-feature=+simd128")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo starts");
    assert!(status.success(), "tests/bench/alternatives does not build");
    let core = target().join("wasm32-unknown-unknown/release/sandbar_bench_alternatives.wasm");
    let core = std::fs::read(core).expect("just built");
    let encoded =
        wit_component::ComponentEncoder::default().validate(true).module(&core).and_then(|mut encoder| encoder.encode());
    encoded.expect("the module fits its world")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("the crate lies in the workspace")
}

fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("guests")
}
