//! The API over real connections: every bad input is answered with its code, and the host goes on; the good ones work.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use reqwest::multipart::{Form, Part};
use sandbar::model::codes::{Code, TABLE};
use sandbar::ports::Log;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use super::host::{Answer, GOOD, Host, MODULE_BYTES_MAX, open};

const STRIP: &str = "/v1/teams/orders/transforms/strip";

fn spec(digest: &str) -> Value {
    json!({"module": digest, "inputs": ["shop.orders", "shop.restocks"], "outputs": {"orders": "orders.out"}})
}

/// Changes one field of the spec.
fn with(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

async fn deployed() -> (Host, String) {
    let host = Host::start().await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].as_str().expect("a digest").to_owned();
    host.put(STRIP, &spec(&digest)).await.expect(202);
    (host, digest)
}

/// The host still answers and still accepts changes.
async fn goes_on(host: &Host, digest: &str) {
    assert_eq!(host.get("/healthz").await.status, 200);
    let before = host.get(STRIP).await.expect(200)["revision"].as_u64().expect("a revision");
    let changed = with(spec(digest), "config", json!({"n": before}));
    assert_eq!(host.put(STRIP, &changed).await.expect(202)["revision"], before + 1);
}

/// The host under test always runs revision 1, as if it had refused every later one.
#[tokio::test(flavor = "multi_thread")]
async fn every_view_says_which_revision_runs() {
    let host = Host::start().await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].as_str().expect("a digest").to_owned();
    host.put(STRIP, &spec(&digest)).await.expect(202);
    let changed = with(spec(&digest), "config", json!({"n": 2}));
    let change = host.put(STRIP, &changed).await.expect(202);
    assert!(change.get("running_revisions").is_none(), "a change says nothing of what runs: {change}");

    let listed = host.get("/v1/transforms").await.expect(200)["transforms"][0].clone();
    let shown = host.get(STRIP).await.expect(200);
    let status = host.get(&format!("{STRIP}/status")).await.expect(200);
    for view in [&listed, &shown, &status] {
        assert_eq!((&view["revision"], &view["running_revisions"]), (&json!(2), &json!([1])), "{view}");
    }
    for rollout in [&listed["rollout"], &shown["rollout"], &status["rollout"]["state"]] {
        assert_eq!(rollout, "in-progress");
    }
    let revisions = host.get(&format!("{STRIP}/revisions")).await.expect(200)["revisions"].clone();
    let marks = |revision: &Value| [&revision["revision"], &revision["current"], &revision["running"]].map(Value::clone);
    let marks: Vec<_> = revisions.as_array().expect("a list").iter().map(marks).collect();
    assert_eq!(marks, [[json!(2), json!(true), json!(false)], [json!(1), json!(false), json!(true)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_and_a_transform_live_their_lives() {
    let host = Host::start().await;
    let uploaded = host.upload(GOOD).await;
    let module = uploaded.expect(201);
    let digest = module["digest"].as_str().expect("a digest");
    assert_eq!(uploaded.header("location"), format!("/v1/modules/{digest}"));
    assert_eq!((&module["bytes"], &module["exports"][0]), (&json!(GOOD.len()), &json!("sandbar:transform/guest")));
    host.upload(GOOD).await.expect(200);

    let plan = host.put(&format!("{STRIP}?dry_run=true"), &spec(digest)).await.expect(200);
    assert_eq!((&plan["revision"], &plan["dry_run"], &plan["outcome"]), (&json!(1), &json!(true), &json!("created")));
    assert_eq!(plan["creates"], json!(["orders.strip.dead-letter"]));
    host.get(STRIP).await.refused(404, "E023");

    let put = host.put(STRIP, &spec(digest)).await;
    let created = put.expect(202);
    assert_eq!((put.header("location"), put.header("etag")), (STRIP, "\"1\""));
    assert_eq!((&created["outcome"], &created["desired"]), (&json!("created"), &json!("running")));
    let topics = host.get("/v1/topics").await.expect(200)["topics"].clone();
    let dead_letters = topics.as_array().expect("a list").iter().find(|topic| topic["name"] == "orders.strip.dead-letter");
    assert_eq!(dead_letters.expect("created")["partitions"], 4, "as many as the widest input");

    let again = host.put(STRIP, &spec(digest)).await;
    assert_eq!((&again.expect(200)["outcome"], again.header("etag")), (&json!("unchanged"), "\"1\""));
    let shown = host.get(STRIP).await;
    let read_back = host.put(STRIP, &shown.expect(200)["spec"]).await;
    assert_eq!(read_back.expect(200)["outcome"], "unchanged", "what is shown can be sent back");

    let listed = host.get("/v1/teams/orders/transforms").await.expect(200)["transforms"][0].clone();
    assert_eq!((&listed["name"], &listed["state"], &listed["lag"]), (&json!("strip"), &json!("running"), &json!(7)));
    assert_eq!(host.get("/v1/teams/stock/transforms").await.expect(200), json!({"transforms": []}));
    assert_eq!(host.get("/v1/transforms").await.expect(200)["transforms"][0], listed);
    let shown = host.get(&format!("/v1/modules/{digest}")).await.expect(200);
    assert_eq!(shown["used_by"], json!(["orders/strip"]));
    assert_eq!(host.get("/v1/modules").await.expect(200)["modules"][0]["used_by"], json!(["orders/strip"]));

    let status = host.get(&format!("{STRIP}/status")).await.expect(200);
    assert_eq!((&status["state"], &status["lag"], &status["hosts"][0]["host"]), (&json!("running"), &json!(7), &json!("a")));
    assert_eq!(status["hosts"][0]["partitions"][1]["lag"], 2);

    let paused = host.post(&format!("{STRIP}/pause")).await.expect(202);
    assert_eq!((&paused["desired"], &paused["revision"]), (&json!("paused"), &json!(1)));
    host.post(&format!("{STRIP}/restart")).await.refused(409, "E033");
    host.post(&format!("{STRIP}/resume")).await.expect(202);
    host.post(&format!("{STRIP}/restart")).await.expect(202);
    let asked = host.state.catalog.deployment(&"orders/strip".parse().expect("valid")).expect("there").asked;
    assert_eq!((asked.resumes, asked.restarts), (1, 1), "every host sees the counts rise");

    assert_eq!(host.request("DELETE", STRIP).send().await.expect("an answer").status(), 204);
    host.get(STRIP).await.refused(404, "E023");
    Answer::of(host.request("DELETE", STRIP)).await.refused(404, "E023");
    assert_eq!(host.put(STRIP, &spec(digest)).await.expect(202)["revision"], 2, "the count goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_form_deploys_spec_and_module() {
    let host = Host::start().await;
    let yaml = "inputs: [shop.orders]\noutputs: {orders: orders.out}\nmodule: target/strip.wasm\n";
    let form = Form::new().text("spec", yaml).part("module", Part::bytes(GOOD).file_name("strip.wasm"));
    let created = Answer::of(host.request("PUT", STRIP).multipart(form)).await.expect(202);
    assert_eq!(created["spec"]["module"], created["module"]);
    let stored = host.get("/v1/modules").await.expect(200)["modules"].clone();
    assert_eq!(stored[0]["digest"], created["module"]);
    let part = || Part::bytes(GOOD);
    let long = format!("{yaml}#{}", "x".repeat(host.state.limits.spec_bytes_max));
    let many = format!(r#"{{"config": {{"a": [{}]}}}}"#, vec![r#"{"":0}"#; 50_000].join(","));
    for (form, status, code) in [
        (Form::new().part("module", part()), 400, "E031"),
        (Form::new().text("spec", yaml).part("module", part()).part("module", part()), 400, "E031"),
        (Form::new().text("spec", yaml).text("extra", "x"), 400, "E031"),
        (Form::new().text("spec", yaml), 422, "E020"),
        (Form::new().text("spec", "a: [").part("module", part()), 400, "E007"),
        (Form::new().text("spec", yaml).part("module", Part::bytes(b"PK zip".as_slice())), 422, "E010"),
        (Form::new().text("spec", yaml).part("module", Part::bytes(vec![0; MODULE_BYTES_MAX + 1])), 413, "E015"),
        (Form::new().text("spec", yaml).part("module", Part::bytes(vec![0; 3 << 20])), 413, "E004"),
        // The rest of the form has room for it.
        (Form::new().text("spec", long).part("module", part()), 413, "E004"),
        (Form::new().text("spec", many).part("module", part()), 400, "E007"),
    ] {
        Answer::of(host.request("PUT", STRIP).multipart(form)).await.refused(status, code);
    }
    goes_on(&host, created["module"].as_str().expect("a digest")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_modules_are_refused_by_name() {
    let (host, digest) = deployed().await;
    for (module, status, code, named) in [
        (&b""[..], 422, "E010", "not WebAssembly"),
        (b"<html>", 422, "E010", "not WebAssembly"),
        (b"\0asm core", 422, "E011", "component"),
        (b"\0asm world=sandbar:transform@9.0", 422, "E012", "sandbar:transform@9.0"),
        (b"\0asm export=process", 422, "E013", "process"),
        (b"\0asm import=wasi:sockets/tcp", 422, "E014", "wasi:sockets/tcp"),
        (&[0; MODULE_BYTES_MAX + 1], 413, "E015", "4096"),
        (b"\0asm invalid=at offset 5", 422, "E016", "offset 5"),
        (b"\0asm slow", 422, "E017", "30 s"),
        (b"\0asm panic", 500, "E009", "could not"),
    ] {
        let problem = host.upload(module).await.refused(status, code);
        assert!(problem["detail"].as_str().unwrap_or_default().contains(named), "{problem}");
    }
    for media in ["text/plain", "application/x-www-form-urlencoded", "application/json"] {
        Answer::of(host.request("POST", "/v1/modules").header("content-type", media).body(GOOD)).await.refused(415, "E006");
    }
    goes_on(&host, &digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_specs_name_every_field_at_once() {
    let (host, digest) = deployed().await;
    let good = || spec(&digest);
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let two = with(with(good(), "inputs", json!(["gone.a", "shop.orders", "gone.b"])), "outputs", json!({"o": "gone.c"}));
    let ranges = with(with(good(), "workers", json!(0)), "limits", json!({"memory": "1KiB"}));
    for (spec, status, code, fields) in [
        (with(good(), "inptus", json!([])), 422, "E020", vec!["inptus"]),
        (with(good(), "limits", json!({"memroy": "1MiB"})), 422, "E020", vec!["limits.memroy"]),
        (with(good(), "delivery", json!("twice")), 422, "E020", vec!["delivery"]),
        (with(good(), "outputs", json!({"o": "shop.orders"})), 422, "E020", vec!["outputs.o"]),
        (with(good(), "inputs", json!(["_sandbar.test.deployments"])), 422, "E020", vec!["inputs[0]"]),
        (with(good(), "team", json!("stock")), 422, "E020", vec!["team"]),
        (with(good(), "module", json!("strip.wasm")), 422, "E020", vec!["module"]),
        (with(good(), "module", Value::Null), 422, "E020", vec!["module"]),
        (with(good(), "module", json!(other)), 422, "E022", vec!["module"]),
        (ranges, 422, "E020", vec!["limits.memory", "workers"]),
        (two, 422, "E021", vec!["inputs[0]", "inputs[2]", "outputs.o"]),
        (with(good(), "config", json!({"refuse": "no keep"})), 422, "E019", vec!["module"]),
        (with(good(), "config", json!({"trap": "unreachable"})), 422, "E102", vec!["module"]),
    ] {
        for path in [STRIP.to_owned(), format!("{STRIP}?dry_run=true")] {
            let problem = host.put(&path, &spec).await.refused(status, code);
            let named: Vec<_> = problem["errors"].as_array().expect("errors").iter().map(|error| &error["field"]).collect();
            assert_eq!(named, fields, "{problem}");
        }
    }
    assert_eq!(host.get(STRIP).await.expect(200)["revision"], 1, "nothing was accepted");
    goes_on(&host, &digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_is_refused_unless_it_is_allowed() {
    let (host, digest) = deployed().await;
    let back = with(with(spec(&digest), "inputs", json!(["orders.out"])), "outputs", json!({"back": "shop.restocks"}));
    let other = "/v1/teams/stock/transforms/back";
    let problem = host.put(other, &back).await.refused(422, "E037");
    let topics: Vec<String> = host.log.topics().expect("topics").iter().map(|(name, _)| name.to_string()).collect();
    assert!(!topics.contains(&"stock.back.dead-letter".to_owned()), "nothing is made for it: {topics:?}");
    let path = "stock/back -> shop.restocks -> orders/strip -> orders.out -> stock/back";
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(path)), "{problem}");
    host.put(other, &with(back, "allow_cycle", json!(true))).await.expect(202);
    // The other side of it goes on as before.
    host.put(STRIP, &with(spec(&digest), "commit_interval", json!("50ms"))).await.expect(202);
    Answer::of(host.request("POST", &format!("{STRIP}/rollback"))).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_with_their_code() {
    let (host, digest) = deployed().await;
    let long = "x".repeat(64);
    let json = Some("application/json");
    for (method, path, media, body, status, code) in [
        ("PUT", "/v1/teams/Orders/transforms/strip", json, "{}", 400, "E001"),
        ("PUT", "/v1/teams/orders/transforms/a%2Fb", json, "{}", 400, "E001"),
        ("PUT", "/v1/teams/orders/transforms/a%00b", json, "{}", 400, "E001"),
        ("PUT", "/v1/teams/orders/transforms/%ff", json, "{}", 400, "E001"),
        ("PUT", "/v1/teams/orders/transforms/..%2F..%2Fetc", json, "{}", 400, "E001"),
        ("GET", &format!("/v1/teams/orders/transforms/{long}"), None, "", 400, "E001"),
        ("GET", "/v1/teams/%C3%B6/transforms", None, "", 400, "E001"),
        ("GET", "/v1/modules/sha256:xyz", None, "", 400, "E001"),
        ("GET", "/v1/modules/..%2F..%2Fetc%2Fpasswd", None, "", 400, "E001"),
        ("GET", &format!("/v1/modules/sha256:{}", "0".repeat(64)), None, "", 404, "E024"),
        ("GET", "/v2/transforms", None, "", 404, "E002"),
        ("GET", "/errors/E999", None, "", 404, "E002"),
        ("GET", "/errors/%ff", None, "", 404, "E002"),
        ("GET", "/console/%ff", None, "", 404, "E002"),
        ("PATCH", STRIP, json, "{}", 405, "E003"),
        ("BREW", "/healthz", None, "", 405, "E003"),
        ("PUT", STRIP, None, "inputs: []", 415, "E006"),
        ("PUT", STRIP, Some("text/html"), "inputs: []", 415, "E006"),
        ("PUT", STRIP, json, "{\"inputs\": [", 400, "E007"),
        ("PUT", STRIP, json, "", 400, "E007"),
        ("PUT", STRIP, Some("application/yaml"), "a: [", 400, "E007"),
        ("PUT", STRIP, Some("application/yaml"), "\u{0}\u{1}", 400, "E007"),
        ("PUT", STRIP, Some("multipart/form-data"), "x", 400, "E031"),
        ("PUT", STRIP, Some("multipart/form-data; boundary=b"), "--b\r\ncontent-disp", 400, "E031"),
        ("PUT", &format!("{STRIP}?dry_run=perhaps"), json, "{}", 400, "E028"),
        ("PUT", &format!("{STRIP}?dryrun=true"), json, "{}", 400, "E028"),
        ("POST", "/v1/teams/orders/transforms/none/pause", None, "", 404, "E023"),
        ("POST", "/v1/teams/orders/transforms/none/resume", None, "", 404, "E023"),
        ("POST", "/v1/teams/orders/transforms/none/restart", None, "", 404, "E023"),
        ("GET", "/v1/teams/orders/transforms/none/status", None, "", 404, "E023"),
    ] {
        let mut request = host.request(method, path).body(body.to_owned());
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        let answer = Answer::of(request).await;
        answer.refused(status, code);
        if status == 405 {
            assert!(answer.header("allow").contains("GET"), "{answer:?}");
        }
    }
    let laughs: String =
        (1..10).map(|n| format!("  a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))).collect();
    let laughs = format!("inputs: [shop.orders]\nconfig:\n  a0: &a0 [ha]\n{laughs}");
    let request = host.request("PUT", STRIP).header("content-type", "application/yaml").body(laughs);
    assert!(Answer::of(request).await.status.is_client_error());
    let huge = with(spec(&digest), "config", json!({"x": "y".repeat(2 << 20)}));
    host.put(STRIP, &huge).await.refused(413, "E004");
    goes_on(&host, &digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_no_spec_and_no_request() {
    let (host, digest) = deployed().await;
    let json = "application/json";
    let yaml = "application/yaml";
    let limits =
        format!(r#"{{"module": "{digest}", "inputs": ["shop.orders"], "outputs": {{"o": "p"}}, "limits": ["1s"]}}"#);
    let store = r#"{"inputs": ["shop.orders"], "outputs": {"o": "p"}, "state": {"s": ["64MiB"]}}"#;
    let paths = ["test", "rollback", "offsets"].map(|verb| format!("{STRIP}/{verb}"));
    for (method, path, media, body) in [
        ("PUT", STRIP, json, r#"["sha256:00", ["shop.orders"], {"o": "p"}]"#),
        ("PUT", STRIP, yaml, "- sha256:00\n- [shop.orders]\n"),
        ("PUT", STRIP, yaml, "inputs: [shop.orders]\nlimits: [1s]\n"),
        ("PUT", STRIP, yaml, "inputs: [shop.orders]\non_error: [skip]\n"),
        ("PUT", STRIP, yaml, "inputs: [shop.orders]\nstate: {s: [64MiB]}\n"),
        ("PUT", STRIP, json, &limits),
        ("PUT", STRIP, json, store),
        ("POST", &paths[0], json, "[[]]"),
        ("POST", &paths[1], json, "[1]"),
        ("PATCH", &paths[2], json, r#"[[["shop.orders", 0, 1]]]"#),
        ("PATCH", &paths[2], json, r#"{"offsets": [["shop.orders", 0, 1]]}"#),
    ] {
        let request = host.request(method, path).header("content-type", media).body(body.to_owned());
        let answer = Answer::of(request).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{method} {path} {body}: {answer:?}");
        let is_named = answer.text.contains("sequence") || answer.text.contains("mapping");
        assert!(is_named, "{method} {path} {body}: {answer:?}");
    }
    goes_on(&host, &digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_change_is_told_both_revisions() {
    let (host, digest) = deployed().await;
    let changed = |n: u32| with(spec(&digest), "config", json!({"n": n}));
    let put = |n, name, value| Answer::of(host.request("PUT", STRIP).header(name, value).json(&changed(n)));
    assert_eq!(put(1, "if-match", "\"1\"").await.expect(202)["revision"], 2);
    let problem = put(2, "if-match", "\"1\"").await.refused(409, "E008");
    assert_eq!((&problem["expected_revision"], &problem["current_revision"]), (&json!(1), &json!(2)));
    let problem = put(2, "if-none-match", "*").await.refused(409, "E008");
    assert_eq!((problem.get("expected_revision"), &problem["current_revision"]), (None, &json!(2)));
    put(2, "if-match", "yesterday").await.refused(400, "E028");
    let stale = || host.request("DELETE", STRIP).header("if-match", "\"1\"");
    Answer::of(stale()).await.refused(409, "E008");
    Answer::of(host.request("POST", &format!("{STRIP}/pause")).header("if-match", "\"9\"")).await.refused(409, "E008");
    let dry = host.request("PUT", &format!("{STRIP}?dry_run=true")).header("if-match", "\"1\"").json(&changed(3));
    Answer::of(dry).await.refused(409, "E008");
    assert_eq!(put(2, "if-match", "*").await.expect(202)["revision"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_deployments_get_contiguous_revisions() {
    let (host, digest) = deployed().await;
    let puts = (0..24).map(|n| {
        let host = &host;
        let changed = with(spec(&digest), "config", json!({"n": n}));
        async move { host.put(STRIP, &changed).await.expect(202)["revision"].as_u64() }
    });
    let mut revisions: Vec<_> = futures::future::join_all(puts).await.into_iter().flatten().collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..=25).collect::<Vec<u64>>());
    let again = tempfile::tempdir().expect("a directory");
    let catalog = tokio::task::block_in_place(|| open(&host.log, again.path()));
    assert!(catalog.current().values().eq(host.state.catalog.current().values()), "another host reads the same");
    tokio::task::block_in_place(|| drop(catalog));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_off_changes_nothing() {
    let (host, digest) = deployed().await;
    let address = host.base.strip_prefix("http://").expect("a URL").to_owned();
    let head = format!(
        "PUT {STRIP} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{{\"inp"
    );
    // The sender vanishes.
    let mut connection = tokio::net::TcpStream::connect(&address).await.expect("connected");
    connection.write_all(head.as_bytes()).await.expect("sent");
    drop(connection);
    // The sender says nothing more, and waits.
    let mut connection = tokio::net::TcpStream::connect(&address).await.expect("connected");
    connection.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 2048];
    let read = connection.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("E005"), "{answer}");
    // The connection breaks within the body.
    let broken = futures::stream::iter([Ok("{\"inputs\""), Err(std::io::Error::other("connection reset"))]);
    let request = axum::http::Request::put(STRIP)
        .header("content-type", "application/json")
        .body(axum::body::Body::from_stream(broken))
        .expect("a request");
    let response = sandbar::api::router(host.state.clone()).oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), 400);
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let problem: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(problem["code"], "E005", "{problem}");
    assert_eq!(host.get(STRIP).await.expect(200)["revision"], 1);
    goes_on(&host, &digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_log_is_a_503_and_passes() {
    let (host, digest) = deployed().await;
    host.log.unavailable.store(true, Ordering::Relaxed);
    let changed = with(spec(&digest), "config", json!({"n": 1}));
    let answer = host.put(STRIP, &changed).await;
    answer.refused(503, "E201");
    assert_eq!(answer.header("retry-after"), "1");
    host.post(&format!("{STRIP}/pause")).await.refused(503, "E201");
    host.upload(b"\0asm new").await.refused(503, "E201");
    assert_eq!(host.get(STRIP).await.expect(200)["revision"], 1, "what is known is still served");
    host.log.unavailable.store(false, Ordering::Relaxed);
    goes_on(&host, &digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_output_is_a_warning() {
    let (host, digest) = deployed().await;
    let plan = host.put(&format!("{STRIP}?dry_run=true"), &spec(&digest)).await.expect(200);
    assert_eq!(plan["warnings"], json!([]));
    for topic in ["keyed", "letters"] {
        host.put(&format!("/v1/topics/{topic}"), &json!({"partitions": 2, "compacted": true})).await.expect(201);
    }
    let changed = with(spec(&digest), "outputs", json!({"orders": "orders.out", "keyed": "keyed"}));
    let changed = with(changed, "on_error", json!({"dead_letter_topic": "letters"}));
    let warnings = host.put(STRIP, &changed).await.expect(202)["warnings"].clone();
    let told: Vec<&str> = warnings.as_array().expect("a list").iter().map(|text| text.as_str().expect("text")).collect();
    let [output, letters] = told[..] else { panic!("{told:?}") };
    assert!(output.starts_with("outputs.keyed: topic keyed is compacted") && output.contains("E109"), "{output}");
    assert!(letters.starts_with("on_error.dead_letter_topic: topic letters is compacted"), "{letters}");
    let skipping = with(changed, "on_error", json!({"then": "skip"}));
    assert_eq!(host.put(STRIP, &skipping).await.expect(202)["warnings"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_written_and_read() {
    let host = Host::start().await;
    let path = "/v1/topics/shop.events";
    let records = &format!("{path}/records");
    assert_eq!(host.put(path, &json!({"partitions": 2, "compacted": true})).await.expect(201)["partitions"], 2);
    host.put(path, &json!({"partitions": 2})).await.expect(200);
    host.put(path, &json!({"partitions": 3})).await.refused(409, "E029");
    let post = |media: &'static str, body: &'static str| {
        Answer::of(host.request("POST", records).header("content-type", media).body(body))
    };
    let lines = concat!(
        "{\"key\": \"a\", \"value\": {\"total\": 10.10, \"n\": [1]}, \"partition\": 1, \"timestamp\": 5}\n\n",
        "{\"key\": \"b\", \"value\": null, \"partition\": 1, \"headers\": [{\"name\": \"h\", \"value\": \"x\"}]}\n",
        "{\"value_base64\": \"/wA=\", \"partition\": 1}\n",
    );
    assert_eq!(post("application/x-ndjson", lines).await.expect(200), json!({"records": 3}));
    assert_eq!(post("application/json", r#"[{"key": "k", "value": ""}, {"key": "k"}]"#).await.expect(200)["records"], 2);
    assert_eq!(post("application/json", r#"{"value": 1, "partition": 0}"#).await.expect(200)["records"], 1);

    let stored = host.log.all("shop.events", 1);
    assert_eq!(stored[0].value.as_deref(), Some(&br#"{"total": 10.10, "n": [1]}"#[..]), "byte for byte");
    assert_eq!((stored[0].timestamp, stored[1].value.as_ref(), stored[2].value.as_deref()), (5, None, Some(&[255, 0][..])));
    let read = host.get(&format!("{records}?partition=1&limit=2")).await;
    assert_eq!((read.header("content-type"), read.header("sandbar-next-offset")), ("application/x-ndjson", "2"));
    let read: Vec<Value> = read.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(read[0]["value"], r#"{"total": 10.10, "n": [1]}"#);
    assert_eq!((&read[1]["value"], &read[1]["headers"][0]["name"]), (&Value::Null, &json!("h")));
    let page =
        host.request("GET", &format!("{records}?partition=1&form=json&offset=0")).header("accept", "application/json");
    let page = Answer::of(page).await.expect(200);
    assert_eq!((&page["records"][0]["value"]["n"], &page["records"][2]["value_base64"]), (&json!([1]), &json!("/wA=")));
    assert_eq!(page["next_offset"], page["end_offset"]);
    let last = host.get(&format!("{records}?partition=1&offset=-1")).await;
    assert_eq!(last.text.lines().count(), 1);

    // Without a partition: all of them, from where each read has ended.
    let mut found = std::collections::BTreeMap::<i64, Vec<i64>>::new();
    let mut next = String::new();
    for _ in 0..20 {
        let offsets = if next.is_empty() { String::new() } else { format!("&offsets={next}") };
        let read = host.get(&format!("{records}?limit=2{offsets}")).await;
        assert!(!read.headers.contains_key("sandbar-next-offset"), "{read:?}");
        for line in read.text.lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            found
                .entry(record["partition"].as_i64().expect("a number"))
                .or_default()
                .push(record["offset"].as_i64().expect("one"));
        }
        next = read.header("sandbar-next-offsets").to_owned();
    }
    let all = |partition: usize| (0..host.log.all("shop.events", partition).len() as i64).collect::<Vec<_>>();
    assert_eq!(found, [(0, all(0)), (1, all(1))].into());
    let last = host.get(&format!("{records}?offset=-1")).await;
    assert_eq!(last.text.lines().count(), 2, "the last of each partition");

    // A read that waits is answered by the record that comes.
    let end = host.log.all("shop.events", 0).len();
    let path = format!("{records}?partition=0&offset={end}&wait=15s");
    let write = post("application/json", r#"{"value": "news", "partition": 0}"#);
    let (news, written) = tokio::join!(host.get(&path), write);
    written.expect(200);
    assert!(news.text.contains("news"), "{news:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_topic_requests_are_refused() {
    let host = Host::start().await;
    let json = Some("application/json");
    for (method, path, media, body, status, code) in [
        ("PUT", "/v1/topics/a%20b", json, "{}", 400, "E001"),
        ("PUT", "/v1/topics/_sandbar.test.deployments", json, "{}", 403, "E026"),
        ("PUT", "/v1/topics/new", json, r#"{"partitions": 0}"#, 400, "E007"),
        ("PUT", "/v1/topics/new", json, r#"{"partition": 1}"#, 400, "E007"),
        ("PUT", "/v1/topics/new", json, r#"{"partitions": 257}"#, 400, "E007"),
        ("PUT", "/v1/topics/new", json, "[3]", 400, "E007"),
        ("PUT", "/v1/topics/new", Some("text/plain"), "x", 415, "E006"),
        ("POST", "/v1/topics/_sandbar.test.deployments/records", json, "{}", 403, "E026"),
        ("POST", "/v1/topics/none/records", json, "{}", 404, "E025"),
        ("POST", "/v1/topics/shop.orders/records", json, r#"[{}, {"valeu": 1}]"#, 400, "E027"),
        ("POST", "/v1/topics/shop.orders/records", json, "hello", 400, "E027"),
        // Fields in their order are no record.
        ("POST", "/v1/topics/shop.orders/records", json, r#"[["k", null, "v"]]"#, 400, "E027"),
        ("POST", "/v1/topics/shop.orders/records", json, r#"{"headers": [["h", "x"]]}"#, 400, "E027"),
        ("POST", "/v1/topics/shop.orders/records", Some("application/x-ndjson"), r#"["k", null, "v"]"#, 400, "E027"),
        ("POST", "/v1/topics/shop.orders/records", json, r#"{"partition": 4}"#, 404, "E030"),
        ("POST", "/v1/topics/shop.orders/records", Some("text/plain"), "{}", 415, "E006"),
        ("GET", "/v1/topics/none/records", None, "", 404, "E025"),
        ("GET", "/v1/topics/shop.orders/records?partition=9", None, "", 404, "E030"),
        ("GET", "/v1/topics/shop.orders/records?offset=soon", None, "", 400, "E028"),
        ("GET", "/v1/topics/shop.orders/records?offsets=0", None, "", 400, "E028"),
        ("GET", "/v1/topics/shop.orders/records?offsets=0:-1", None, "", 400, "E028"),
        ("GET", "/v1/topics/shop.orders/records?offsets=0:1&offset=1", None, "", 400, "E028"),
        ("GET", "/v1/topics/shop.orders/records?offsets=9:1", None, "", 404, "E030"),
        ("GET", "/v1/topics/shop.orders/records?limit=0", None, "", 400, "E028"),
        ("GET", "/v1/topics/shop.orders/records?wait=1h", None, "", 400, "E028"),
        ("GET", "/v1/topics/shop.orders/records?wait=x", None, "", 400, "E028"),
        ("GET", "/v1/topics/shop.orders/records?partitions=0", None, "", 400, "E028"),
        ("GET", "/v1/topics/_sandbar.test.deployments/records", None, "", 403, "E026"),
    ] {
        let mut request = host.request(method, path).body(body);
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        let answer = Answer::of(request).await;
        answer.refused(status, code);
    }
    assert!(host.log.all("shop.orders", 0).is_empty(), "a refused body wrote nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn described_routes_are_served() {
    let host = Host::start().await;
    let document = host.get("/openapi.json").await.expect(200);
    assert!(document["components"]["schemas"]["ProblemDetails"]["properties"]["hint"].is_object());
    assert!(document["components"]["schemas"]["RawSpec"].is_object());
    check_references(&document, &document);
    for (path, item) in document["paths"].as_object().expect("paths") {
        let values = [("team", "t"), ("name", "n"), ("topic", "x"), ("code", "E014"), ("file", "icon.svg")];
        let fill = |path: String, (name, value): (&str, &str)| path.replace(&format!("{{{name}}}"), value);
        let filled = values.into_iter().fold(path.clone(), fill);
        for (method, operation) in item.as_object().expect("operations") {
            assert!(operation["responses"].as_object().is_some_and(|all| all.contains_key("default")), "{method} {path}");
            let answer = Answer::of(host.request(&method.to_uppercase(), &filled)).await;
            let has_route = !answer.text.contains("\"code\":\"E002\"") || path == "/errors";
            assert!(has_route && answer.status != 405, "{method} {path}: {answer:?}");
        }
    }
    // A panic is an answer too.
    let state = sandbar::api::ApiState { render_metrics: Arc::new(|_| panic!("no metrics")), ..host.state.clone() };
    let request = axum::http::Request::get("/metrics").body(axum::body::Body::empty()).expect("a request");
    let response = sandbar::api::router(state).oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), 500);
    // Without the embedded log there are no topics, neither described nor served.
    let state = sandbar::api::ApiState { topics_api: false, ..host.state.clone() };
    let ask = |path: &str| {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).expect("a request");
        sandbar::api::router(state.clone()).oneshot(request)
    };
    assert_eq!(ask("/v1/topics").await.expect("an answer").status(), 404);
    let document = axum::body::to_bytes(ask("/openapi.json").await.expect("an answer").into_body(), 1 << 24).await;
    assert!(!String::from_utf8_lossy(&document.expect("a body")).contains("/v1/topics"));
}

/// Every `$ref` leads somewhere.
fn check_references(part: &Value, document: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            fields.values().for_each(|value| check_references(value, document));
        }
        Value::Array(values) => values.iter().for_each(|value| check_references(value, document)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_observed() {
    let host = Host::start().await;
    assert_eq!(host.get("/readyz").await.expect(200)["ready"], true);
    host.running.not_ready.lock().expect("unpoisoned").push("restoring".into());
    assert_eq!(host.get("/readyz").await.expect(503)["reasons"], json!(["restoring"]));
    assert_eq!(host.get("/metrics").await.text, "sandbar_up 1\n");
    assert!(!host.metrics.render().contains("\nsandbar_http_connections 0\n"));
    assert!(host.get("/").await.text.contains("/openapi.json"));
    assert!(host.get("/errors/E014").await.text.starts_with("# E014"));
    let codes = host.get("/errors").await.expect(200);
    let listed = codes["errors"].as_array().expect("a list");
    assert_eq!(listed.len(), TABLE.len());
    let own = listed.iter().find(|error| error["code"] == "E105").expect("it is listed");
    let meaning = own["meaning"].as_str().expect("text");
    assert!(meaning.starts_with("One record became more") && !meaning.contains("Raise"), "{meaning}");
    assert_eq!(own["hint"], Code::OutputLimit.hint());
    let given = Answer::of(host.request("GET", "/nowhere").header("x-request-id", "mine-1")).await;
    assert_eq!(given.header("x-request-id"), "mine-1");
    let strange = Answer::of(host.request("GET", "/healthz").header("x-request-id", "a b")).await;
    assert_ne!(strange.header("x-request-id"), "a b");
    host.get(STRIP).await.refused(404, "E023");
    let requests = host.requests.lock().expect("unpoisoned").clone();
    for line in ["GET /readyz 503", "GET unmatched 404", "GET /v1/teams/{team}/transforms/{name} 404"] {
        assert!(requests.iter().any(|request| request == line), "{line}: {requests:?}");
    }
}
