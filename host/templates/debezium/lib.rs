//! Makes slim orders of the change events of the table of orders.

use sandbar_debezium::{Change, Op};
use sandbar_sdk::prelude::*;

/// The columns that are read; others are passed over. Under PostgreSQL's REPLICA IDENTITY DEFAULT the row before a delete
/// knows the primary key alone. Other columns may be null there, so they are options.
#[derive(Deserialize)]
struct Order {
    id: u64,
    status: Option<String>,
}

/// The value that is written.
#[derive(Serialize)]
struct Slim {
    order_id: u64,
    open: bool,
}

/// Sends the order as it is after the change, and a tombstone for one that was deleted. The key, which has the columns of
/// the primary key, stays. The tombstone that Debezium sends after each delete has no event in it: it is passed on.
/// A truncate names no order, and a message is about none: nothing is sent for them.
#[transform]
fn debezium<'a>(change: Record<'a, Option<Change<Order>>>) -> Result<Option<Message<'a>>> {
    let Some(event) = &change.value else { return Ok(Some(change.forward().tombstone())) };
    match event.op {
        Op::Create | Op::Read | Op::Update | Op::Flat => {
            let Some(order) = &event.after else { bail!("the event has no row `after`") };
            let Some(status) = &order.status else { bail!("order {} has no status", order.id) };
            change.forward().with_json(&Slim { order_id: order.id, open: status != "paid" }).map(Some)
        }
        Op::Delete => Ok(Some(change.forward().tombstone())),
        Op::Truncate | Op::Message => Ok(None),
    }
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

    /// PostgreSQL's REPLICA IDENTITY DEFAULT: the row before a delete has the primary key alone.
    #[test]
    fn a_delete_that_knows_only_the_key_is_a_tombstone() {
        let delete = json!({ "op": "d", "before": { "id": 7, "status": null }, "after": null });
        let outcome = Harness::<debezium>::new(()).run([Input::json(&delete).key(r#"{"id":7}"#)]);
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        assert_eq!(outcome.messages[0].key.as_deref(), Some(&br#"{"id":7}"#[..]));
        assert_eq!(outcome.messages[0].value, None);
    }

    #[test]
    fn events_about_no_order_send_nothing() {
        let source = json!({ "db": "shop" });
        let truncate = json!({ "op": "t", "before": null, "after": null, "source": source });
        let message = json!({ "op": "m", "source": source, "message": { "prefix": "x", "content": "" } });
        let inputs = [Input::json(&truncate), Input::json(&message).key(r#"{"prefix":"x"}"#)];
        let outcome = Harness::<debezium>::new(()).run(inputs);
        assert!(outcome.failures.is_empty() && outcome.messages.is_empty(), "{:?}", outcome.failures);
    }

    #[test]
    fn an_order_without_a_status_fails() {
        let update = json!({ "op": "u", "before": null, "after": { "id": 7, "status": null } });
        let outcome = Harness::<debezium>::new(()).run([Input::json(&update).key(r#"{"id":7}"#)]);
        assert_eq!(outcome.failures[0].message, "order 7 has no status");
    }
}
