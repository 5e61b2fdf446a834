//! The limits of teams: a file that changes while hosts run, deployments and uploads at a ceiling, and the API's view.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::multipart::{Form, Part};
use sandbar::ports::Log;
use serde_json::{Value, json};

use super::host::{Answer, GOOD, Host, shop_log};
use super::log::MemoryLog;

const TEAM: &str = "/v1/teams/orders";

fn transform(name: &str) -> String {
    format!("{TEAM}/transforms/{name}")
}

/// A folder with this file of teams.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("teams.yaml"), text).expect("writable");
    folder
}

async fn start(folder: &tempfile::TempDir) -> Host {
    Host::start_with_teams(shop_log(), &folder.path().join("teams.yaml")).await
}

/// Puts another file in the place of the file, whole.
fn replace(folder: &Path, text: &str) {
    std::fs::write(folder.join("next"), text).expect("writable");
    std::fs::rename(folder.join("next"), folder.join("teams.yaml")).expect("renamed");
}

/// Waits until the API shows this of the team.
#[track_caller]
fn until<'a>(host: &'a Host, holds: impl Fn(&Value) -> bool + 'a) -> impl Future<Output = Value> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let team = host.get(TEAM).await.expect(200);
            if holds(&team) {
                return team;
            }
            assert!(Instant::now() < deadline, "{caller}: {team}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The use under a ceiling, and the ceiling.
#[track_caller]
fn ceiling(team: &Value, key: &str) -> (Option<u64>, u64) {
    let all = team["ceilings"].as_array().expect("a list");
    let found = all.iter().find(|ceiling| ceiling["key"] == key).unwrap_or_else(|| panic!("{key}: {team}"));
    (found["used"].as_u64(), found["max"].as_u64().expect("a number"))
}

fn spec(digest: &Value, n: u64) -> Value {
    json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "config": {"n": n}})
}

/// The refusal names the ceilings; returns the problem.
#[track_caller]
fn over(answer: &Answer, keys: &[&str]) -> Value {
    let problem = answer.refused(422, "E059");
    let detail = problem["detail"].as_str().expect("a text");
    for key in keys {
        assert!(detail.contains(key) && detail.contains("team orders"), "{key}: {problem}");
    }
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(keys.len()), "{problem}");
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn ceilings_follow_the_file_and_refuse_growth_alone() {
    let folder = folder("defaults: {workers_max: 1}\nteams: {orders: {cpu_weight: 3, transforms_max: 1}}");
    let host = start(&folder).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    host.put(&transform("a"), &spec(&digest, 1)).await.expect(202);
    for path in [transform("b"), transform("b") + "?dry_run=true"] {
        let problem = over(&host.put(&path, &spec(&digest, 1)).await, &["transforms_max", "workers_max"]);
        assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("sandbar teams")), "{problem}");
    }
    let topics: Vec<String> = host.log.topics().expect("topics").iter().map(|(name, _)| name.to_string()).collect();
    assert!(!topics.contains(&"orders.b.dead-letter".to_owned()), "nothing is made for it: {topics:?}");
    let team = host.get(TEAM).await.expect(200);
    assert_eq!((&team["cpu_weight"], &team["allow_cycle"]), (&json!(3), &json!(true)));
    let keys = ["transforms_max", "workers_max", "partition_workers_max", "stored_modules_max"];
    assert_eq!(keys.map(|key| ceiling(&team, key).0), [Some(1), Some(1), Some(4), Some(1)]);
    assert_eq!(ceiling(&team, "memory_bytes_max").0, Some(256 << 20));
    assert_eq!(ceiling(&team, "transaction_time_max"), (Some(2100), 10_000));

    replace(folder.path(), "teams: {orders: {transforms_max: 2}}");
    until(&host, |team| ceiling(team, "transforms_max").1 == 2).await;
    host.put(&transform("b"), &spec(&digest, 1)).await.expect(202);

    // A file that is not valid changes nothing, and is told of.
    replace(folder.path(), "teams: {orders: {transforms_max: many}}");
    let team = until(&host, |team| !team["file_error"].is_null()).await;
    assert!(team["file_error"].as_str().is_some_and(|error| error.contains("teams.orders.transforms_max")), "{team}");
    assert_eq!(ceiling(&team, "transforms_max"), (Some(2), 2));
    assert_eq!(host.get("/v1/teams").await.expect(200)["file_error"], team["file_error"]);

    replace(folder.path(), "teams: {orders: {transforms_max: 0, memory_bytes_max: 1KiB}}");
    let team = until(&host, |team| ceiling(team, "transforms_max").1 == 0).await;
    assert!(team["file_error"].is_null() && ceiling(&team, "transforms_max").0 == Some(2), "{team}");
    host.put(&transform("a"), &spec(&digest, 2)).await.expect(202);
    for change in ["pause", "resume", "restart", "rollback"] {
        host.post(&format!("{}/{change}", transform("a"))).await.expect(202);
    }
    let large =
        json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "limits": {"memory": "65MiB"}});
    over(&host.put(&transform("a"), &large).await, &["memory_bytes_max"]);
    over(&host.put(&transform("c"), &spec(&digest, 1)).await, &["transforms_max", "memory_bytes_max"]);
    assert_eq!(host.request("DELETE", &transform("b")).send().await.expect("an answer").status(), 204);
    over(&host.put(&transform("b"), &spec(&digest, 1)).await, &["transforms_max", "memory_bytes_max"]);
}

