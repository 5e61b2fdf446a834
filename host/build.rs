//! Lists the sources of the guest SDK for `sandbar new`, which writes them beside a new transform.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The crates of the SDK, as folders below it.
const CRATES: [&str; 4] = ["", "macros", "table", "debezium"];

fn main() -> Result<(), Box<dyn Error>> {
    let sdk = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../guest-sdk").canonicalize()?;
    println!("cargo::rerun-if-changed={}", sdk.display());
    let mut files = Vec::new();
    for name in CRATES {
        files.push(sdk.join(name).join("Cargo.toml"));
        collect(&sdk.join(name).join("src"), &mut files)?;
    }
    collect(&sdk.join("wit"), &mut files)?;
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        let name = file.strip_prefix(&sdk)?.to_str().ok_or("the name of a source is no UTF-8")?;
        writeln!(list, "    ({name:?}, include_str!({:?})),", file.to_str().ok_or("the path of the SDK is no UTF-8")?)?;
    }
    list.push_str("]\n");
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("sdk_files.rs"), list)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
