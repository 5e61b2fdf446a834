//! `sandbar-bench rolling`: the rebalances of a rolling restart of 3 hosts (HOSTS) with 100 transforms (TRANSFORMS).
//!
//! Each host is stopped by SIGTERM, started again, and waited for until all transforms run. Hosts log each partition that
//! they get and each set of partitions that they give up: the moves of a partition are the times that it was given, and the
//! rebalances of a transform the changes that its workers took part in.

use std::time::Instant;

use anyhow::{Context, ensure};
use sandbar_harness::{Host, guests, topics};
use serde_json::json;

use crate::deploy::until_all_run;
use crate::{broker, quick, variable};

const CLUSTER: &str = "bench-rolling";
const INPUT: &str = "bench.rolling.in";
const OUTPUT: &str = "bench.rolling.out";
const PARTITIONS: i32 = 4;

pub fn run() -> anyhow::Result<()> {
    let transforms: u32 = variable("TRANSFORMS", if quick() { 12 } else { 100 })?;
    let hosts: usize = variable("HOSTS", 3)?;
    let kafka = broker::start()?;
    topics::create(&kafka, &[INPUT, OUTPUT], PARTITIONS);
    let mut all: Vec<Host> = (0..hosts).map(|_| Host::start(&kafka, CLUSTER)).collect();
    let api = all[0].api();
    let module = api.upload(&guests::fixture());
    let spec = json!({
        "module": module, "inputs": [INPUT], "outputs": {"out": OUTPUT}, "config": {"mode": "echo"},
        "on_error": {"then": "skip"},
    });
    for number in 0..transforms {
        api.deploy(&format!("bench/t{number}"), &spec);
    }
    until_all_run(&api, "bench", transforms);
    let per_transform = |count: usize| count as f64 / f64::from(transforms);
    let before = Moves::of(&all)?;
    println!("{transforms} transforms on {hosts} hosts: {} members", members(&all)?);
    let began = Instant::now();
    for number in 0..hosts {
        ensure!(all[number].sigterm_and_wait() == Some(0), "the host did not end well");
        all[number].start_again();
        all[number].wait_ready();
        until_all_run(&all[(number + 1) % hosts].api(), "bench", transforms);
    }
    let after = Moves::of(&all)?;
    println!(
        "rolling restart in {:.1} s: each partition moved {:.2} times, {:.2} rebalances with partitions given up for each transform, {} members",
        began.elapsed().as_secs_f64(),
        per_transform(after.given - before.given) / f64::from(PARTITIONS),
        per_transform(after.revoked - before.revoked),
        members(&all)?,
    );
    Ok(())
}

/// Partitions that hosts got, and rebalances in which a worker gave up some.
struct Moves {
    given: usize,
    revoked: usize,
}

impl Moves {
    fn of(hosts: &[Host]) -> anyhow::Result<Self> {
        let mut moves = Self { given: 0, revoked: 0 };
        for host in hosts {
            let log = std::fs::read_to_string(host.log())?;
            moves.given += log.lines().filter(|line| line.contains("partition assigned")).count();
            moves.revoked += log.lines().filter(|line| line.contains("partitions revoked")).count();
        }
        Ok(moves)
    }
}

/// The members of all groups: one for each transform on each host that runs it.
fn members(hosts: &[Host]) -> anyhow::Result<u64> {
    let list = hosts[0].api().get("/v1/hosts").success().json();
    let listed = list["hosts"].as_array().context("hosts")?;
    Ok(listed.iter().filter_map(|host| host["transforms"].as_u64()).sum())
}
