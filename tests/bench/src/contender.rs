//! The contenders, and the start of each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use sandbar_harness::child::Process;
use sandbar_harness::{Api, KafkaCluster, Progress, dirs, guests, ports, topics, wait};
use serde_json::{Value, json};

use crate::figures::{self, Figures};
use crate::{PARTITIONS, rival};

/// One line of the comparison.
pub struct Contender {
    pub name: &'static str,
    pub title: &'static str,
    /// Whose figures are its measure, and at most how many times as much CPU it may take.
    pub beside: Option<(&'static str, f64)>,
    kind: Kind,
}

enum Kind {
    /// A loop of this program, in a process of its own.
    Rival(rival::Work),
    /// The `sandbar` binary with a module of this directory; `tailed`: with somebody who looks at samples all the time.
    Sandbar { module: &'static str, config: Value, tailed: bool },
}

pub fn all() -> Vec<Contender> {
    let strip = json!({"keep": ["id", "status", "currency", "total_cents", "created_at_ms"], "key_field": "id", "items_field": null});
    vec![
        Contender { name: "forward", title: "librdkafka forwarder", beside: None, kind: Kind::Rival(rival::Work::Forward) },
        Contender {
            name: "pass-through",
            title: "Sandbar pass-through",
            beside: Some(("forward", 1.3)),
            kind: Kind::Sandbar { module: "tests/guests/fixture", config: json!({"mode": "echo"}), tailed: false },
        },
        Contender {
            name: "tailed",
            title: "the same, with `sandbar tail -f`",
            beside: Some(("pass-through", 1.02)),
            kind: Kind::Sandbar { module: "tests/guests/fixture", config: json!({"mode": "echo"}), tailed: true },
        },
        Contender { name: "native", title: "native JSON loop", beside: None, kind: Kind::Rival(rival::Work::Strip) },
        Contender {
            name: "json-strip",
            title: "Sandbar JSON strip, serde",
            beside: Some(("native", 1.8)),
            kind: Kind::Sandbar { module: "tests/guests/fixture", config: json!({"mode": "json-strip"}), tailed: false },
        },
        Contender {
            name: "field-strip",
            title: "Sandbar field-strip",
            beside: Some(("native", 1.8)),
            kind: Kind::Sandbar { module: "transforms/field-strip", config: strip, tailed: false },
        },
    ]
}

// === impl Contender ===

impl Contender {
    /// Reads all of `input` into a topic of its own.
    pub fn run(&self, kafka: &KafkaCluster, input: &str, records: u64, round: usize) -> anyhow::Result<Figures> {
        let output = format!("bench.{}.{round}", self.name);
        topics::create(kafka, &[&output], PARTITIONS);
        let figures = match &self.kind {
            Kind::Rival(work) => run_rival(*work, kafka, input, &output, records),
            Kind::Sandbar { module, config, tailed } => {
                run_sandbar((module, config, *tailed), kafka, input, &output, records)
            }
        };
        let figures = figures?;
        let ends: i64 = topics::ends(kafka, &output).iter().sum();
        ensure!(ends as u64 >= records, "{records} went in, but {output} ends at {ends}");
        delete(kafka, &output)?;
        Ok(figures)
    }
}

fn run_rival(work: rival::Work, kafka: &KafkaCluster, input: &str, output: &str, records: u64) -> anyhow::Result<Figures> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([rival::SUBCOMMAND, work.name(), kafka.brokers(), output, input, output]);
    let log = dirs::fresh(work.name()).join("log");
    let progress = Progress::new(kafka, output, input);
    let process = Process::start(output, command, &log);
    let figures = figures::watch(process.pid(), &progress, records);
    figures.with_context(|| dirs::tail(&log, 20))
}

fn run_sandbar(
    (module, config, tailed): (&str, &Value, bool),
    kafka: &KafkaCluster,
    input: &str,
    output: &str,
    records: u64,
) -> anyhow::Result<Figures> {
    let module = guests::component(module);
    let cluster = output.replace('.', "-");
    let folder = dirs::fresh(&cluster);
    let address = format!("127.0.0.1:{}", ports::free_port());
    let log = folder.join("log");
    let mut command = Command::new(dirs::sandbar());
    command.args(["serve", "--brokers", kafka.brokers(), "--cluster", &cluster, "--listen", &address, "--data-dir"]);
    command.arg(folder.join("data"));
    for (name, value) in rival::overrides() {
        command.args(["--kafka-property", &format!("{name}={value}")]);
    }
    let host = Process::start("sandbar", command, &log);
    let api = Api::new(address.parse()?);
    wait::until("the host is ready", wait::PATIENCE, || {
        let answer = api.try_get("/readyz")?;
        if answer.status == 200 { Ok(()) } else { Err(answer.body) }
    });
    let progress = Progress::new(kafka, &format!("sandbar.{cluster}.bench.run"), input);
    let spec = json!({
        "module": api.upload(&module), "inputs": [input], "outputs": {"out": output}, "config": config,
        "start": "earliest", "commit_interval": "100ms", "delivery": "exactly-once",
    });
    api.deploy("bench/run", &spec);
    let tail = tailed.then(|| {
        let mut command = Command::new(dirs::sandbar());
        command.args(["tail", "bench/run", "--follow", "--output", "json", "--url", &format!("http://{address}")]);
        Process::start("tail", command, &folder.join("tail"))
    });
    let figures = figures::watch(host.pid(), &progress, records).with_context(|| dirs::tail(&log, 20))?;
    let metrics = api.get("/metrics").body;
    ensure!(value(&metrics, "sandbar_records_dead_lettered_total") == 0.0, "records failed: see {}", log.display());
    if tail.is_some() {
        let shown = value(&metrics, "sandbar_journal_entries_total{kind=\"sample\"}");
        ensure!(shown > 0.0, "nothing was sampled: see {}", log.display());
    }
    drop(tail);
    ensure!(host.terminate(Duration::from_secs(30)) == Some(0), "the host did not end well: see {}", log.display());
    keep(&folder, &metrics)?;
    Ok(figures)
}

/// The value of a metric, summed over its labels.
fn value(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn keep(folder: &Path, metrics: &str) -> anyhow::Result<()> {
    let path: PathBuf = folder.join("metrics");
    fs::write(path, metrics).context("target is writable")
}

fn delete(kafka: &KafkaCluster, topic: &str) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = kafka.client().create()?;
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    futures::executor::block_on(admin.delete_topics(&[topic], &options))?;
    Ok(())
}
