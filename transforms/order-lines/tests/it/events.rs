//! Each kind of event, written out.

use crate::common::{Sums, envelope, record, row, shipped, tombstone, with_config, with_schema};
use sandbar_sdk::testing::{Harness, Input, Outcome, Value, json};

/// The outputs in short: `+2x1` for two more of product 1, `1+2,3-4` for its company.
fn short(outcome: &Outcome) -> Result<String, String> {
    if let Some(failed) = outcome.failures.first() {
        return Err(failed.message.clone());
    }
    let sent = outcome.messages.iter().map(|sent| {
        let value = sent.json();
        let ids = |name: &str| {
            let ids = value[name].as_array().expect("a list").iter();
            ids.map(|id| id.as_str().map_or(id.to_string(), str::to_owned)).collect::<Vec<_>>().join(",")
        };
        match sent.output.as_str() {
            "lines" => format!("{:+}x{}", value["quantity"].as_i64().expect("a number"), value["product_id"]),
            _ => format!("{}+{}-{}", value["product_id"], ids("joined"), ids("left")),
        }
    });
    Ok(sent.collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn check(harness: &mut Harness<order_lines::order_lines>, input: Input, expected: &str) {
    assert_eq!(short(&harness.run([input])).as_deref(), Ok(expected));
}

const NULL: Value = Value::Null;

#[test]
fn a_line_says_what_is_counted_and_what_is_retracted() {
    let mut harness = shipped();
    let order = row(1001, "new", &[(7, 2), (9, 1)]);
    let outcome = harness.run([record(1001, &envelope("c", &NULL, &order))]);
    let texts: Vec<&str> = outcome.messages.iter().map(|sent| sent.text()).collect();
    assert_eq!(
        texts,
        [
            r#"{"order_id":1001,"product_id":7,"quantity":2,"amount":"3.0","at_ms":1772361296789}"#,
            r#"{"order_id":1001,"product_id":9,"quantity":1,"amount":"1.5","at_ms":1772361296789}"#,
            r#"{"order_id":1001,"product_id":7,"joined":[9],"left":[],"at_ms":1772361296789}"#,
            r#"{"order_id":1001,"product_id":9,"joined":[7],"left":[],"at_ms":1772361296789}"#,
        ]
    );
    assert_eq!(outcome.messages[0].key.as_deref(), Some(&br#"{"product_id":7}"#[..]));
    assert_eq!(outcome.messages[0].timestamp_ms, Some(7));
    let outcome = harness.run([record(1001, &envelope("d", &order, &NULL))]);
    assert_eq!(
        outcome.messages[0].text(),
        r#"{"order_id":1001,"product_id":7,"quantity":-2,"amount":"-3.0","at_ms":1772361296789}"#
    );
    assert!(harness.state("orders").is_empty());
}

#[test]
fn an_order_is_counted_as_it_is_now_and_never_twice() {
    let mut harness = shipped();
    let new = |items| row(1, "new", items);
    let first = envelope("c", &NULL, &new(&[(7, 2), (9, 1)]));
    check(&mut harness, record(1, &first), "+2x7 +1x9 7+9- 9+7-");
    // A connector that starts again repeats its events, or takes a snapshot.
    check(&mut harness, record(1, &first), "");
    check(&mut harness, record(1, &envelope("r", &NULL, &new(&[(7, 2), (9, 1)]))), "");
    // These events change nothing about the lines.
    check(&mut harness, record(1, &envelope("u", &NULL, &row(1, "paid", &[(7, 2), (9, 1)]))), "");
    // Without a before image.
    check(
        &mut harness,
        record(1, &with_schema(&envelope("u", &NULL, &new(&[(7, 1), (8, 1)])))),
        "-1x7 +1x8 -1x9 7+8-9 8+7- 9+-7",
    );
    // A wrong before image changes nothing: the stored lines count.
    let wrong = new(&[(1, 100)]);
    check(&mut harness, record(1, &envelope("u", &wrong, &new(&[(7, 1)]))), "-1x8 7+-8 8+-7");
    check(&mut harness, record(1, &envelope("u", &NULL, &row(1, "cancelled", &[(7, 1)]))), "-1x7");
    check(&mut harness, record(1, &envelope("u", &NULL, &row(1, "cancelled", &[(7, 5)]))), "");
    check(&mut harness, record(1, &envelope("u", &NULL, &row(1, "new", &[(7, 5)]))), "+5x7");
    check(&mut harness, tombstone(1), "-5x7");
    check(&mut harness, tombstone(1), "");
    check(&mut harness, record(1, &envelope("d", &new(&[(7, 5)]), &NULL)), "");
    assert!(harness.state("orders").is_empty());
}

#[test]
fn a_change_of_the_primary_key_moves_the_lines() {
    let mut harness = shipped();
    let header =
        |name, order| move |input: Input| input.header(name, Some(json!({"order_id": order}).to_string().as_bytes()));
    check(&mut harness, record(1, &envelope("c", &NULL, &row(1, "new", &[(7, 2)]))), "+2x7");
    let to = header("__debezium.newkey", 2);
    let from = header("__debezium.oldkey", 1);
    check(&mut harness, to(record(1, &envelope("d", &row(1, "new", &[(7, 2)]), &NULL))), "-2x7");
    check(&mut harness, to(tombstone(1)), "");
    check(&mut harness, from(record(2, &envelope("c", &NULL, &row(2, "new", &[(7, 2)])))), "+2x7");
    // A topic that is keyed by something else has updates of the id.
    let keyed_by_customer = |value: &Value| Input::json(value).key(r#"{"customer_id":5}"#);
    let moved = envelope("u", &row(2, "new", &[(7, 2)]), &row(3, "new", &[(7, 3)]));
    check(&mut harness, keyed_by_customer(&moved), "-2x7 +3x7");
    check(&mut harness, keyed_by_customer(&envelope("d", &row(3, "new", &[]), &NULL)), "-3x7");
    check(&mut harness, Input::tombstone().key(r#"{"customer_id":5}"#), "");
    assert!(harness.state("orders").is_empty());
}

#[test]
fn items_that_were_not_sent_are_those_that_are_remembered() {
    let mut harness = shipped();
    let unsent = |status: &str| {
        let mut row = row(1, status, &[]);
        row["items"] = json!("__debezium_unavailable_value");
        row
    };
    let update = |before: &Value, status| record(1, &envelope("u", before, &unsent(status)));
    let failed = short(&harness.run([update(&NULL, "paid")])).expect_err("nothing is known of it");
    assert!(failed.starts_with("the items were not sent"), "{failed}");
    // A before image has them.
    check(&mut harness, update(&row(1, "new", &[(7, 2)]), "paid"), "+2x7");
    check(&mut harness, update(&NULL, "shipped"), "");
    // Also where they do not count for a while.
    check(&mut harness, update(&NULL, "cancelled"), "-2x7");
    check(&mut harness, update(&NULL, "new"), "+2x7");
}

/// REPLICA IDENTITY DEFAULT, and a topic whose keys do not have the order: `before` has 0 where it does not know the order.
#[test]
fn a_filler_names_no_order() {
    let mut harness = shipped();
    let keyed_by_customer = |value: &Value| Input::json(value).key(r#"{"customer_id":5}"#);
    let order = row(1, "new", &[(7, 2)]);
    check(&mut harness, keyed_by_customer(&envelope("c", &NULL, &order)), "+2x7");
    let mut flat = row(0, "", &[]);
    flat["__deleted"] = json!("true");
    let moved = row(2, "new", &[(7, 2)]);
    for event in [
        envelope("d", &row(0, "", &[]), &NULL),
        envelope("d", &json!({"order_id": ""}), &NULL),
        envelope("d", &json!({"order_id": NULL}), &NULL),
        envelope("u", &row(0, "", &[]), &moved),
        flat,
    ] {
        let failed = short(&harness.run([keyed_by_customer(&event)])).expect_err("the order is not known");
        assert!(failed.contains("`order_id`") && failed.contains("set REPLICA IDENTITY FULL"), "{failed}");
    }
    let column = json!({"type": "int64", "default": 1, "field": "order_id"});
    let schema = json!({"fields": [{"field": "before", "fields": [column]}]});
    let by_default = json!({"schema": schema, "payload": envelope("d", &order, &NULL)});
    let failed = short(&harness.run([keyed_by_customer(&by_default)])).expect_err("1 is the default");
    assert!(failed.contains("set REPLICA IDENTITY FULL"), "{failed}");
    // The record's own key is certain, and so is another value of the row.
    let zero = record(0, &envelope("c", &NULL, &row(0, "new", &[(8, 1)])));
    check(&mut harness, zero, "+1x8");
    check(&mut harness, record(0, &envelope("d", &row(0, "new", &[]), &NULL)), "-1x8");
    check(&mut harness, keyed_by_customer(&envelope("u", &order, &moved)), "-2x7 +2x7");
    check(&mut harness, keyed_by_customer(&envelope("d", &moved, &NULL)), "-2x7");
    assert!(harness.state("orders").is_empty());
}

#[test]
fn orders_with_one_id_and_two_keys_are_two_orders() {
    let mut harness = shipped();
    let of = |table: &str, value: &Value| {
        let input = if value.is_null() { Input::tombstone() } else { Input::json(value) };
        input.key(json!({"order_id": 1, "__dbz__physicalTableIdentifier": table}).to_string())
    };
    let order = row(1, "new", &[(7, 2)]);
    let more = row(1, "new", &[(7, 3)]);
    check(&mut harness, of("eu", &envelope("c", &NULL, &order)), "+2x7");
    let outcome = harness.run([of("us", &envelope("c", &NULL, &more))]);
    assert_eq!(short(&outcome).as_deref(), Ok("+3x7"));
    assert_eq!(outcome.messages[0].json()["order_key"], json!({"order_id": 1, "__dbz__physicalTableIdentifier": "us"}));
    check(&mut harness, of("eu", &envelope("u", &NULL, &more)), "+1x7");
    check(&mut harness, of("us", &envelope("d", &more, &NULL)), "-3x7");
    check(&mut harness, of("us", &NULL), "");
    let keys: Vec<String> = harness.entries::<str, Value>("orders").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [json!({"order_id": 1, "__dbz__physicalTableIdentifier": "eu"}).to_string()]);
}

#[test]
fn items_are_not_sent_in_other_shapes_and_under_other_names() {
    let config = json!({"unavailable_value_placeholder": "(gone)", "pairs": false});
    let mut harness = with_config(&config);
    let mut unsent = row(1, "new", &[]);
    unsent["items"] = json!("(gone)");
    check(&mut harness, record(1, &envelope("c", &NULL, &row(1, "new", &[(7, 2)]))), "+2x7");
    check(&mut harness, record(1, &envelope("u", &NULL, &unsent)), "");
    unsent["items"] = json!(["(gone)"]);
    check(&mut harness, record(1, &envelope("u", &row(1, "new", &[(7, 5)]), &unsent)), "+3x7");
    // `before` that has the key alone knows no items: those that are stored stay.
    let mut bare = row(1, "new", &[]);
    for filler in [NULL, json!("[]"), json!("{}"), json!("")] {
        bare["items"] = filler;
        check(&mut harness, record(1, &envelope("u", &bare, &unsent)), "");
    }
}

#[test]
fn flat_rows_and_other_ids_count_alike() {
    let mut harness = shipped();
    let flat = |op: &str, items: &[(i64, i64)]| {
        let mut row = row(1, "new", items);
        row["__op"] = json!(op);
        record(1, &row)
    };
    check(&mut harness, flat("c", &[(7, 2)]), "+2x7");
    check(&mut harness, flat("u", &[(7, 1)]), "-1x7");
    check(&mut harness, flat("d", &[(7, 1)]), "-1x7");
    let mut named = row(1, "new", &[]);
    named["order_id"] = json!("A-1");
    named["items"] = json!([{"qty": 1, "product_id": "TEA \"1\""}]);
    let outcome = harness.run([Input::json(&named)]);
    assert_eq!(
        outcome.messages[0].text(),
        r#"{"order_id":"A-1","product_id":"TEA \"1\"","quantity":1,"at_ms":1772361296789}"#
    );
    assert_eq!(outcome.messages[0].key.as_deref(), Some(&br#"{"product_id":"TEA \"1\""}"#[..]));
    assert!(harness.state("orders").contains_key(&br#"{"order_id":"A-1"}"#[..]));
}

/// Quantities and amounts of the lines of product 7, as they are sent for these items.
fn amounts(harness: &mut Harness<order_lines::order_lines>, items: &Value) -> Vec<(i64, String)> {
    let mut order = row(1, "new", &[]);
    order["items"] = items.clone();
    let outcome = harness.run([record(1, &envelope("u", &NULL, &order))]);
    assert_eq!(outcome.failures, []);
    let lines = outcome.messages.iter().filter(|sent| sent.output == "lines").map(|sent| sent.json());
    let amount = |line: Value| {
        assert_eq!(line["product_id"], 7);
        (line["quantity"].as_i64().expect("a number"), line["amount"].as_str().expect("an amount").to_owned())
    };
    lines.map(amount).collect()
}

#[test]
fn pieces_that_are_given_back_at_another_price_leave_their_amount() {
    let mut harness = shipped();
    let item = |qty: i64, unit_price: &str| json!({"product_id": 7, "qty": qty, "unit_price": unit_price});
    let line = |quantity: i64, amount: &str| vec![(quantity, amount.to_owned())];
    assert_eq!(amounts(&mut harness, &json!([item(2, "7.90")])), line(2, "15.80"));
    assert_eq!(amounts(&mut harness, &json!([item(2, "7.90"), item(-2, "6.00")])), line(-2, "-12.00"));
    assert_eq!(amounts(&mut harness, &json!([item(2, "7.90"), item(-2, "6.00")])), []);
    // In both events nothing is sold any more, but the first has earned 3.80.
    assert_eq!(amounts(&mut harness, &json!([item(2, "6.00"), item(-2, "6.00")])), line(0, "-3.80"));
    assert_eq!(amounts(&mut harness, &json!([item(1, "5.00"), item(-1, "1.00")])), line(0, "4.00"));
    let outcome = harness.run([tombstone(1)]);
    assert_eq!(outcome.messages[0].json()["amount"], "-4.00");
    assert!(harness.state("orders").is_empty());
}

#[test]
fn encoded_decimals_are_neither_ids_nor_prices() {
    let mut harness = shipped();
    let name = "org.apache.kafka.connect.data.Decimal";
    let decimal = |field: &str| json!({"type": "bytes", "name": name, "parameters": {"scale": "0"}, "field": field});
    let with_column = |column: &Value, order: &Value| {
        let schema = json!({"fields": [{"field": "after", "fields": [column]}]});
        Input::json(&json!({"schema": schema, "payload": envelope("c", &NULL, order)}))
    };
    let mut order = row(1, "new", &[(7, 2)]);
    order["order_id"] = json!("Bw==");
    let failed = short(&harness.run([with_column(&decimal("order_id"), &order)])).expect_err("no record's key says it");
    assert!(failed.contains("the row has an encoded decimal"), "{failed}");
    let mut order = row(1, "new", &[]);
    order["items"] = json!([{"product_id": 7, "qty": 1, "unit_price": "1234"}]);
    let item = json!({"type": "struct", "fields": [decimal("unit_price")]});
    let items = json!({"type": "array", "items": item, "field": "items"});
    let failed = short(&harness.run([with_column(&items, &order)])).expect_err("base64");
    assert!(failed.contains("column `items`: it has decimals within it"), "{failed}");
    order["items"] = NULL;
    check(&mut harness, with_column(&items, &order), "");
}

#[test]
fn what_is_no_order_leads_to_nothing_or_fails_alone() {
    let mut harness = shipped();
    check(&mut harness, Input::json(&json!({"before": NULL, "after": NULL, "source": {}, "op": "t"})), "");
    check(&mut harness, Input::text(r#"{"op":"m","source":{},"message":{"prefix":"x"}}"#), "");
    check(&mut harness, Input::tombstone(), "");
    let fails = |harness: &mut Harness<_>, input: Input, part: &str| {
        let error = short(&harness.run([input])).expect_err(part);
        assert!(error.contains(part), "{error}");
    };
    fails(&mut harness, Input::text("{"), "the value is not JSON");
    fails(&mut harness, Input::json(&row(1, "new", &[])).key("{"), "the record's key is not JSON");
    fails(&mut harness, Input::json(&json!({"items": "[]", "status": "new"})), "`order_id`");
    fails(&mut harness, record(1, &json!({"order_id": 1, "items": "[]"})), "the row has no column `status`");
    fails(&mut harness, record(1, &json!({"order_id": 1, "status": "new"})), "the row has no column `items`");
    fails(&mut harness, record(1, &json!({"order_id": 1, "status": "new", "items": "[7]"})), "item 1 is not an object");
    fails(&mut harness, record(1, &envelope("u", &row(1, "new", &[]), &NULL)), "no row `after`");
    fails(&mut harness, record(1, &json!({"before": NULL, "after": row(1, "new", &[(7, 1)])})), "no `op`");
    fails(&mut harness, record(1, &json!({"before": NULL, "after": "{}", "op": "c"})), "`after` is a JSON text");
    fails(&mut harness, record(1, &json!({"ts_ms": 1})), "a heartbeat");
    let audited = json!({"audit_id": 1, "op": "d", "before": NULL, "after": NULL});
    fails(&mut harness, record(1, &audited), "no envelope for certain");
    assert!(harness.state("orders").is_empty());
}

#[test]
fn another_configuration_takes_back_what_was_said_under_the_one_before() {
    let wide = json!({"pairs_products_max": 20});
    let narrow = json!({"pairs_products_max": 2});
    let three = record(1, &envelope("c", &NULL, &row(1, "new", &[(1, 1), (2, 1), (3, 1)])));
    for (first, second) in [(&wide, &narrow), (&narrow, &wide), (&json!({"pairs": false}), &wide)] {
        let mut sums = Sums::default();
        let mut before = with_config(first);
        let mut after = with_config(second);
        sums.add(&before.run([three.clone()]));
        let remembered: Vec<(String, Value)> = before.entries::<str, Value>("orders");
        after.within(|| {
            let orders = sandbar_sdk::Store::<str, Value>::open("orders").expect("named");
            remembered.iter().for_each(|(key, value)| orders.put(key, value).expect("JSON"));
        });
        sums.add(&after.run([tombstone(1)]));
        assert!(sums.lines.is_empty() && sums.pairs.is_empty(), "{first} {second}: {:?}", sums.pairs);
    }
}
