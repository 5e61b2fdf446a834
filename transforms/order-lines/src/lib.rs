//! Turns each change of an order into signed lines keyed by product, so that what counts by product can count: state
//! belongs to a partition, and orders are partitioned by order. See README.md for what it does.
//!
//! | module | |
//! |---|---|
//! | `config` | the `config` of the spec, checked |
//! | `event` | what a record says about which order |
//! | `items` | the lines of an order |
//! | `order` | what is remembered of an order, and what changes when it does |
//! | `time` | when an order was placed |

#![forbid(unsafe_code)]

pub mod config;
pub mod event;
pub mod items;
pub mod order;
pub mod time;

use config::Config;
use event::{Known, Said, Scratch};
use order::{Difference, Order};
use sandbar_debezium::Id;
use sandbar_sdk::prelude::*;
use std::cell::RefCell;

thread_local! {
    /// Kept from record to record for its memory only.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A line, as it is sent.
#[derive(Serialize)]
struct LineValue<'a> {
    order_id: &'a Id,
    product_id: &'a Id,
    quantity: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    at_ms: i64,
}

/// A change of what a product was bought with, as it is sent.
#[derive(Serialize)]
struct CompanyValue<'a> {
    order_id: &'a Id,
    product_id: &'a Id,
    joined: &'a [Id],
    left: &'a [Id],
    at_ms: i64,
}

/// Sends what a change event changes about an order's lines, and remembers these.
#[transform(stores = ["orders"])]
pub fn order_lines(record: Record<'_, Option<&[u8]>>, config: &Config, out: &mut Output) -> Result<()> {
    let said = SCRATCH.with_borrow_mut(|scratch| event::read(config, record.key(), record.value, scratch))?;
    let recorded_ms = record.timestamp_ms().unwrap_or(0);
    match said {
        Said::Nothing(why) => log::debug!("offset {}: ignored, as it is {why}", record.offset()),
        Said::Gone(order_id) => change(config, &order_id, None, recorded_ms, out)?,
        Said::Is { order_id, moved_from, known } => {
            if let Some(old_id) = moved_from {
                change(config, &old_id, None, recorded_ms, out)?;
            }
            change(config, &order_id, Some(known), recorded_ms, out)?;
        }
    }
    Ok(())
}

/// Takes an order from what is remembered to what is known now; `None`: it is gone.
fn change(config: &Config, order_id: &Id, known: Option<Known>, recorded_ms: i64, out: &mut Output<'_>) -> Result<()> {
    let orders = Store::<str, Order>::open("orders")?;
    // The key of the records of this order: so that it can be looked up where they are.
    let key = order_id.key(config.columns.name(config.order));
    let before = orders.get(&key)?;
    let after = known.map(|known| Order::after(config, before.as_ref(), known, recorded_ms)).transpose()?;
    // Both are of the same moment: what is retracted must be what was counted.
    let at_ms = before.as_ref().or(after.as_ref()).map_or(0, |order| order.at_ms);
    for Difference { product_id, quantity, amount } in order::differences(before.as_ref(), after.as_ref())? {
        let amount = amount.map(|amount| amount.to_string());
        let line = LineValue { order_id, product_id: &product_id, quantity, amount, at_ms };
        out.send_json(Message::new().to("lines").key(product_id.key(config::PRODUCT_FIELD)), &line)?;
    }
    for company in order::companies(before.as_ref(), after.as_ref()) {
        let order::Company { product_id, joined, left } = &company;
        let value = CompanyValue { order_id, product_id, joined, left, at_ms };
        out.send_json(Message::new().to("pairs").key(product_id.key(config::PRODUCT_FIELD)), &value)?;
    }
    match &after {
        Some(after) if before.as_ref() != Some(after) => orders.put(&key, after),
        None if before.is_some() => orders.delete(&key),
        _ => Ok(()),
    }
}
