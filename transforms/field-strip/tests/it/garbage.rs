//! Whatever a topic holds, a record fails or becomes valid JSON; it never panics.

use crate::common::{run, shipped_config};
use sandbar_sdk::testing::{Input, Value, json};

const ROUNDS: u64 = 20_000;

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

/// A text that looks more or less like an event.
fn soup(random: &mut Random) -> Vec<u8> {
    const PIECES: [&str; 40] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\\"",
        " ",
        "null",
        "true",
        "1.5",
        "-",
        "\"before\":",
        "\"after\":",
        "\"op\":",
        "\"c\"",
        "\"u\"",
        "\"d\"",
        "\"order_id\":",
        "\"items\":",
        "\"[{\\\"qty\\\":1,\\\"unit_price\\\":2}]\"",
        "\"status\":",
        "\"cancelled\"",
        "\"total\":",
        "\"Ctw=\"",
        "\"schema\":",
        "\"payload\":",
        "\"source\":{}",
        "\"fields\":[",
        "\"__deleted\":\"true\"",
        "\u{0}",
        "\\u00",
        "\\ud800",
        "é",
        "\n",
        "1e999",
        "\"__debezium_unavailable_value\"",
        "{\"before\":null,\"after\":{\"order_id\":1,",
    ];
    (0..random.next(40)).flat_map(|_| PIECES[random.next(PIECES.len())].bytes()).collect()
}

/// A captured event with some of its bytes changed, left out or doubled.
fn mutant(random: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    const BYTES: &[u8] = b"\"\\{}[],:0 \x00\xff";
    let mut text = samples[random.next(samples.len())].clone();
    for _ in 0..=random.next(3) {
        let at = random.next(text.len().max(1));
        if text.is_empty() {
            break;
        }
        match random.next(4) {
            0 => text[at] = BYTES[random.next(BYTES.len())],
            1 => drop(text.remove(at)),
            2 => text.insert(at, BYTES[random.next(BYTES.len())]),
            _ => text.truncate(at.max(1)),
        }
    }
    text
}

#[test]
fn garbage_never_panics_and_never_becomes_garbage() {
    let samples: Vec<Vec<u8>> = include_str!("../../../../guest-sdk/debezium/tests/samples/events.ndjson")
        .lines()
        .filter_map(|line| {
            Some(serde_json::from_str::<Value>(line).expect("a sample is JSON")["value"].as_str()?.as_bytes().to_vec())
        })
        .collect();
    let configs = [
        shipped_config(),
        json!({"keep": ["order_id", "tags", "note", "ship_address", "items", "price"], "decimals": {"price": 2}, "items_field": null}),
    ];
    let mut written = 0;
    for seed in 0..ROUNDS {
        let mut random = Random(seed);
        let value = if random.next(2) == 0 { soup(&mut random) } else { mutant(&mut random, &samples) };
        let key = match random.next(3) {
            0 => soup(&mut random),
            1 => b"{\"order_id\":7}".to_vec(),
            _ => b"{\"schema\":{},\"payload\":{\"order_id\":7}}".to_vec(),
        };
        let config = &configs[random.next(configs.len())];
        let Ok(sent) = run(config, Input::bytes(value.clone()).key(key)) else { continue };
        for (key, value) in sent {
            written += 1;
            for text in [Some(key), value].into_iter().flatten() {
                assert!(serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object()), "seed {seed}: {text}");
            }
        }
    }
    assert!(written > ROUNDS / 20, "only {written} records came through: the test proves little");
}
