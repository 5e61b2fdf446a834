//! The compiler's process: each way in which it ends has its error, a bounded number of processes run at once, and a refusal
//! costs once.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use sandbar::guest::compile::{Compiler, Jail, Protection};
use sandbar::guest::{ModuleOptions, Modules};
use sandbar::model::codes::Code;
use sandbar::model::module::ModuleError;
use sandbar::model::names::{Digest, TeamName};
use sandbar::telemetry::metrics::Metrics;

const PATIENCE: Duration = Duration::from_secs(120);

/// Revisions that behave as no compiler should, by name. Each may use its `$folder`.
const PROGRAMS: &[(&str, &str)] = &[
    ("segfault", "kill -SEGV $$"),
    ("illegal", "kill -ILL $$"),
    ("killed", "kill -KILL $$"),
    ("syscall", "kill -SYS $$"),
    ("panic", "echo \"thread 'main' panicked\" >&2; exit 101"),
    ("abort", "echo 'a double panic' >&2; kill -ABRT $$"),
    ("memory", "echo 'memory allocation of 123 bytes failed' >&2; kill -ABRT $$"),
    ("memory in a panic", "echo 'called unwrap on: Cannot allocate memory (os error 12)' >&2; exit 101"),
    ("cpu time", "kill -XCPU $$"),
    ("silence", "exit 0"),
    ("nonsense", "echo 'compiled, believe me'"),
    ("a length and no more", "printf '\\377\\377\\377\\377\\377\\377\\377\\177'"),
    // A whole answer, with 8 bytes that are no machine code.
    (
        "a false artifact",
        "answer='{\"jail\":{\"landlock\":\"Full\",\"seccomp\":\"Full\"},\"outcome\":{\"Ok\":{\"imports\":[],\"exports\":[],\"footprint\":{\"core_instances\":0,\"component_instances\":0,\"memories\":0,\"tables\":0,\"bytes\":0}}}}'; \
        printf '\\265\\0\\0\\0\\0\\0\\0\\0%s\\10\\0\\0\\0\\0\\0\\0\\0nonsense' \"$answer\"",
    ),
    ("flood", "while :; do echo 0123456789012345678901234567890123456789; done"),
    ("flood of errors", "while :; do echo 0123456789012345678901234567890123456789 >&2; done"),
    ("deaf and alive", "exec <&- >&- 2>&-; while :; do :; done"),
    ("endless", "while :; do :; done"),
    ("a child that stays", "/bin/sleep 1000 & echo $! > $folder/pid; exit 3"),
    ("overlaps", "/bin/mkdir $folder/busy 2>> $folder/collisions; /bin/rmdir $folder/busy; echo >> $folder/runs; exit 3"),
];

/// The folder of the programs. They are written before any of them is started.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder").keep();
    for (name, script) in PROGRAMS {
        let path = folder.join(name);
        let text = format!("#!/bin/sh\nfolder='{}'\n{script}\n", folder.display());
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our own");
    }
    folder
});

fn program(name: &str) -> Compiler {
    Compiler { program: Some(FOLDER.join(name)), ..real() }
}

fn real() -> Compiler {
    LazyLock::force(&FOLDER);
    Compiler { program: Some(env!("CARGO_BIN_EXE_sandbar").into()), at_once_max: 1, ..Compiler::default() }
}

fn modules(compiler: Compiler) -> (Modules, Metrics) {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let metrics = Metrics::new();
    let options = ModuleOptions { compiler, ..ModuleOptions::default() };
    (Modules::open(&folder, options, metrics.modules.clone()).expect("an engine"), metrics)
}

/// The value of a metric, as it is shown.
fn shown(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.map_or(0, |value| value.parse().expect("a whole number"))
}

fn compiled(metrics: &Metrics, result: &str) -> u64 {
    shown(metrics, &format!("sandbar_modules_compiled_total{{result=\"{result}\"}}"))
}

/// A component that lacks everything; another for each number.
fn empty(number: u32) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    // A custom section of that name.
    bytes.extend([0, 5]);
    bytes.extend(format!("\x04{number:04}").bytes());
    bytes
}

/// The component of `tests/guests/fixture`.
fn fixture() -> Vec<u8> {
    let built = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests"));
    let file = std::env::var_os("SANDBAR_GUESTS_DIR").map_or_else(built, PathBuf::from).join("guest_fixture.wasm");
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}: run `make guests`", file.display()))
}

