//! A host that starts again with an empty cache of compiled modules: one compiler after the other, uploads between them,
//! and nothing of the host's in a compiler's hands.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::dev_host::DevHost;

const TRANSFORMS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(400);
const PAUSE: Duration = Duration::from_millis(5);

/// Starts a host with one compiler.
fn start(folder: &Path) -> DevHost {
    DevHost::start(folder, &["--compilers-max", "1"])
}

fn compilers_of(host: u32) -> Vec<PathBuf> {
    let parent = format!("\"parent\":{host}}}");
    let processes = std::fs::read_dir("/proc").expect("procfs").map(|entry| entry.expect("an entry").path());
    let is_ours = |path: &PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&parent)
    };
    processes.filter(is_ours).collect()
}

/// The fixture with a custom section of its own.
fn variant(number: usize) -> Vec<u8> {
    let mut module = DevHost::fixture();
    module.extend([0, 5]);
    module.extend(format!("\x04{number:04}").bytes());
    module
}

/// Descriptors that a program which the host starts would inherit.
fn inherited(process: u32) -> Vec<String> {
    let folder = format!("/proc/{process}/fdinfo");
    let numbers = std::fs::read_dir(folder).expect("our own child").map(|entry| entry.expect("an entry"));
    let above = numbers.filter(|entry| !["0", "1", "2"].contains(&&*entry.file_name().to_string_lossy()));
    let open = above.filter(|entry| {
        let info = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        // One that was closed meanwhile has none.
        flags.is_some_and(|flags| i32::from_str_radix(flags.trim(), 8).expect("octal") & libc::O_CLOEXEC == 0)
    });
    open.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_cold_restart_compiles_one_module_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let host = start(folder.path());
    host.put("/v1/topics/orders", &json!({ "partitions": 1 }));
    host.put("/v1/topics/out", &json!({ "partitions": 1 }));
    for number in 0..TRANSFORMS {
        let module = host.upload(&variant(number));
        host.deploy(&format!("t{number}"), &module, "echo");
    }
    host.wait(|| host.running() == TRANSFORMS);
    // Some may be whoever's who started this test; the host's own are none of them.
    let foreign = inherited(std::process::id());
    let own: Vec<String> = inherited(host.pid()).into_iter().filter(|number| !foreign.contains(number)).collect();
    assert_eq!(own, Vec::<String>::new());
    drop(host);
    std::fs::remove_dir_all(data.join("compiled")).expect("there");

    let host = start(folder.path());
    let seen = std::cell::Cell::new(0);
    std::thread::scope(|scope| {
        // It does not wait until the restart is done.
        let uploaded = scope.spawn(|| {
            host.upload(&variant(TRANSFORMS));
            host.metric("sandbar_modules_compiled_total{result=\"ok\"}")
        });
        host.wait(|| {
            let compilers = compilers_of(host.pid());
            assert!(compilers.len() <= 1, "{compilers:?}");
            seen.set(seen.get().max(compilers.len()));
            host.running() == TRANSFORMS
        });
        let compiled = uploaded.join().expect("it was taken");
        assert!(compiled <= TRANSFORMS as u64, "{compiled} modules were compiled first");
    });
    assert_eq!(seen.get(), 1);
    assert_eq!(host.metric("sandbar_modules_compiled_total{result=\"ok\"}"), TRANSFORMS as u64 + 1);
    host.wait(|| host.metric("sandbar_compilers_running") == 0);

    drop(host);

    let host = start(folder.path());
    host.wait(|| host.running() == TRANSFORMS);
    let compiled = ["ok", "cached"].map(|result| format!("sandbar_modules_compiled_total{{result=\"{result}\"}}"));
    assert_eq!(compiled.map(|name| host.metric(&name)), [0, TRANSFORMS as u64], "it finds them all");

    let log = std::fs::read_to_string(&host.log).expect("there");
    assert!(log.contains("compilers have no files") || log.contains("compilers are shut in only in part"), "{log}");
    for name in ["", "compiled", "compiled/key", "log", "lock", "host"] {
        let mode = std::fs::metadata(data.join(name)).expect("there").mode();
        assert_eq!(mode & 0o077, 0, "{name:?}: {mode:o}");
    }
}

/// A component whose one function has so many instructions that compiling takes a while.
fn large() -> Vec<u8> {
    let body: String = (3..100_000).map(|n| format!("i64.const {n} i64.mul local.get 0 i64.add local.tee 0\n")).collect();
    let text = format!("(component (core module (func (param i64) (result i64) local.get 0\n{body})))");
    wat::parse_str(text).expect("the text is right")
}

#[test]
fn a_compiler_ends_with_its_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = start(folder.path());
    let number = host.pid();
    let request = ureq::post(host.at("/v1/modules")).header("content-type", "application/wasm");
    let module = large();
    let upload = std::thread::spawn(move || request.send(&module).is_ok());
    host.wait(|| !compilers_of(number).is_empty());
    let compiler = compilers_of(number).remove(0);
    drop(host);
    let started = Instant::now();
    // A zombie, until whoever adopted it has reaped it, has no command line.
    while std::fs::read(compiler.join("cmdline")).is_ok_and(|line| !line.is_empty()) {
        assert!(started.elapsed() < PATIENCE, "{} goes on", compiler.display());
        std::thread::sleep(PAUSE);
    }
    assert!(!upload.join().expect("it ended"), "it was killed before it was done");
}
