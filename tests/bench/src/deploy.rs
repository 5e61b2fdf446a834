//! `sandbar-bench deploy`: the time until a script has deployed 200 transforms (TRANSFORMS) and all of them run.
//!
//! The script sends one request for each, with the spec and the module, as `sandbar deploy` and curl do. It sends them one
//! after the other, or 8 at a time. All transforms have one module and one input topic; their dead-letter topics are created
//! by their deployments. One host (HOSTS). Then the threads, the memory and the page of metrics of each host are printed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use sandbar_harness::{Api, Host, guests, topics, wait};
use serde_json::json;

use crate::target::{self, Limit};
use crate::{broker, quick, variable};

const INPUT: &str = "bench.deploy.in";
const OUTPUT: &str = "bench.deploy.out";
const PARTITIONS: i32 = 2;
/// The target for 200 transforms.
const SECONDS_MAX: f64 = 10.0;

pub fn run() -> anyhow::Result<()> {
    let transforms: u32 = variable("TRANSFORMS", if quick() { 50 } else { 200 })?;
    let hosts: u32 = variable("HOSTS", 1)?;
    let kafka = broker::start()?;
    topics::create(&kafka, &[INPUT, OUTPUT], PARTITIONS);
    for at_once in [1, 8] {
        let all: Vec<Host> = (0..hosts).map(|_| Host::start(&kafka, &format!("bench-deploy-{at_once}"))).collect();
        let api = all[0].api();
        let times = measure(&api, &format!("team{at_once}"), transforms, at_once);
        println!(
            "{transforms} transforms, {at_once} at a time, {hosts} hosts: sent in {:.2} s, all run after {:.2} s",
            times.sent.as_secs_f64(),
            times.running.as_secs_f64(),
        );
        all.iter().try_for_each(print_host)?;
        let limit = SECONDS_MAX * f64::from(transforms) / 200.0;
        target::print(&format!("deploy-{transforms}-by-{at_once}-s"), times.running.as_secs_f64(), Limit::AtMost(limit));
    }
    Ok(())
}

/// Prints the cost of a host whose transforms run and have nothing to do.
fn print_host(host: &Host) -> anyhow::Result<()> {
    let pid = host.pid().context("the host runs")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    let began = Instant::now();
    let page = host.api().get("/metrics").success().body.len();
    println!(
        "a host: {} threads, {} resident, /metrics of {:.2} MB in {:.0} ms",
        field("Threads:"),
        field("VmRSS:"),
        page as f64 / 1e6,
        began.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

struct Times {
    /// Until the last request was answered.
    sent: Duration,
    /// Until all transforms ran on all of their hosts.
    running: Duration,
}

fn measure(api: &Api, team: &str, transforms: u32, at_once: u32) -> Times {
    let guest = guests::fixture();
    let spec = json!({"inputs": [INPUT], "outputs": {"out": OUTPUT}, "config": {"mode": "echo"}});
    let began = Instant::now();
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < transforms) {
                    api.try_deploy_with(&format!("{team}/t{number}"), &spec, &guest).success();
                }
            });
        }
    });
    let sent = began.elapsed();
    until_all_run(api, team, transforms);
    Times { sent, running: began.elapsed() }
}

/// Waits until each transform of the team runs and its rollout is complete.
pub fn until_all_run(api: &Api, team: &str, transforms: u32) {
    wait::until("all run", wait::PATIENCE * 4, || {
        let list = api.get(&format!("/v1/teams/{team}/transforms")).success().json();
        let all = list["transforms"].as_array().cloned().unwrap_or_default();
        let run = all.iter().filter(|it| it["state"] == "running" && it["rollout"] == "complete").count();
        if run == transforms as usize { Ok(()) } else { Err(format!("{run} of {transforms}")) }
    });
}