/// Makes a component with functions of `instructions` each: the larger they are, the more memory and time each takes.
fn large(functions: usize, instructions: usize) -> Vec<u8> {
    let mut text = String::from("(component (core module\n");
    for function in 0..functions {
        text.push_str("(func (param i64) (result i64) local.get 0\n");
        for number in 0..instructions / 3 {
            text.push_str(&format!("i64.const {} i64.mul local.get 0 i64.add local.tee 0\n", function + number + 3));
        }
        text.push_str(")\n");
    }
    text.push_str("))");
    wat::parse_str(text).expect("the text is right")
}

/// The children of this process that run these programs, or are their zombies: a zombie keeps its name.
fn children(programs: &[&str]) -> Vec<String> {
    let task = format!("/proc/{}/task", std::process::id());
    let threads = std::fs::read_dir(task).expect("procfs").map(|thread| thread.expect("a thread").path());
    let listed = threads.filter_map(|thread| std::fs::read_to_string(thread.join("children")).ok());
    let pids = listed.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let runs_one = |pid: &String| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| programs.contains(&name.trim_end()))
    };
    pids.filter(runs_one).collect()
}

#[track_caller]
fn check(name: &str, code: Code, part: &str) {
    let (modules, metrics) =
        modules(Compiler { time_max: Duration::from_millis(200), artifact_bytes_max: 100_000, ..program(name) });
    let started = Instant::now();
    let error = modules.check(None, &empty(0)).expect_err(name);
    assert_eq!(error.code(), code, "{name}: {error}");
    assert!(error.to_string().contains(part), "{name}: {error}");
    // Five times the CPU time, and what a busy machine adds.
    assert!(started.elapsed() < PATIENCE, "{name}: {:?}", started.elapsed());
    // It is remembered.
    assert_eq!(modules.for_requests().check(None, &empty(0)), Err(error), "{name}");
    let runs = compiled(&metrics, "refused") + compiled(&metrics, "crashed");
    assert_eq!((runs, compiled(&metrics, "remembered")), (1, 1), "{name}");
}

