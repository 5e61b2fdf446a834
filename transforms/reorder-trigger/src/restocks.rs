//! Deliveries, each counted once. A connector repeats events, and reads all rows again in a snapshot, so the difference
//! to the stored delivery counts.

use sandbar_debezium::{Change, Id, Op};
use sandbar_sdk::{Error, FromValue, Result, Store};
use serde::Deserialize;

/// A row of the table. Of one that is gone there may be no more than the primary key.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    restock_id: Id,
    #[serde(default)]
    quantity: Option<i64>,
}

/// The amount that a change of a delivery adds to the product's stock; `None`: the change was counted before.
pub fn count(event: &[u8]) -> Result<Option<i64>> {
    let change = Change::<Row>::from_value(Some(event))?;
    let (restock_id, quantity) = match (change.op, change.before, change.after) {
        (Op::Truncate | Op::Message, ..) => return Ok(None),
        (Op::Delete, Some(before), _) => (before.restock_id, None),
        (Op::Delete, None, _) => return Err(Error::new("a delete without a row `before`")),
        (_, _, Some(Row { restock_id, quantity: Some(quantity) })) => (restock_id, Some(quantity)),
        (_, _, Some(_)) => return Err(Error::new("the delivery has no quantity")),
        (_, _, None) => return Err(Error::new("a change without a row `after`")),
    };
    let restocks = Store::<str, i64>::open("restocks")?;
    let name = restock_id.to_string();
    let counted = restocks.get(&name)?;
    match quantity {
        Some(quantity) if counted != Some(quantity) => restocks.put(&name, &quantity)?,
        None if counted.is_some() => restocks.delete(&name)?,
        _ => return Ok(None),
    }
    let added = quantity.unwrap_or(0).checked_sub(counted.unwrap_or(0));
    added.map(Some).ok_or_else(|| Error::new("a change of a delivery has more than 64 bits"))
}
