//! Joins each order with its customer's row of a table. The benchmarks measure it beside a join with a `GlobalKTable`.

#![forbid(unsafe_code)]

use sandbar_sdk::prelude::*;

#[derive(Deserialize)]
pub struct Order {
    id: u64,
    total_cents: u64,
}

#[derive(Deserialize)]
struct Customer {
    name: String,
    tier: String,
}

#[derive(Serialize)]
struct Joined<'a> {
    id: u64,
    customer: &'a str,
    tier: &'a str,
    total_cents: u64,
}

/// Looks up the record's key in the table. An order without a customer has no output.
#[transform(tables = ["customers"])]
pub fn join<'a>(record: Record<'a, Json<Order>>) -> Result<Option<Message<'a>>> {
    let customers = Table::<[u8], Json<Customer>>::open("customers")?;
    let Some(Json(Customer { name, tier })) = customers.get(record.key_as::<&[u8]>()?)? else { return Ok(None) };
    let Order { id, total_cents } = *record.value;
    record.forward().with_json(&Joined { id, customer: &name, tier: &tier, total_cents }).map(Some)
}