/// Else dry runs, and deployments that are refused in the end, would take memory from a host that their team may not have.
#[tokio::test(flavor = "multi_thread")]
async fn no_instance_of_a_candidate_may_have_more_memory_than_its_team() {
    let folder = folder("teams: {orders: {memory_bytes_max: 256MiB}}");
    let host = start(&folder).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    // `init` refuses the config with E019, so another code says that it did not run.
    let with = |memory: &str, config: Value| {
        json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "config": config,
            "limits": {"memory": memory}})
    };
    let refusing = |memory: &str| with(memory, json!({"refuse": "it ran"}));
    let tested = transform("a") + "/test";
    let test = async |spec: &Value| {
        let request = host.request("POST", &tested).json(&json!({"spec": spec, "records": [{"value": 1}]}));
        Answer::of(request).await
    };
    for path in [transform("a"), transform("a") + "?dry_run=true"] {
        over(&host.put(&path, &refusing("257MiB")).await, &["memory_bytes_max"]);
    }
    let problem = over(&test(&refusing("257MiB")).await, &["memory_bytes_max"]);
    assert_eq!(problem["errors"][0]["field"], "limits.memory", "{problem}");
    test(&refusing("256MiB")).await.refused(422, "E019");
    test(&with("256MiB", json!({}))).await.expect(200);

    // A team above its ceiling keeps its use, here that of four partitions, and may try within it.
    host.put(&transform("a"), &with("64MiB", json!({}))).await.expect(202);
    replace(folder.path(), "teams: {orders: {memory_bytes_max: 1KiB}}");
    until(&host, |team| ceiling(team, "memory_bytes_max") == (Some(256 << 20), 1 << 10)).await;
    host.put(&transform("a"), &refusing("64MiB")).await.refused(422, "E019");
    test(&with("256MiB", json!({}))).await.expect(200);
    over(&test(&refusing("257MiB")).await, &["memory_bytes_max"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_is_named_beside_other_broken_rules() {
    let folder = folder("defaults: {transforms_max: 0}");
    let host = start(&folder).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    let mut spec = spec(&digest, 1);
    spec["outputs"]["o"] = json!("orders.gone");
    let problem = host.put(&transform("a"), &spec).await.refused(422, "E021");
    let messages: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|it| it["message"].to_string()).collect();
    assert!(messages.len() == 2 && messages[1].contains("(transforms_max) (E059)"), "{messages:?}");
}

/// Deployments through two hosts at once, for one place: over and over, exactly one is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_place_is_taken_once() {
    const ROUNDS: u64 = 8;
    let folder = folder("teams: {orders: {transforms_max: 1}}");
    let file = folder.path().join("teams.yaml");
    let log = shop_log();
    let hosts = [Host::start_with_teams(log.clone(), &file).await, Host::start_with_teams(log, &file).await];
    let digest = hosts[0].upload(GOOD).await.expect(201)["digest"].clone();
    for round in 0..ROUNDS {
        let names = ["a", "b"].map(|name| transform(&format!("{name}{round}")));
        let spec = spec(&digest, round);
        let answers = tokio::join!(hosts[0].put(&names[0], &spec), hosts[1].put(&names[1], &spec));
        let [won, lost] = if answers.0.status == 202 { [&answers.0, &answers.1] } else { [&answers.1, &answers.0] };
        let accepted = won.expect(202);
        over(lost, &["transforms_max"]);
        let path = transform(accepted["name"].as_str().expect("a name"));
        let deleted = hosts[(round % 2) as usize].request("DELETE", &path).send().await.expect("an answer");
        assert_eq!(deleted.status(), 204);
    }
}

