//! `sandbar doctor` on a real Kafka: a cluster on which all is well, and one wrong thing at a time.

use std::process::Command;

use sandbar_harness::{Cli, Host, KafkaCluster, dirs, topics, wait};
use serde_json::Value;

/// The findings of a doctor, by outcome.
pub struct Visit {
    pub code: Option<i32>,
    pub checks: Vec<Value>,
}

impl Visit {
    /// Lets the doctor look, with these words beside the cluster's name and a data folder.
    pub fn new(brokers: &str, cluster: &str, words: &[&str]) -> Self {
        let mut command = Command::new(dirs::sandbar());
        command.args(["doctor", "--output", "json", "--brokers", brokers, "--cluster", cluster]).args(words);
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(dirs::fresh("doctor").join("data"));
        let ran = Cli::ended(&mut command);
        let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        Self { code: ran.code, checks: report["checks"].as_array().expect("checks").clone() }
    }

    /// The names of the checks with this outcome.
    pub fn with(&self, outcome: &str) -> Vec<&str> {
        self.checks.iter().filter(|check| check["outcome"] == outcome).filter_map(|check| check["check"].as_str()).collect()
    }

    /// Asserts that exactly this check failed, with a remedy, and that its facts have these words.
    #[track_caller]
    pub fn failed(&self, check: &str, words: &str) {
        assert_eq!(self.with("failure"), [check], "{:?}", self.checks);
        assert_eq!(self.code, Some(1));
        let failure = self.checks.iter().find(|found| found["check"] == check).expect("it failed");
        assert!(failure["found"].as_str().is_some_and(|found| found.contains(words)), "{failure}");
        assert!(failure["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{failure}");
    }
}

/// The numbers and warnings of the machine itself differ from one to the other: they are in no assertion but this one.
#[test]
fn a_good_cluster_has_no_failure_before_and_beside_a_host() {
    let kafka = KafkaCluster::shared();
    let before = Visit::new(kafka.brokers(), "doctor", &[]);
    assert_eq!((before.code, before.with("failure").len()), (Some(0), 0), "{:?}", before.checks);
    for check in ["settings", "data-dir", "machine-code", "kafka", "control-topics", "transactions"] {
        assert!(before.with("ok").contains(&check), "{check}: {:?}", before.checks);
    }
    assert!(before.with("warning").contains(&"brokers"), "{:?}", before.checks);
    assert_eq!(topics::partitions(kafka, "_sandbar.doctor.deployments"), None, "the doctor created a topic");

    let _host = Host::start(kafka, "doctor");
    // The host's first status comes a moment after it is ready.
    let beside = wait::until("the doctor sees the time of a status", wait::PATIENCE, || {
        let visit = Visit::new(kafka.brokers(), "doctor", &[]);
        if visit.with("ok").contains(&"clock-of-others") { Ok(visit) } else { Err(format!("{:?}", visit.checks)) }
    });
    assert_eq!(beside.with("failure").len(), 0, "{:?}", beside.checks);
    let control_topics = beside.checks.iter().find(|check| check["check"] == "control-topics").expect("a check");
    assert_eq!(control_topics["found"], "8 are there, 0 can be created");
}

#[test]
fn each_wrong_setting_is_named() {
    let kafka = KafkaCluster::shared();
    let visit = |words: &[&str]| Visit::new(kafka.brokers(), "doctor-wrong", words);
    visit(&["--session-timeout", "2s"]).failed("session-timeout", "group.min.session.timeout.ms=6000");
    visit(&["--group-keep-alive-interval", "30d"]).failed("offsets-retention", "offsets.retention.minutes");
    visit(&["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"]).failed("tls", "/nowhere/cert.pem");
    visit(&["--teams", "/nowhere/teams.yaml"]).failed("teams", "/nowhere/teams.yaml");
    visit(&["--kafka-property", "security.protocol=SSL"]).failed("kafka", "no answer from");
    visit(&["--kafka-property", "no.such.property=1"]).failed("kafka", "no.such.property");
    visit(&["--tls-cert", "/nowhere/cert.pem"]).failed("settings", "--tls-key");

    topics::create_with(kafka, &["_sandbar.doctor-wrong.positions"], 1, &[("cleanup.policy", "delete")]);
    visit(&[]).failed("control-topics", "cleanup.policy=compact");
    let nowhere = Visit::new("127.0.0.1:1", "doctor-wrong", &[]);
    nowhere.failed("kafka", "127.0.0.1:1");
}
