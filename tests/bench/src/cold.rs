//! `sandbar-bench cold`: a new host whose cache of compiled modules is empty, in a cluster with many modules.
//!
//! 300 transforms (TRANSFORMS) have a module of their own each and one partition. The host that deployed them ends, and a host
//! without any data starts. It prints the time until that one serves (`/readyz`), the time until all transforms run, the
//! largest number of compilers that were seen at once (its child processes, looked at every 20 ms), and its peak RSS.
//! QUICK=1 takes 30 transforms.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sandbar_harness::{Api, Host, guests, topics, wait};
use serde_json::json;

use crate::target::{self, Limit};
use crate::{ballast, broker, figures, quick, variable};

const CLUSTER: &str = "bench-cold";
const OUTPUT: &str = "bench.cold.out";
const MODULE_BYTES: usize = 100 << 10;
const READY_S_MAX: f64 = 3.0;
/// Topics that are created with one request.
const TOPICS_AT_ONCE: usize = 50;
/// 300 modules take minutes of one compiler.
const PATIENCE: Duration = Duration::from_secs(1200);
const LOOK: Duration = Duration::from_millis(20);
/// A team has no more without a file of teams.
const TRANSFORMS_A_TEAM: usize = 200;

pub fn run() -> anyhow::Result<()> {
    let transforms: usize = variable("TRANSFORMS", if quick() { 30 } else { 300 })?;
    let kafka = broker::start()?;
    let inputs: Vec<String> = (0..transforms).map(|number| format!("bench.cold.in-{number}")).collect();
    let all: Vec<&str> = inputs.iter().map(String::as_str).chain([OUTPUT]).collect();
    all.chunks(TOPICS_AT_ONCE).for_each(|topics| topics::create(&kafka, topics, 1));
    let mut first = Host::start(&kafka, CLUSTER);
    let guest = guests::fixture();
    for (number, input) in inputs.iter().enumerate() {
        let spec = json!({"inputs": [input], "outputs": {"out": OUTPUT}, "start": "earliest", "config": {"mode": "echo"}});
        let module = ballast::grown(&guest, MODULE_BYTES, number as u32);
        let team = number / TRANSFORMS_A_TEAM;
        first.api().try_deploy_with(&format!("bench-{team}/t{number}"), &spec, &module).success();
    }
    until_all_run(&first.api(), transforms);
    println!("{transforms} transforms run, each with a module of its own");
    ensure!(first.sigterm_and_wait() == Some(0), "the host did not end well");
    let mut host = Host::new(&kafka, CLUSTER, &[]);
    let started = Instant::now();
    host.start_again();
    let pid = host.pid().context("the host runs")?;
    let over = AtomicBool::new(false);
    let most = AtomicUsize::new(0);
    let (ready, running) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(children(pid), Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        });
        host.wait_ready();
        let ready = started.elapsed();
        until_all_run(&host.api(), transforms);
        over.store(true, Ordering::Relaxed);
        (ready, started.elapsed())
    });
    let rss_mib = figures::rss_peak_mib(pid)?;
    println!(
        "ready after {:.2} s, all run after {:.1} s, peak RSS {rss_mib:.0} MiB",
        ready.as_secs_f64(),
        running.as_secs_f64()
    );
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    target::print("cold_ready_s", ready.as_secs_f64(), Limit::AtMost(READY_S_MAX));
    target::print("cold_compilers_at_once", most.into_inner() as f64, Limit::AtMost((cores / 2).max(1) as f64));
    Ok(())
}

/// The child processes of a host: compilers.
fn children(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_task = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).ok();
    tasks.filter_map(of_task).map(|children| children.split_whitespace().count()).sum()
}

fn until_all_run(api: &Api, transforms: usize) {
    wait::until(&format!("{transforms} transforms run"), PATIENCE, || {
        let listed = api.get("/v1/transforms").json();
        let all = listed["transforms"].as_array().map(Vec::as_slice).unwrap_or_default();
        let running = all.iter().filter(|transform| transform["state"] == "running").count();
        if running == transforms { Ok(()) } else { Err(format!("{running} run")) }
    });
}
