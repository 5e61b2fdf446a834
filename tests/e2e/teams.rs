//! The limits of teams on Kafka, with hosts that share a file.

use std::path::Path;

use sandbar_harness::{Api, Host, KafkaCluster, dirs, guests, wait};
use serde_json::{Value, json};

use crate::job::{Job, numbered, unchanged};

const ROUNDS: usize = 4;

/// Puts the limits of team `tests` in the place of the file, as a whole.
fn write(file: &Path, limits: &Value) {
    let next = file.with_extension("next");
    std::fs::write(&next, json!({ "teams": { "tests": limits } }).to_string()).expect("writable");
    std::fs::rename(next, file).expect("renamed");
}

/// Waits until the host knows these ceilings.
#[track_caller]
fn wait_for(api: &Api, limits: &Value) {
    wait::until("the host uses the new file", wait::PATIENCE, || {
        let team = api.get("/v1/teams/tests").success().json();
        let ceilings = team["ceilings"].as_array().expect("a list").iter();
        let known: serde_json::Map<_, _> =
            ceilings.map(|it| (it["key"].as_str().expect("a name").to_owned(), it["max"].clone())).collect();
        let fits = limits.as_object().expect("limits").iter().all(|(key, max)| known.get(key) == Some(max));
        if fits { Ok(()) } else { Err(team.to_string()) }
    });
}

#[test]
fn hosts_give_the_last_place_once_and_follow_the_file() {
    let kafka = KafkaCluster::shared();
    let file = dirs::fresh("teams-file").join("teams.yaml");
    write(&file, &json!({ "transforms_max": 1 }));
    let options = ["--teams", file.to_str().expect("text")];
    let hosts = [(); 2].map(|()| Host::start_with(kafka, "teams", &options));
    let apis = [hosts[0].api(), hosts[1].api()];
    let jobs = ["one", "two"].map(|name| Job::new("teams", name, 2, guests::fixture(), json!({ "mode": "echo" })));
    let module = apis[0].upload(&guests::fixture());
    let specs = [0, 1].map(|i: usize| {
        let mut spec = jobs[i].spec.clone();
        spec["module"] = module.clone().into();
        spec
    });
    let deploy = |i: usize| {
        let answer = apis[i].try_deploy(&jobs[i].transform, &specs[i]);
        let code = answer.json()["code"].as_str().map(str::to_owned);
        (answer.status, code)
    };
    for round in 0..ROUNDS {
        let ends = std::thread::scope(|scope| {
            let both = [0, 1].map(|i| scope.spawn(move || deploy(i)));
            both.map(|end| end.join().expect("it ends"))
        });
        let won = ends.iter().position(|(status, _)| *status == 202).unwrap_or_else(|| panic!("{round}: {ends:?}"));
        assert_eq!(ends[1 - won], (422, Some("E059".to_owned())), "round {round}");
        let team = apis[1 - won].get("/v1/teams/tests").success().json();
        assert_eq!(team["ceilings"][0]["max"], 1, "{team}");
        assert_eq!(apis[1 - won].delete(&format!("/v1/teams/tests/transforms/{}", ["one", "two"][won])).status, 204);
    }

    assert_eq!(deploy(0), (202, None));
    assert_eq!(deploy(1), (422, Some("E059".to_owned())));
    let raised = json!({ "transforms_max": 2 });
    write(&file, &raised);
    apis.iter().for_each(|api| wait_for(api, &raised));
    assert_eq!(deploy(1), (202, None));

    // Lowered below the use: nothing stops, and nothing that exists is refused.
    let lowered = json!({ "transforms_max": 0, "workers_max": 0, "partition_workers_max": 0 });
    write(&file, &lowered);
    apis.iter().for_each(|api| wait_for(api, &lowered));
    let messages = numbered(500, 10);
    for job in &jobs {
        for verb in ["pause", "resume", "restart"] {
            let path = format!("/v1/teams/tests/transforms/{}/{verb}", job.transform.trim_start_matches("tests/"));
            assert_eq!(apis[0].send("POST", &path, "application/json", b"").status, 202, "{path}");
        }
        job.produce(&messages);
    }
    for job in &jobs {
        job.wait_through(wait::PATIENCE);
        job.assert_output(&unchanged(&messages));
    }
}

/// Waits until the status of the transform has this code and state.
#[track_caller]
fn wait_for_state(api: &Api, transform: &str, state: &str, code: &Value) {
    let path = format!("/v1/teams/tests/transforms/{transform}/status");
    wait::until("the transform's state", wait::PATIENCE, || {
        let status = api.get(&path).success().json();
        let fits = status["state"] == state && status["hosts"][0]["error"]["code"] == *code;
        if fits { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn a_right_that_is_taken_stops_the_transform_until_it_is_given_back() {
    let kafka = KafkaCluster::shared();
    let file = dirs::fresh("topic-rights").join("teams.yaml");
    let job = Job::new("rights", "bounded", 2, guests::fixture(), json!({ "mode": "echo" }));
    let own = json!({ "topics": { "read": [job.input], "write": [job.output] } });
    let taken = json!({ "topics": { "read": [job.input], "write": [] } });
    write(&file, &taken);
    let host = Host::start_with(kafka, "rights", &["--teams", file.to_str().expect("text")]);
    let api = host.api();
    let mut spec = job.spec.clone();
    spec["module"] = api.upload(&guests::fixture()).into();
    let refused = api.try_deploy(&job.transform, &spec);
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("E064")));

    write(&file, &own);
    wait::until("the deployment is accepted", wait::PATIENCE, || {
        let answer = api.try_deploy(&job.transform, &spec);
        if answer.status == 202 { Ok(()) } else { Err(answer.json().to_string()) }
    });
    let messages = numbered(1000, 20);
    job.produce(&messages[..500]);
    job.wait_through(wait::PATIENCE);

    write(&file, &taken);
    wait_for_state(&api, "bounded", "failed", &json!("E064"));
    job.produce(&messages[500..]);
    assert_eq!(job.outputs().len(), 500, "nothing comes out without the right");

    write(&file, &own);
    wait_for_state(&api, "bounded", "running", &Value::Null);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(&messages));
}
