//! The stored state of a product, and the outputs that follow from it. Pure.
//!
//! ```text
//!                  level < threshold: order
//!    +-------+ -------------------------------> +------+
//!    | armed |                                  | open |
//!    +-------+ <------------------------------- +------+
//!              a delivery, or a new row of the table by which level >= threshold
//! ```
//!
//! Lines alone close nothing. A cancelled order, a changed primary key (-1 and +1) and a repeated event lift the level for
//! a moment, and the goods that were ordered are on their way all the same.

use sandbar_debezium::Id;
use sandbar_sdk::{Error, Result};
use serde::{Deserialize, Serialize};

/// A product, as the table of products says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Pieces in the warehouse before all lines and deliveries.
    pub stock: i64,
    /// Below it the product is ordered.
    pub reorder_threshold: i64,
    /// Pieces of one reorder.
    pub reorder_quantity: i64,
}

/// The stored state of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    pub product_id: Id,
    /// The sum of all lines.
    sold: i64,
    /// The sum of all deliveries.
    restocked: i64,
    /// The number of reorders so far.
    reorders: u64,
    /// True while a reorder is on its way.
    is_open: bool,
    /// The last output; nothing while the table does not know the product.
    pub shown: Option<Shown>,
}

/// The output for a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub level: i64,
    pub stock: i64,
    pub sold: i64,
    pub restocked: i64,
    pub reorder_threshold: i64,
    pub reorder_open: bool,
}

/// A product is to be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// Counted for each product, from 1.
    pub number: u64,
    pub quantity: i64,
    pub level: i64,
    pub reorder_threshold: i64,
}

// === impl Level ===

impl Level {
    pub fn new(product_id: Id) -> Self {
        Level { product_id, sold: 0, restocked: 0, reorders: 0, is_open: false, shown: None }
    }

    /// Counts a line; one of a negative quantity takes back.
    pub fn sell(&mut self, quantity: i64) -> Result<()> {
        self.sold = self.sold.checked_add(quantity).ok_or_else(too_large)?;
        Ok(())
    }

    /// Counts a delivery, after which the product may be ordered again; one of a negative quantity takes back.
    pub fn restock(&mut self, quantity: i64) -> Result<()> {
        self.restocked = self.restocked.checked_add(quantity).ok_or_else(too_large)?;
        self.is_open &= quantity <= 0;
        Ok(())
    }

    /// The outputs that follow from the table's present row of the product.
    pub fn follow(&mut self, product: Option<&Product>) -> Result<Option<Reorder>> {
        let Some(&Product { stock, reorder_threshold, reorder_quantity }) = product else {
            self.shown = None;
            return Ok(None);
        };
        let level = i128::from(stock) - i128::from(self.sold) + i128::from(self.restocked);
        let level = i64::try_from(level).map_err(|_| too_large())?;
        // The row itself may have changed: a new count, or a lower threshold. A new row sends everything again.
        let row_lifts = self.shown.as_ref().is_none_or(|shown| {
            stock.saturating_sub(reorder_threshold) > shown.stock.saturating_sub(shown.reorder_threshold)
        });
        let mut reorder = None;
        if level >= reorder_threshold {
            self.is_open &= !row_lifts;
        } else if !self.is_open {
            self.is_open = true;
            self.reorders += 1;
            let quantity = quantity(reorder_threshold.checked_sub(level).ok_or_else(too_large)?, reorder_quantity)?;
            reorder = Some(Reorder { number: self.reorders, quantity, level, reorder_threshold });
        }
        let Level { sold, restocked, is_open: reorder_open, .. } = *self;
        self.shown = Some(Shown { level, stock, sold, restocked, reorder_threshold, reorder_open });
        Ok(reorder)
    }
}

/// Enough reorders' pieces to be at the threshold again: usually those of one.
fn quantity(missing: i64, reorder_quantity: i64) -> Result<i64> {
    if reorder_quantity < 1 {
        return Ok(missing);
    }
    // Both are positive.
    let times = (missing - 1) / reorder_quantity + 1;
    times.checked_mul(reorder_quantity).ok_or_else(too_large)
}

