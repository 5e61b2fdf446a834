//! The guests as components, built by the binary under test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};

use crate::dirs;

/// `transforms/field-strip`: the transform of the web shop.
pub fn field_strip() -> Arc<[u8]> {
    component("transforms/field-strip")
}

/// `tests/guests/fixture`: it behaves as its config says, `{"mode": "..."}`.
pub fn fixture() -> Arc<[u8]> {
    component("tests/guests/fixture")
}

/// `tests/guests/stateful`: it counts and sums in a store.
pub fn stateful() -> Arc<[u8]> {
    component("tests/guests/stateful")
}

/// The component of the crate in `directory`: `sandbar build` is quick where nothing has changed.
pub fn component(directory: &str) -> Arc<[u8]> {
    static BUILT: LazyLock<Mutex<HashMap<PathBuf, Arc<[u8]>>>> = LazyLock::new(Mutex::default);
    let manifest = dirs::root().join(directory).join("Cargo.toml");
    // The lock is held while it builds, so that each guest is built once.
    let mut built = BUILT.lock().unwrap_or_else(|error| panic!("another guest could not be built: {error}"));
    built.entry(manifest).or_insert_with_key(|manifest| build(manifest).into()).clone()
}

fn build(manifest: &Path) -> Vec<u8> {
    let mut command = Command::new(dirs::sandbar());
    command.args(["build", "--manifest-path"]).arg(manifest);
    // Its own directory: cargo runs the tests with flags that would not fit those of the guests.
    let folder = dirs::target().join("guests");
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    command.env("CARGO_TARGET_DIR", &folder).arg("--out").arg(&folder);
    let output = command.output().expect("the binary runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {printed}{}", String::from_utf8_lossy(&output.stderr));
    let path = printed.split_whitespace().last().unwrap_or_else(|| panic!("{command:?} printed no path"));
    std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
