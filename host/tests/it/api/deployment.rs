//! Refused deployments: an answer has the code of the first broken rule, and the fields of every one. And rollbacks that
//! another deployment overtakes.

use sandbar::catalog::{Change, Precondition};
use sandbar::model::names::TransformId;
use serde_json::{Value, json};

use super::catalog::request;
use super::host::{Answer, GOOD, Host};

const STRIP: &str = "/v1/teams/orders/transforms/strip";

/// The answer's errors, one a line: the field, and the code that its message ends with, if it is of another rule.
#[track_caller]
fn check(answer: &Answer, status: u16, code: &str, expected: &[&str]) -> Value {
    let problem = answer.refused(status, code);
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let line = |error: &Value| {
        let message = error["message"].as_str().unwrap_or_default();
        let other =
            message.rsplit_once(" (E").map_or(String::new(), |(_, code)| format!(" E{}", code.trim_end_matches(')')));
        format!("{}{other}", error["field"].as_str().unwrap_or_default())
    };
    assert_eq!(errors.iter().map(line).collect::<Vec<_>>(), expected, "{problem}");
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_rule_is_named_in_one_answer() {
    let host = Host::start().await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].as_str().expect("a digest").to_owned();
    let spec = json!({
        "module": digest, "inputs": ["shop.orders", "shop.restocks", "shop.nowhere"], "outputs": {"o": "orders.gone"},
        "state": {"levels": {}}, "config": {"refuse": "no"}, "start": {"offsets": {"shop.orders": {"9": 0}}},
    });
    let expected =
        ["inputs[2]", "outputs.o", "inputs[0] E050", "inputs[1] E050", "start.offsets.shop.orders.9 E020", "module E019"];
    for path in [STRIP.to_owned(), format!("{STRIP}?dry_run=true")] {
        let problem = check(&host.put(&path, &spec).await, 422, "E021", &expected);
        // The detail is of the code's own rule.
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains("orders.gone") && !detail.contains("partitions"), "{detail}");
    }
    let stale = Answer::of(host.request("PUT", STRIP).header("if-match", "\"7\"").json(&spec)).await;
    check(&stale, 422, "E021", &[&expected[..], &[" E008"]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_rule_is_answered_with_its_own_fields() {
    let host = Host::start().await;
    let digest = host.upload(GOOD).await.expect(201)["digest"].as_str().expect("a digest").to_owned();
    let spec =
        |inputs: Value| json!({"module": digest, "inputs": inputs, "outputs": {"o": "orders.out"}, "state": {"s": {}}});
    host.put(STRIP, &spec(json!(["shop.orders"]))).await.expect(202);
    check(&host.put(STRIP, &spec(json!(["shop.nowhere"]))).await, 422, "E021", &["inputs[0]", " E057"]);
    // No field breaks this rule, but the transform as it runs.
    let none = json!({"module": digest, "inputs": ["shop.restocks"], "outputs": {"o": "orders.out"}});
    check(&host.put(STRIP, &none).await, 409, "E057", &[]);
}

/// Another deployment, between the checks of a rollback and its turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_writes_the_revision_that_it_has_checked_or_none() {
    let host = Host::start().await;
    let id: TransformId = "orders/strip".parse().expect("valid");
    let digest = host.upload(GOOD).await.expect(201)["digest"].as_str().expect("a digest").to_owned();
    let spec =
        |n: u32| json!({"module": digest, "inputs": ["shop.orders"], "outputs": {"o": "orders.out"}, "config": {"n": n}});
    for n in 1..=2 {
        host.put(STRIP, &spec(n)).await.expect(202);
    }
    for (body, next, refused) in [(json!({}), 3, true), (json!({"revision": 1}), 4, false)] {
        let catalog = host.state.catalog.clone();
        let put = Change::Put {
            spec: Box::new(serde_json::from_value(spec(next)).expect("a spec")),
            module: digest.parse().expect("a digest"),
        };
        let id = id.clone();
        // The rollback creates it anew, after its checks.
        host.log.delete("orders.strip.dead-letter");
        host.log.interrupt(move || drop(catalog.change(&id, request(Precondition::Any, put)).expect("accepted")));
        let answer = Answer::of(host.request("POST", &format!("{STRIP}/rollback")).json(&body)).await;
        let (revision, config) = if refused {
            answer.refused(409, "E008");
            (next, next)
        } else {
            answer.expect(202);
            (next + 1, 1)
        };
        let shown = host.get(STRIP).await.expect(200);
        assert_eq!((&shown["revision"], &shown["spec"]["config"]["n"]), (&json!(revision), &json!(config)), "{body}");
    }
}
