//! reorder-trigger from records to records, in the harness: a day of a product, and random days against an oracle.

use reorder_trigger::reorder_trigger;
use sandbar_sdk::testing::{Harness, Input, Outcome, Value, json};
use std::collections::BTreeMap;

fn shipped() -> Harness<reorder_trigger> {
    let spec: Value = serde_norway::from_str(include_str!("../transform.yaml")).expect("the spec is YAML");
    with_config(&spec["config"])
}

fn with_config(config: &Value) -> Harness<reorder_trigger> {
    Harness::new(config).inputs(["shop.order_lines", "shop.public.restocks"]).outputs(["levels", "reorders"])
}

fn key(product: i64) -> String {
    format!(r#"{{"product_id":{product}}}"#)
}

fn line(product: i64, quantity: i64) -> Input {
    let value = json!({"order_id": 1, "product_id": product, "quantity": quantity, "amount": "1.5", "at_ms": 0});
    Input::json(&value).key(key(product)).timestamp(5)
}

fn envelope(op: &str, before: Value, after: Value) -> Value {
    json!({"before": before, "after": after, "source": {"db": "shop"}, "op": op, "ts_ms": 1})
}

fn delivery(restock: i64, product: i64, quantity: i64) -> Value {
    json!({"restock_id": restock, "product_id": product, "quantity": quantity, "restocked_at": "2026-03-01T10:00:00Z"})
}

fn restock(op: &str, restock: i64, product: i64, quantity: i64) -> Input {
    let row = delivery(restock, product, quantity);
    let event = if op == "d" { envelope(op, row, Value::Null) } else { envelope(op, Value::Null, row) };
    Input::json(&event).key(key(product)).timestamp(6)
}

/// An entry of the products table.
fn product(stock: i64, threshold: i64, quantity: i64) -> Vec<u8> {
    let row = json!({"product_id": 1, "name": "tea", "category": "kitchen", "price": "7.90", "stock": stock,
        "reorder_threshold": threshold, "reorder_quantity": quantity});
    envelope("r", Value::Null, row).to_string().into_bytes()
}

fn sent(outcome: &Outcome) -> Vec<(&str, Value)> {
    assert_eq!(outcome.failures, []);
    let value = |sent: &sandbar_sdk::testing::SentMessage| sent.value.as_ref().map_or(Value::Null, |_| sent.json());
    outcome.messages.iter().map(|sent| (sent.output.as_str(), value(sent))).collect()
}

#[test]
fn the_table_may_have_its_keys_in_another_form() {
    let wrapped = json!({"schema": {"type": "struct"}, "payload": {"product_id": 7}}).to_string();
    for written in [key(7), r#"{"product_id": 7}"#.to_owned(), r#"{"product_id":7.0}"#.to_owned(), wrapped] {
        let mut harness = shipped().table("products", [(written.clone(), product(30, 20, 50))]);
        let outcome = harness.read_from(0, 0).run([line(7, 11)]);
        assert_eq!(sent(&outcome).len(), 2, "{written}");
        harness.set_table_entry("products", written, None);
        let outcome = harness.run([line(7, 1)]);
        assert_eq!(sent(&outcome), [("levels", Value::Null)], "the row is gone");
    }
}

#[test]
fn a_product_that_runs_low_is_ordered_once() {
    let mut harness = shipped().table("products", [(key(7), product(30, 20, 50))]);
    let outcome = harness.read_from(0, 0).run([line(7, 10), line(7, 1), line(7, 2)]);
    let level = |level: i64, sold: i64, open: bool| {
        json!({"product_id": 7, "level": level, "stock": 30, "sold": sold, "restocked": 0, "reorder_threshold": 20,
            "reorder_open": open, "at_ms": 5})
    };
    let reorder =
        json!({"reorder_id": "7-1", "product_id": 7, "quantity": 50, "level": 19, "reorder_threshold": 20, "at_ms": 5});
    assert_eq!(
        sent(&outcome),
        [
            ("levels", level(20, 10, false)),
            ("levels", level(19, 11, true)),
            ("reorders", reorder),
            ("levels", level(17, 13, true))
        ]
    );
    assert!(outcome.messages.iter().all(|sent| sent.key.as_deref() == Some(key(7).as_bytes())));
    // Flat, and in the order in which a person reads it.
    assert_eq!(
        outcome.messages[0].text(),
        r#"{"product_id":7,"level":20,"stock":30,"sold":10,"restocked":0,"reorder_threshold":20,"reorder_open":false,"at_ms":5}"#
    );
    let outcome = harness.read_from(1, 0).run([restock("c", 1, 7, 50), restock("r", 1, 7, 50)]);
    let levels: Vec<i64> = sent(&outcome).iter().filter_map(|(_, value)| value["level"].as_i64()).collect();
    assert_eq!(levels, [67], "a delivery counts once");
}

#[test]
fn orders_alone_never_order_twice() {
    let mut harness = shipped().table("products", [(key(7), product(30, 20, 50))]);
    harness.read_from(0, 0);
    let reorders = |harness: &mut Harness<reorder_trigger>, input: Input| {
        let outcome = harness.run([input]);
        let found = sent(&outcome).into_iter().filter(|(output, _)| *output == "reorders");
        found.map(|(_, value)| value["reorder_id"].clone()).collect()
    };
    let mut all: Vec<Value> = reorders(&mut harness, line(7, 11));
    // Cancelled and ordered by another, under a new primary key, and both once more.
    for quantity in [-11, 11, -11, 11, -11, 11] {
        all.extend(reorders(&mut harness, line(7, quantity)));
    }
    assert_eq!(all, ["7-1"]);
    harness.read_from(1, 0);
    assert_eq!(reorders(&mut harness, restock("c", 1, 7, 1)), Vec::<Value>::new(), "enough");
    harness.read_from(0, 0);
    assert_eq!(reorders(&mut harness, line(7, 1)), ["7-2"]);
}

#[test]
fn deliveries_are_counted_as_they_are_now() {
    const NONE: [i64; 0] = [];
    let mut harness = shipped().table("products", [(key(7), product(0, -100, 1))]);
    harness.read_from(1, 0);
    let mut restocked = |input: Input| {
        let outcome = harness.run([input]);
        sent(&outcome).iter().map(|(_, value)| value["restocked"].as_i64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(restocked(restock("c", 1, 7, 50)), [50]);
    assert_eq!(restocked(restock("c", 2, 7, 5)), [55]);
    assert_eq!(restocked(restock("u", 1, 7, 40)), [45]);
    assert_eq!(restocked(restock("u", 1, 7, 40)), NONE);
    assert_eq!(restocked(restock("d", 1, 7, 40)), [5]);
    assert_eq!(restocked(restock("d", 1, 7, 40)), NONE);
    assert_eq!(restocked(Input::tombstone().key(key(7))), NONE);
    // A delete has little under REPLICA IDENTITY DEFAULT.
    let bare = envelope("d", json!({"restock_id": 2, "product_id": 0, "quantity": 0}), Value::Null);
    assert_eq!(restocked(Input::json(&bare).key(key(7))), [0]);
    // A TRUNCATE names no delivery, and has no key. A converter may put a tombstone into a wrapper.
    assert_eq!(restocked(Input::text(r#"{"op":"t","before":null,"after":null,"source":{}}"#)), NONE);
    assert_eq!(restocked(Input::text(r#"{"schema":null,"payload":null}"#).key(key(7))), NONE);
}

/// The table is keyed by product in its topic: a delivery that gets another number is an update, and one of another product
/// is a delete and a create. A connector may repeat both.
#[test]
fn deliveries_that_are_renamed_or_moved_are_counted_once() {
    let mut harness = shipped().table("products", [(key(7), product(0, -100, 1)), (key(8), product(0, -100, 1))]);
    harness.read_from(1, 0);
    let mut levels = std::collections::BTreeMap::new();
    let mut run = |input: Input| {
        for (_, value) in sent(&harness.run([input])) {
            levels.insert(value["product_id"].as_i64(), value["level"].as_i64());
        }
        [7, 8].map(|product| levels.get(&Some(product)).copied().flatten())
    };
    assert_eq!(run(restock("c", 1, 7, 50)), [Some(50), None]);
    let renamed = envelope("u", delivery(1, 7, 50), delivery(2, 7, 50));
    for _ in 0..2 {
        assert_eq!(run(Input::json(&renamed).key(key(7))), [Some(50), None]);
    }
    assert_eq!(run(restock("d", 2, 7, 50)), [Some(0), None]);

    run(restock("c", 3, 7, 10));
    let moved = || [restock("d", 3, 7, 10), Input::tombstone().key(key(7)), restock("c", 3, 8, 10)];
    for input in moved().into_iter().chain(moved()).chain([restock("r", 3, 8, 10)]) {
        run(input);
    }
    assert_eq!(run(Input::tombstone().key(key(7))), [Some(0), Some(10)]);
}

#[test]
fn a_bad_row_of_the_table_keeps_no_other_product_from_its_tick() {
    let mut harness = shipped();
    assert_eq!(sent(&harness.read_from(0, 0).run([line(6, 1), line(7, 1), line(8, 1)])), []);
    harness.set_table_entry("products", key(6), Some(product(10, 6, 3)));
    harness.set_table_entry("products", key(7), Some(br#"{"before":null,"after":{"stock":3}}"#.to_vec()));
    harness.set_table_entry("products", key(8), Some(product(10, 6, 3)));
    let outcome = harness.tick(200);
    let products: Vec<_> = sent(&outcome).iter().map(|(_, value)| value["product_id"].clone()).collect();
    assert_eq!(products, [json!(6), json!(8)]);
}

#[test]
fn what_the_table_says_later_is_taken_up_by_the_tick() {
    let mut harness = shipped();
    assert_eq!(sent(&harness.read_from(0, 0).run([line(7, 5), line(8, 1)])), []);
    assert_eq!(sent(&harness.tick(100)), []);
    harness.set_table_entry("products", key(7), Some(product(10, 6, 3)));
    let outcome = harness.tick(200);
    let found = sent(&outcome);
    assert_eq!((found.len(), &found[0].1["level"], &found[1].1["quantity"]), (2, &json!(5), &json!(3)));
    assert_eq!(found[0].1["at_ms"], 200);
    assert_eq!(sent(&harness.tick(300)), [], "nothing new");
    harness.set_table_entry("products", key(7), Some(product(12, 6, 3)));
    assert_eq!(sent(&harness.tick(400))[0].1["reorder_open"], json!(false));
    // The product is gone, and its row in the sink too; the counts stay.
    for gone in [Some(envelope("d", json!({"stock": 0, "reorder_threshold": 0, "reorder_quantity": 0}), Value::Null)), None]
    {
        harness.set_table_entry("products", key(7), gone.map(|event| event.to_string().into_bytes()));
        let outcome = harness.tick(500);
        for (output, value) in sent(&outcome) {
            assert_eq!((output, value), ("levels", Value::Null));
        }
    }
    harness.set_table_entry("products", key(7), Some(product(20, 6, 3)));
    assert_eq!(sent(&harness.tick(600))[0].1["level"], json!(15));
}

#[test]
fn deliveries_and_products_that_are_no_rows_fail_alone() {
    let mut harness = shipped();
    harness.read_from(1, 0);
    for (value, part) in [
        (json!({"before": null, "after": delivery(1, 7, 5)}), "no `op`"),
        (envelope("c", Value::Null, json!([1, 5])), "`after` is a JSON array"),
        (envelope("u", Value::Null, json!({"restock_id": 1, "quantity": "__debezium_unavailable_value"})), "was not sent"),
    ] {
        let outcome = harness.run([Input::json(&value).key(key(7))]);
        assert!(outcome.failures[0].message.contains(part), "{value}: {}", outcome.failures[0].message);
    }
    // A product that is deleted in a topic of flat rows is gone.
    let gone = json!({"stock": 30, "reorder_threshold": 20, "reorder_quantity": 50, "__deleted": "true"});
    let mut harness = shipped().table("products", [(key(7), gone.to_string().into_bytes())]);
    assert_eq!(sent(&harness.read_from(0, 0).run([line(7, 11)])), []);
    // So is one whose delete has little more than the key, since its columns may be null, and one of a wrapped tombstone.
    let bare = envelope("d", json!({"product_id": 7, "stock": null, "reorder_threshold": null}), Value::Null);
    for gone in [bare, json!({"schema": null, "payload": null})] {
        let mut harness = shipped().table("products", [(key(7), gone.to_string().into_bytes())]);
        assert_eq!(sent(&harness.read_from(0, 0).run([line(7, 11)])), []);
    }
    // A row of the table that is none fails the line that asks for it, and so does a value that was not sent.
    for (row, part) in [
        (envelope("c", Value::Null, json!({"stock": 30, "reorder_threshold": null})), "has no reorder_threshold"),
        (json!({"before": null, "after": {"stock": 30, "reorder_threshold": 20, "reorder_quantity": 50}}), "no `op`"),
        (
            envelope("u", Value::Null, json!({"stock": "__debezium_unavailable_value", "reorder_threshold": 20})),
            "column `stock` was not sent",
        ),
    ] {
        let mut harness = shipped().table("products", [(key(7), row.to_string().into_bytes())]);
        let outcome = harness.read_from(0, 0).run([line(7, 11)]);
        assert!(outcome.failures[0].message.contains(part), "{}", outcome.failures[0].message);
    }
}

#[test]
fn ticks_go_around_all_products_some_at_a_time() {
    let mut harness = with_config(&json!({"recheck_products_max": 3}));
    harness.read_from(0, 0).run((0..10).map(|product| line(product, 1)));
    for product_id in 0..10 {
        harness.set_table_entry("products", key(product_id), Some(product(10, 0, 1)));
    }
    let counts: Vec<usize> = (0..5).map(|tick| sent(&harness.tick(tick)).len()).collect();
    assert_eq!(counts, [3, 3, 3, 1, 0]);
}

#[test]
fn a_key_that_would_be_in_another_partition_fails() {
    let mut harness = shipped();
    for (input, keys) in [
        (0, [r#"{"product_id": 7}"#, "[7]", r#"{"product_id":7,"__dbz__physicalTableIdentifier":"eu"}"#]),
        (1, [r#"{"restock_id":1}"#, r#"{"schema":{},"payload":{"product_id":7}}"#, r#"{"product_id":7,"restock_id":1}"#]),
    ] {
        for bad in keys {
            let record = if input == 0 { line(7, 1) } else { restock("c", 1, 7, 1) };
            let outcome = harness.read_from(input, 0).run([record.key(bad)]);
            let message = &outcome.failures[0].message;
            assert!(message.contains("and no {\"product_id\":7}"), "{message}");
            assert_eq!(message.contains("message.key.columns"), input == 1, "{message}");
        }
    }
    for bad in ["{", r#"{"product_id":7}"#, r#"{"quantity":1.5}"#, "[5]"] {
        assert_eq!(harness.read_from(0, 0).run([Input::text(bad).key(key(7))]).failures.len(), 1, "{bad}");
    }
    assert!(harness.state("levels").is_empty());
}

/// SplitMix64: a failing test prints the seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit as u64) as i64
    }
}

/// The oracle's state of a product.
#[derive(Default)]
struct Truth {
    sold: i64,
    /// By delivery.
    restocks: BTreeMap<i64, i64>,
    /// Stock, threshold.
    table: Option<(i64, i64)>,
}

impl Truth {
    fn level(&self) -> Option<i64> {
        self.table.map(|(stock, _)| stock - self.sold + self.restocks.values().sum::<i64>())
    }
}

#[test]
fn levels_are_stock_less_lines_plus_deliveries_and_no_two_reorders_are_open() {
    const PRODUCTS: i64 = 4;
    for seed in 1..=200 {
        let mut random = Random(seed);
        let mut harness = shipped();
        let mut truth: BTreeMap<i64, Truth> = BTreeMap::new();
        let mut shown: BTreeMap<i64, i64> = BTreeMap::new();
        // True if a reorder of the product may be sent: since the last one there was a delivery, or enough by the
        // table.
        let mut armed: BTreeMap<i64, bool> = BTreeMap::new();
        for step in 0..80 {
            let product_id = random.below(PRODUCTS);
            let mut is_lifted = false;
            let outcome = match random.below(10) {
                0..6 => {
                    let quantity = random.below(8) - 2;
                    truth.entry(product_id).or_default().sold += quantity;
                    harness.read_from(0, 0).run([line(product_id, quantity)])
                }
                6 => {
                    // New, changed, repeated or gone: deliveries of a product have ids of their own.
                    let id = product_id + PRODUCTS * random.below(3);
                    let restocks = &mut truth.entry(product_id).or_default().restocks;
                    let before = restocks.get(&id).copied().unwrap_or(0);
                    let input = match random.below(4) {
                        0 => {
                            restocks.remove(&id);
                            restock("d", id, product_id, before)
                        }
                        op => {
                            let quantity = 1 + random.below(20);
                            restocks.insert(id, quantity);
                            restock(["c", "u", "r"][op as usize - 1], id, product_id, quantity)
                        }
                    };
                    if restocks.get(&id).copied().unwrap_or(0) > before {
                        armed.insert(product_id, true);
                    }
                    harness.read_from(1, 0).run([input])
                }
                7 => {
                    let stock = random.below(30);
                    let threshold = random.below(15);
                    let is_known = random.below(5) > 0;
                    let table = &mut truth.entry(product_id).or_default().table;
                    is_lifted = is_known && table.is_none_or(|(was, least)| stock - threshold > was - least);
                    *table = is_known.then_some((stock, threshold));
                    let entry = is_known.then(|| product(stock, threshold, 10));
                    harness.set_table_entry("products", key(product_id), entry);
                    harness.read_from(0, 0).tick(step)
                }
                _ => harness.read_from(0, 0).tick(step),
            };
            for (output, value) in sent(&outcome) {
                if output == "reorders" {
                    let product_id = value["product_id"].as_i64().expect("a number");
                    assert_eq!(armed.insert(product_id, false), Some(true), "seed {seed}, step {step}: a second reorder");
                    let number = |name: &str| value[name].as_i64().expect("a number");
                    let (stock, threshold) = truth[&product_id].table.expect("only what is known is ordered");
                    assert_eq!(truth[&product_id].level(), Some(number("level")), "seed {seed}, step {step}: stock {stock}");
                    assert!(number("level") < threshold && number("level") + number("quantity") >= threshold);
                    assert!(number("quantity") % 10 == 0 && number("level") + number("quantity") - 10 < threshold);
                }
            }
            for message in outcome.messages.iter().filter(|message| message.output == "levels") {
                let key: Value = serde_json::from_slice(message.key.as_deref().expect("a key")).expect("JSON");
                let product_id = key["product_id"].as_i64().expect("a number");
                match &message.value {
                    Some(_) => shown.insert(product_id, message.json()["level"].as_i64().expect("a number")),
                    None => shown.remove(&product_id),
                };
            }
            for (&id, truth) in &truth {
                let is_enough = truth.table.is_some_and(|(_, threshold)| truth.level() >= Some(threshold));
                let is_seen = harness.state("levels").contains_key(key(id).as_bytes());
                if !is_seen || (id == product_id && is_lifted && is_enough) {
                    armed.insert(id, true);
                }
                let armed = *armed.entry(id).or_insert(true);
                let expected = truth.level().filter(|_| is_seen);
                assert_eq!(shown.get(&id), expected.as_ref(), "seed {seed}, step {step}, product {id}");
                // A level that is too low has led to a reorder.
                assert!(!is_seen || truth.table.is_none() || is_enough || !armed, "seed {seed}, step {step}");
            }
        }
    }
}
