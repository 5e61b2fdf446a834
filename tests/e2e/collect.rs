//! Unused modules are collected. Modules that are used, or that a rollback may need, stay.

use sandbar_harness::{Api, Host, KafkaCluster, guests, wait};
use serde_json::json;

use crate::job::{Job, numbered, unchanged};

fn has(api: &Api, digest: &str) -> bool {
    api.get(&format!("/v1/modules/{digest}")).status == 200
}

#[test]
fn modules_that_nobody_uses_go_on_every_host() {
    let kafka = KafkaCluster::shared();
    let hosts = [(); 2].map(|()| Host::start_with(kafka, "collect", &["--module-retention", "3s"]));
    let apis = [hosts[0].api(), hosts[1].api()];
    let job = Job::new("collect", "echo", 2, guests::fixture(), json!({"mode": "echo"}));
    let mut spec = job.spec.clone();
    // Two revisions of one module, which is used; another that was uploaded only.
    spec["module"] = apis[0].upload(&job.module).into();
    let used = spec["module"].as_str().expect("a digest").to_owned();
    apis[0].deploy(&job.transform, &spec);
    let unused = apis[1].upload(&guests::field_strip());
    for api in &apis {
        wait::until("the module that nobody uses is gone", wait::PATIENCE, || {
            if has(api, &unused) { Err("it is there".into()) } else { Ok(()) }
        });
        assert!(has(api, &used));
    }
    wait::until("one of the hosts says that it did it", wait::PATIENCE, || {
        let metrics = apis.each_ref().map(|api| api.get("/metrics").body).concat();
        let counted = metrics.contains("sandbar_modules_collected_total 1\n");
        if counted { Ok(()) } else { Err("neither does".into()) }
    });
    let messages = numbered(500, 10);
    job.produce(&messages);
    job.wait_through(wait::PATIENCE);

    // A deleted transform uses its modules no more, and a new one under its name cannot go back to them.
    apis[1].delete("/v1/teams/tests/transforms/echo").success();
    wait::until("the deleted transform's module is gone", wait::PATIENCE, || {
        if apis.iter().any(|api| has(api, &used)) { Err("it is there".into()) } else { Ok(()) }
    });
    let answer = apis[0].try_deploy(&job.transform, &spec);
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("E022")), "{answer:?}");
    let mut other = job.spec.clone();
    other["config"] = json!({"keep": ["id"]});
    apis[0].try_deploy_with(&job.transform, &other, &guests::field_strip()).success();
    let rollback = |api: &Api| api.send("POST", "/v1/teams/tests/transforms/echo/rollback", "application/json", b"");
    let answer = rollback(&apis[1]);
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("E035")), "{answer:?}");
    apis[0].upload(&job.module);
    assert_eq!(rollback(&apis[1]).success().json()["revision"], 3);
    let more = numbered(500, 10);
    job.produce(&more);
    job.wait_through(wait::PATIENCE);
    job.assert_output(&unchanged(messages.iter().chain(&more)));
}
