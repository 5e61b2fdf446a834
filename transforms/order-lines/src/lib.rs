//! Turns each change of an order into signed lines keyed by product, so that later stages can count by product: state
//! belongs to a partition, and orders are partitioned by order. README.md describes it.
//!
//! | module | |
//! |---|---|
//! | `config` | the `config` of the spec, checked |
//! | `event` | the content of a record about an order |
//! | `items` | the lines of an order |
//! | `order` | the stored state of an order, and the differences between two states |
//! | `time` | when an order was placed |

#![forbid(unsafe_code)]

pub mod config;
pub mod event;
pub mod items;
pub mod order;
pub mod time;

use config::Config;
use event::{Known, OrderKey, RecordContent, Scratch};
use order::{Difference, Order};
use sandbar_debezium::Id;
use sandbar_sdk::prelude::*;
use serde_json::value::RawValue;
use std::cell::RefCell;

thread_local! {
    /// Kept from record to record for its memory only.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A line, as it is sent.
#[derive(Serialize)]
struct LineValue<'a> {
    order_id: &'a Id,
    /// The whole key, where the id alone does not name the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_key: Option<&'a RawValue>,
    product_id: &'a Id,
    quantity: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    at_ms: i64,
}

/// A change of a product's company in orders, in the form of the output.
#[derive(Serialize)]
struct CompanyValue<'a> {
    order_id: &'a Id,
    /// The whole key, where the id alone does not name the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_key: Option<&'a RawValue>,
    product_id: &'a Id,
    joined: &'a [Id],
    left: &'a [Id],
    at_ms: i64,
}

/// Sends the changes of an order's lines that a change event causes, and stores the lines.
#[transform(stores = ["orders"])]
pub fn order_lines(record: Record<'_, Option<&[u8]>>, config: &Config, out: &mut Output) -> Result<()> {
    let said = SCRATCH.with_borrow_mut(|scratch| event::read(config, record.key(), record.value, scratch))?;
    let recorded_ms = record.timestamp_ms().unwrap_or(0);
    match said {
        RecordContent::Nothing(why) => log::debug!("offset {}: ignored, as it is {why}", record.offset()),
        RecordContent::Gone(order) => change(config, &order, None, recorded_ms, out)?,
        RecordContent::Is { order, moved_from, known } => {
            if let Some(old) = moved_from {
                change(config, &old, None, recorded_ms, out)?;
            }
            change(config, &order, Some(known), recorded_ms, out)?;
        }
    }
    Ok(())
}

/// Takes an order from its stored state to its new one; `None`: the order is gone.
fn change(config: &Config, order: &OrderKey, known: Option<Known>, recorded_ms: i64, out: &mut Output<'_>) -> Result<()> {
    let orders = Store::<str, Order>::open("orders")?;
    // The key of the records of this order: so that it can be looked up where they are.
    let OrderKey { id: order_id, text: key, .. } = order;
    let order_key = order.wider();
    let before = orders.get(key)?;
    let after = known.map(|known| Order::after(config, before.as_ref(), known, recorded_ms)).transpose()?;
    // Both are of one moment: a line is retracted with the time at which it was counted.
    let at_ms = before.as_ref().or(after.as_ref()).map_or(0, |order| order.at_ms);
    for Difference { product_id, quantity, amount } in order::differences(before.as_ref(), after.as_ref())? {
        let amount = amount.map(|amount| amount.to_string());
        let line = LineValue { order_id, order_key, product_id: &product_id, quantity, amount, at_ms };
        out.send_json(Message::new().to("lines").key(product_id.key(config::PRODUCT_FIELD)), &line)?;
    }
    for company in order::companies(before.as_ref(), after.as_ref()) {
        let order::Company { product_id, joined, left } = &company;
        let value = CompanyValue { order_id, order_key, product_id, joined, left, at_ms };
        out.send_json(Message::new().to("pairs").key(product_id.key(config::PRODUCT_FIELD)), &value)?;
    }
    match &after {
        Some(after) if before.as_ref() != Some(after) => orders.put(key, after),
        None if before.is_some() => orders.delete(key),
        _ => Ok(()),
    }
}
