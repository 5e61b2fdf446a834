//! Makes slim orders of the change events of the table of orders.

use sandbar_debezium::Change;
use sandbar_sdk::prelude::*;

/// The columns that are read; others are passed over.
#[derive(Deserialize)]
struct Order {
    id: u64,
    status: String,
}

/// The value that is written.
#[derive(Serialize)]
struct Slim {
    order_id: u64,
    open: bool,
}

/// Sends the order as it is after the change, and a tombstone for one that was deleted. The key, which has the columns of
/// the primary key, stays. The tombstone that Debezium sends after each delete has no event in it: it is passed on.
#[transform]
fn debezium<'a>(change: Record<'a, Option<Change<Order>>>) -> Result<Message<'a>> {
    let Some(Change { after: Some(order), .. }) = &change.value else {
        return Ok(change.forward().tombstone());
    };
    change.forward().with_json(&Slim { order_id: order.id, open: order.status != "paid" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbar_sdk::testing::{Harness, Input, json};

    #[test]
    fn the_row_after_the_change_is_sent() {
        let update = json!({ "op": "u", "before": null, "after": { "id": 7, "status": "new", "note": "-" } });
        let delete = json!({ "op": "d", "before": { "id": 7, "status": "new" }, "after": null });
        let key = r#"{"id":7}"#;
        let inputs = [Input::json(&update).key(key), Input::json(&delete).key(key), Input::tombstone().key(key)];
        let outcome = Harness::<debezium>::new(()).run(inputs);
        assert_eq!(outcome.messages[0].json(), json!({ "order_id": 7, "open": true }));
        assert_eq!(outcome.messages[1].value, None);
        assert_eq!(outcome.messages[2].value, None);
    }
}
