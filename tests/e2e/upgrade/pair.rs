//! Two hosts of one cluster, each of version 0.1 or of this one. A host that is replaced keeps its name, its address and its
//! data.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sandbar_harness::{Api, Host, KafkaCluster, wait};

use crate::job::Job;

/// The names of the hosts.
pub const NAMES: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 0.1, as the oldest released commit has it.
    Old,
    /// This version.
    New,
}

/// The end of a host that is replaced.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    Sigterm,
    Kill9,
}

/// The times from the begin of a replacement to each of its steps.
#[derive(Debug, Clone, Copy)]
pub struct Replacement {
    pub ended: Duration,
    pub ready: Duration,
    /// Both hosts have partitions, and each partition goes on.
    pub settled: Duration,
}

pub struct HostPair {
    hosts: [Host; 2],
}

// === impl Version ===

impl Version {
    fn binary(self) -> PathBuf {
        let variable = match self {
            Version::Old => "SANDBAR_OLD_BIN",
            Version::New => return sandbar_harness::dirs::sandbar(),
        };
        let binary = std::env::var_os(variable).map(PathBuf::from);
        let binary = binary.unwrap_or_else(|| panic!("{variable} is not set: run `make upgrade`, which builds it"));
        assert!(binary.is_file(), "{variable}: {} is missing", binary.display());
        binary
    }
}

// === impl HostPair ===

impl HostPair {
    /// Starts both, and waits until each knows of the other.
    #[track_caller]
    pub fn start(cluster: &str, versions: [Version; 2]) -> HostPair {
        // A debug build of 0.1 compiles modules slowly, and on a busy machine: its limit is time, and not CPU time.
        let new = |name| Host::new(KafkaCluster::shared(), cluster, &["--host", name, "--compile-time-max", "10m"]);
        let mut pair = HostPair { hosts: NAMES.map(new) };
        for (number, version) in versions.into_iter().enumerate() {
            pair.start_as(number, version);
        }
        pair.wait_acquainted();
        pair
    }

    pub fn api(&self, number: usize) -> Api {
        self.hosts[number].api()
    }

    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.hosts[number].log()).expect("the host has a log")
    }

    /// Starts a host that was stopped, as of this version, and waits until it is ready.
    #[track_caller]
    pub fn start_as(&mut self, number: usize, version: Version) {
        let host = &mut self.hosts[number];
        host.set_binary(&version.binary());
        host.start_again();
        host.wait_ready();
        self.assert_version(number, version);
    }

    #[track_caller]
    pub fn stop(&mut self, number: usize, stop: Stop) {
        let host = &mut self.hosts[number];
        match stop {
            Stop::Sigterm => assert_eq!(host.sigterm_and_wait(), Some(0), "the exit code of host {}", NAMES[number]),
            Stop::Kill9 => host.kill9(),
        }
    }

    /// Replaces a host by one of this version, and waits until each partition of the jobs has gone on since.
    #[track_caller]
    pub fn replace(&mut self, number: usize, version: Version, stop: Stop, jobs: &[&Job]) -> Replacement {
        let begun = Instant::now();
        self.stop(number, stop);
        let ended = begun.elapsed();
        self.start_as(number, version);
        let ready = begun.elapsed();
        for job in jobs {
            job.wait_for_hosts(&self.api(number), NAMES.len());
            goes_on(job);
        }
        Replacement { ended, ready, settled: begun.elapsed() }
    }

    /// Waits until each host lists both.
    #[track_caller]
    pub fn wait_acquainted(&self) {
        for host in &self.hosts {
            wait::until("each host lists both", wait::PATIENCE, || {
                let hosts = host.api().get("/v1/hosts").success().json();
                let listed =
                    |name: &&str| hosts["hosts"].as_array().is_some_and(|all| all.iter().any(|one| one["host"] == **name));
                if NAMES.iter().all(listed) { Ok(()) } else { Err(hosts.to_string()) }
            });
        }
    }

    /// Hosts of 0.1 publish no formats.
    #[track_caller]
    fn assert_version(&self, number: usize, version: Version) {
        wait::until("the host lists itself", wait::PATIENCE, || {
            let hosts = self.api(number).get("/v1/hosts").success().json();
            let own = hosts["hosts"].as_array().and_then(|all| all.iter().find(|host| host["host"] == NAMES[number]));
            let own = own.ok_or_else(|| hosts.to_string())?;
            let is_new = own["formats"]["spec"].is_u64();
            if is_new == (version == Version::New) { Ok(()) } else { Err(hosts.to_string()) }
        });
    }
}

/// Waits until each partition has more records behind it than now. It needs a job under load.
#[track_caller]
pub fn goes_on(job: &Job) {
    let before = job.progress.committed();
    wait::until(&format!("each partition of {} goes on", job.transform), wait::PATIENCE, || {
        let now = job.progress.committed();
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            Ok(())
        } else {
            Err(format!("{now:?} after {before:?}"))
        }
    });
}
