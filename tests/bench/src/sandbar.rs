//! Sandbar as a contender: a host of its own with one transform.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use sandbar_harness::child::Process;
use sandbar_harness::{Api, KafkaCluster, dirs, guests, ports, wait};
use serde_json::{Value, json};

use crate::rival;
use crate::run::{Job, Running};

/// A transform: the crate of its module, and the fields of its spec beside those that all contenders share.
pub struct Sandbar {
    pub module: &'static str,
    pub spec: Value,
    /// Somebody looks at samples all the time.
    pub tailed: bool,
}

/// A running host.
struct Host {
    api: Api,
    tail: Option<Process>,
}

const TEAM_AND_NAME: &str = "bench/run";

// === impl Sandbar ===

impl Sandbar {
    pub fn start(&self, kafka: &KafkaCluster, job: &Job<'_>) -> anyhow::Result<Running> {
        let module = guests::component(self.module);
        let cluster = job.cluster();
        let folder = dirs::fresh(&cluster);
        let address = format!("127.0.0.1:{}", ports::free_port());
        let log = folder.join("log");
        let mut command = Command::new(dirs::sandbar());
        command.args(["serve", "--brokers", kafka.brokers(), "--cluster", &cluster, "--listen", &address, "--data-dir"]);
        command.arg(folder.join("data"));
        for (name, value) in rival::overrides() {
            command.args(["--kafka-property", &format!("{name}={value}")]);
        }
        let process = Process::start("sandbar", command, &log);
        let api = Api::new(address.parse()?);
        wait::until("the host is ready", wait::PATIENCE, || {
            let answer = api.try_get("/readyz")?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        });
        api.deploy(TEAM_AND_NAME, &self.full_spec(&api.upload(&module), job));
        let tail = self.tailed.then(|| {
            let mut command = Command::new(dirs::sandbar());
            command.args(["tail", TEAM_AND_NAME, "--follow", "--output", "json", "--url", &format!("http://{address}")]);
            Process::start("tail", command, &folder.join("tail"))
        });
        let group = format!("sandbar.{cluster}.bench.run");
        let host = Host { api, tail };
        Ok(Running { process, group, folder, log, ending: Some(Box::new(|process, folder| host.end(process, folder))) })
    }

    fn full_spec(&self, module: &str, job: &Job<'_>) -> Value {
        let mut spec = json!({
            "module": module, "inputs": [job.input], "outputs": {"out": job.output},
            "start": "earliest", "commit_interval": "100ms", "delivery": "exactly-once",
        });
        for (field, value) in self.spec.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        spec
    }
}

// === impl Host ===

impl Host {
    /// Ends the host, after a look that no record failed.
    fn end(self, process: Process, folder: &Path) -> anyhow::Result<()> {
        let metrics = self.api.get("/metrics").body;
        fs::write(folder.join("metrics"), &metrics).context("target is writable")?;
        ensure!(value(&metrics, "sandbar_records_dead_lettered_total") == 0.0, "records failed: see {}", folder.display());
        if self.tail.is_some() {
            let shown = value(&metrics, "sandbar_journal_entries_total{kind=\"sample\"}");
            ensure!(shown > 0.0, "nothing was sampled: see {}", folder.display());
        }
        drop(self.tail);
        ensure!(
            process.terminate(Duration::from_secs(30)) == Some(0),
            "the host did not end well: see {}",
            folder.display()
        );
        Ok(())
    }
}

/// The value of a metric, summed over its labels.
fn value(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
