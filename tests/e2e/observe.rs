//! Observing from any host: the log lines of a guest, the events of a transform, and samples of its records.

use std::collections::BTreeSet;

use sandbar_harness::{Api, Cli, Host, KafkaCluster, Message, guests, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};

/// The events of a log, as `event: message`.
fn events(lines: &[Value]) -> Vec<String> {
    let events = lines.iter().filter(|line| line["event"].is_string());
    events.map(|line| format!("{}: {}", line["event"].as_str().expect("text"), line["message"])).collect()
}

fn logged(api: &Api, transform: &str) -> Vec<Value> {
    let (team, name) = transform.split_once('/').expect("team/name");
    let answer = api.get(&format!("/v1/teams/{team}/transforms/{name}/logs"));
    answer.success().body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> Result<(), String>) {
    wait::until(what, wait::PATIENCE, holds);
}

#[test]
fn logs_and_events_are_followed_from_any_host() {
    let kafka = KafkaCluster::shared();
    let hosts = [(); 2].map(|()| Host::start(kafka, "logs"));
    let here = hosts[0].api();
    let there = Cli::new("logs-cli", &hosts[1]);
    let mut job = Job::new("logs", "talk", 4, guests::fixture(), json!({"mode": "log-flood", "lines": 1}));
    job.spec["module"] = here.upload(&job.module).into();
    let deploy = |config: Value| {
        let mut spec = job.spec.clone();
        spec["config"] = config;
        here.deploy(&job.transform, &spec)["revision"].as_u64().expect("a number")
    };
    deploy(json!({"mode": "log-flood", "lines": 1}));
    let following = there.start("logs tests/talk -f -o json");
    let seen = |what: &str| {
        until(&format!("the log says {what:?}"), || {
            let lines = following.lines();
            if events(&lines).iter().any(|event| event.contains(what)) {
                Ok(())
            } else {
                Err(format!("{:#?}", events(&lines)))
            }
        });
    };
    seen("deployed: \"revision 1 is to run here\"");
    seen("started: \"revision 1 runs\"");
    until("the guests' lines are there, of both hosts", || {
        job.produce(&numbered(20, 10));
        let lines = following.lines();
        let own = lines.iter().filter(|line| line["event"].is_null());
        let by: BTreeSet<&str> = own.clone().map(|line| line["host"].as_str().expect("a host")).collect();
        let good = own.clone().all(|line| line["message"].as_str().is_some_and(|text| text.starts_with("line 0 ==")));
        if by.len() == 2 && good { Ok(()) } else { Err(format!("{by:?}, {} lines", lines.len())) }
    });
    job.wait_through(wait::PATIENCE);
    // Another revision, one that traps, and records that fail.
    deploy(json!({"mode": "fail"}));
    job.produce(&numbered(100, 10));
    seen("swapped: \"revision 2 runs, after 1\"");
    job.produce(&[Message::new("k", "poison")]);
    seen("dead-lettered: \"1 failed records went to the dead-letter topic");
    deploy(json!({"mode": "panic-all"}));
    job.produce(&numbered(100, 10));
    seen("refused: \"revision 3: E102");
    deploy(json!({"mode": "echo"}));
    here.send("POST", "/v1/teams/tests/transforms/talk/pause", "application/json", b"");
    seen("paused: \"paused by request\"");

    // The other host says the same, and each line once.
    let lines = following.lines();
    let offsets: Vec<i64> = lines.iter().map(|line| line["offset"].as_i64().expect("an offset")).collect();
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    let all = logged(&here, "tests/talk");
    assert!(all.len() >= lines.len() && all[all.len() - lines.len()..] == lines[..] || all.starts_with(&lines), "{all:#?}");
}

/// The hosts that own partitions of the transform.
fn owners(api: &Api) -> BTreeSet<String> {
    // A host hears of the transform a moment later than the one that took it.
    let status = api.get("/v1/teams/tests/transforms/echo/status").json();
    let owns = |host: &&Value| host["partitions"].as_array().is_some_and(|all| !all.is_empty());
    let owners = status["hosts"].as_array().into_iter().flatten().filter(owns);
    owners.map(|host| host["host"].as_str().expect("a name").to_owned()).collect()
}

/// The number of samples that a host has sent.
fn samples(api: &Api) -> u64 {
    let metrics = api.get("/metrics").body;
    let line = metrics.lines().find(|line| line.starts_with("sandbar_journal_entries_total{kind=\"sample\"}"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn samples_show_both_sides_while_somebody_looks() {
    let kafka = KafkaCluster::shared();
    let mut hosts = [(); 3].map(|()| Host::start(kafka, "samples"));
    let job = Job::new("samples", "echo", 4, guests::fixture(), json!({"mode": "fail"}));
    job.deploy(&hosts[0].api());
    // The one that is asked runs nothing of it: hosts never call each other.
    let watcher = hosts[2].api();
    until("the partitions are on more than one host", || {
        let owners = owners(&watcher);
        if owners.len() >= 2 { Ok(()) } else { Err(format!("{owners:?}")) }
    });
    let cli = Cli::new("samples-cli", &hosts[2]);
    let following = cli.start("tail tests/echo -f -o json");
    let mut sent = Vec::new();
    wait::until("samples of more than one host, and one that failed", wait::PATIENCE, || {
        // A host shows the first records of a batch.
        let more = [vec![Message::new("k", "poison")], numbered(20, 10)].concat();
        job.produce(&more);
        sent.extend(more.into_iter().filter(|message| message.value.as_deref() != Some(b"poison")));
        let lines = following.lines();
        let hosts: BTreeSet<&str> = lines.iter().map(|line| line["host"].as_str().expect("a host")).collect();
        let failed = lines.iter().any(|line| line["failed"]["code"] == "E101");
        if hosts.len() >= 2 && failed { Ok(()) } else { Err(format!("{hosts:?}, failed: {failed}")) }
    });
    for line in following.lines() {
        let input = &line["input"];
        let output = &line["outputs"][0];
        if line["failed"].is_object() {
            assert!(output.is_null() && input["value"] == "poison", "{line}")
        } else {
            assert!(output["topic"] == job.output && output["value"] == input["value"], "{line}")
        }
    }
    // A few, in text.
    let producing = std::thread::scope(|scope| {
        let few = scope.spawn(|| cli.succeeds("tail tests/echo --limit 3 --wait 60s"));
        while !few.is_finished() {
            let more = numbered(50, 10);
            job.produce(&more);
            sent.extend(more);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        few.join().expect("it ends")
    });
    assert_eq!(producing.matches("\n  in   ").count(), 3, "{producing}");

    // Nobody looks any more, and the hosts stop showing.
    following.process.terminate(wait::PATIENCE);
    let total = || hosts.iter().map(|host| samples(&host.api())).sum::<u64>();
    wait::until("records go through and none is shown", wait::PATIENCE, || {
        let before = total();
        let more = numbered(100, 10);
        job.produce(&more);
        sent.extend(more);
        job.wait_through(wait::PATIENCE);
        // Longer than entries are gathered for.
        std::thread::sleep(std::time::Duration::from_millis(300));
        if total() == before { Ok(()) } else { Err(format!("{} more", total() - before)) }
    });
    job.assert_output(&unchanged(&sent));
    // An open stream does not hold up a host that stops.
    let open = cli.start("logs tests/echo -f -o json");
    until("it is followed", || if open.lines().is_empty() { Err("nothing yet".into()) } else { Ok(()) });
    let started = std::time::Instant::now();
    assert_eq!(hosts[2].sigterm_and_wait(), Some(0));
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}
