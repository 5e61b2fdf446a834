//! recommendation-weights from records to records, in the harness: written out, and random against an oracle.

use recommendation_weights::recommendation_weights;
use sandbar_sdk::testing::{Harness, Input, Outcome, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const DAY_MS: i64 = 86_400_000;

fn with_config(config: &Value) -> Harness<recommendation_weights> {
    Harness::new(config).inputs(["shop.order_pairs"]).outputs(["top"])
}

fn shipped() -> Harness<recommendation_weights> {
    let spec: Value = serde_norway::from_str(include_str!("../transform.yaml")).expect("the spec is YAML");
    with_config(&spec["config"])
}

fn key(product: i64) -> String {
    format!(r#"{{"product_id":{product}}}"#)
}

fn pairs(product: i64, joined: &[i64], left: &[i64], day: i64) -> Input {
    let value = json!({"order_id": 1, "product_id": product, "joined": joined, "left": left, "at_ms": day * DAY_MS + 5});
    Input::json(&value).key(key(product)).timestamp(day * DAY_MS)
}

fn in_category(category: &str) -> Vec<u8> {
    json!({"before": null, "after": {"product_id": 1, "category": category}, "source": {}, "op": "r"})
        .to_string()
        .into_bytes()
}

/// Products and categories of each message; `None` is a tombstone.
fn tops(outcome: &Outcome) -> Vec<Option<(String, String)>> {
    assert_eq!(outcome.failures, []);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let top = |value: Value| (text(&value["others"]), text(&value["categories"]));
    outcome.messages.iter().map(|sent| sent.value.as_ref().map(|_| top(sent.json()))).collect()
}

fn top(others: &str, categories: &str) -> Vec<Option<(String, String)>> {
    vec![Some((others.to_owned(), categories.to_owned()))]
}

#[test]
fn the_top_is_sent_when_it_changes() {
    let table = [(key(2), in_category("tea")), (key(3), in_category("cups")), (key(4), in_category("tea"))];
    let mut harness = shipped().table("products", table);
    let outcome = harness.set_now(DAY_MS).run([pairs(1, &[3, 2], &[], 0)]);
    assert_eq!(
        outcome.messages[0].text(),
        r#"{"product_id":1,"others":"[2,3]","categories":"[\"cups\",\"tea\"]","at_ms":0}"#
    );
    assert_eq!(outcome.messages[0].key.as_deref(), Some(key(1).as_bytes()));
    assert_eq!(tops(&harness.run([pairs(1, &[2], &[], 0)])), top("[2,3]", r#"["tea","cups"]"#));
    assert_eq!(tops(&harness.run([pairs(1, &[2], &[], 0)])), [], "more of the same");
    assert_eq!(tops(&harness.run([pairs(1, &[4, 5], &[], 0)])), top("[2,3,4,5]", r#"["tea","cups"]"#));
    assert_eq!(tops(&harness.run([pairs(1, &[], &[2, 3, 4, 5], 0)])), top("[2]", r#"["tea"]"#));
    assert_eq!(tops(&harness.run([pairs(1, &[], &[2, 2], 0)])), [None]);
    assert!(harness.state("companies").is_empty());
}

#[test]
fn time_forgets_and_the_tick_says_so() {
    let mut harness = with_config(&json!({"half_life_days": 7, "least_weight_ppm": 250_000, "recheck_products_max": 2}));
    let records = (0..5).map(|product| pairs(product, &[7, 8], &[], 0));
    assert_eq!(harness.run(records).messages.len(), 5);
    harness.set_now(14 * DAY_MS).run([pairs(0, &[8], &[], 14)]);
    let mut ticks = |days: i64| harness.tick(days * DAY_MS);
    assert_eq!((0..3).map(|_| ticks(14).messages.len()).collect::<Vec<_>>(), [0, 0, 0]);
    assert_eq!(tops(&ticks(21)), [Some(("[8]".to_owned(), "[]".to_owned())), None]);
    assert_eq!((tops(&ticks(21)), tops(&ticks(21)), tops(&ticks(21))), (vec![None, None], vec![None], vec![]));
    assert_eq!(ticks(21).messages, []);
    assert!(harness.state("companies").keys().eq([key(0).as_bytes()]));
}

#[test]
fn a_category_that_changes_is_taken_up_by_the_tick() {
    let mut harness = shipped();
    assert_eq!(tops(&harness.run([pairs(1, &[2], &[], 0)])), top("[2]", "[]"));
    harness.set_table_entry("products", key(2), Some(in_category("tea")));
    assert_eq!(tops(&harness.tick(1)), top("[2]", r#"["tea"]"#));
    assert_eq!(tops(&harness.tick(2)), []);
}

#[test]
fn what_is_no_change_of_company_fails_alone() {
    let mut harness = shipped();
    let outcome = harness.run([Input::tombstone(), Input::text("{}"), pairs(1, &[2], &[], 0)]);
    assert_eq!((outcome.failures.len(), outcome.messages.len()), (2, 1));
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

const PRODUCTS: i64 = 8;
/// Spans of days are half lives, so that the oracle can weigh by shifting.
const HALF_LIFE_DAYS: i64 = 10;
const TOP: usize = 3;

/// Orders by number: the day, and the products now in it.
type Orders = BTreeMap<i64, (i64, BTreeSet<i64>)>;

fn config() -> Value {
    json!({"half_life_days": HALF_LIFE_DAYS, "bucket_days": HALF_LIFE_DAYS, "top": TOP, "pairs_max": 100, "least_weight_ppm": 1})
}

fn some_products(random: &mut Random) -> BTreeSet<i64> {
    (0..random.below(5)).map(|_| random.below(PRODUCTS)).collect()
}

/// An order changes: the records of that.
fn change(orders: &mut Orders, random: &mut Random, today: i64) -> Vec<Input> {
    let number = random.below(12);
    let (day, before) = orders.get(&number).cloned().unwrap_or((today - random.below(40), BTreeSet::new()));
    let after = some_products(random);
    let records = records(day, &before, &after);
    if after.is_empty() {
        drop(orders.remove(&number))
    } else {
        drop(orders.insert(number, (day, after)))
    }
    records
}

/// The outputs of order-lines when the products of an order change.
fn records(day: i64, before: &BTreeSet<i64>, after: &BTreeSet<i64>) -> Vec<Input> {
    let records = before.union(after).filter_map(|product| {
        let others = |of: &BTreeSet<i64>, not: &BTreeSet<i64>| -> Vec<i64> {
            let has = |set: &BTreeSet<i64>, other: &i64| set.contains(product) && set.contains(other) && product != other;
            of.iter().copied().filter(|other| has(of, other) && !has(not, other)).collect()
        };
        let joined = others(after, before);
        let left = others(before, after);
        (!joined.is_empty() || !left.is_empty()).then(|| pairs(*product, &joined, &left, day))
    });
    records.collect()
}

/// The best others of each product, by the present orders.
fn oracle(orders: &Orders, today: i64) -> BTreeMap<i64, String> {
    let mut weights: BTreeMap<i64, BTreeMap<i64, u128>> = BTreeMap::new();
    for (day, products) in orders.values() {
        let age = (today - day.div_euclid(HALF_LIFE_DAYS) * HALF_LIFE_DAYS) / HALF_LIFE_DAYS;
        for product in products {
            for other in products.iter().filter(|other| *other != product) {
                *weights.entry(*product).or_default().entry(*other).or_default() += (1 << 40) >> age;
            }
        }
    }
    let best = |(product, weights): (i64, BTreeMap<i64, u128>)| {
        let mut ranked: Vec<(i64, u128)> = weights.into_iter().collect();
        ranked.sort_by_key(|&(other, weight)| (std::cmp::Reverse(weight), other));
        let others: Vec<i64> = ranked.into_iter().take(TOP).map(|(other, _)| other).collect();
        (product, json!(others).to_string())
    };
    weights.into_iter().map(best).collect()
}

#[test]
fn the_top_is_that_of_the_orders_whatever_came_in_between() {
    for seed in 1..=150 {
        let mut random = Random(seed);
        let mut harness = with_config(&config());
        let mut orders = Orders::new();
        let mut shown = BTreeMap::new();
        // Ages are whole half lives: the day on which one ends.
        let mut today = 40;
        for step in 0..40 {
            let outcome = match random.below(8) {
                0 => {
                    today += HALF_LIFE_DAYS;
                    harness.tick(today * DAY_MS)
                }
                _ => {
                    let records = change(&mut orders, &mut random, today);
                    harness.set_now(today * DAY_MS).run(records)
                }
            };
            assert_eq!(outcome.failures, [], "seed {seed}, step {step}");
            for sent in &outcome.messages {
                let key: Value = serde_json::from_slice(sent.key.as_deref().expect("a key")).expect("JSON");
                let product = key["product_id"].as_i64().expect("a number");
                let others = sent.value.as_ref().map(|_| sent.json()["others"].as_str().expect("a text").to_owned());
                assert_ne!(shown.get(&product), others.as_ref(), "seed {seed}, step {step}: nothing has changed");
                match others {
                    Some(others) => drop(shown.insert(product, others)),
                    None => drop(shown.remove(&product)),
                }
            }
            assert_eq!(shown, oracle(&orders, today), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn the_order_in_which_orders_change_does_not_matter() {
    for seed in 1..=60 {
        let mut random = Random(seed);
        // Each order's records in their order; those of different orders in any.
        let life = |random: &mut Random| {
            let day = random.below(40);
            let mut products = BTreeSet::new();
            let changes = (0..4).flat_map(|_| {
                let before = std::mem::replace(&mut products, some_products(random));
                records(day, &before, &products)
            });
            changes.collect::<Vec<Input>>()
        };
        let queues: Vec<Vec<Input>> = (0..12).map(|_| life(&mut random)).collect();
        let run = |random: &mut Random| {
            let mut harness = with_config(&config());
            harness.set_now(40 * DAY_MS);
            let mut queues = queues.clone();
            while queues.iter().any(|queue| !queue.is_empty()) {
                let at = random.below(queues.len() as i64) as usize;
                if !queues[at].is_empty() {
                    assert_eq!(harness.run([queues[at].remove(0)]).failures, []);
                }
            }
            harness.state("companies")
        };
        assert_eq!(run(&mut Random(seed)), run(&mut Random(seed + 1000)), "seed {seed}");
    }
}
