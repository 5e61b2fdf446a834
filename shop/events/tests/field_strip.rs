//! The oracle and field-strip agree: two implementations of one description, which share no code.

use field_strip::field_strip;
use sandbar_sdk::testing::{Harness, Input, Value};
use sandbar_shop::{ChangeEvent, ExpectedOutput, Format, Generator, PlainOrders};
use std::collections::BTreeMap;

const EVENTS: usize = 20_000;
const BATCH: usize = 400;

fn shipped() -> Harness<field_strip> {
    let spec: Value =
        serde_norway::from_str(include_str!("../../../transforms/field-strip/transform.yaml")).expect("the spec is YAML");
    Harness::new(&spec["config"])
}

fn input(event: &ChangeEvent) -> Input {
    Input {
        key: Some(event.key.clone()),
        value: event.value.clone(),
        headers: event.headers.clone(),
        timestamp_ms: Some(event.timestamp_ms),
    }
}

#[test]
fn field_strip_puts_out_what_the_oracle_says() {
    for (seed, format, count) in [(1, Format::Plain, EVENTS), (2, Format::WithSchema, EVENTS / 10)] {
        let mut harness = shipped();
        let events: Vec<ChangeEvent> = Generator::with_format(seed, format).take(count).collect();
        for (batch, events) in events.chunks(BATCH).enumerate() {
            let outcome = harness.run(events.iter().map(input));
            assert_eq!(outcome.failures, [], "seed {seed}, batch {batch}");
            let sent = outcome.messages.into_iter().map(|sent| {
                let expected = ExpectedOutput { key: sent.key.unwrap_or_default(), value: sent.value };
                (sent.source, expected)
            });
            let expected = events.iter().enumerate().map(|(at, event)| (at, event.expected()));
            assert!(sent.eq(expected), "seed {seed}, batch {batch}");
        }
    }
}

#[test]
fn plain_orders_are_stripped_alike() {
    let orders: Vec<_> = PlainOrders::new(3).take(2_000).collect();
    let outcome = shipped().run(orders.iter().map(|order| Input::bytes(order.value.clone()).key(order.key.clone())));
    assert_eq!(outcome.failures, []);
    let sent =
        outcome.messages.into_iter().map(|sent| ExpectedOutput { key: sent.key.unwrap_or_default(), value: sent.value });
    assert!(sent.eq(orders.iter().map(|order| order.expected())));
}

#[test]
fn the_shop_is_as_lively_as_it_is_said_to_be() {
    let events: Vec<ChangeEvent> = Generator::new(1).take(EVENTS).collect();
    let mut counts = BTreeMap::new();
    for event in &events {
        let op = match &event.value {
            Some(value) => {
                let bytes = value.len();
                let value: Value = serde_json::from_slice(value).expect("an event is JSON");
                let op = value["op"].as_str().expect("an event has an op").to_owned();
                // An update carries the row twice: the table is under REPLICA IDENTITY FULL.
                let bytes_max = if op == "u" { 2_048 } else { 1_250 };
                assert!((600..=bytes_max).contains(&bytes), "{op}: {bytes} bytes");
                op
            }
            None => "tombstone".to_owned(),
        };
        *counts.entry(op).or_insert(0) += 1;
        for (name, _) in &event.headers {
            *counts.entry(name.clone()).or_insert(0) += 1;
        }
    }
    for (what, least) in
        [("r", 20), ("c", 5_000), ("u", 5_000), ("d", 1_000), ("tombstone", 1_000), ("__debezium.newkey", 500)]
    {
        assert!(counts.get(what).is_some_and(|&count| count >= least), "{what}: {counts:?}");
    }
    assert_eq!(counts["__debezium.newkey"], 2 * counts["__debezium.oldkey"], "a change of key is three records");
    assert_eq!(counts["d"], counts["tombstone"]);
    let created = events
        .iter()
        .filter(|event| event.value.as_deref().is_some_and(|value| value.windows(8).any(|part| part == br#""op":"c""#)));
    let dropped = created.filter(|event| event.expected().value.is_none()).count();
    assert!(dropped > 100, "{dropped} orders are dropped when they are created");
}

#[test]
fn a_seed_is_a_seed() {
    assert!(Generator::new(9).take(1_000).eq(Generator::new(9).take(1_000)));
    assert!(Generator::new(9).take(1_000).ne(Generator::new(10).take(1_000)));
    assert!(PlainOrders::new(9).take(100).eq(PlainOrders::new(9).take(100)));
}
