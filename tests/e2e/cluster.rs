//! Several hosts as one: each answers for all, and says so when one comes or goes.

use std::collections::BTreeSet;

use sandbar_harness::{Api, Host, KafkaCluster, guests, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};

/// The names of the hosts that the API lists.
fn hosts(api: &Api) -> BTreeSet<String> {
    let answer = api.get("/v1/hosts").success().json();
    let hosts = answer["hosts"].as_array().expect("a list").iter();
    hosts.map(|host| host["host"].as_str().expect("a name").to_owned()).collect()
}

/// `host/partition` of each partition that the status lists.
fn owners(status: &Value) -> BTreeSet<String> {
    let hosts = status["hosts"].as_array().expect("a list").iter();
    let partitions = hosts.flat_map(|host| {
        let partitions = host["partitions"].as_array().expect("a list").iter();
        partitions.map(|partition| format!("{}/{}", host["host"], partition["partition"]))
    });
    partitions.collect()
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> Result<(), String>) {
    wait::until(what, wait::PATIENCE, holds);
}

#[test]
fn any_host_answers_for_the_cluster() {
    let kafka = KafkaCluster::shared();
    let mut pair = [(); 2].map(|()| Host::start(kafka, "cluster"));
    let apis = [pair[0].api(), pair[1].api()];
    let job = Job::new("cluster", "echo", 4, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&apis[0]);
    let messages = numbered(2_000, 10);
    job.produce(&messages);
    job.wait_through(wait::PATIENCE);

    until("both hosts list both, and say the same of all 4 partitions", || {
        let status = apis[0].status("tests/echo");
        let other = apis[1].status("tests/echo");
        let shared = status["hosts"].as_array().is_some_and(|hosts| hosts.len() == 2);
        let listed = apis.iter().all(|api| hosts(api).len() == 2);
        let complete = [&status, &other].iter().all(|status| status["rollout"]["state"] == "complete");
        let fits = shared && listed && complete && owners(&status) == owners(&other) && owners(&status).len() == 4;
        if fits { Ok(()) } else { Err(format!("{status}\n{other}")) }
    });

    // One says goodbye, the other goes on with everything.
    assert_eq!(pair[0].sigterm_and_wait(), Some(0));
    until("the one that is left has it all", || {
        let status = apis[1].status("tests/echo");
        let fits =
            hosts(&apis[1]).len() == 1 && owners(&status).len() == 4 && status["hosts"].as_array().map(Vec::len) == Some(1);
        if fits { Ok(()) } else { Err(status.to_string()) }
    });

    // The host comes back, and is killed: silence is noticed too.
    pair[0].start_again();
    pair[0].wait_ready();
    until("it is listed again", || if hosts(&apis[1]).len() == 2 { Ok(()) } else { Err("not yet".into()) });
    pair[0].kill9();
    until("it is listed no more", || if hosts(&apis[1]).len() == 1 { Ok(()) } else { Err("not yet".into()) });
    job.assert_output(&unchanged(&messages));
}

/// Cooperative rebalancing: a partition that stays with a host is not taken from it for a moment.
#[test]
fn only_partitions_that_move_are_given_up() {
    const PARTITIONS: i32 = 6;
    // A lost session would move partitions as well.
    const SESSION: [&str; 2] = ["--session-timeout", "20s"];
    let kafka = KafkaCluster::shared();
    let host = Host::start_with(kafka, "joined", &SESSION);
    let job = Job::new("joined", "echo", PARTITIONS, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&host.api());
    job.wait_for_hosts(&host.api(), 1);
    let messages = numbered(60_000, 60);
    let _other = std::thread::scope(|scope| {
        scope.spawn(|| job.produce(&messages));
        let other = Host::start_with(kafka, "joined", &SESSION);
        job.wait_for_hosts(&host.api(), 2);
        other
    });
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
    let log = std::fs::read_to_string(host.log()).expect("its log");
    let assigned = log.lines().filter(|line| line.contains("partition assigned")).count();
    assert_eq!(assigned, PARTITIONS as usize, "each once, whatever moved later");
    let revoked = log.lines().find_map(|line| line.split_once("partitions revoked")?.1.split("partitions=").nth(1));
    assert_eq!(revoked.map(str::trim), Some("3"));
}
