//! Secrets on two hosts, each of which has its own.

use std::path::{Path, PathBuf};

use sandbar_harness::{Api, Host, KafkaCluster, dirs, guests, topics, wait};
use serde_json::json;

use crate::job::{Job, numbered};

const OLD: &str = "hunter2-and-more";
const NEW: &str = "correct-horse-battery";

/// Replaces the secret of a host as Kubernetes does: a link comes to point at another folder.
fn put(vault: &Path, generation: u32, value: &str) {
    let own = vault.join("tests");
    let content = format!("..{generation}");
    std::fs::create_dir_all(own.join(&content)).expect("made");
    std::fs::write(own.join(&content).join("token"), format!("{value}\n")).expect("written");
    std::os::unix::fs::symlink(&content, own.join("..next")).expect("linked");
    std::fs::rename(own.join("..next"), own.join("..data")).expect("renamed");
    if !own.join("token").exists() {
        std::os::unix::fs::symlink("..data/token", own.join("token")).expect("linked");
    }
}

/// Waits until the status of the second host has this code, or none.
#[track_caller]
fn wait_for_code(api: &Api, job: &Job, code: Option<&str>) {
    wait::until(&format!("a host shows {code:?}"), wait::PATIENCE, || {
        let status = api.status(&job.transform);
        let hosts = status["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let codes: Vec<_> = hosts.iter().filter_map(|host| host["error"]["code"].as_str()).collect();
        if codes.as_slice() == code.as_slice() { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn each_host_gives_its_own_secret_and_none_shows_it() {
    let kafka = KafkaCluster::shared();
    let vaults: [PathBuf; 2] = ["secrets-a", "secrets-b"].map(dirs::fresh);
    let start = |vault: &PathBuf| Host::start_with(kafka, "secrets", &["--secrets-dir", vault.to_str().expect("text")]);
    let hosts = [start(&vaults[0]), start(&vaults[1])];
    let apis = [hosts[0].api(), hosts[1].api()];
    let config = json!({ "mode": "echo", "tag": { "secret": "file:token" } });
    let job = Job::new("secrets", "one", 4, guests::fixture(), config);
    put(&vaults[0], 1, OLD);

    // The second host would not deploy it, and does not run it.
    let mut spec = job.spec.clone();
    spec["module"] = apis[0].upload(&job.module).into();
    assert_eq!(apis[1].try_deploy(&job.transform, &spec).json()["code"], "E066");
    job.deploy(&apis[0]);
    wait_for_code(&apis[0], &job, Some("E236"));
    job.produce(&numbered(100, 20));
    job.wait_through(wait::PATIENCE);
    put(&vaults[1], 1, OLD);
    wait_for_code(&apis[0], &job, None);
    job.wait_for_hosts(&apis[0], 2);
    job.produce(&numbered(100, 20));
    job.wait_through(wait::PATIENCE);
    let tags = |of: &[sandbar_harness::Record]| of.iter().filter_map(|it| it.header("tag")).collect::<Vec<_>>();
    assert_eq!(tags(&job.outputs()), [OLD; 200]);

    // A new value is taken up without a restart, on both.
    vaults.iter().for_each(|vault| put(vault, 2, NEW));
    let mut before = 0;
    wait::until("both hosts use the new value", wait::PATIENCE, || {
        job.produce(&numbered(20, 20));
        job.wait_through(wait::PATIENCE);
        let new = tags(&job.outputs()).iter().filter(|tag| *tag == NEW).count();
        let of_these = new - std::mem::replace(&mut before, new);
        if of_these == 20 { Ok(()) } else { Err(format!("{of_these} of 20 records have it")) }
    });

    let name = job.transform.trim_start_matches("tests/");
    for (host, api) in hosts.iter().zip(&apis) {
        let path = |rest: &str| format!("/v1/teams/tests/transforms/{name}{rest}");
        let paths = ["", "/status", "/revisions", "/revisions/1", "/logs"].map(path);
        let mut texts: Vec<String> = paths.iter().map(|path| api.get(path).success().body.clone()).collect();
        texts.push(std::fs::read_to_string(host.log()).expect("readable"));
        for text in texts {
            assert!(!text.contains(OLD) && !text.contains(NEW), "{text}");
        }
    }
    for control in ["deployments", "status", "logs", "modules"] {
        for record in topics::read_committed(kafka, &format!("_sandbar.secrets.{control}")) {
            let has = |value: &str| record.value_text().contains(value);
            assert!(!has(OLD) && !has(NEW), "{control}: {}", record.value_text());
        }
    }
}
