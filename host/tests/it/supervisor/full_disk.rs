//! A disk that is full under the local stores, for real: the folder of the stores is a small file system in memory.
//!
//! Each test runs in a process and a mount namespace of its own, so that no mount is left behind. Where the system gives
//! neither to the user nor to root, it says so and ends.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const DISK_BYTES: u64 = 48 << 20;
const INSIDE: &str = "SANDBAR_TEST_NAMESPACE";
const CHANGELOG: &str = "_sandbar.dev.state.shop.fixture.sums";

/// Runs the test of this name in a mount namespace, where `run` gets the folder of a small file system.
fn on_small_disk(test: &str, run: impl AsyncFnOnce(&Path)) {
    if std::env::var_os(INSIDE).is_some() {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).status();
        assert!(mounted.expect("mount is there").success());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(run(folder.path()));
        return;
    }
    let ways: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];
    let works = |way: &&&[&str]| Command::new("unshare").args(**way).arg("true").status().is_ok_and(|ended| ended.success());
    let Some(way) = ways.iter().find(works) else {
        println!("{test}: nothing can be mounted here");
        return;
    };
    let program = std::env::current_exe().expect("its own file");
    let ended =
        Command::new("unshare").args(*way).arg(program).args(["--exact", test, "--nocapture"]).env(INSIDE, "1").status();
    assert!(ended.expect("unshare is there").success(), "{test}");
}

/// Two transforms: one counts with a store, in entries of `entry_bytes`, and one has none.
fn start(disk: &Path, entry_bytes: usize, disk_free_bytes_min: u64) -> Bench {
    let limits = StoreLimits { disk_free_bytes_min, ..StoreLimits::default() };
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::with_state(|thread, run| thread.spawn(run), None, folder, &disk.join("state"), limits);
    for (topic, compacted) in [(CHANGELOG, true), ("plain-in", false), ("plain-out", false)] {
        bench.topic(topic, compacted);
    }
    let config = json!({"mode": "fold", "bytes": entry_bytes});
    bench.deploy(stateful(), json!({"config": config, "state": {"sums": {}}, "start": "earliest"}));
    let plain = json!({
        "config": {"mode": "echo"}, "inputs": ["plain-in"], "outputs": {"out": "plain-out"}, "start": "earliest",
        "on_error": {"then": "skip"},
    });
    bench.deploy_as(&"shop/plain".parse().expect("valid"), fixture(), plain);
    bench
}

/// Lets each transform have a record more. The stateless one goes on; so does the other, unless it is held up.
fn append(bench: &Bench, round: usize) {
    for key in 0..KEYS {
        bench.append("in", &format!("key-{key}"), &json!("1"));
    }
    bench.append("plain-in", "a", &json!("x"));
    bench.values("plain-out", round + 1);
}

const KEYS: usize = 20;

/// Each key was counted once for each round, in order.
#[track_caller]
fn check_outputs(bench: &Bench, rounds: usize) {
    let expected: Vec<String> = (1..=rounds).flat_map(|n| vec![format!("{n} {n}"); KEYS]).collect();
    assert_eq!(bench.outputs(rounds * KEYS), expected);
}

fn shows(status: &TransformStatus, code: Code, text: &str) -> bool {
    let errors = status.partitions.iter().filter_map(|partition| partition.error.as_ref()).chain(&status.error);
    errors.into_iter().any(|error| error.code == code && error.message.contains(text))
}

/// Takes what is free on the disk, but for `left` bytes, again and again, until it is dropped.
struct Filler {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn free_bytes(disk: &Path) -> u64 {
    let found = rustix::fs::statvfs(disk).expect("it is mounted");
    found.f_bavail * found.f_frsize
}

impl Filler {
    fn start(disk: &Path, left: u64) -> Self {
        let path = disk.join("foreign");
        let stop = Arc::new(AtomicBool::new(false));
        let mut file = File::create(&path).expect("made");
        let disk = disk.to_owned();
        let stopped = stop.clone();
        let fill = move || {
            while !stopped.load(Ordering::Relaxed) {
                // A write that fails has found a full disk.
                if free_bytes(&disk) <= left || file.write_all(&[0; 4096]).is_err() {
                    std::thread::yield_now();
                }
            }
        };
        Self { path, stop, thread: Some(std::thread::spawn(fill)) }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("it ends well");
        std::fs::remove_file(&self.path).expect("removed");
    }
}

/// No store grows on a disk that somebody else has almost filled, so that none breaks. All goes on by itself.
#[test]
fn a_disk_that_is_almost_full_holds_up_stores_alone() {
    const FREE_MIN: u64 = 16 << 20;
    on_small_disk("supervisor::full_disk::a_disk_that_is_almost_full_holds_up_stores_alone", async |disk| {
        let bench = start(disk, 100, FREE_MIN);
        append(&bench, 0);
        check_outputs(&bench, 1);
        let filler = Filler::start(disk, FREE_MIN / 2);
        while free_bytes(disk) >= FREE_MIN {
            std::thread::yield_now();
        }
        bench.append("in", "more", &json!("1"));
        bench.wait_for("it says why", |status| shows(status, Code::LocalDisk, "--state-disk-free-min"));
        append(&bench, 1);
        assert_eq!(bench.outputs(KEYS).len(), KEYS, "nothing is committed that the store has no room for");
        drop(filler);
        let values = bench.outputs(2 * KEYS + 1);
        assert_eq!(values[KEYS], "1 1");
        assert!(values[KEYS + 1..].iter().all(|value| value == "2 2"), "{values:?}");
        bench.wait_for("it runs", runs);
        let wiped = bench.metrics.render();
        assert!(!wiped.contains("sandbar_stores_wiped_total{"), "the local store is whole");
        bench.stop().await;
    });
}

/// The write fails after the commit: the local copy is dropped, and restored once there is space.
#[test]
fn a_write_that_finds_the_disk_full() {
    on_small_disk("supervisor::full_disk::a_write_that_finds_the_disk_full", async |disk| {
        let bench = start(disk, 50_000, 0);
        append(&bench, 0);
        check_outputs(&bench, 1);
        let filler = Filler::start(disk, 0);
        while free_bytes(disk) > 0 {
            std::thread::yield_now();
        }
        let mut rounds = 1;
        // A page that the store has already takes a few entries more.
        while !shows(&bench.supervisor.status(&bench.id).expect("known"), Code::StateUnavailable, "StorageFull") {
            assert!(rounds < 400, "{:?}", bench.supervisor.status(&bench.id));
            append(&bench, rounds);
            rounds += 1;
        }
        append(&bench, rounds);
        rounds += 1;
        drop(filler);
        check_outputs(&bench, rounds);
        bench.wait_for("it runs", runs);
        bench.stop().await;
    });
}
