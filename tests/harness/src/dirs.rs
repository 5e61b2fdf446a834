//! The paths of the checkout, of the built binaries, and of a directory for the files of this test process.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

const TEMPORARY: &str = "sandbar-e2e-";

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in the workspace")
}

/// Cargo's `target`, wherever it was put: a test runs from `target/<profile>/deps`, a program from `target/<profile>`.
pub fn target() -> PathBuf {
    profile().parent().expect("target/<profile>").to_owned()
}

/// `target/<profile>`.
pub fn profile() -> PathBuf {
    let program = std::env::current_exe().expect("the program's own path");
    let folder = program.parent().expect("target/<profile>[/deps]");
    if folder.ends_with("deps") { folder.parent().expect("target/<profile>").to_owned() } else { folder.to_owned() }
}

/// The `sandbar` binary of this profile, or that of `SANDBAR_BIN`.
pub fn sandbar() -> PathBuf {
    let binary = std::env::var_os("SANDBAR_BIN").map_or_else(|| profile().join("sandbar"), PathBuf::from);
    assert!(binary.is_file(), "{} is missing: run `make test`, or `cargo build -p sandbar` first", binary.display());
    binary
}

/// A new directory of this process: `target/e2e/<pid>/<number>-<name>`.
pub fn fresh(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
        let all = target().join("e2e");
        remove_ended(&all);
        all.join(std::process::id().to_string())
    });
    let path = RUN.join(format!("{:02}-{name}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&path).expect("target is writable");
    path
}

/// Removes a directory of this process whose user has ended. After a failed test it stays, for whoever looks for the reason.
pub fn discard(dir: &Path) {
    if !std::thread::panicking() {
        // What stays is removed by the next run.
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// A new directory outside of the checkout, for a process of another user, who may not reach into it. It is removed by
/// the next run at the latest.
pub fn temporary(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let all = std::env::temp_dir();
    remove_ended(&all);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = all.join(format!("{TEMPORARY}{}-{number}-{name}", std::process::id()));
    std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// Removes the directories of ended processes.
fn remove_ended(all: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let pid = match name.strip_prefix(TEMPORARY) {
            Some(rest) => rest.split('-').next().unwrap_or_default(),
            None if all.ends_with("e2e") => &name,
            None => continue,
        };
        let ended = !Path::new("/proc").join(pid).exists();
        if ended {
            // Another test binary may be removing it at the same time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The last `lines` lines of a log file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
