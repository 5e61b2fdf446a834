//! Dry runs of a candidate over HTTP: their reports, and that they change nothing.

use reqwest::multipart::{Form, Part};
use sandbar::ports::{Log, LogRecord};
use serde_json::{Value, json};

use super::host::{Answer, GOOD, Host};

const STRIP: &str = "/v1/teams/orders/transforms/strip";
const TEST: &str = "/v1/teams/orders/transforms/strip/test";

fn spec() -> Value {
    json!({"inputs": ["shop.orders", "shop.restocks"], "outputs": {"orders": "orders.out"}})
}

async fn deployed() -> Host {
    let host = Host::start().await;
    let mut spec = spec();
    spec["module"] = host.upload(GOOD).await.expect(201)["digest"].clone();
    host.put(STRIP, &spec).await.expect(202);
    host
}

async fn test(host: &Host, body: &Value) -> Answer {
    Answer::of(host.request("POST", TEST).json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn given_records_run_through_the_current_revision() {
    let host = deployed().await;
    let records = json!([
        {"key": "k", "value": {"total": 1}, "timestamp": 5, "offset": 17, "partition": 2},
        {"value": "bad"},
        {"value_base64": "/wA=", "topic": "shop.restocks"},
        {"key": "tombstone", "value": null, "timestamp": 6},
    ]);
    let view = test(&host, &json!({"records": records})).await.expect(200);
    assert_eq!(view["failures"], json!([{"input": 1, "code": "E101", "message": "bad as can be"}]));
    let outputs = view["outputs"].as_array().expect("outputs");
    let first =
        json!({"input": 0, "target": "orders", "topic": "orders.out", "timestamp": 5, "key": "k", "value": "{\"total\":1}"});
    assert_eq!(outputs[0], first);
    assert_eq!((&outputs[1]["input"], &outputs[1]["value_base64"]), (&json!(2), &json!("/wA=")));
    assert_eq!((&outputs[2]["input"], &outputs[2]["value"]), (&json!(3), &Value::Null));
    let places: Vec<_> = view["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(|at| json!([at["topic"], at["partition"], at["offset"]]))
        .collect();
    let expected = [
        json!(["shop.orders", 2, 17]),
        json!(["shop.orders", 0, 1]),
        json!(["shop.restocks", 0, 2]),
        json!(["shop.orders", 0, 3]),
    ];
    assert_eq!(places, expected);
    let total: u64 = view["records"].as_array().expect("records").iter().filter_map(|at| at["micros"].as_u64()).sum();
    assert_eq!((&view["micros_total"], &view["memory_bytes"]), (&json!(total), &json!(65536)));
    assert_eq!(view["records"][0]["memory_bytes"], 65536);
    assert!((0..4).all(|partition| host.log.all("orders.out", partition).is_empty()), "a dry run produces nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_needs_no_deployment() {
    let host = Host::start().await;
    let part = || Part::bytes(GOOD);
    let lines = "{\"value\": 1}\n\n{\"value\": 2}\n";
    let mut unborn = spec();
    unborn["outputs"]["orders"] = "not.there.yet".into();
    let form = Form::new().text("spec", unborn.to_string()).part("module", part()).text("records", lines);
    let view = Answer::of(host.request("POST", TEST).multipart(form)).await.expect(200);
    assert_eq!(view["outputs"].as_array().map(Vec::len), Some(2), "{view}");
    assert_eq!(host.get("/v1/modules").await.expect(200), json!({"modules": []}), "nothing is stored");
    host.get(STRIP).await.refused(404, "E023");

    let yaml = "inputs: [shop.orders]\noutputs: {orders: orders.out}\n";
    let refused = json!({"inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "config": {"refuse": "no keep"}});
    for (form, status, code) in [
        (Form::new().part("module", part()).text("records", lines), 404, "E023"),
        (Form::new().text("spec", yaml).text("records", lines), 422, "E020"),
        (Form::new().text("spec", yaml).part("module", part()), 400, "E007"),
        (Form::new().text("spec", "inputz: []").part("module", part()).text("records", lines), 422, "E020"),
        (Form::new().text("spec", yaml).part("module", Part::bytes(&b"zip"[..])).text("records", lines), 422, "E010"),
        (Form::new().text("spec", refused.to_string()).part("module", part()).text("records", lines), 422, "E019"),
        (Form::new().text("spec", yaml).part("module", part()).text("records", "{}\n{\"valeu\": 1}"), 400, "E027"),
        (Form::new().text("spec", yaml).part("module", part()).text("live", "{\"records\": \"all\"}"), 400, "E007"),
        (Form::new().text("spec", yaml).part("module", part()).text("lines", lines), 400, "E031"),
    ] {
        Answer::of(host.request("POST", TEST).multipart(form)).await.refused(status, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_real_records_are_tried() {
    let host = deployed().await;
    for (topic, partition, timestamps) in
        [("shop.orders", 0, vec![1, 2, 9]), ("shop.orders", 3, vec![3]), ("shop.restocks", 1, vec![4, 5])]
    {
        let record = |timestamp: i64| {
            let value = Some(timestamp.to_string().into_bytes());
            LogRecord { offset: 0, timestamp, key: None, value, headers: vec![] }
        };
        let topic = topic.parse().expect("valid");
        host.log.append(&topic, Some(partition), timestamps.into_iter().map(record).collect()).expect("appended");
    }
    let view = test(&host, &json!({"live": {"records": 3}})).await.expect(200);
    let values: Vec<_> = view["outputs"].as_array().expect("outputs").iter().map(|output| &output["value"]).collect();
    assert_eq!(values, ["4", "5", "9"]);
    let last = &view["records"][2];
    assert_eq!((&last["topic"], &last["partition"], &last["offset"]), (&json!("shop.orders"), &json!(0), &json!(2)));
    let all = test(&host, &json!({"live": {"records": 1000}})).await.expect(200);
    assert_eq!(all["outputs"].as_array().map(Vec::len), Some(6), "as many as there are");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_and_large_dry_runs_are_refused() {
    let host = deployed().await;
    let spec_with = |field: &str, value: Value| {
        let mut spec = spec();
        spec[field] = value;
        json!({"spec": spec, "records": []})
    };
    let many: Vec<Value> = (0..1001).map(|n| json!({"value": n})).collect();
    let large = json!({"value": "x".repeat(40_000)});
    for (body, status, code, named) in [
        (json!({}), 400, "E007", "either"),
        (json!({"records": [], "live": {"records": 1}}), 400, "E007", "either"),
        (json!({"recrods": []}), 400, "E007", "recrods"),
        (json!({"records": [{"value": 1}, {"valeu": 1}]}), 400, "E027", "records[1]"),
        (json!({"records": [{}, {"topic": "shop.returns"}]}), 400, "E027", "records[1].topic"),
        (json!({"records": many}), 413, "E004", "trial_records_max"),
        (json!({"records": [large, large]}), 422, "E042", "record 1"),
        (json!({"live": {"records": 0}}), 400, "E007", "live.records"),
        (json!({"live": {"records": 1001}}), 400, "E007", "live.records"),
        (spec_with("inputz", json!([])), 422, "E020", "inputz"),
        (spec_with("limits", json!({"memory": "1KiB"})), 422, "E020", "limits.memory"),
        (spec_with("module", json!(format!("sha256:{}", "0".repeat(64)))), 422, "E022", "never uploaded"),
    ] {
        let problem = test(&host, &body).await.refused(status, code);
        assert!(problem.to_string().contains(named), "{problem}");
    }
    // A spec that is a part of a body has its own limits.
    let mut long = spec();
    long["config"] = json!({"a": "x".repeat(host.state.limits.spec_bytes_max)});
    let many = vec![json!({"": 0}); 50_000];
    let problem = test(&host, &json!({"spec": long, "records": []})).await.refused(413, "E004");
    assert!(problem.to_string().contains("spec_bytes_max"), "{problem}");
    let problem = test(&host, &spec_with("config", json!({"a": many}))).await.refused(400, "E007");
    assert!(problem.to_string().contains("100000 values"), "{problem}");
    let form = Form::new().text("spec", long.to_string()).text("records", "{}");
    Answer::of(host.request("POST", TEST).multipart(form)).await.refused(413, "E004");
    Answer::of(host.request("POST", TEST).body("{}")).await.refused(415, "E006");
    let path = "/v1/teams/orders/transforms/none/test";
    Answer::of(host.request("POST", path).json(&json!({"records": []}))).await.refused(404, "E023");
    // Tried with another spec, the current module; it is not deployed.
    let view = test(&host, &spec_with("outputs", json!({"other": "orders.out"}))).await.expect(200);
    assert_eq!(view["records"], json!([]));
    assert_eq!(host.get(STRIP).await.expect(200)["revision"], 1);
}
