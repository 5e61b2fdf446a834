//! The work of the native loop on an order, equal to that of the module beside it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Order<'a> {
    id: u64,
    customer: Customer,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    total_cents: u64,
    created_at_ms: i64,
}

#[derive(Deserialize)]
struct Customer {
    id: u64,
}

#[derive(Serialize)]
struct Slim<'a> {
    id: u64,
    customer_id: u64,
    status: &'a str,
    currency: &'a str,
    total_cents: u64,
    created_at_ms: i64,
}

/// Writes six fields of `order` to `out`.
pub fn strip(order: &[u8], out: &mut Vec<u8>) -> serde_json::Result<()> {
    let order: Order<'_> = serde_json::from_slice(order)?;
    let slim = Slim {
        id: order.id,
        customer_id: order.customer.id,
        status: &order.status,
        currency: &order.currency,
        total_cents: order.total_cents,
        created_at_ms: order.created_at_ms,
    };
    out.clear();
    serde_json::to_writer(out, &slim)
}
