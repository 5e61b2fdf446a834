//! Counts the instructions of the two paths that every record takes, so that a slower one is seen when it lands: through
//! the real sandbox and back, and through a store on disk.
//!
//! Seconds of a shared machine say little; instructions are the same on each. This test runs itself under valgrind: once to
//! compile the modules, for the processor that valgrind shows, then with one unit of work and with two, of one path alone. The
//! difference is the cost of a unit, without the start.
//!
//! `instructions.txt` has the baselines, by the optimisation of the host. docs/testing.md says how to renew them.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sandbar::guest::{ModuleOptions, Modules, Tables};
use sandbar::model::batch::{Batch, OutputLimits, RecordRef};
use sandbar::model::spec::Spec;
use sandbar::model::units::Timestamp;
use sandbar::ports::{Call, Guest, GuestFactory};
use sandbar::state::{KeyedState, Store, StoreSettings};
use sandbar::stores::disk::{Buffers, Disk};
use sandbar::telemetry::metrics::Metrics;
use serde_json::json;

use crate::support::guests::{PARTITION, fixture, mode, spec, stateful};

const TEST: &str = "instructions::no_path_costs_more_instructions_than_it_did";
/// The path that the test's own runs take, and how many units of work: `count 2`.
const WORK: &str = "SANDBAR_TEST_WORK";
/// The folder of the compiled modules.
const FOLDER: &str = "SANDBAR_TEST_FOLDER";
/// The tool of valgrind that compiles, and the one that counts.
const COMPILES: &[&str] = &["--tool=none"];
const COUNTS: &[&str] = &["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"];
const BASELINES: &str = include_str!("instructions.txt");
/// The part by which a path may cost more than its baseline.
const TOLERANCE: f64 = 0.10;

