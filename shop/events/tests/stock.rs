//! The stateful transforms of the shop, one after the other, over partitioned topics. Their last outputs equal a
//! computation over the table of orders.

use order_lines::order_lines;
use recommendation_weights::recommendation_weights;
use reorder_trigger::reorder_trigger;
use sandbar_sdk::Transform;
use sandbar_sdk::testing::{Harness, Input, Outcome, SentMessage, Value, json};
use sandbar_shop::{Format, Generator, partition_for};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const PARTITIONS: u32 = 4;
const EVENTS: usize = 12_000;
const BATCH: usize = 97;
/// The time of the made-up orders: 2026-03-01.
const NOW_MS: i64 = 1_772_323_200_000;

/// Records by partition, keyed as the records of every topic here.
type Topic = Vec<Vec<Input>>;

/// The documents of the file that deploys the shop.
fn specs() -> BTreeMap<String, Value> {
    let documents = serde_norway::Deserializer::from_str(include_str!("../../transforms.yaml"));
    let specs = documents.map(|document| Value::deserialize(document).expect("a document is YAML"));
    specs.map(|spec| (spec["name"].as_str().expect("a name").to_owned(), spec)).collect()
}

fn harness<T: Transform>(name: &str) -> Harness<T> {
    let spec = &specs()[name];
    let names = |value: &Value| -> Vec<String> {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let keys = |names: &serde_json::Map<String, Value>| names.keys().cloned().collect();
        value
            .as_array()
            .map_or_else(|| value.as_object().map_or_else(Vec::new, keys), |list| list.iter().map(text).collect())
    };
    let mut harness = Harness::<T>::new(&spec["config"])
        .inputs(names(&spec["inputs"]))
        .outputs(names(&spec["outputs"]))
        .stores(names(&spec["state"]));
    harness.set_now(NOW_MS);
    harness
}

fn put(topic: &mut Topic, input: Input) {
    let partition = partition_for(input.key.as_deref().expect("every record here has a key"), PARTITIONS);
    topic[partition as usize].push(input);
}

fn as_input(sent: SentMessage) -> Input {
    Input { key: sent.key, value: sent.value, headers: sent.headers, timestamp_ms: sent.timestamp_ms }
}

/// Runs a topic's records, and passes the outputs on.
fn run<T: Transform>(harness: &mut Harness<T>, input: usize, topic: &Topic, mut send: impl FnMut(SentMessage)) {
    for (partition, records) in topic.iter().enumerate() {
        for batch in records.chunks(BATCH) {
            let Outcome { messages, failures } = harness.read_from(input, partition as u32).run(batch.iter().cloned());
            assert_eq!(failures, []);
            messages.into_iter().for_each(&mut send);
        }
    }
}

/// Keeps the last record of a product, as a compacted topic does.
fn keep(last: &mut BTreeMap<i64, Value>, sent: &SentMessage) {
    let key: Value = serde_json::from_slice(sent.key.as_deref().expect("a key")).expect("a key is JSON");
    let product = key["product_id"].as_i64().expect("a number");
    match &sent.value {
        Some(_) => last.insert(product, sent.json()),
        None => last.remove(&product),
    };
}

/// Products and quantities of the orders that count, as the table of orders ends.
fn orders(topic: &[Input]) -> BTreeMap<i64, BTreeMap<i64, i64>> {
    let mut orders = BTreeMap::new();
    for record in topic {
        let Some(value) = &record.value else { continue };
        let mut event: Value = serde_json::from_slice(value).expect("an event is JSON");
        if event["payload"].is_object() {
            event = event["payload"].take();
        }
        let row = if event["after"].is_null() { &event["before"] } else { &event["after"] };
        let id = row["order_id"].as_i64().expect("a number");
        if event["after"].is_null() || row["status"] == "cancelled" {
            orders.remove(&id);
            continue;
        }
        let items: Vec<Value> = serde_json::from_str(row["items"].as_str().expect("a text")).expect("items are JSON");
        let mut lines = BTreeMap::new();
        for item in items {
            let number = |name: &str| item[name].as_i64().expect("a number");
            *lines.entry(number("product_id")).or_insert(0) += number("qty");
        }
        orders.insert(id, lines);
    }
    orders
}

/// A row of `products`, as the shop begins with it.
fn product(id: i64) -> Vec<u8> {
    let category = ["books", "garden", "kitchen", "music", "office", "toys"][(id % 6) as usize];
    let row = json!({"product_id": id, "name": format!("Product {id}"), "category": category, "stock": 30 + id % 40,
        "reorder_threshold": 20 + id % 15, "reorder_quantity": 100 + id % 50});
    json!({"before": null, "after": row, "source": {}, "op": "r"}).to_string().into_bytes()
}

