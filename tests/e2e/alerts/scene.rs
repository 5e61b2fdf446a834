//! A Prometheus, and the hosts that it watches.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use sandbar::model::units::Timestamp;
use sandbar_harness::prometheus::Target;
use sandbar_harness::{Cli, Host, KafkaCluster, Message, Prometheus, dirs, guests, wait};
use serde_json::{Value, json};

use super::Cause;
use super::traffic::Traffic;
use crate::job::{Job, numbered};

pub(super) const CLUSTER: &str = "alerts";
/// The alerts of times.
const SLOW: [&str; 2] = ["SandbarCommitSlow", "SandbarEndToEndLatencyHigh"];

/// The hosts are of clusters of their own, so that a condition of one is no condition of another. Prometheus gives all of
/// them the cluster label of the shipped configuration.
pub(super) struct Scene {
    pub prometheus: Prometheus,
    pub kafka: &'static KafkaCluster,
    /// Runs the transforms.
    pub host: Host,
    /// Runs none, and goes down.
    pub spare: Host,
    /// Asks for sign-in.
    pub guarded: Host,
    /// Has TLS.
    pub secure: Host,
    pub folder: PathBuf,
    /// The hosts of a night's cases.
    pub unready: Option<Host>,
    pub dying: Option<Host>,
    pub slow: Option<Host>,
    /// The parts of cases that live as long as the scene.
    pub kept: Vec<Box<dyn Any>>,
    /// Hosts that cases have added.
    pub more: Vec<Target>,
    /// Records for a transform of which no alert may tell.
    _steady: Traffic,
}

// === impl Scene ===

impl Scene {
    pub fn open() -> Self {
        let kafka = KafkaCluster::shared();
        let folder = dirs::fresh("alerts-files");
        let path = |name: &str| folder.join(name).to_str().expect("text").to_owned();
        let token = Cli::at("alerts-token", ([127, 0, 0, 1], 1).into()).succeeds("token generate");
        std::fs::write(path("admin"), &token).expect("writable");
        std::fs::write(path("guarded.yaml"), "teams: {}\n").expect("writable");
        write_certificate(&folder, Duration::from_secs(90 * 86_400));
        let teams = path("teams.yaml");
        std::fs::write(&teams, json!({"teams": {}}).to_string()).expect("writable");
        let guarded = ["--auth", "required", "--admin-token-file", &path("admin"), "--teams", &path("guarded.yaml")]
            .map(str::to_owned);
        let secure = ["--tls-cert", &path("tls.pem"), "--tls-key", &path("tls.key")].map(str::to_owned);
        let host = |name: &str, options: &[String]| {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let mut host = Host::new(kafka, name, &options);
            host.start_again();
            host
        };
        // Records that came before it would be late.
        let latest = json!({"start": "latest"});
        let steady = Job::new(CLUSTER, "steady", 1, guests::fixture(), json!({"mode": "echo"})).with(latest);
        let mut scene = Self {
            prometheus: Prometheus::start(&token),
            kafka,
            host: host(CLUSTER, &["--teams".to_owned(), teams]),
            spare: host("alerts-spare", &[]),
            guarded: host("alerts-guarded", &guarded),
            secure: host("alerts-secure", &secure),
            _steady: Traffic::start(kafka, &steady.input, numbered(20, 5)),
            folder,
            unready: None,
            dying: None,
            slow: None,
            kept: Vec::new(),
            more: Vec::new(),
        };
        scene.host.wait_ready();
        scene.spare.wait_ready();
        scene.guarded.wait_ready();
        steady.deploy(&scene.host.api());
        scene
    }

