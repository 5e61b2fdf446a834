//! `sandbar-bench restart`: how long until a host that starts again runs all of its transforms.
//!
//! One host, 50 transforms (TRANSFORMS) with a module of their own each and two partitions. It is stopped well, and
//! killed; a killed host's members of the consumer groups are waited for by Kafka until their session is over (6 s).

use std::time::{Duration, Instant};

use anyhow::ensure;
use sandbar_harness::{Api, Host, guests, topics, wait};
use serde_json::json;

use crate::{ballast, broker, variable};

const OUTPUT: &str = "bench.restart.out";
const MODULE_BYTES: usize = 200 << 10;

pub fn run() -> anyhow::Result<()> {
    let transforms: u32 = variable("TRANSFORMS", 50)?;
    let rounds: u32 = variable("ROUNDS", 3)?;
    let kafka = broker::start()?;
    let inputs: Vec<String> = (0..transforms).map(|n| format!("bench.restart.in-{n}")).collect();
    let all: Vec<&str> = inputs.iter().map(String::as_str).chain([OUTPUT]).collect();
    topics::create(&kafka, &all, 2);
    let mut host = Host::start(&kafka, "bench-restart");
    let guest = guests::fixture();
    let started = Instant::now();
    for (number, input) in inputs.iter().enumerate() {
        let spec = json!({"inputs": [input], "outputs": {"out": OUTPUT}, "start": "earliest", "config": {"mode": "echo"}});
        let module = ballast::grown(&guest, MODULE_BYTES, number as u32);
        host.api().try_deploy_with(&format!("bench/t{number}"), &spec, &module).success();
    }
    until_all_run(&host.api(), transforms);
    println!("{transforms} transforms deployed, each with a module of its own, and running after {:?}", started.elapsed());
    for round in 1..=rounds {
        for killed in [false, true] {
            if killed {
                host.kill9()
            } else {
                ensure!(host.sigterm_and_wait() == Some(0), "the host did not end well")
            }
            let started = Instant::now();
            host.start_again();
            host.wait_ready();
            let ready = started.elapsed();
            until_all_run(&host.api(), transforms);
            let how = if killed { "kill -9" } else { "SIGTERM" };
            println!(
                "round {round}, after {how}: ready after {:.2} s, all run after {:.2} s",
                seconds(ready),
                seconds(started.elapsed())
            );
        }
    }
    Ok(())
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Each transform runs and owns both of its partitions.
fn until_all_run(api: &Api, transforms: u32) {
    for number in 0..transforms {
        let transform = format!("bench/t{number}");
        wait::until(&format!("{transform} runs"), wait::PATIENCE, || {
            let status = api.status(&transform);
            let partitions = status["hosts"][0]["partitions"].as_array().map_or(0, Vec::len);
            if status["state"] == "running" && partitions == 2 { Ok(()) } else { Err(status.to_string()) }
        });
    }
}