fn too_large() -> Error {
    Error::new("a stock level has more than 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(stock: i64, reorder_threshold: i64, reorder_quantity: i64) -> Product {
        Product { stock, reorder_threshold, reorder_quantity }
    }

    #[test]
    fn one_reorder_until_there_is_enough_again() {
        enum Step {
            Sell(i64),
            Restock(i64),
        }
        use Step::{Restock, Sell};
        // The level after each step, and the quantity that is ordered.
        let steps = [
            (Sell(10), 20, None),
            (Sell(1), 19, Some(50)),
            (Sell(5), 14, None),
            // Cancelled: there is enough again, and with the next order too little. The first 50 are on their way.
            (Sell(-6), 20, None),
            (Sell(2), 18, None),
            // A new primary key, and an event that is repeated.
            (Sell(-12), 30, None),
            (Sell(12), 18, None),
            (Restock(50), 68, None),
            (Sell(49), 19, Some(50)),
            (Sell(100), -81, None),
            // A delivery that is not enough: the rest is ordered, in whole lots.
            (Restock(1), -80, Some(100)),
            (Restock(100), 20, None),
            // The delivery was booked wrongly.
            (Restock(-1), 19, Some(50)),
            (Restock(-1), 18, None),
        ];
        let mut level = Level::new(Id::Number(7));
        let mut number = 0;
        for (step, (change, expected, quantity)) in steps.into_iter().enumerate() {
            match change {
                Sell(quantity) => level.sell(quantity),
                Restock(quantity) => level.restock(quantity),
            }
            .expect("small numbers");
            let reorder = level.follow(Some(&product(30, 20, 50))).expect("small numbers");
            assert_eq!(level.shown.as_ref().map(|shown| shown.level), Some(expected), "step {step}");
            assert_eq!(reorder.as_ref().map(|reorder| reorder.quantity), quantity, "step {step}");
            number += u64::from(reorder.is_some());
            assert!(reorder.is_none_or(|reorder| reorder.number == number));
        }
    }

    #[test]
    fn a_product_that_is_not_known_yet_is_counted_and_not_said() {
        let mut level = Level::new(Id::Number(7));
        level.sell(5).expect("small");
        assert_eq!(level.follow(None).expect("small"), None);
        assert_eq!(level.shown, None);
        let reorder = level.follow(Some(&product(10, 6, 3))).expect("small").expect("5 are too few");
        assert_eq!((reorder.level, reorder.quantity), (5, 3));
    }

    #[test]
    fn a_row_closes_a_reorder_where_it_is_what_makes_enough() {
        // Stock, threshold and quantity of the row, pieces that are sold before, and whether a reorder is open then.
        let steps = [
            (Some((10, 6, 3)), 5, true),
            // A lower threshold.
            (Some((10, 5, 3)), 0, false),
            (Some((10, 5, 3)), 1, true),
            // More pieces: not enough yet, enough.
            (Some((10, 6, 3)), 0, true),
            (Some((11, 6, 3)), 0, true),
            (Some((12, 6, 3)), 0, false),
            (Some((12, 6, 3)), 1, true),
            // Cancelled; then another lot size, fewer pieces and as much more of both: nothing has been lifted.
            (Some((12, 6, 3)), -4, true),
            (Some((12, 6, 9)), 0, true),
            (Some((11, 6, 9)), 0, true),
            (Some((12, 7, 9)), 0, true),
            // Cancelled before, and now delivered into the stock.
            (Some((15, 7, 9)), 0, false),
            (Some((15, 7, 9)), 8, true),
            // The product is gone, and there again.
            (None, -8, true),
            (Some((15, 7, 9)), 0, false),
        ];
        let mut level = Level::new(Id::Number(7));
        for (step, (row, sold, is_open)) in steps.into_iter().enumerate() {
            level.sell(sold).expect("small");
            let was_open = level.is_open;
            let row = row.map(|(stock, threshold, quantity)| product(stock, threshold, quantity));
            let reorder = level.follow(row.as_ref()).expect("small");
            assert_eq!(level.is_open, is_open, "step {step}");
            assert_eq!(reorder.is_some(), is_open && !was_open, "step {step}");
        }
    }

    #[test]
    fn lots_are_whole_and_what_is_too_large_is_an_error() {
        for (missing, reorder_quantity, expected) in [(1, 50, 50), (50, 50, 50), (51, 50, 100), (7, 0, 7), (7, -1, 7)] {
            assert_eq!(quantity(missing, reorder_quantity).ok(), Some(expected));
        }
        let mut level = Level::new(Id::Number(7));
        level.sell(i64::MAX).expect("just fits");
        assert!(level.sell(1).is_err());
        assert!(level.follow(Some(&product(-2, 0, 1))).is_err());
    }
}