    /// Has Prometheus watch all hosts, and waits until it has seen each.
    #[track_caller]
    pub fn watch_all(&self) {
        let plain = [&self.host, &self.spare, &self.guarded].map(|host| target(host, false));
        let targets = [&plain[..], &[target(&self.secure, true)], &self.more].concat();
        self.prometheus.watch(&targets);
        wait::until("Prometheus has seen all hosts", wait::PATIENCE, || {
            let up = self.prometheus.query("up{job=\"sandbar\"} == 1")?.len();
            if up == targets.len() { Ok(()) } else { Err(format!("{up} of {}", targets.len())) }
        });
    }

    /// Waits until a query has a value.
    #[track_caller]
    pub fn wait_for(&self, query: &str) {
        wait::until(query, wait::PATIENCE, || match self.prometheus.query(query)?.len() {
            0 => Err("no value".to_owned()),
            _ => Ok(()),
        });
    }

    /// Deploys a transform that behaves so.
    #[track_caller]
    pub fn deploy(&self, name: &str, partitions: i32, config: Value, fields: Value) -> Job {
        let job = Job::new(CLUSTER, name, partitions, guests::fixture(), config).with(fields);
        job.deploy(&self.host.api());
        job
    }

    /// Deploys the next revision of a transform, which behaves so.
    #[track_caller]
    pub fn mend(&self, job: Job, config: Value) -> Job {
        let job = job.with(json!({"config": config}));
        job.deploy(&self.host.api());
        job
    }

    /// Sends `POST` for a verb.
    #[track_caller]
    pub fn post(&self, job: &Job, verb: &str) {
        let (team, name) = job.transform.split_once('/').expect("team/name");
        let path = format!("/v1/teams/{team}/transforms/{name}/{verb}");
        self.host.api().send("POST", &path, "application/json", b"{}").success();
    }

    /// Pauses a transform, and waits until its workers have left their group.
    #[track_caller]
    pub fn pause(&self, job: &Job) {
        self.post(job, "pause");
        wait::until("the transform is paused", wait::PATIENCE, || {
            let status = self.host.api().status(&job.transform);
            if status["state"] == "paused" { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// A transform that gets records without end; no more come when the cause is removed.
    #[track_caller]
    pub fn busy(&self, name: &str, config: Value, fields: Value, messages: Vec<Message>) -> Cause {
        let job = self.deploy(name, 1, config, fields);
        let traffic = Traffic::start(self.kafka, &job.input, messages);
        Cause::of_transform(name, move |_| drop(traffic))
    }

    /// Asserts that no alert tells of the transform that works as it should. It may be slow on a busy machine.
    #[track_caller]
    pub fn assert_steady(&self) {
        let firing = self.prometheus.firing().expect("Prometheus answers");
        let is_told =
            |labels: &&Value| labels["transform"] == "steady" && !SLOW.iter().any(|slow| labels["alertname"] == *slow);
        let told: Vec<_> = firing.iter().filter(is_told).collect();
        assert!(told.is_empty(), "{told:?}");
    }
}

impl Cause {
    pub(super) fn of_transform(name: &str, remove: impl FnOnce(&mut Scene) + 'static) -> Self {
        Self { subject: ("transform", name.to_owned()), remove: Box::new(remove) }
    }

    pub(super) fn of_host(host: &Host, remove: impl FnOnce(&mut Scene) + 'static) -> Self {
        Self { subject: ("instance", host.address().to_string()), remove: Box::new(remove) }
    }
}

pub(super) fn target(host: &Host, is_secure: bool) -> Target {
    Target { address: host.address(), is_secure }
}

/// Writes a certificate that ends in so much time, with its key.
pub(super) fn write_certificate(folder: &Path, life: Duration) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let now = Duration::from_millis(Timestamp::now().0.unsigned_abs());
    params.not_after = date_time_ymd(1970, 1, 1) + now + life;
    let certificate = params.self_signed(&key).expect("a certificate");
    for (name, text) in [("tls.key", key.serialize_pem()), ("tls.pem", certificate.pem())] {
        let next = folder.join("next");
        std::fs::write(&next, text).expect("writable");
        std::fs::rename(next, folder.join(name)).expect("renamed");
    }
}
