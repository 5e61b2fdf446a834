//! The broker of a program. Each has one of its own, on storage that is fresh. In a short run of all programs they share
//! one: to start it takes 7 s, which is as long as the work of some.

use std::process::Command;

use anyhow::Context;
use sandbar_harness::KafkaCluster;

/// Names the broker of the process that started this one: its address and its process id.
const SHARED: [&str; 2] = ["BENCH_BROKER", "BENCH_BROKER_PID"];

/// The broker that this process is to use.
pub fn start() -> anyhow::Result<KafkaCluster> {
    let [brokers, pid] = SHARED.map(|name| std::env::var(name).ok());
    match (brokers, pid) {
        (Some(brokers), Some(pid)) => Ok(KafkaCluster::attach(&brokers, pid.parse().context(SHARED[1])?)),
        _ => {
            println!("starting Apache Kafka");
            Ok(KafkaCluster::start(1))
        }
    }
}

/// Has a program use this broker.
pub fn share(kafka: &KafkaCluster, program: &mut Command) -> anyhow::Result<()> {
    let pid = kafka.pid(1).context("the broker runs")?;
    program.env(SHARED[0], kafka.brokers()).env(SHARED[1], pid.to_string());
    Ok(())
}