fn key(product: i64) -> String {
    format!(r#"{{"product_id":{product}}}"#)
}

#[test]
fn levels_and_recommendations_are_what_the_orders_say() {
    for (seed, format) in [(1, Format::Plain), (2, Format::WithSchema)] {
        let events: Vec<Input> = Generator::with_format(seed, format)
            .take(EVENTS)
            .map(|event| Input {
                key: Some(event.key.clone()),
                value: event.value.clone(),
                headers: event.headers.clone(),
                timestamp_ms: Some(event.timestamp_ms),
            })
            .collect();
        let new_topic = || vec![Vec::new(); PARTITIONS as usize];
        let mut changes = new_topic();
        let mut lines = new_topic();
        let mut pairs = new_topic();
        let mut restocks = new_topic();
        events.iter().cloned().for_each(|event| put(&mut changes, event));
        run(&mut harness::<order_lines>("order-lines"), 0, &changes, |sent| {
            put(if sent.output == "lines" { &mut lines } else { &mut pairs }, as_input(sent));
        });

        // Every third product has been delivered.
        for id in (1..900).step_by(3) {
            let row = json!({"restock_id": id, "product_id": id, "quantity": id});
            let event = json!({"before": null, "after": row, "source": {}, "op": "c"});
            put(&mut restocks, Input::json(&event).key(key(id)));
        }
        let orders = orders(&events);
        let products = || (1..=900).map(|id| (key(id), product(id)));

        let mut stock = harness::<reorder_trigger>("reorder-trigger").table("products", products());
        let mut levels = BTreeMap::new();
        let mut reorders = BTreeSet::new();
        let mut collect = |sent: SentMessage| match sent.output.as_str() {
            "levels" => keep(&mut levels, &sent),
            _ => assert!(reorders.insert(sent.json()["reorder_id"].to_string()), "seed {seed}: {}", sent.text()),
        };
        run(&mut stock, 0, &lines, &mut collect);
        run(&mut stock, 1, &restocks, &mut collect);
        assert!(reorders.len() > 100, "seed {seed}: {} reorders", reorders.len());
        for id in 1..=900 {
            let sold: i64 = orders.values().filter_map(|lines| lines.get(&id)).sum();
            let restocked = if id % 3 == 1 { id } else { 0 };
            match levels.get(&id) {
                Some(level) => assert_eq!(level["level"], 30 + id % 40 - sold + restocked, "seed {seed}: {level}"),
                None => assert_eq!((sold, restocked), (0, 0), "seed {seed}, product {id}"),
            }
        }

        let mut weights = harness::<recommendation_weights>("recommendation-weights").table("products", products());
        let mut top = BTreeMap::new();
        run(&mut weights, 0, &pairs, |sent| keep(&mut top, &sent));
        let top: BTreeMap<i64, Value> = top.into_iter().map(|(id, value)| (id, value["others"].clone())).collect();
        assert_eq!(top, bought_together(&orders), "seed {seed}");
    }
}

/// The five products that most orders have together with each.
fn bought_together(orders: &BTreeMap<i64, BTreeMap<i64, i64>>) -> BTreeMap<i64, Value> {
    let mut counts: BTreeMap<i64, BTreeMap<i64, u32>> = BTreeMap::new();
    for lines in orders.values() {
        for product in lines.keys() {
            for other in lines.keys().filter(|other| *other != product) {
                *counts.entry(*product).or_default().entry(*other).or_default() += 1;
            }
        }
    }
    let best = |(product, counts): (i64, BTreeMap<i64, u32>)| {
        let mut ranked: Vec<(i64, u32)> = counts.into_iter().collect();
        ranked.sort_by_key(|&(other, count)| (std::cmp::Reverse(count), other));
        let others: Vec<i64> = ranked.into_iter().take(5).map(|(other, _)| other).collect();
        (product, Value::from(json!(others).to_string()))
    };
    counts.into_iter().map(best).collect()
}

#[test]
fn the_shop_deploys_what_each_transform_ships() {
    let shipped = [
        include_str!("../../../transforms/field-strip/transform.yaml"),
        include_str!("../../../transforms/order-lines/transform.yaml"),
        include_str!("../../../transforms/reorder-trigger/transform.yaml"),
        include_str!("../../../transforms/recommendation-weights/transform.yaml"),
    ];
    let specs = specs();
    assert_eq!(specs.len(), shipped.len());
    for text in shipped {
        let mut spec: Value = serde_norway::from_str(text).expect("a spec is YAML");
        let mut in_one = specs[spec["name"].as_str().expect("a name")].clone();
        // The path of the module depends on the place of the file.
        let paths = [&mut spec, &mut in_one].map(|spec| spec["module"].take().as_str().expect("a path").to_owned());
        assert_eq!(paths[0], format!("../{}", paths[1]));
        assert_eq!(in_one, spec);
    }
}
