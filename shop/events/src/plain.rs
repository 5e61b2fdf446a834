//! Orders as flat JSON of about 600 bytes, without an envelope: the load of the benchmarks.

use crate::debezium::json_text;
use crate::oracle::{ExpectedOutput, stripped};
use crate::order::{Item, Order, Status, euros};
use crate::random::Random;
use crate::time::iso;

/// A record of a topic of plain orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainOrder {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub timestamp_ms: i64,
    order: Order,
}

/// Plain orders without end.
#[derive(Clone, Debug)]
pub struct PlainOrders {
    random: Random,
    order_id_next: u64,
    now_us: i64,
}

const VALUE_BYTES: usize = 600;

// === impl PlainOrders ===

impl PlainOrders {
    pub fn new(seed: u64) -> Self {
        PlainOrders { random: Random::new(seed), order_id_next: 1001, now_us: 1_772_323_200_000_000 }
    }
}

impl Iterator for PlainOrders {
    type Item = PlainOrder;

    fn next(&mut self) -> Option<PlainOrder> {
        self.now_us += 1_000;
        self.order_id_next += 1;
        let mut order = Order::random(self.order_id_next - 1, self.now_us, &mut self.random);
        order.status = Status::Paid;
        let key = format!(r#"{{"order_id":{}}}"#, order.order_id).into_bytes();
        Some(PlainOrder { key, value: value(&order), timestamp_ms: self.now_us / 1000, order })
    }
}

// === impl PlainOrder ===

impl PlainOrder {
    /// The expected output of field-strip for this order.
    pub fn expected(&self) -> ExpectedOutput {
        ExpectedOutput { key: self.key.clone(), value: stripped(&self.order) }
    }
}

fn value(order: &Order) -> Vec<u8> {
    let mut value = format!(
        r#"{{"order_id":{},"customer_id":{},"customer_name":{},"email":{},"ship_address":{{"street":"Teststr. 1","zip":"00000","city":"{}"}},"items":{},"status":"{}","total":"{}","currency":"{}","gift":{},"note":{},"ordered_at":"{}","version":{},"trail":""#,
        order.order_id,
        order.customer_id,
        json_text(&order.customer_name),
        json_text(&order.email),
        order.city,
        items(&order.items),
        order.status.name(),
        euros(order.total_cents),
        order.currency,
        order.gift,
        order.note.map_or_else(|| "null".to_owned(), json_text),
        iso(order.ordered_at_us),
        order.version,
    );
    // A filler makes all orders equally long; an order of five items is longer, and stays so.
    let trail = ["ref", "/shop", "/cart", "/checkout"].iter().cycle().flat_map(|step| step.chars());
    value.extend(trail.take((VALUE_BYTES - 2).saturating_sub(value.len())));
    value.push_str("\"}");
    value.into_bytes()
}

fn items(items: &[Item]) -> String {
    let items = items.iter().map(|item| {
        let price = euros(item.unit_price_cents);
        format!(r#"{{"product_id":{},"qty":{},"unit_price":{price}}}"#, item.product_id, item.qty)
    });
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}
