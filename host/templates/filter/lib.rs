//! Lets the orders from some amount on through.

use sandbar_sdk::prelude::*;

/// The `config` of transform.yaml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Orders of less are dropped.
    minimum_cents: u64,
}

/// The fields that are read of a record's value; others are passed over.
#[derive(Deserialize)]
struct Order {
    total_cents: u64,
}

/// Forwards an order as it is, or drops it. A record whose value does not fit `Order` fails, and the spec's `on_error`
/// decides its end.
#[transform]
fn filter<'a>(order: Record<'a, Option<Json<Order>>>, config: &Config) -> Option<Message<'a>> {
    match &order.value {
        Some(value) if value.total_cents < config.minimum_cents => None,
        // Tombstones go on, so that consumers of a compacted topic see what was deleted.
        Some(_) | None => Some(order.forward()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbar_sdk::testing::{Harness, Input, json};

    #[test]
    fn small_orders_are_dropped() {
        let mut filter = Harness::<filter>::new(json!({ "minimum_cents": 1000 }));
        let small = json!({ "total_cents": 999 });
        let large = json!({ "total_cents": 1000, "note": "kept as it is" });
        let outcome = filter.run([
            Input::json(&small).key("1"),
            Input::json(&large).key("2"),
            Input::tombstone().key("3"),
            Input::text("no JSON").key("4"),
        ]);
        let sources: Vec<usize> = outcome.messages.iter().map(|message| message.source).collect();
        assert_eq!(sources, [1, 2]);
        assert_eq!(outcome.messages[0].json(), large);
        assert_eq!(outcome.failures[0].source, 3);
    }

    #[test]
    fn a_wrong_config_is_refused() {
        assert!(Harness::<filter>::try_new(json!({ "minimum": 1 })).is_err());
    }
}
