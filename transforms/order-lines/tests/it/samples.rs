//! Events as Debezium 3.6 wrote them: the samples of `sandbar-debezium`.

use crate::common::{shipped, with_config};
use sandbar_sdk::testing::{Input, Value, json};

#[test]
fn captured_orders_become_lines() {
    let lines = include_str!("../../../../guest-sdk/debezium/tests/samples/events.ndjson").lines();
    let samples: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("a sample is JSON")).collect();
    // Without and with schemas, decimals as doubles, as numbers, as texts.
    for connector in ["plain", "env", "dbl", "num", "str"] {
        let mut harness = shipped();
        let mut sent = Vec::new();
        for sample in &samples {
            if sample["topic"] != format!("{connector}.shop.new_orders") {
                continue;
            }
            let text = |name: &str| sample[name].as_str().map(|text| text.as_bytes().to_vec());
            let input = Input { key: text("key"), value: text("value"), ..Input::default() };
            let outcome = harness.run([input]);
            assert_eq!(outcome.failures, [], "{}", sample["name"]);
            sent.extend(outcome.messages.iter().map(|sent| sent.json()));
        }
        // 1001 has two products, and its later updates change nothing about them; 1002 has none, and becomes 5002.
        let line = |product: u32, quantity: u32, amount: &str| json!({"order_id": 1001, "product_id": product, "quantity": quantity, "amount": amount, "at_ms": 1_772_361_296_789_i64});
        let company = |product: u32, other: u32| json!({"order_id": 1001, "product_id": product, "joined": [other], "left": [], "at_ms": 1_772_361_296_789_i64});
        assert_eq!(sent, [line(1, 2, "15.80"), line(2, 1, "12.00"), company(1, 2), company(2, 1)], "{connector}");
        let remembered: Vec<String> = harness.entries::<str, Value>("orders").into_iter().map(|(order, _)| order).collect();
        let is_remembered = |order: u32| remembered.contains(&json!({"order_id": order}).to_string());
        assert!(is_remembered(1001) && !is_remembered(1002), "{remembered:?}");
    }
}

/// The table has REPLICA IDENTITY DEFAULT: its deletes have 0 as the product.
#[test]
fn a_captured_delete_does_not_name_a_column_outside_of_the_replica_identity() {
    let lines = include_str!("../../../../guest-sdk/debezium/tests/samples/events.ndjson").lines();
    let mut samples = lines.map(|line| serde_json::from_str::<Value>(line).expect("a sample is JSON"));
    let sample = samples.find(|sample| sample["name"] == "unwrap/shop.order_items/04-d").expect("it is there");
    let text = |name: &str| sample[name].as_str().map(|text| text.as_bytes().to_vec());
    let input = Input { key: text("key"), value: text("value"), ..Input::default() };
    let outcome = with_config(&json!({"order_field": "product_id"})).run([input]);
    let failed = &outcome.failures.first().expect("the product is not known").message;
    assert!(failed.contains("`product_id`") && failed.contains("set REPLICA IDENTITY FULL"), "{failed}");
}
