//! The changes of an order: the generator makes them, and `debezium`, `oracle` and `sql` write them down.

use crate::order::Order;

/// A change of one order, as the shop knows it. A [`ChangeEvent`](crate::ChangeEvent) holds one beside its bytes, for the
/// oracle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The connector's snapshot has found the order.
    Found(Order),
    Created(Order),
    Updated {
        before: Order,
        after: Order,
    },
    Deleted(Order),
    /// The tombstone that follows a delete.
    Forgotten {
        order_id: u64,
    },
}

// === impl Change ===

impl Change {
    pub(crate) fn order_id(&self) -> u64 {
        match self {
            Change::Found(order) | Change::Created(order) | Change::Deleted(order) => order.order_id,
            Change::Updated { after, .. } => after.order_id,
            Change::Forgotten { order_id } => *order_id,
        }
    }
}