#[test]
fn a_compilers_end_is_told_for_what_it_is() {
    check("segfault", Code::CompileCrash, "SIGSEGV");
    check("illegal", Code::CompileCrash, "SIGILL");
    check("killed", Code::CompileCrash, "SIGKILL");
    check("syscall", Code::CompileCrash, "SIGSYS");
    check("panic", Code::CompileCrash, "exit code 101");
    check("abort", Code::CompileCrash, "SIGABRT");
    check("memory", Code::CompileMemory, "compile_memory_max");
    check("memory in a panic", Code::CompileMemory, "compile_memory_max");
    check("cpu time", Code::CompileTime, "compile_time_max");
    check("silence", Code::CompileCrash, "not whole");
    check("nonsense", Code::CompileCrash, "not whole");
    check("a length and no more", Code::CompileCrash, "not whole");
    check("a false artifact", Code::CompileCrash, "cannot be loaded");
    check("flood", Code::CompileCrash, "more than it may");
    check("flood of errors", Code::CompileTime, "compile_time_max");
    check("deaf and alive", Code::CompileTime, "compile_time_max");
    check("endless", Code::CompileTime, "compile_time_max");
    check("a child that stays", Code::CompileCrash, "exit code 3");
    let pid = std::fs::read_to_string(FOLDER.join("pid")).expect("the script wrote it");
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let started = Instant::now();
    // It was killed with its group. Whoever adopted it may not have reaped it yet.
    while !stat().is_empty() && !stat().contains(") Z ") {
        assert!(started.elapsed() < PATIENCE, "{}", stat());
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_left_of_compilers() {
    let names = ["segfault", "flood", "deaf and alive"];
    for name in names {
        let (modules, _) = modules(Compiler { time_max: Duration::from_millis(50), ..program(name) });
        modules.check(None, &empty(1)).expect_err(name);
    }
    // Other tests run some of these programs at the same time: those of now have to end.
    let started = Instant::now();
    let ours: Vec<String> = children(&names);
    while children(&names).iter().any(|pid| ours.contains(pid)) {
        assert!(started.elapsed() < PATIENCE, "they stay: {ours:?}");
        std::thread::yield_now();
    }
}

#[test]
fn no_more_compilers_run_than_may_and_each_module_costs_one() {
    let (modules, metrics) = modules(program("overlaps"));
    let requests = modules.for_requests();
    // 30 modules, each wanted twice, by both queues.
    std::thread::scope(|scope| {
        for number in 0..30 {
            for modules in [&modules, &requests] {
                scope.spawn(move || modules.check(None, &empty(number)).expect_err("it is no compiler"));
            }
        }
        let started = Instant::now();
        while compiled(&metrics, "crashed") < 30 {
            assert!(shown(&metrics, "sandbar_compilers_running") <= 1);
            assert!(started.elapsed() < PATIENCE, "{}", metrics.render());
            std::thread::yield_now();
        }
    });
    let lines = |name| std::fs::read_to_string(FOLDER.join(name)).map_or(0, |text| text.lines().count());
    assert_eq!((lines("runs"), lines("collisions")), (30, 0));
    assert_eq!(compiled(&metrics, "remembered"), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_several_teams_wait_for_is_compiled_once() {
    let (modules, metrics) = modules(Compiler { at_once_max: 2, ..program("segfault") });
    let wait = |team: &'static str| {
        let modules = modules.clone();
        async move {
            let team: TeamName = team.parse().expect("valid");
            let turn = modules.turn_ahead(&team, Digest::of(&empty(0))).await?;
            let compiling = tokio::task::spawn_blocking(move || modules.compile_ahead(turn, &empty(0)));
            Some(compiling.await.expect("no panic").expect_err("it is no compiler"))
        }
    };
    let (a, b, c) = tokio::join!(wait("a"), wait("b"), wait("c"));
    assert_eq!([a, b, c].iter().flatten().count(), 1);
    assert_eq!((compiled(&metrics, "crashed"), shown(&metrics, "sandbar_compiles_waiting{queue=\"deployments\"}")), (1, 0));
}

#[test]
fn refusals_of_the_real_compiler_are_remembered() {
    let (modules, metrics) = modules(real());
    for _ in 0..3 {
        assert!(matches!(modules.check(None, &empty(2)), Err(ModuleError::MissingExport { .. })));
    }
    assert_eq!((compiled(&metrics, "refused"), compiled(&metrics, "remembered")), (1, 2));
    // A host that has no compiler is no fault of the module's.
    let (modules, metrics) = self::modules(Compiler { program: Some("/no/such/program".into()), ..real() });
    for _ in 0..2 {
        assert!(matches!(modules.check(None, &empty(2)), Err(ModuleError::Host(_))));
    }
    assert_eq!((compiled(&metrics, "refused"), compiled(&metrics, "remembered")), (2, 0));
}

#[test]
fn bombs_end_at_their_limits() {
    // Seconds of work for a limit of a tenth: the fastest machine does not get through.
    let slow = Compiler { time_max: Duration::from_millis(100), ..real() };
    assert_eq!(modules(slow).0.check(None, &large(60, 60_000)), Err(ModuleError::CompileTimeout { seconds: 0 }));
    let bomb = large(4, 60_000);
    // Whatever is refused first, an allocation, a mapping or a thread's stack: it is the limit on memory.
    for mib in [1, 8, 12, 16, 24, 32, 48] {
        let small = Compiler { memory_bytes_max: mib << 20, ..real() };
        assert_eq!(
            modules(small).0.check(None, &bomb),
            Err(ModuleError::CompileMemory { bytes_max: mib << 20 }),
            "{mib} MiB"
        );
    }
    let narrow = Compiler { artifact_bytes_max: 10_000, ..real() };
    let refused = modules(narrow).0.check(None, &fixture());
    assert!(matches!(refused, Err(ModuleError::ArtifactTooLarge { bytes_max: 10_000, .. })), "{refused:?}");
    let here = Compiler { program: None, artifact_bytes_max: 10_000, ..real() };
    assert_eq!(modules(here).0.check(None, &fixture()), refused);
}

#[test]
fn long_names_are_cut() {
    let long = format!("long:{}/name", "n".repeat(80_000));
    let import = wat::parse_str(format!(r#"(component (import "{long}" (instance)))"#)).expect("the text is right");
    let error = modules(real()).0.check(None, &import).expect_err("its name is too long");
    assert_eq!(error.code(), Code::ModuleStructure);
    assert!(error.to_string().len() < 1200, "{error}");
}

#[test]
fn the_jail_holds_where_the_kernel_has_it() {
    let jail = modules(real()).0.jail().expect("it answers");
    assert_ne!(jail, Jail::default());
    for protection in [&jail.landlock, &jail.seccomp] {
        // Other kernels have less; a reason is given then.
        assert!(!matches!(protection, Protection::Unknown), "{jail:?}");
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    if status.contains("Seccomp_filters:") {
        assert_eq!(jail.seccomp, Protection::Full);
    }
}

#[test]
fn a_module_compiles_in_jail_as_it_does_here() {
    let (away, metrics) = modules(real());
    let (here, _) = modules(Compiler { program: None, ..real() });
    let module = fixture();
    assert_eq!(away.check(None, &module), here.check(None, &module));
    assert_eq!(compiled(&metrics, "ok"), 1);
    // In memory: nobody is asked.
    away.check(None, &module).expect("known");
    assert_eq!((compiled(&metrics, "ok"), compiled(&metrics, "cached")), (1, 0));
}
