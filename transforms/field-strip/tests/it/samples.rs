//! Events as Debezium 3.6 wrote them (`samples/events.ndjson` of `sandbar-debezium`), and the expected output of each,
//! written out.

use crate::common::{Outputs, deleted, put, run, shipped_config};
use sandbar_debezium::FILLER_HINT;
use sandbar_sdk::testing::{Input, Value, json};
use std::collections::HashMap;

fn samples() -> HashMap<String, Input> {
    let lines = include_str!("../../../../guest-sdk/debezium/tests/samples/events.ndjson").lines();
    lines
        .map(|line| {
            let sample: Value = serde_json::from_str(line).expect("a sample is JSON");
            let bytes = |name: &str| sample[name].as_str().map(|text| text.as_bytes().to_vec());
            let headers = sample["headers"].as_array().expect("a list").iter();
            let headers = headers.map(|header| {
                let text = |at: usize| header[at].as_str().expect("a text").to_owned();
                (text(0), Some(text(1).into_bytes()))
            });
            let name = sample["name"].as_str().expect("a text").to_owned();
            (name, Input { key: bytes("key"), value: bytes("value"), headers: headers.collect(), timestamp_ms: None })
        })
        .collect()
}

#[track_caller]
fn check(config: &Value, cases: &[(&str, Outputs)]) {
    let samples = samples();
    for (name, expected) in cases {
        let input = samples.get(*name).unwrap_or_else(|| panic!("there is no sample {name}"));
        assert_eq!(&run(config, input.clone()), expected, "{name}");
    }
}

const KEY_1001: &str = r#"{"order_id":1001}"#;
const KEY_1002: &str = r#"{"order_id":1002}"#;
const KEY_5002: &str = r#"{"order_id":5002}"#;

const NEW_1001: &str = r#"{"order_id":1001,"customer_id":7,"status":"new","total":"27.80","currency":"EUR","ordered_at":"2026-03-01T10:34:56.789012Z","order_total":"27.80","item_count":3}"#;
const PAID_1001: &str = r#"{"order_id":1001,"customer_id":7,"status":"paid","total":"27.80","currency":"EUR","ordered_at":"2026-03-01T10:34:56.789012Z","order_total":"27.80","item_count":3}"#;
const NEW_1002: &str = r#"{"order_id":1002,"customer_id":8,"status":"new","total":"0.10","currency":"EUR","ordered_at":"2026-03-01T12:00:00.000000Z","order_total":"0","item_count":0}"#;
const NEW_5002: &str = r#"{"order_id":5002,"customer_id":8,"status":"new","total":"0.10","currency":"EUR","ordered_at":"2026-03-01T12:00:00.000000Z","order_total":"0","item_count":0}"#;

#[test]
fn orders_without_a_schema() {
    check(
        &shipped_config(),
        &[
            ("plain/shop.new_orders/00-c", put(KEY_1001, NEW_1001)),
            ("plain/shop.new_orders/01-c", put(KEY_1002, NEW_1002)),
            ("plain/shop.new_orders/02-u", put(KEY_1001, PAID_1001)),
            // The primary key of 1002 becomes 5002: delete, tombstone, create.
            ("plain/shop.new_orders/03-d-newkey", deleted(KEY_1002)),
            ("plain/shop.new_orders/04-tombstone-newkey", deleted(KEY_1002)),
            ("plain/shop.new_orders/05-c-oldkey", put(KEY_5002, NEW_5002)),
            ("plain/shop.new_orders/06-d", deleted(KEY_5002)),
            ("plain/shop.new_orders/07-tombstone", deleted(KEY_5002)),
            // A column has been added, which changes nothing.
            ("plain/shop.new_orders/08-u", put(KEY_1001, PAID_1001)),
            // `total` has become NUMERIC(14,4). Without a schema the event does not show it, and the configured scale
            // of 2 makes 27.80 into 2780.00: README.md has the remedy.
            (
                "plain/shop.new_orders/09-u",
                put(
                    KEY_1001,
                    r#"{"order_id":1001,"customer_id":7,"status":"shipped","total":"2780.00","currency":"EUR","ordered_at":"2026-03-01T10:34:56.789012Z","order_total":"27.80","item_count":3}"#,
                ),
            ),
        ],
    );
}

