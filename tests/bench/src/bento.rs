//! Bento as a contender: a stream processor in Go, at least once, and without state. It is left out where there is no Go.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use sandbar_harness::{KafkaCluster, child::Process, dirs};

use crate::run::{Job, Running};

const STRIP: &str = r#"
    - mapping: |
        root = {
          "id": this.id, "customer_id": this.customer.id, "status": this.status, "currency": this.currency,
          "total_cents": this.total_cents, "created_at_ms": this.created_at_ms
        }"#;

/// The program with the components for Kafka and JSON, built at first use; `None` without Go.
pub fn program() -> anyhow::Result<Option<PathBuf>> {
    if Command::new("go").arg("version").output().is_err() {
        return Ok(None);
    }
    let program = dirs::target().join("bench/bento");
    fs::create_dir_all(program.parent().context("target/bench")?)?;
    let mut build = Command::new("go");
    build.current_dir(dirs::root().join("tests/bench/bento")).args(["build", "-o"]).arg(&program).arg(".");
    let output = build.output()?;
    ensure!(output.status.success(), "go build: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(program))
}

/// Starts the field-strip, in as many threads as Sandbar has workers.
pub fn start(kafka: &KafkaCluster, job: &Job<'_>) -> anyhow::Result<Running> {
    let folder = dirs::fresh("bento");
    let config = folder.join("config.yaml");
    fs::write(&config, configuration(kafka.brokers(), job))?;
    let mut command = Command::new(program()?.context("go is missing")?);
    command.arg("--config").arg(&config);
    let log = folder.join("log");
    let process = Process::start("bento", command, &log);
    Ok(Running { process, group: job.output.to_owned(), folder, log, ending: None })
}

fn configuration(brokers: &str, Job { input, output, .. }: &Job<'_>) -> String {
    format!(
        r#"http: {{ enabled: false }}
logger: {{ level: WARN }}
input:
  kafka_franz:
    seed_brokers: [{brokers}]
    topics: [{input}]
    consumer_group: {output}
    start_from_oldest: true
    commit_period: 100ms
    checkpoint_limit: 20000
    batching: {{ count: 1000, period: 5ms }}
pipeline:
  threads: 1
  processors:{STRIP}
output:
  kafka_franz:
    seed_brokers: [{brokers}]
    topic: {output}
    key: ${{! metadata("kafka_key") }}
    partitioner: murmur2_hash
    compression: lz4
    max_in_flight: 10
"#
    )
}
