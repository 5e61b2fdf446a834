//! The expected outputs of field-strip under its shipped configuration (its `transform.yaml`), made from the order and
//! not from the event.

use crate::change::Change;
use crate::generator::ChangeEvent;
use crate::order::{Order, Status, euros};
use crate::time::iso;

/// A record of field-strip's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedOutput {
    pub key: Vec<u8>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

// === impl ChangeEvent ===

impl ChangeEvent {
    /// The expected output of field-strip for this event.
    pub fn expected(&self) -> ExpectedOutput {
        let value = match &self.change {
            Change::Found(order) | Change::Created(order) => stripped(order),
            Change::Updated { after, .. } => stripped(after),
            Change::Deleted(_) | Change::Forgotten { .. } => None,
        };
        let key = format!(r#"{{"order_id":{}}}"#, self.change.order_id()).into_bytes();
        ExpectedOutput { key, value }
    }
}

/// The order as the orders service reads it; `None` where it is to read none.
pub(crate) fn stripped(order: &Order) -> Option<Vec<u8>> {
    if order.status == Status::Cancelled {
        return None;
    }
    let order_total_cents: u64 = order.items.iter().map(|item| item.qty * item.unit_price_cents).sum();
    let item_count: u64 = order.items.iter().map(|item| item.qty).sum();
    let value = format!(
        r#"{{"order_id":{},"customer_id":{},"status":"{}","total":"{}","currency":"{}","ordered_at":"{}","order_total":"{}","item_count":{item_count}}}"#,
        order.order_id,
        order.customer_id,
        order.status.name(),
        euros(order.total_cents),
        order.currency,
        iso(order.ordered_at_us),
        euros(order_total_cents),
    );
    Some(value.into_bytes())
}