/// A path: its name, and the function that takes it for so many units of work.
type NamedPath = (&'static str, fn(&Modules, usize));
const PATHS: [NamedPath; 2] = [("pass-through", cross), ("count", count)];
/// Counts that are taken of a path while it seems to cost more. The store has threads, and the engine's clock ticks by the
/// wall, so a run may have more instructions than another, up to a twentieth with a store. The least counts are the path's own.
const TRIES: usize = 4;

/// Batches in a unit, and records in a batch.
const BATCHES: usize = 200;
const RECORDS: usize = 100;
/// Batches between two commits of the store.
const COMMIT_BATCHES: usize = 20;
/// Keys of the store: some are new, and some were written in this transaction or in an earlier one.
const KEYS: u64 = 5000;
/// The optimisation of the host in `make test`. It has a baseline for each path.
const LEVEL: &str = "1";

#[test]
fn no_path_costs_more_instructions_than_it_did() {
    if let Ok(work) = std::env::var(WORK) {
        let (path, units) = work.split_once(' ').expect("a path and a number");
        let (_, take) = PATHS.iter().find(|(name, _)| *name == path).expect("a path");
        take(&modules(), units.parse().expect("a number"));
        return;
    }
    if !cfg!(debug_assertions) {
        println!("the baselines are those of the profile of `make test`");
        return;
    }
    let level = std::env::var("CARGO_PROFILE_DEV_OPT_LEVEL").unwrap_or_else(|_| LEVEL.into());
    if level == LEVEL && option_env!("CARGO_INCREMENTAL") != Some("0") {
        println!("an incremental build has no baseline: its code differs with what was built before");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let failures: Vec<String> = PATHS.iter().filter_map(|(path, _)| check(path, &level, folder.path()).err()).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Compares a path with its baseline.
fn check(path: &str, level: &str, folder: &Path) -> Result<(), String> {
    let baseline = baseline(path, level);
    let limit = baseline.map_or(f64::MAX, |baseline| baseline * (1.0 + TOLERANCE));
    let is_within = |cost: f64| cost > 0.0 && cost <= limit;
    run(COMPILES, path, 0, folder);
    let mut least = [u64::MAX; 2];
    let mut cost = 0.0;
    for _ in 0..TRIES {
        for (least, units) in least.iter_mut().zip([1, 2]) {
            *least = (*least).min(instructions(&run(COUNTS, path, units, folder)));
        }
        cost = least[1].saturating_sub(least[0]) as f64 / (BATCHES * RECORDS) as f64;
        println!("{path} {level} {cost:.0}");
        if is_within(cost) {
            break;
        }
    }
    match baseline {
        Some(_) if is_within(cost) => Ok(()),
        Some(baseline) => Err(format!(
            "{path}: {cost:.0} instructions a record, its baseline is {baseline} ({TOLERANCE} more is tolerated): \
             either find the reason, or write the line `{path} {level} {cost:.0}` into instructions.txt"
        )),
        None if level == LEVEL => Err(format!("{path}: write the line `{path} {level} {cost:.0}` into instructions.txt")),
        None => {
            println!("there is no baseline for a host of optimisation {level}");
            Ok(())
        }
    }
}

fn baseline(path: &str, level: &str) -> Option<f64> {
    let mut lines = BASELINES.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = lines.rfind(|line| line[..2] == [path, level])?;
    Some(found[2].parse().expect("a number"))
}

/// Takes a path in this program under valgrind, for so many units of work. Returns the text that valgrind ends with.
fn run(tool: &[&str], path: &str, units: usize, folder: &Path) -> String {
    let program = std::env::current_exe().expect("its own file");
    let output = Command::new("valgrind")
        .args(tool)
        .arg(program)
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(WORK, format!("{path} {units}"))
        .env(FOLDER, folder)
        .output()
        .expect("valgrind is there: `tools/setup.sh valgrind` installs it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// The instructions that cachegrind has counted.
fn instructions(text: &str) -> u64 {
    let line = text.lines().find(|line| line.contains("I refs:") || line.contains("I   refs:"));
    let number = line.and_then(|line| line.rsplit(':').next()).expect("cachegrind counts them");
    number.trim().replace(',', "").parse().expect("a number")
}

/// Lets batches cross into a guest and back.
fn cross(modules: &Modules, units: usize) {
    let mut guest = guest(modules, &spec(mode("echo"), json!({})), fixture());
    let limits = OutputLimits { records_per_input: 1, bytes_per_input: 1 << 20, targets: 1 };
    let batch = batch(|n| n.to_string(), &"v".repeat(500));
    for _ in 0..units * BATCHES {
        let output = guest.process(&batch, call(), &mut KeyedState::default()).expect("it does not fail");
        let checked = output.check(&batch, &limits).expect("it keeps to the contract");
        assert_eq!(checked.records().count(), RECORDS);
    }
}

/// Counts records in a store on disk. With no room for buffers, a store writes its own as soon as it has 256 KiB: with every
/// second commit. These are too few bytes for a table, so they go through the journal, and none of fjall's threads merges
/// anything, whose time would decide on the count.
fn count(modules: &Modules, units: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let buffers = Buffers::new(0, Metrics::new().state);
    let disk = Arc::new(Disk::new(folder.path(), 1 << 20, buffers));
    let spec = spec(mode("fold"), json!({"state": {"sums": {}}}));
    let (name, store) = spec.state.iter().next().expect("it has one");
    let settings = StoreSettings { hot_bytes_max: 1 << 20, ..StoreSettings::of(name, store, &spec.limits) };
    let store = Store::new(settings, Box::new(disk.open("topic", 0).expect("opens"))).expect("opens");
    let mut state = KeyedState::new(vec![store]);
    let mut guest = guest(modules, &spec, stateful());
    let mut random = 1u64;
    for n in 1..=units * BATCHES {
        let batch = batch(
            |_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((random >> 33) % KEYS).to_string()
            },
            "1",
        );
        guest.process(&batch, call(), &mut state).expect("it does not fail");
        state.end_call(true);
        if n % COMMIT_BATCHES == 0 {
            assert!(state.changes().count() > 0);
            state.committed(|_| Some(n as i64), Timestamp(1)).expect("the disk works");
        }
    }
}

/// Modules that are compiled in this process, or were by an earlier one.
fn modules() -> Modules {
    let folder = std::env::var_os(FOLDER).expect("the test sets it");
    Modules::open(Path::new(&folder), ModuleOptions::default(), Metrics::new().modules).expect("an engine")
}

fn guest(modules: &Modules, spec: &Spec, module: &[u8]) -> Box<dyn Guest> {
    let prepared = modules.prepare(spec, 1, module, Tables::default(), None).expect("the module is good");
    prepared.instantiate().expect("it starts")
}

fn call() -> Call {
    Call { partition: PARTITION, now: Timestamp(1), ends_at: None }
}

fn batch(mut key: impl FnMut(usize) -> String, value: &str) -> Batch {
    let mut batch = Batch::default();
    for n in 0..RECORDS {
        let key = key(n);
        let offset = n as i64;
        batch.push(&RecordRef {
            offset,
            timestamp: 1,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    batch
}
