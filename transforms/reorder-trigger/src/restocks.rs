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

/// A change of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restock {
    /// The delivery that is not there any more, under this id.
    gone: Option<Id>,
    /// The delivery as it is now, and its quantity.
    now: Option<(Id, i64)>,
}

/// Reads an event of the table. `None`: neither the tombstone after a delete nor a TRUNCATE names a delivery.
pub fn read(event: Option<&[u8]>) -> Result<Option<Restock>> {
    let Some(change) = Option::<Change<Row>>::from_value(event)? else { return Ok(None) };
    match (change.op, change.before, change.after) {
        (Op::Truncate | Op::Message, ..) => Ok(None),
        (Op::Delete, Some(before), _) => Ok(Some(Restock { gone: Some(before.restock_id), now: None })),
        (Op::Delete, None, _) => Err(Error::new("a delete without a row `before`")),
        // Keyed by product, a change of the primary key is one update, and no delete before it.
        (_, before, Some(Row { restock_id, quantity: Some(quantity) })) => {
            let gone = before.map(|before| before.restock_id).filter(|before| *before != restock_id);
            Ok(Some(Restock { gone, now: Some((restock_id, quantity)) }))
        }
        (_, _, Some(_)) => Err(Error::new("the delivery has no quantity")),
        (_, _, None) => Err(Error::new("a change without a row `after`")),
    }
}

// === impl Restock ===

impl Restock {
    /// The amount that the change adds to the stock of its product, whose key this is; `None`: it was counted before.
    pub fn count(self, product: &str) -> Result<Option<i64>> {
        let Restock { gone, now } = self;
        let restocks = Store::<str, i64>::open("restocks")?;
        let taken = gone.map(|id| take(&restocks, product, &id)).transpose()?.flatten();
        let mut added = -i128::from(taken.unwrap_or(0));
        let mut is_news = taken.is_some();
        if let Some((id, quantity)) = now {
            let counted = take(&restocks, product, &id)?;
            restocks.put(&name(product, &id), &quantity)?;
            added += i128::from(quantity) - i128::from(counted.unwrap_or(0));
            is_news |= counted != Some(quantity);
        }
        if !is_news {
            return Ok(None);
        }
        i64::try_from(added).map(Some).map_err(|_| Error::new("a change of a delivery has more than 64 bits"))
    }
}

/// Deliveries are counted for a product: one that moves to another is counted there, and a repeated event of the first
/// takes nothing from the second.
fn name(product: &str, id: &Id) -> String {
    format!("{product}/{id}")
}

/// Takes out the quantity that was counted for a delivery.
fn take(restocks: &Store<str, i64>, product: &str, id: &Id) -> Result<Option<i64>> {
    // The second is its name in states of 0.1.
    for name in [name(product, id), id.to_string()] {
        if let Some(counted) = restocks.get(&name)? {
            restocks.delete(&name)?;
            return Ok(Some(counted));
        }
    }
    Ok(None)
}
