//! Makes slim orders of full ones: fewer fields, under names of one's own.

use sandbar_sdk::prelude::*;

/// The `config` of transform.yaml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Goes into every order.
    currency: String,
}

/// The fields that are read of a record's value; others are passed over. Texts are borrowed where the JSON allows it.
#[derive(Deserialize)]
struct Order<'a> {
    id: u64,
    total_cents: u64,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

/// The value that is written.
#[derive(Serialize)]
struct Slim<'a> {
    order_id: u64,
    total: String,
    currency: &'a str,
    open: bool,
}

/// One order in, one order out, under the same key. A record whose value does not fit `Order` fails, and the spec's
/// `on_error` decides its end.
#[transform]
fn json_map<'a>(order: Record<'a, Option<Json<Order<'a>>>>, config: &Config) -> Result<Message<'a>> {
    let Some(value) = &order.value else {
        // A tombstone: the order was deleted.
        return Ok(order.forward());
    };
    let Order { id, total_cents, status } = &**value;
    let total = format!("{}.{:02}", total_cents / 100, total_cents % 100);
    let slim = Slim { order_id: *id, total, currency: &config.currency, open: status != "paid" };
    order.forward().with_json(&slim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbar_sdk::testing::{Harness, Input, json};

    #[test]
    fn orders_become_slim() {
        let mut map = Harness::<json_map>::new(json!({ "currency": "EUR" }));
        let order = json!({ "id": 7, "total_cents": 1250, "status": "new", "note": "left behind" });
        let outcome = map.run([Input::json(&order).key("7"), Input::tombstone().key("8"), Input::text("{}").key("9")]);
        let slim = json!({ "order_id": 7, "total": "12.50", "currency": "EUR", "open": true });
        assert_eq!(outcome.messages[0].json(), slim);
        assert_eq!(outcome.messages[0].key.as_deref(), Some(b"7".as_slice()));
        assert_eq!(outcome.messages[1].value, None);
        assert_eq!(outcome.failures[0].source, 2);
    }
}
