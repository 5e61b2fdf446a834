//! Transforms on a part of the hosts: which they are is the same to everybody, a dead one is replaced, and one that comes back
//! has its places again.

use std::collections::BTreeSet;
use std::time::Instant;

use sandbar_harness::{Api, Cli, Host, KafkaCluster, guests, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};

/// The names of a list of the placement in a status.
fn names(list: &Value) -> BTreeSet<String> {
    let names = list.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    names.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// The hosts that run the transform, once they are as many and its rollout is complete.
#[track_caller]
fn wait_for_runners(api: &Api, what: &str, count: usize) -> BTreeSet<String> {
    wait::until(what, wait::PATIENCE, || {
        let status = api.status("tests/echo");
        let hosts = status["hosts"].as_array().expect("a list").iter();
        let runners: BTreeSet<String> = hosts
            .filter(|host| host["state"] == "running")
            .map(|host| host["host"].as_str().expect("a name").to_owned())
            .collect();
        let is_complete = status["rollout"]["state"] == "complete";
        if runners.len() == count && is_complete { Ok(runners) } else { Err(status.to_string()) }
    })
}

/// The name of the host that has this API.
fn name_of(api: &Api, host: &Host) -> String {
    let url = format!("http://{}", host.address());
    let list = api.get("/v1/hosts").success().json();
    let hosts = list["hosts"].as_array().expect("a list").clone();
    let own = hosts.iter().find(|host| host["url"] == url.as_str());
    own.map(|host| host["host"].as_str().expect("a name").to_owned()).unwrap_or_else(|| panic!("{url} in {list}"))
}

#[test]
fn a_transform_runs_on_two_of_three_hosts_and_a_dead_one_is_replaced() {
    let kafka = KafkaCluster::shared();
    let mut hosts: Vec<Host> = (0..3).map(|_| Host::start(kafka, "placement")).collect();
    let apis: Vec<Api> = hosts.iter().map(Host::api).collect();
    wait::until("the hosts know each other", wait::PATIENCE, || {
        let known = |api: &Api| api.get("/v1/hosts").success().json()["hosts"].as_array().map_or(0, Vec::len) == 3;
        if apis.iter().all(known) { Ok(()) } else { Err("not yet".into()) }
    });
    let job = Job::new("placement", "echo", 4, guests::fixture(), json!({"mode": "echo"}));
    job.deploy(&apis[0]);
    let first = wait_for_runners(&apis[0], "two hosts run it", 2);
    let messages = numbered(6_000, 20);
    job.produce(&messages[..2_000]);
    job.wait_through(wait::PATIENCE);
    for api in &apis {
        let placement = &api.status("tests/echo")["placement"];
        assert_eq!((names(&placement["hosts"]), &placement["count"]), (first.clone(), &json!("2, by its partitions")));
        let other = &placement["others"][0];
        assert_eq!(other["reason"], "other hosts have the places", "{placement}");
    }
    let shown = Cli::new("placement", &hosts[0]).run("hosts").out;
    assert!(shown.lines().next().is_some_and(|head| head.contains("PLACED")), "{shown}");

    // One of the two dies: the third takes its place.
    let all: Vec<String> = hosts.iter().map(|host| name_of(&apis[0], host)).collect();
    let dead = all.iter().position(|name| first.contains(name)).expect("one of three");
    let left = (dead + 1) % 3;
    hosts[dead].kill9();
    let died = Instant::now();
    job.produce(&messages[2_000..4_000]);
    wait::until("the third has the place", wait::PATIENCE, || {
        let placed = names(&apis[left].status("tests/echo")["placement"]["hosts"]);
        if placed.contains(&all[dead]) || placed.len() != 2 { Err(format!("{placed:?}")) } else { Ok(()) }
    });
    println!("its place was given away after {:?}", died.elapsed());
    wait_for_runners(&apis[left], "the two that are left run it", 2);
    job.wait_through(wait::PATIENCE);

    // It is back in its place, and the third leaves when it works.
    hosts[dead].start_again();
    hosts[dead].wait_ready();
    wait_for_runners(&apis[left], "all three run it for a while", 3);
    assert_eq!(wait_for_runners(&apis[left], "the third leaves", 2), first);
    job.produce(&messages[4_000..]);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
}