#[test]
fn orders_with_a_schema() {
    check(
        &shipped_config(),
        &[
            ("env/shop.new_orders/00-c", put(KEY_1001, NEW_1001)),
            ("env/shop.new_orders/02-u", put(KEY_1001, PAID_1001)),
            ("env/shop.new_orders/03-d-newkey", deleted(KEY_1002)),
            ("env/shop.new_orders/04-tombstone-newkey", deleted(KEY_1002)),
            ("env/shop.new_orders/05-c-oldkey", put(KEY_5002, NEW_5002)),
            ("env/shop.new_orders/08-u", put(KEY_1001, PAID_1001)),
            // Here the schema tells the new scale.
            (
                "env/shop.new_orders/09-u",
                put(
                    KEY_1001,
                    r#"{"order_id":1001,"customer_id":7,"status":"shipped","total":"27.8000","currency":"EUR","ordered_at":"2026-03-01T10:34:56.789012Z","order_total":"27.80","item_count":3}"#,
                ),
            ),
        ],
    );
}

#[test]
fn orders_under_every_handling_of_decimals() {
    check(
        &shipped_config(),
        &[
            ("str/shop.new_orders/00-c", put(KEY_1001, NEW_1001)),
            ("str/shop.new_orders/03-d-newkey", deleted(KEY_1002)),
            ("str/shop.new_orders/05-c-oldkey", put(KEY_5002, NEW_5002)),
            ("num/shop.new_orders/00-c", put(KEY_1001, NEW_1001)),
            ("num/shop.new_orders/03-d-newkey", deleted(KEY_1002)),
            ("num/shop.new_orders/05-c-oldkey", put(KEY_5002, NEW_5002)),
            // A double has one decimal less, and keeps it so.
            ("dbl/shop.new_orders/00-c", put(KEY_1001, &NEW_1001.replace(r#""total":"27.80""#, r#""total":"27.8""#))),
            ("dbl/shop.new_orders/03-d-newkey", deleted(KEY_1002)),
            ("dbl/shop.new_orders/05-c-oldkey", put(KEY_5002, &NEW_5002.replace(r#""total":"0.10""#, r#""total":"0.1""#))),
        ],
    );
}

#[test]
fn all_that_is_in_a_row_can_be_kept() {
    let config = json!({
        "keep": ["order_id", "note", "tags", "ship_address", "gift", "slot", "phone", "coupon", "version"],
        "items_field": null,
    });
    check(
        &config,
        &[
            (
                "plain/shop.new_orders/00-c",
                put(
                    KEY_1001,
                    r#"{"order_id":1001,"note":"line1\nline \"2\" ☃","tags":["web","first"],"ship_address":"{\"zip\": \"00000\", \"city\": \"Köln\", \"street\": \"Teststr. 1\"}","gift":false,"slot":66600500000,"phone":"+49 000 1234","version":1}"#,
                ),
            ),
            (
                "plain/shop.new_orders/01-c",
                put(
                    KEY_1002,
                    r#"{"order_id":1002,"note":null,"tags":null,"ship_address":null,"gift":false,"slot":null,"phone":null,"version":1}"#,
                ),
            ),
            // `coupon` has been added since, and `phone` dropped.
            (
                "plain/shop.new_orders/09-u",
                put(
                    KEY_1001,
                    r#"{"order_id":1001,"note":"line1\nline \"2\" ☃","tags":["web","first"],"ship_address":"{\"zip\": \"00000\", \"city\": \"Köln\", \"street\": \"Teststr. 1\"}","gift":false,"slot":66600500000,"coupon":"SPRING","version":4}"#,
                ),
            ),
        ],
    );
}

#[test]
fn flattened_rows() {
    let config = json!({"keep": ["product_id", "qty", "unit_price"], "key_field": "line_no", "items_field": null});
    let line = |line: u8, price: &str, qty: u8, product: u8| {
        let key = format!(r#"{{"order_id":1001,"line_no":{line}}}"#);
        put(&key, &format!(r#"{{"product_id":{product},"qty":{qty},"unit_price":"{price}"}}"#))
    };
    check(
        &config,
        &[
            ("unwrap/shop.order_items/00-c", line(1, "7.90", 2, 1)),
            ("unwrap/shop.order_items/01-c", line(2, "12.00", 1, 2)),
            ("unwrap/shop.order_items/02-d-newkey", deleted(r#"{"order_id":1001,"line_no":2}"#)),
            ("unwrap/shop.order_items/03-c-oldkey", line(9, "12.00", 1, 2)),
            ("unwrap/shop.order_items/04-d", deleted(r#"{"order_id":1001,"line_no":9}"#)),
        ],
    );
    // The table has REPLICA IDENTITY DEFAULT: its deletes have 0 as the product, which names no row.
    let config = json!({"keep": ["qty"], "key_field": "product_id", "items_field": null});
    let unknown =
        || Err(format!("neither the record's key nor the row says for certain what `product_id` was: {FILLER_HINT}"));
    assert!(FILLER_HINT.contains("REPLICA IDENTITY FULL"));
    check(
        &config,
        &[
            ("unwrap/shop.order_items/00-c", put(r#"{"product_id":1}"#, r#"{"qty":2}"#)),
            ("unwrap/shop.order_items/02-d-newkey", unknown()),
            ("unwrap/shop.order_items/04-d", unknown()),
        ],
    );
    let config =
        json!({"keep": ["qty"], "key_field": "product_id", "items_field": null, "drop_when": {"field": "qty", "in": [12]}});
    check(
        &config,
        &[
            ("unwrap/shop.stock/00-r", put(r#"{"product_id":1}"#, r#"{"qty":100}"#)),
            ("unwrap/shop.stock/01-r", deleted(r#"{"product_id":2}"#)),
            ("unwrap/shop.stock/02-u", put(r#"{"product_id":1}"#, r#"{"qty":98}"#)),
        ],
    );
}

#[test]
fn what_is_no_order_is_ignored_or_refused() {
    check(
        &shipped_config(),
        &[
            ("plain/message/00-m", Ok(vec![])),
            ("tx/message/00-m", Ok(vec![])),
            ("tx/shop.page_views/01-t", Ok(vec![])),
            (
                "tx/transaction/00-BEGIN",
                Err(
                    "the value is the begin or the end of a transaction (provide.transaction.metadata), and no change of a row"
                        .to_owned(),
                ),
            ),
            (
                "plain/shop.page_views/00-c",
                Err("neither the record's key nor the row has a number or a text as `order_id`".to_owned()),
            ),
            (
                "unwrap/shop.page_views/00-c",
                Err("neither the record's key nor the row has a number or a text as `order_id`".to_owned()),
            ),
            ("unwrap/shop.order_items/00-c", Err("the row has no column `status`".to_owned())),
        ],
    );
}

#[test]
fn odd_numbers_and_values_that_were_not_sent() {
    let prices = json!({"keep": ["price", "any_num"], "key_field": "product_id", "items_field": null, "decimals": {"price": 2, "any_num": 0}});
    let nan = || Err(r#"column `any_num`: "NaN" is NaN or infinite, which no exact decimal can be"#.to_owned());
    check(
        &prices,
        &[
            (
                "plain/shop.products/02-u",
                put(r#"{"product_id":2}"#, r#"{"price":"11.50","any_num":"1234567890.123456789"}"#),
            ),
            ("plain/shop.products/03-c", put(r#"{"product_id":3}"#, r#"{"price":"-99999999.99","any_num":null}"#)),
            ("plain/shop.products/04-c", put(r#"{"product_id":4}"#, r#"{"price":"0.00","any_num":"0"}"#)),
            ("num/shop.products/03-c", put(r#"{"product_id":3}"#, r#"{"price":"-99999999.99","any_num":null}"#)),
            ("num/shop.products/04-c", put(r#"{"product_id":4}"#, r#"{"price":"0.00","any_num":"0"}"#)),
            (
                "str/shop.products/03-c",
                Err(r#"column `any_num`: "NAN" is NaN or infinite, which no exact decimal can be"#.to_owned()),
            ),
            ("dbl/shop.products/03-c", nan()),
        ],
    );
    let double = json!({"keep": ["price"], "key_field": "product_id", "items_field": null, "decimals": {"price": 2}});
    check(&double, &[("dbl/shop.products/03-c", put(r#"{"product_id":3}"#, r#"{"price":"-9.999999999E7"}"#))]);
    let description = json!({"keep": ["description"], "key_field": "product_id", "items_field": null});
    check(&description, &[("plain/shop.products/02-u", Err("column `description` was not sent (PostgreSQL leaves out large values that did not change), and `before` does not hold it: set REPLICA IDENTITY FULL on the table".to_owned()))]);
}