async fn upload(host: &Host, query: &str, module: &'static [u8]) -> Answer {
    let request = host.request("POST", &format!("/v1/modules{query}")).header("content-type", "application/wasm");
    Answer::of(request.body(module)).await
}

async fn deploy(host: &Host, name: &str, module: &'static [u8]) -> Answer {
    let spec = json!({"inputs": ["shop.orders"], "outputs": {"o": "orders.out"}}).to_string();
    let form = Form::new().text("spec", spec).part("module", Part::bytes(module));
    Answer::of(host.request("PUT", name).multipart(form)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_a_day_have_a_ceiling_for_each_team() {
    let folder = folder("defaults: {upload_bytes_per_day_max: 20}");
    let host = start(&folder).await;
    const OWN: &str = "?team=orders";
    assert_eq!(upload(&host, OWN, b"\0asm 789").await.status, 201);
    assert_eq!(upload(&host, OWN, b"\0asm 789").await.status, 200, "it is stored already");
    assert_eq!(upload(&host, OWN, b"no module").await.status, 422);
    let team = host.get(TEAM).await.expect(200);
    assert_eq!(ceiling(&team, "upload_bytes_per_day_max"), (Some(8), 20));
    let refused = upload(&host, OWN, b"\0asm 789abcde").await.refused(429, "E060");
    let detail = refused["detail"].as_str().expect("a text");
    assert!(detail.contains("team orders") && detail.contains("upload_bytes_per_day_max"), "{detail}");
    deploy(&host, &(transform("a") + "?dry_run=true"), b"\0asm 789abc").await.expect(200);
    deploy(&host, &transform("a"), b"\0asm 789abc").await.expect(202);
    for path in [transform("a"), transform("a") + "?dry_run=true"] {
        deploy(&host, &path, b"\0asm 78").await.refused(429, "E060");
    }
    deploy(&host, &transform("a"), b"\0asm 789").await.expect(202);
    // Other teams, and uploads without one, have ceilings of their own.
    assert_eq!(upload(&host, "?team=stock", b"\0asm 78").await.status, 201);
    assert_eq!(upload(&host, "", b"\0asm none").await.status, 201);
    let list = host.get("/v1/teams").await.expect(200);
    assert_eq!(list["uploads_without_team"]["used"], 9, "{list}");
    let names: Vec<_> = list["teams"].as_array().expect("a list").iter().map(|team| team["team"].clone()).collect();
    assert_eq!(names, ["orders"], "a name in an upload makes no team");
    upload(&host, "?team=Orders", GOOD).await.refused(400, "E028");
    // Without its team, the module would be every team's.
    upload(&host, "?taem=orders", GOOD).await.refused(400, "E028");
    assert_eq!(ceiling(&host.get(TEAM).await.expect(200), "upload_bytes_per_day_max").0, Some(8 + 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_a_day_have_a_number_and_a_used_module_costs_none() {
    let folder = folder("defaults: {uploads_per_day_max: 3}");
    let host = start(&folder).await;
    const OWN: &str = "?team=orders";
    assert_eq!(upload(&host, OWN, b"\0asm 1").await.status, 201);
    // It is stored, and stays for another day.
    assert_eq!(upload(&host, OWN, b"\0asm 1").await.status, 200);
    deploy(&host, &transform("a"), b"\0asm 1").await.expect(202);
    // From here on it stays in any case.
    deploy(&host, &transform("a"), b"\0asm 1").await.expect(200);
    assert_eq!(upload(&host, OWN, b"\0asm 1").await.status, 200);
    let refused = upload(&host, OWN, b"\0asm 2").await.refused(429, "E060");
    let detail = refused["detail"].as_str().expect("a text");
    assert!(detail.contains("team orders has uploaded 3 modules") && detail.contains("uploads_per_day_max"), "{detail}");
    deploy(&host, &transform("b"), b"\0asm 2").await.refused(429, "E060");
    let team = host.get(TEAM).await.expect(200);
    assert_eq!(["uploads_per_day_max", "upload_bytes_per_day_max"].map(|key| ceiling(&team, key).0), [Some(3), Some(6)]);
}

/// Else a team could fill the audit topic, which is everybody's, with uploads that change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_above_its_ceiling_has_no_entry() {
    let folder = folder("defaults: {uploads_per_day_max: 1}");
    let host = start(&folder).await;
    const OWN: &str = "?team=orders";
    upload(&host, OWN, b"\0asm 1").await.expect(201);
    for _ in 0..3 {
        upload(&host, OWN, b"\0asm 2").await.refused(429, "E060");
    }
    let list = host.get("/v1/audit?team=orders").await.expect(200);
    let entries = list["entries"].as_array().expect("entries");
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap_or_default()).collect();
    assert_eq!(actions, ["upload-module"], "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_a_team_does_not_tell_of_the_modules_of_others() {
    let folder = folder("{}");
    let host = start(&folder).await;
    for team in ["a", "b"] {
        let counts = async || {
            let shown = host.get(&format!("/v1/teams/{team}")).await.expect(200);
            ["uploads_per_day_max", "upload_bytes_per_day_max"].map(|key| ceiling(&shown, key).0)
        };
        let query = format!("?team={team}");
        upload(&host, &query, b"\0asm 1").await;
        assert_eq!(counts().await, [Some(1), Some(6)], "{team}");
        // It is stored for the team by now, and stays for another day.
        upload(&host, &query, b"\0asm 1").await;
        assert_eq!(counts().await, [Some(2), Some(6)], "{team}");
        deploy(&host, &format!("/v1/teams/{team}/transforms/t"), b"\0asm 22").await.expect(202);
        assert_eq!(counts().await, [Some(3), Some(13)], "{team}");
        deploy(&host, &format!("/v1/teams/{team}/transforms/t"), b"\0asm 22").await.expect(200);
        assert_eq!(counts().await, [Some(3), Some(13)], "{team}");
    }
}

/// Else a team could fill the brokers with topics by deploying over and over with other names.
#[tokio::test(flavor = "multi_thread")]
async fn created_topics_of_a_day_have_a_ceiling_of_partitions() {
    let folder = folder("teams: {orders: {created_partitions_per_day_max: 8}}");
    let host = start(&folder).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    // The input has four partitions, and so has each topic that is created.
    for name in ["a", "b"] {
        host.put(&transform(name), &spec(&digest, 1)).await.expect(202);
    }
    for path in [transform("c") + "?dry_run=true", transform("c")] {
        let problem = host.put(&path, &spec(&digest, 1)).await.refused(429, "E060");
        assert!(problem["detail"].as_str().is_some_and(|it| it.contains("created_partitions_per_day_max")), "{problem}");
    }
    let topics = host.log.topics().expect("topics");
    assert!(!topics.iter().any(|(name, _)| name.as_str() == "orders.c.dead-letter"), "{topics:?}");
    // Topics that are there cost nothing.
    host.put(&transform("a"), &spec(&digest, 2)).await.expect(202);
    assert_eq!(ceiling(&host.get(TEAM).await.expect(200), "created_partitions_per_day_max"), (Some(8), 8));
    host.put("/v1/teams/stock/transforms/c", &spec(&digest, 1)).await.expect(202);
}

const RIGHTS: &str = "
teams:
  orders:
    topics:
      owns: [orders.*]
      read: [shop.orders]
      write: [stock.in]
      accepts_from: [stock]
  stock:
    topics:
      owns: [stock.*]
      read: ['shop.*', 'orders.o*']
      write: ['*']
";

/// A log with topics of both teams, of the shop, and of other programs.
async fn start_with_rights(folder: &tempfile::TempDir) -> Host {
    let names = ["shop.orders", "shop.restocks", "orders.out", "stock.in", "_schemas", "connect-status", "a-s-changelog"];
    let log = std::sync::Arc::new(MemoryLog::with_topics(&names.map(|name| (name, 1))));
    Host::start_with_teams(log, &folder.path().join("teams.yaml")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_deploys_with_the_topics_that_it_may_use() {
    let folder = folder(RIGHTS);
    let host = start_with_rights(&folder).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    let spec = |input: &str, output: &str| json!({"module": digest, "inputs": [input], "outputs": {"o": output}});
    let refusals = [
        ("orders", spec("shop.restocks", "orders.out"), "E064", "inputs[0]"),
        ("orders", spec("shop.none", "orders.none"), "E064", "inputs[0]"),
        ("orders", spec("shop.orders", "shop.restocks"), "E064", "outputs.o"),
        ("orders", spec("shop.orders", "stock.in"), "E065", "outputs.o"),
        ("orders", spec("_schemas", "orders.out"), "E064", "inputs[0]"),
        ("stock", spec("shop.orders", "connect-status"), "E064", "outputs.o"),
        ("stock", spec("a-s-changelog", "stock.in"), "E064", "inputs[0]"),
        ("other", spec("shop.orders", "_schemas"), "E064", "outputs.o"),
        ("other", spec("shop.orders", "stock.in"), "E065", "outputs.o"),
    ];
    for (team, spec, code, field) in refusals {
        let path = format!("/v1/teams/{team}/transforms/t");
        for way in [path.clone(), format!("{path}?dry_run=true")] {
            let problem = host.put(&way, &spec).await.refused(403, code);
            assert_eq!(problem["errors"][0]["field"], field, "{team} {spec}: {problem}");
            let text = problem.to_string();
            assert!(!text.contains("does not exist"), "no word about a topic that is not theirs: {text}");
        }
        // Records of a topic that is not the team's would come back as outputs.
        let trial = json!({"spec": spec, "live": {"records": 1}});
        let request = host.request("POST", &format!("{path}/test")).json(&trial);
        Answer::of(request).await.refused(403, code);
    }
    let dead_letters = json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"},
        "on_error": {"dead_letter_topic": "shop.restocks"}});
    let problem = host.put(&transform("t"), &dead_letters).await.refused(403, "E064");
    assert_eq!(problem["errors"][0]["field"], "on_error.dead_letter_topic");
    let table = json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"},
        "tables": {"t": "shop.restocks"}});
    let problem = host.put(&transform("t"), &table).await.refused(403, "E064");
    assert_eq!(problem["errors"][0]["field"], "tables.t");

    let shown = host.get(TEAM).await.expect(200)["topics"].clone();
    let expected = json!({"owns": ["orders.*"], "read": ["shop.orders"], "write": ["stock.in"], "accepts_from": ["stock"]});
    assert_eq!((shown, host.get("/v1/teams/other").await.expect(200).get("topics")), (expected, None));
    host.put(&transform("t"), &spec("shop.orders", "orders.out")).await.expect(202);
    // It is accepted by the owner, and granted.
    host.put("/v1/teams/stock/transforms/t", &spec("shop.restocks", "orders.out")).await.expect(202);
    host.put("/v1/teams/other/transforms/t", &spec("_schemas", "shop.restocks")).await.expect(202);
}

/// The problems of a refusal, with a word in the place of this name.
fn problems(problem: &Value, name: &str) -> String {
    format!("{} {}", problem["detail"], problem["errors"]).replace(name, "NAME")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_nothing_of_topics_and_modules_of_others() {
    let folder = folder(
        "teams: {a: {topics: {owns: ['a.*']}}, \
        b: {memory_bytes_max: 1KiB, stored_module_bytes_max: 1, topics: {owns: ['b.*']}}}",
    );
    let names = [("a.secret", 3), ("a.x", 1), ("a.y", 1), ("b.in", 1), ("b.out", 1)];
    let log = std::sync::Arc::new(MemoryLog::with_topics(&names));
    let host = Host::start_with_teams(log, &folder.path().join("teams.yaml")).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    let missing = json!(format!("sha256:{}", "0".repeat(64)));
    const OF_B: &str = "/v1/teams/b/transforms/p";
    for path in [OF_B.to_owned(), format!("{OF_B}?dry_run=true")] {
        // The memory of a store depends on the partitions of the inputs.
        for (module, count) in [(&digest, 1), (&missing, 2)] {
            let refuse = async |topic: &str| {
                let spec = json!({"module": module, "inputs": [topic], "outputs": {"o": "b.out"},
                    "state": {"s": {"store": "memory", "max_bytes": "1TiB"}}});
                let problem = host.put(&path, &spec).await.refused(403, "E064");
                assert_eq!(problem["errors"].as_array().map(Vec::len), Some(count), "{problem}");
                problems(&problem, topic)
            };
            let told = refuse("a.secret").await;
            assert_eq!(told, refuse("a.none").await);
            assert!(!told.contains("E059"), "{told}");
        }
    }
    // A cycle would be closed by a transform of the other team.
    let spec = |input: &str, output: &str| json!({"module": digest, "inputs": [input], "outputs": {"o": output}});
    let refuse = async |path: &str| problems(&host.put(path, &spec("a.y", "a.x")).await.refused(403, "E064"), "a.y");
    let before = refuse(OF_B).await;
    host.put("/v1/teams/a/transforms/p", &spec("a.x", "a.y")).await.expect(202);
    for path in [OF_B.to_owned(), format!("{OF_B}?dry_run=true")] {
        assert_eq!(refuse(&path).await, before);
    }
    assert!(before.contains("E065") && !before.contains("E037"), "{before}");
    // A module of the other team, and one that nobody has.
    let of_a = upload(&host, "?team=a", b"\0asm of a").await.expect(201)["digest"].clone();
    let refuse = async |module: &Value| {
        let spec = json!({"module": module, "inputs": ["b.in"], "outputs": {"o": "b.out"}});
        problems(&host.put(OF_B, &spec).await.refused(422, "E022"), module.as_str().expect("a digest"))
    };
    assert_eq!(refuse(&of_a).await, refuse(&missing).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_need_the_right_to_read_of_today() {
    let folder = folder(RIGHTS);
    let host = start_with_rights(&folder).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    let spec = json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"},
        "state": {"s": {"queryable": true}}});
    host.put(&transform("t"), &spec).await.expect(202);
    host.post(&format!("{}/pause", transform("t"))).await.expect(202);
    let ask = async |method: &str, rest: &str| {
        let request = host.request(method, &format!("{}/{rest}", transform("t")));
        let request = if method == "PATCH" { request.json(&json!({"to": "earliest"})) } else { request };
        Answer::of(request).await
    };
    let ways = [
        ("GET", "offsets"),
        ("PATCH", "offsets?dry_run=true"),
        ("DELETE", "offsets?dry_run=true"),
        ("GET", "state/s/known?partition=0"),
    ];
    for (method, rest) in ways {
        ask(method, rest).await.expect(200);
    }
    // Its refusal tells the number of partitions.
    let elsewhere = ("GET", "state/s/known?partition=9");
    ask(elsewhere.0, elsewhere.1).await.refused(404, "E030");
    replace(folder.path(), "teams: {orders: {topics: {owns: ['orders.*'], read: []}}}");
    until(&host, |team| team["topics"]["read"] == json!([])).await;
    let more = [elsewhere, ("GET", "tail?wait=1ms"), ("PATCH", "offsets"), ("DELETE", "offsets"), ("DELETE", "state")];
    for (method, rest) in ways.into_iter().chain(more) {
        let problem = ask(method, rest).await.refused(403, "E064");
        assert_eq!(problem["errors"][0]["field"], "inputs[0]", "{method} {rest}: {problem}");
    }
    replace(folder.path(), RIGHTS);
    until(&host, |team| team["topics"]["read"] == json!(["shop.orders"])).await;
    for (method, rest) in ways {
        ask(method, rest).await.expect(200);
    }
    ask("DELETE", "state").await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_needs_the_rights_of_today() {
    let folder = folder(RIGHTS);
    let host = start_with_rights(&folder).await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].clone();
    for n in [1, 2] {
        let spec = json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "config": {"n": n}});
        host.put(&transform("t"), &spec).await.expect(202);
    }
    replace(folder.path(), "teams: {orders: {topics: {read: [shop.orders]}}}");
    until(&host, |team| team["topics"]["owns"] == json!([])).await;
    host.post(&format!("{}/rollback", transform("t"))).await.refused(403, "E064");
    assert_eq!(host.get(&transform("t")).await.expect(200)["revision"], 2, "nothing was changed");
}
