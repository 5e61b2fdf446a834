//! The real `sandbar serve`, as a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::Process;
use crate::http::Api;
use crate::kafka::KafkaCluster;
use crate::ports::free_port;
use crate::wall_clock::WallClock;
use crate::{dirs, wait};

const STOP_WITHIN: Duration = Duration::from_secs(30);

/// One host of a cluster. It keeps address, data directory and log file over restarts.
#[derive(Debug)]
pub struct Host {
    cluster: String,
    brokers: String,
    address: SocketAddr,
    dir: PathBuf,
    /// The program: that of the profile, or another version of it.
    binary: PathBuf,
    /// More words of its command line.
    options: Vec<String>,
    /// More variables of its environment.
    environment: Vec<(String, String)>,
    process: Option<Process>,
}

// === impl Host ===

impl Host {
    /// Starts a host of `cluster` with an empty data directory, and waits until it is ready.
    #[track_caller]
    pub fn start(kafka: &KafkaCluster, cluster: &str) -> Host {
        Self::start_with(kafka, cluster, &[])
    }

    /// Starts a host with more options.
    #[track_caller]
    pub fn start_with(kafka: &KafkaCluster, cluster: &str, options: &[&str]) -> Host {
        Self::new(kafka, cluster, options).started()
    }

    /// Starts a host with the brokers' proxies between: see [`KafkaCluster::faults`].
    #[track_caller]
    pub fn start_proxied(kafka: &KafkaCluster, cluster: &str) -> Host {
        let mut host = Self::new(kafka, cluster, &[]);
        host.brokers = kafka.proxied().to_owned();
        host.started()
    }

    /// Starts a host that knows the brokers by another address.
    #[track_caller]
    pub fn start_at(brokers: &str, kafka: &KafkaCluster, cluster: &str, options: &[&str]) -> Host {
        let mut host = Self::new(kafka, cluster, options);
        host.brokers = brokers.to_owned();
        host.started()
    }

    /// Starts a host whose wall clock the test sets.
    #[track_caller]
    pub fn start_with_clock(kafka: &KafkaCluster, cluster: &str, clock: &WallClock) -> Host {
        let mut host = Self::new(kafka, cluster, &[]);
        host.environment = clock.environment();
        host.started()
    }

    #[track_caller]
    fn started(mut self) -> Host {
        self.start_again();
        self.wait_ready();
        self
    }

    /// A host that nobody has started yet.
    pub fn new(kafka: &KafkaCluster, cluster: &str, options: &[&str]) -> Host {
        Host {
            cluster: cluster.to_owned(),
            brokers: kafka.brokers().to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            dir: dirs::fresh(cluster),
            binary: dirs::sandbar(),
            options: options.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            process: None,
        }
    }

    /// Runs another program from its next start on, as in an upgrade.
    pub fn set_binary(&mut self, binary: &Path) {
        assert!(self.process.is_none(), "the host runs");
        self.binary = binary.to_owned();
    }

    /// Starts it after it was killed or stopped; it may not be ready yet.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the host runs already");
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--brokers", &self.brokers, "--cluster", &self.cluster]);
        command.args(["--listen", &self.address.to_string(), "--data-dir"]).arg(self.dir.join("data"));
        command.args(["--advertise", &format!("http://{}", self.address)]);
        command.args(&self.options).envs(self.environment.iter().cloned());
        self.process = Some(Process::start(&format!("sandbar ({})", self.cluster), command, &self.log()));
    }

    /// Waits until /readyz says 200.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let api = self.api();
        wait::until(&format!("the host of {} is ready", self.cluster), wait::PATIENCE, || {
            let ended = self.process.as_mut().expect("the host was started").ended();
            assert!(ended.is_none(), "the host ended ({ended:?})");
            let answer = api.try_get("/readyz")?;
            if answer.status == 200 { Ok(()) } else { Err(format!("/readyz: {} {}", answer.status, answer.body)) }
        });
    }

    /// Waits until the host ends by itself, and returns its last lines.
    #[track_caller]
    pub fn wait_ended(&mut self) -> String {
        let process = self.process.as_mut().expect("the host was started");
        let ended = || process.ended().filter(|status| !status.success()).ok_or_else(|| "it runs".to_owned());
        wait::until("the host ends, and not well", wait::PATIENCE, ended);
        self.process = None;
        dirs::tail(&self.log(), 10)
    }

    pub fn api(&self) -> Api {
        Api::new(self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The folder of the local stores.
    pub fn state_dir(&self) -> PathBuf {
        self.data_dir().join("state")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Returns true if the host has ended without being told to. It can be started again.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.process.as_mut().is_some_and(|process| process.ended().is_some());
        if ended {
            self.process = None;
        }
        ended
    }

    /// `kill -9`.
    pub fn kill9(&mut self) {
        self.process.take().expect("the host runs").kill9();
    }

    /// SIGTERM; its exit code (none if a signal ended it).
    pub fn sigterm_and_wait(&mut self) -> Option<i32> {
        self.process.take().expect("the host runs").terminate(STOP_WITHIN)
    }

    /// Freezes it: to the others it looks dead, and it will wake up as a zombie.
    pub fn sigstop(&mut self) {
        self.process.as_mut().expect("the host runs").signal(libc::SIGSTOP);
    }

    pub fn sigcont(&mut self) {
        self.process.as_mut().expect("the host runs").signal(libc::SIGCONT);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- the host's log, {}, ends with:\n{}\n---", self.log().display(), dirs::tail(&self.log(), 60));
        }
        self.process = None;
        dirs::discard(&self.dir);
    }
}
