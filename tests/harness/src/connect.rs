//! A worker of Kafka Connect as a process of its own, and its REST API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::child::Process;
use crate::http::Api;
use crate::jvm::{self, java};
use crate::kafka::KafkaCluster;
use crate::ports::free_port;
use crate::{dirs, wait};

const UP_WITHIN: Duration = Duration::from_secs(120);

/// A worker in distributed mode: Kafka has its connectors and their progress. It is killed when dropped.
#[derive(Debug)]
pub struct Connect {
    address: SocketAddr,
    dir: PathBuf,
    /// The variables of the connectors' configurations (`${env:..}`).
    variables: Vec<(String, String)>,
    process: Option<Process>,
}

// === impl Connect ===

impl Connect {
    /// Starts a worker, and waits until it answers. `name` is its group, and begins its topics' names.
    #[track_caller]
    pub fn start(kafka: &KafkaCluster, name: &str, variables: Vec<(String, String)>) -> Connect {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let dir = dirs::fresh("connect");
        let plugins = jvm::cached("connect/plugins", "shop");
        let properties = include_str!("../../../tools/connect/worker.properties")
            .replace("@BROKERS@", kafka.brokers())
            .replace("@PORT@", &address.port().to_string())
            .replace("@PLUGINS@", plugins.to_str().expect("the path is UTF-8"))
            .replace("@NAME@", name);
        std::fs::write(dir.join("worker.properties"), properties).expect("target is writable");
        let mut connect = Connect { address, dir, variables, process: None };
        connect.start_again();
        connect.wait_ready();
        connect
    }

    /// Starts it after it was killed; it may not be ready yet.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "Kafka Connect runs already");
        let mut command = java(&jvm::SMALL);
        command.args(["-Xms128m", "-Xmx640m", "org.apache.kafka.connect.cli.ConnectDistributed"]);
        command.arg(self.dir.join("worker.properties"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start("connect", command, &self.log()));
    }

    /// Waits until it has joined its group, and answers.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        wait::until("Kafka Connect answers", UP_WITHIN, || {
            let ended = self.process.as_mut().expect("it was started").ended();
            assert!(ended.is_none(), "Kafka Connect ended ({ended:?}):\n{}", dirs::tail(&self.log(), 40));
            let answer = Api::waiting(self.address, Duration::from_secs(5)).try_get("/connectors")?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        });
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        self.process.take().expect("Kafka Connect runs").kill9();
    }

    /// Creates or changes a connector, and waits until it and its tasks run.
    #[track_caller]
    pub fn configure(&self, connector: &str, config: &Value) {
        let path = format!("/connectors/{connector}/config");
        // A worker in the middle of a rebalance answers 409.
        wait::until(&format!("Kafka Connect takes {connector}"), wait::PATIENCE, || {
            let answer = self.api().try_send("PUT", &path, &[], config)?;
            match answer.status {
                200..300 => Ok(()),
                409 | 500.. => Err(answer.body),
                status => panic!("{connector}: {status} {}", answer.body),
            }
        });
        wait::until(&format!("{connector} runs"), wait::PATIENCE, || {
            let status = self.status(connector)?;
            let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
            let running = |part: &Value| part["state"] == "RUNNING";
            let all = running(&status["connector"]) && !tasks.is_empty() && tasks.iter().all(running);
            if all { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// Panics with the connector's own words if it or one of its tasks has failed: it does not start again by itself.
    #[track_caller]
    pub fn assert_alive(&self, connector: &str) {
        // A worker that does not answer is waited for elsewhere.
        let _ = self.status(connector);
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[track_caller]
    fn status(&self, connector: &str) -> Result<Value, String> {
        let answer = self.api().try_get(&format!("/connectors/{connector}/status"))?;
        if answer.status != 200 {
            return Err(answer.body);
        }
        let status = answer.json();
        let tasks = status["tasks"].as_array().into_iter().flatten();
        for part in tasks.chain([&status["connector"]]) {
            assert!(part["state"] != "FAILED", "{connector} failed:\n{}", part["trace"].as_str().unwrap_or_default());
        }
        Ok(status)
    }

    fn api(&self) -> Api {
        Api::new(self.address)
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- Kafka Connect's log, {}, ends with:\n{}\n---", self.log().display(), dirs::tail(&self.log(), 40));
        }
    }
}
