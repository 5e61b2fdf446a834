//! A real Prometheus with the rules of deploy/: Debian's `prometheus`, from `tools/setup.sh prometheus`.
//!
//! It runs generated copies of prometheus.yml and rules.yml, in which times alone are shorter: of scrapes, of evaluations,
//! and `for`. No expression is changed, so each alert fires for the reason that it has in production.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use crate::child::Process;
use crate::jvm::cached;
use crate::ports::free_port;
use crate::{dirs, wait};

/// The time between two scrapes.
pub const SCRAPE: Duration = Duration::from_secs(2);
const FOR: &str = "3s";
const START_WITHIN: Duration = Duration::from_secs(30);

/// A server that watches the hosts that it is told. Stopped when dropped.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    folder: PathBuf,
    agent: Agent,
    _process: Process,
}

/// A host to be watched.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub address: SocketAddr,
    /// True for a host with TLS.
    pub is_secure: bool,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts a server that watches nobody yet. It shows `token` to all hosts; those without sign-in do not look at it.
    #[track_caller]
    pub fn start(token: &str) -> Self {
        let folder = dirs::fresh("prometheus");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let shipped = |name: &str| {
            let path = dirs::root().join("deploy/prometheus").join(name);
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("writable");
        write("prometheus.yml", &configuration(&shipped("prometheus.yml"), address));
        write("rules.yml", &with_short_for(&shipped("rules.yml")));
        write("token", token.trim());
        write("targets.json", "[]");
        let mut command = Command::new(program("prometheus"));
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).env("GOMAXPROCS", "1");
        let log = folder.join("log");
        let mut process = Process::start("prometheus", command, &log);
        let agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30)));
        let agent: Agent = agent.proxy(None).build().into();
        wait::until("Prometheus is ready", START_WITHIN, || {
            assert!(process.ended().is_none(), "{}", dirs::tail(&log, 20));
            let answer = agent.get(format!("http://{address}/-/ready")).call().map_err(|error| error.to_string())?;
            if answer.status() == 200 { Ok(()) } else { Err(answer.status().to_string()) }
        });
        Self { address, folder, agent, _process: process }
    }

    /// Watches these hosts from now on, and no others.
    pub fn watch(&self, targets: &[Target]) {
        let group = |target: &Target| {
            let scheme = if target.is_secure { "https" } else { "http" };
            json!({"targets": [target.address.to_string()], "labels": {"__scheme__": scheme}})
        };
        let groups: Vec<Value> = targets.iter().map(group).collect();
        let next = self.folder.join("next");
        std::fs::write(&next, json!(groups).to_string()).expect("writable");
        std::fs::rename(next, self.folder.join("targets.json")).expect("renamed");
    }

    /// The series that an expression has now; an error if it is not valid.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let result = self.get("query", &[("query", expression)])?;
        let series = result["result"].as_array().ok_or_else(|| format!("no vector: {result}"))?;
        Ok(series.clone())
    }

    /// All rules, each with its health and its last error.
    #[track_caller]
    pub fn rules(&self) -> Vec<Value> {
        let all = self.get("rules", &[]).expect("Prometheus answers");
        let groups = all["groups"].as_array().expect("a list");
        groups.iter().flat_map(|group| group["rules"].as_array().expect("a list").clone()).collect()
    }

    /// The labels of all alerts that fire.
    pub fn firing(&self) -> Result<Vec<Value>, String> {
        let all = self.get("alerts", &[])?;
        let all = all["alerts"].as_array().ok_or("no list")?;
        Ok(all.iter().filter(|alert| alert["state"] == "firing").map(|alert| alert["labels"].clone()).collect())
    }

    fn get(&self, what: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let request = self.agent.get(format!("http://{}/api/v1/{what}", self.address));
        let mut answer = request.query_pairs(query.iter().copied()).call().map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(text) }
    }
}

/// Returns the complaints of `promtool check metrics` about a page of metrics.
#[track_caller]
pub fn lint(page: &str) -> String {
    let mut command = Command::new(program("promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = command.spawn().expect("promtool starts");
    tool.stdin.take().expect("piped").write_all(page.as_bytes()).expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    let complaints = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.success(), complaints.is_empty(), "{complaints}");
    complaints
}

fn program(name: &str) -> PathBuf {
    cached("prometheus/usr/bin", "prometheus").join(name)
}

/// The shipped configuration with short intervals, with targets from a file in place of names of the DNS, and with a token.
/// The name of the job and the label of the cluster are the shipped ones.
fn configuration(shipped: &str, address: SocketAddr) -> String {
    let seconds = SCRAPE.as_secs();
    let text = replaced(shipped, "scrape_interval: 15s", &format!("scrape_interval: {seconds}s"));
    let text = replaced(&text, "evaluation_interval: 15s", "evaluation_interval: 1s");
    let text = replaced(&text, "localhost:9090", &address.to_string());
    let from = text.find("    dns_sd_configs:").expect("hosts are found by the DNS");
    let to = from + text[from..].find("    relabel_configs:").expect("the label of the cluster comes next");
    let targets = "    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]\n    \
                   authorization: {credentials_file: token}\n    tls_config: {insecure_skip_verify: true}\n";
    [&text[..from], targets, &text[to..]].concat()
}

/// The rules with a short `for` wherever they have one.
fn with_short_for(rules: &str) -> String {
    let short =
        |line: &str| if line.starts_with("        for: ") { format!("        for: {FOR}\n") } else { format!("{line}\n") };
    rules.lines().map(short).collect()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_rules_differ_in_for_alone() {
        let rules = std::fs::read_to_string(dirs::root().join("deploy/prometheus/rules.yml")).expect("shipped");
        let short = with_short_for(&rules);
        let changed: Vec<_> = rules.lines().zip(short.lines()).filter(|(old, new)| old != new).collect();
        assert_eq!(rules.lines().count(), short.lines().count());
        assert_eq!(changed.len(), rules.matches("        for: ").count());
        assert!(changed.iter().all(|(old, new)| old.trim_start().starts_with("for: ") && new.ends_with("for: 3s")));
    }
}
