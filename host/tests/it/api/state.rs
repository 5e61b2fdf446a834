//! State over the API: the topics of stores and tables, look-ups in a store, and its reset.

use sandbar::catalog::{Change, Precondition};
use sandbar::model::murmur2::partition_for;
use sandbar::model::names::TransformId;
use sandbar::ports::Log;
use serde_json::{Value, json};

use super::catalog::request;
use super::host::{Answer, GOOD, Host};

const STRIP: &str = "/v1/teams/orders/transforms/strip";

async fn uploaded() -> (Host, String) {
    let host = Host::start().await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].as_str().expect("a digest").to_owned();
    (host, digest)
}

fn spec(digest: &str, changes: Value) -> Value {
    let mut spec = json!({
        "module": digest, "inputs": ["shop.orders"], "outputs": {"orders": "orders.out"},
        "state": {"levels": {"queryable": true}, "hidden": {}},
    });
    spec.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_stores_and_tables_are_checked_and_made() {
    let (host, digest) = uploaded().await;
    let plan = host.put(&format!("{STRIP}?dry_run=true"), &spec(&digest, json!({}))).await.expect(200);
    let creates = json!([
        "_sandbar.test.state.orders.strip.hidden",
        "_sandbar.test.state.orders.strip.levels",
        "orders.strip.dead-letter"
    ]);
    assert_eq!(plan["creates"], creates);
    let refused = host.put(STRIP, &spec(&digest, json!({"inputs": ["shop.orders", "shop.restocks"]}))).await;
    let refused = refused.refused(422, "E050");
    assert_eq!(refused["errors"][1]["message"], "shop.restocks has 2 partitions");
    let tables = json!({"tables": {"orders": "shop.restocks"}});
    host.put(STRIP, &spec(&digest, tables)).await.refused(422, "E051");
    let missing = host.put(STRIP, &spec(&digest, json!({"tables": {"orders": "none"}}))).await.refused(422, "E021");
    assert_eq!(missing["errors"][0]["field"], "tables.orders");

    host.put(STRIP, &spec(&digest, json!({}))).await.expect(202);
    let changelog = host.log.topic(&"_sandbar.test.state.orders.strip.levels".parse().expect("valid")).expect("made");
    assert_eq!((changelog.partitions, changelog.compacted), (4, Some(true)));
    let narrower = spec(&digest, json!({"inputs": ["shop.restocks"]}));
    host.put(STRIP, &narrower).await.refused(409, "E052");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_answered_by_its_owner() {
    let (host, digest) = uploaded().await;
    host.put(STRIP, &spec(&digest, json!({}))).await.expect(202);
    // The host under test has partition 0 of four.
    let key = (0..).map(|n| format!("unknown/{n}")).find(|key| partition_for(key.as_bytes(), 4) == 0).expect("many keys");
    let escaped = key.replace('/', "%2F");
    for (path, status, code) in [
        (format!("levels/{escaped}"), 404, "E054"),
        ("levels/known?partition=4".into(), 404, "E030"),
        ("levels/known?partition=3".into(), 503, "E055"),
        ("hidden/known?partition=0".into(), 404, "E053"),
        ("none/known?partition=0".into(), 404, "E053"),
        ("levels/%21?encoding=base64".into(), 400, "E028"),
        ("levels/known?part=0".into(), 400, "E028"),
    ] {
        host.get(&format!("{STRIP}/state/{path}")).await.refused(status, code);
    }
    let record_key = (0..).map(|n| n.to_string()).find(|key| partition_for(key.as_bytes(), 4) == 0).expect("many keys");
    let by_record = format!("levels/known?record_key={record_key}");
    for path in [&by_record, "levels/known?partition=0", "levels/a25vd24%3D?partition=0&encoding=base64"] {
        let found = host.get(&format!("{STRIP}/state/{path}")).await.expect(200);
        assert_eq!(found, json!({"store": "levels", "partition": 0, "host": "a", "value": {"store": "levels"}}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_answered_with_the_text_that_is_stored() {
    let (host, digest) = uploaded().await;
    host.put(STRIP, &spec(&digest, json!({}))).await.expect(202);
    for (stored, shown) in [
        (r#"{"total":10.10,"a":1}"#, r#""value":{"total":10.10,"a":1}"#),
        ("340282366920938463463374607431768211455", r#""value":340282366920938463463374607431768211455"#),
        ("[0.12345678901234567890, 1e2]", r#""value":[0.12345678901234567890, 1e2]"#),
        (" null\n", r#""value":null"#),
        ("10.10.", r#""value_base64":"MTAuMTAu""#),
        ("", r#""value_base64":"""#),
    ] {
        host.running.entries.lock().expect("unpoisoned").insert(b"n".to_vec(), stored.as_bytes().to_vec());
        let answer = host.get(&format!("{STRIP}/state/levels/n?partition=0")).await;
        answer.expect(200);
        assert_eq!(answer.text, format!(r#"{{"store":"levels","partition":0,"host":"a",{shown}}}"#), "{stored}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hosts_entry_is_at_its_address() {
    let (host, digest) = uploaded().await;
    host.put(STRIP, &spec(&digest, json!({}))).await.expect(202);
    *host.running.neighbour.lock().expect("unpoisoned") = Some("http://b:8080/".into());
    let path = format!("{STRIP}/state/levels/known?partition=1");
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let answer = client.get(format!("{}{path}", host.base)).send().await.expect("an answer");
    assert_eq!(answer.status(), 307);
    assert_eq!(answer.headers()["location"], format!("http://b:8080{path}"));
    // The URL comes from a topic: it may be anybody's.
    *host.running.neighbour.lock().expect("unpoisoned") = Some("http://evil.example/".into());
    host.get(&path).await.refused(503, "E055");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_begins_with_new_changelogs() {
    let (host, digest) = uploaded().await;
    let reset = || host.request("DELETE", &format!("{STRIP}/state"));
    super::host::Answer::of(reset()).await.refused(404, "E023");
    host.put(STRIP, &spec(&digest, json!({"state": {}}))).await.expect(202);
    super::host::Answer::of(reset()).await.refused(404, "E053");
    host.put(STRIP, &spec(&digest, json!({}))).await.expect(202);
    super::host::Answer::of(reset()).await.refused(409, "E033");
    host.post(&format!("{STRIP}/pause")).await.expect(202);
    super::host::Answer::of(reset()).await.expect(202);
    let deployment = host.state.catalog.deployment(&"orders/strip".parse().expect("valid")).expect("there");
    assert_eq!(deployment.asked.resets, 1);
    let changelog = "_sandbar.test.state.orders.strip.levels.1".parse().expect("valid");
    assert_eq!(host.log.topic(&changelog).expect("made").partitions, 4);
    assert_eq!(deployment.revision, 2, "it spends no revision");
}

/// A change of another operator, between the creation of a reset's topics and the reset.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_leads_to_its_own_topics_or_is_refused() {
    let (host, digest) = uploaded().await;
    let id: TransformId = "orders/strip".parse().expect("valid");
    host.put(STRIP, &spec(&digest, json!({}))).await.expect(202);
    let more = spec(&digest, json!({"state": {"levels": {}, "more": {}}}));
    let more = Box::new(serde_json::from_value(more).expect("a spec"));
    let put = Change::Put { spec: more, module: digest.parse().expect("a digest") };
    for (change, refused, resets) in [
        (None, None, 1),
        (Some(Change::Resume), Some("E033"), 1),
        (Some(Change::ResetState), Some("E008"), 2),
        (Some(put), Some("E008"), 2),
        (None, None, 3),
    ] {
        host.post(&format!("{STRIP}/pause")).await.expect(202);
        if let Some(change) = change.clone() {
            let catalog = host.state.catalog.clone();
            let id = id.clone();
            host.log.interrupt(move || drop(catalog.change(&id, request(Precondition::Any, change)).expect("accepted")));
        }
        let answer = Answer::of(host.request("DELETE", &format!("{STRIP}/state"))).await;
        let deployment = host.state.catalog.deployment(&id).expect("there");
        assert_eq!(deployment.asked.resets, resets, "{change:?}");
        if let Some(code) = refused {
            answer.refused(409, code);
            continue;
        }
        answer.expect(202);
        for changelog in deployment.spec().expect("valid").changelogs(&host.state.cluster, resets) {
            assert!(host.log.topic(&changelog).is_ok(), "{change:?}: there is no {changelog}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_reset_is_answered_as_the_first() {
    let (host, digest) = uploaded().await;
    host.put(STRIP, &spec(&digest, json!({}))).await.expect(202);
    host.post(&format!("{STRIP}/pause")).await.expect(202);
    let reset = || host.request("DELETE", &format!("{STRIP}/state")).header("idempotency-key", "one");
    Answer::of(reset()).await.expect(202);
    Answer::of(reset()).await.expect(202);
    host.post(&format!("{STRIP}/resume")).await.expect(202);
    Answer::of(reset()).await.expect(202);
    let deployment = host.state.catalog.deployment(&"orders/strip".parse().expect("valid")).expect("there");
    assert_eq!(deployment.asked.resets, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_through_another_host_counts_for_a_reset() {
    let (host, digest) = uploaded().await;
    let other = Host::start_on(host.log.clone()).await;
    host.put(STRIP, &spec(&digest, json!({}))).await.expect(202);
    for resets in 1..=3 {
        host.post(&format!("{STRIP}/pause")).await.expect(202);
        Answer::of(other.request("DELETE", &format!("{STRIP}/state"))).await.expect(202);
        host.post(&format!("{STRIP}/resume")).await.expect(202);
        let deployment = host.state.catalog.deployment(&"orders/strip".parse().expect("valid")).expect("there");
        assert_eq!(deployment.asked.resets, resets);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_get_other_inputs_only_while_nobody_has_them_open() {
    let (host, digest) = uploaded().await;
    host.log
        .create_topic(&sandbar::ports::NewTopic {
            name: "shop.more".parse().expect("valid"),
            partitions: 4,
            compacted: false,
            retention: None,
        })
        .expect("made");
    let of = |inputs: &[&str], state: Value| spec(&digest, json!({"inputs": inputs, "state": state}));
    let one = ["shop.orders"];
    let both = ["shop.orders", "shop.more"];
    let none = json!({});
    let some = json!({"levels": {}});
    host.put(STRIP, &of(&one, none.clone())).await.expect(202);
    // Nothing is shared yet.
    host.put(STRIP, &of(&both, none.clone())).await.expect(202);
    host.put(STRIP, &of(&one, none.clone())).await.expect(202);
    for (inputs, state) in [(&["shop.more"][..], &some), (&both, &some)] {
        host.put(STRIP, &of(inputs, state.clone())).await.refused(409, "E057");
        host.put(&format!("{STRIP}?dry_run=true"), &of(inputs, state.clone())).await.refused(409, "E057");
    }
    host.put(STRIP, &of(&one, some.clone())).await.expect(202);
    for (inputs, state) in [(&both[..], &some), (&["shop.more"], &some), (&both, &none)] {
        host.put(STRIP, &of(inputs, state.clone())).await.refused(409, "E057");
    }
    // Whatever else changes is no matter of inputs.
    let mut workers = of(&one, some.clone());
    workers["workers"] = json!(3);
    host.put(STRIP, &workers).await.expect(202);
    host.post(&format!("{STRIP}/pause")).await.expect(202);
    host.put(STRIP, &of(&both, some.clone())).await.expect(202);
    host.post(&format!("{STRIP}/resume")).await.expect(202);
    host.put(STRIP, &of(&["shop.more", "shop.orders"], some.clone())).await.refused(409, "E057");
    host.post(&format!("{STRIP}/rollback")).await.refused(409, "E057");
    // Deleted, it has no host that would have to leave.
    super::host::Answer::of(host.request("DELETE", STRIP)).await.expect(204);
    host.put(STRIP, &of(&one, some)).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_hosts_transform_is_listed_and_left_as_it_is() {
    let (host, digest) = uploaded().await;
    host.put(STRIP, &spec(&digest, json!({}))).await.expect(202);
    let topic = "_sandbar.test.deployments";
    let mut newest = host.log.all(topic, 0).pop().expect("deployed");
    let mut value: Value = serde_json::from_slice(newest.value.as_deref().expect("a value")).expect("JSON");
    assert_eq!(value["version"], 1);
    value["version"] = json!(2);
    value["revision"] = json!(2);
    newest.value = Some(value.to_string().into_bytes());
    host.log.append(&topic.parse().expect("valid"), Some(0), vec![newest]).expect("appended");
    host.state.catalog.refresh().expect("read");
    let count = host.log.all(topic, 0).len();
    host.put(STRIP, &spec(&digest, json!({}))).await.refused(409, "E226");
    for path in ["pause", "resume", "restart", "rollback"] {
        host.post(&format!("{STRIP}/{path}")).await.refused(409, "E226");
    }
    for path in ["", "/state", "/offsets"] {
        super::host::Answer::of(host.request("DELETE", &format!("{STRIP}{path}"))).await.refused(409, "E226");
    }
    for path in ["", "/offsets", "/state/levels/known"] {
        host.get(&format!("{STRIP}{path}")).await.refused(409, "E226");
    }
    assert_eq!(host.log.all(topic, 0).len(), count, "nothing was written");
    let listed = host.get("/v1/transforms").await.expect(200);
    assert_eq!((&listed["transforms"][0]["name"], &listed["transforms"][0]["revision"]), (&json!("strip"), &json!(2)));
    let status = host.get(&format!("{STRIP}/status")).await.expect(200);
    assert_eq!(status["revision"], 2);
}
