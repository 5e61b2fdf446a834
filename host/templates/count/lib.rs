//! Counts the orders of each customer.

use sandbar_sdk::prelude::*;

/// The state of a customer, and the value that is written.
#[derive(Serialize, Deserialize)]
struct Count {
    orders: u64,
    last_ms: i64,
}

/// Sends the new count of the customer. The key of a record is the customer: a store belongs to one partition, so count by
/// the key of the topic.
#[transform(stores = ["counts", "recheck"], tick = forget)]
fn count(order: Record<'_>) -> Result<Message<'_>> {
    let counts = Store::<str, Count>::open("counts")?;
    let last_ms = order.timestamp_ms().unwrap_or(order.now_ms());
    let count = counts.update(order.key_as()?, |known| {
        let orders = known.map_or(0, |known| known.orders) + 1;
        Some(Count { orders, last_ms })
    })?;
    order.forward().with_json(&count)
}

/// Forgets customers who have not ordered for 30 days. The spec's `tick` says how often it is called. Each call looks at the
/// next thousand customers: the cursor keeps its place in the store `recheck`, and begins again after the last customer.
fn forget(tick: Tick) -> Result<()> {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let counts = Store::<str, Count>::open("counts")?;
    for (customer, count) in Cursor::<str>::open("recheck")?.next_page(&counts, 1000)? {
        if count.last_ms <= tick.now_ms() - 30 * DAY_MS {
            counts.delete(&customer)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbar_sdk::testing::{Harness, Input, json};

    #[test]
    fn orders_are_counted_by_customer() {
        let mut count = Harness::<count>::new(());
        let order = |customer: &str| Input::text("an order").key(customer).timestamp(5);
        let outcome = count.run([order("ada"), order("bo"), order("ada"), Input::text("no customer")]);
        assert_eq!(outcome.messages[2].json(), json!({ "orders": 2, "last_ms": 5 }));
        assert_eq!(outcome.failures[0].source, 3);
    }

    #[test]
    fn a_silent_customer_is_forgotten() {
        let mut count = Harness::<count>::new(());
        count.run([Input::text("an order").key("ada").timestamp(5)]);
        count.tick(30 * 24 * 60 * 60 * 1000 + 5);
        assert!(count.state("counts").is_empty());
    }

    #[test]
    fn a_silent_customer_behind_a_thousand_others_is_forgotten() {
        const MONTH_MS: i64 = 30 * 24 * 60 * 60 * 1000;
        let mut count = Harness::<count>::new(());
        let active = (0..1000).map(|number| Input::text("an order").key(format!("ada-{number:03}")).timestamp(MONTH_MS));
        count.run(active.chain([Input::text("an order").key("bo").timestamp(5)]));
        count.tick(MONTH_MS + 5);
        assert_eq!(count.state("counts").len(), 1001, "the first tick looks at the others");
        count.tick(MONTH_MS + 5);
        assert_eq!(count.state("counts").len(), 1000);
        assert!(!count.state("counts").contains_key(&b"bo"[..]));
    }
}
