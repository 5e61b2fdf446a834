//! Refused deployments: an answer has the code of the first broken rule, and the fields of every one.

use serde_json::{Value, json};

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
