//! The common parts of the tests: the shipped configuration, events in the shapes that Debezium gives them, and the
//! sums of the output.

use order_lines::order_lines;
use sandbar_sdk::testing::{Harness, Input, Outcome, Value, json};
use std::collections::BTreeMap;

/// The transform as it is shipped.
pub fn shipped() -> Harness<order_lines> {
    let spec: Value = serde_norway::from_str(include_str!("../../transform.yaml")).expect("the spec is YAML");
    with_config(&spec["config"])
}

pub fn with_config(config: &Value) -> Harness<order_lines> {
    Harness::new(config).inputs(["shop.public.new_orders"]).outputs(["lines", "pairs"])
}

/// A row; `items` are pairs of product and quantity, at a price of 1.50 each.
pub fn row(order_id: i64, status: &str, items: &[(i64, i64)]) -> Value {
    let items: Vec<Value> =
        items.iter().map(|(product, qty)| json!({"qty": qty, "product_id": product, "unit_price": 1.5})).collect();
    let items = Value::from(items).to_string();
    json!({"order_id": order_id, "status": status, "items": items, "ordered_at": "2026-03-01T10:34:56.789012Z", "note": null})
}

pub fn envelope(op: &str, before: &Value, after: &Value) -> Value {
    json!({"before": before, "after": after, "source": {"db": "shop"}, "op": op, "ts_ms": 1})
}

pub fn with_schema(payload: &Value) -> Value {
    json!({"schema": {"type": "struct", "fields": []}, "payload": payload})
}

pub fn record(order_id: i64, value: &Value) -> Input {
    Input::json(value).key(json!({"order_id": order_id}).to_string()).timestamp(7)
}

pub fn tombstone(order_id: i64) -> Input {
    Input::tombstone().key(json!({"order_id": order_id}).to_string())
}

/// The sums of all output so far.
#[derive(Default)]
pub struct Sums {
    /// Quantity and amount in cents by order and product.
    pub lines: BTreeMap<(i64, i64), (i64, i64)>,
    /// The number of orders that hold both products, by the output.
    pub pairs: BTreeMap<(i64, i64, i64), i64>,
}

// === impl Sums ===

impl Sums {
    /// Adds a run's output, which must be well-formed: no failures, at most one record per input record, order and
    /// product in each output, none of them empty.
    #[track_caller]
    pub fn add(&mut self, outcome: &Outcome) {
        assert_eq!(outcome.failures, []);
        let mut seen = std::collections::BTreeSet::new();
        for sent in &outcome.messages {
            let value = sent.json();
            let number = |name: &str| value[name].as_i64().unwrap_or_else(|| panic!("{name} of {value}"));
            let order = number("order_id");
            let product = number("product_id");
            assert_eq!(sent.key.as_deref(), Some(json!({"product_id": product}).to_string().as_bytes()));
            assert!(seen.insert((sent.source, sent.output.clone(), order, product)), "twice: {value}");
            assert_eq!(value["at_ms"], 1_772_361_296_789_i64);
            if sent.output == "lines" {
                let cents = cents(value["amount"].as_str().expect("an amount"));
                assert!((number("quantity"), cents) != (0, 0), "nothing: {value}");
                let sum = self.lines.entry((order, product)).or_default();
                *sum = (sum.0 + number("quantity"), sum.1 + cents);
            } else {
                let others = |name: &str| value[name].as_array().expect("a list").clone();
                assert!(!others("joined").is_empty() || !others("left").is_empty(), "nothing: {value}");
                for (name, sign) in [("joined", 1), ("left", -1)] {
                    for other in others(name) {
                        let other = other.as_i64().expect("a number");
                        *self.pairs.entry((order, product, other)).or_default() += sign;
                    }
                }
            }
        }
        self.lines.retain(|_, sum| *sum != (0, 0));
        self.pairs.retain(|_, sum| *sum != 0);
    }
}

fn cents(amount: &str) -> i64 {
    let (negative, digits) = amount.strip_prefix('-').map_or((false, amount), |digits| (true, digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let cents: i64 = format!("{whole}{decimals:0<2}").parse().expect("an amount of cents");
    if negative { -cents } else { cents }
}
