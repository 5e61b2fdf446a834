//! The stored state of an order, and the differences between two states. Pure.

use crate::config::Config;
use crate::event::Known;
use crate::items::Line;
use sandbar_debezium::{Decimal, Id};
use sandbar_sdk::{Error, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The stored state of an order. An order that does not count is stored too, because a later event may count it again
/// without sending its lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub counted: bool,
    /// The time of the order, in ms since the Unix epoch. It stays that of the first event, so that a retraction equals
    /// the count before it.
    pub at_ms: i64,
    /// True if the order's pairs of products were sent. The pairs that were sent are taken back, also under another
    /// configuration.
    #[serde(default)]
    paired: bool,
    /// In the order of their products.
    lines: Vec<StoredLine>,
}

/// A line as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredLine {
    product_id: Id,
    quantity: i64,
    /// A decimal in text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
}

/// The change of a product's share of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub product_id: Id,
    pub quantity: i64,
    /// `None` where neither before nor after has one.
    pub amount: Option<Decimal>,
}

/// The change of a product's company in an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Company {
    pub product_id: Id,
    /// Products that it is bought together with from now on.
    pub joined: Vec<Id>,
    /// The products that it is no longer bought with.
    pub left: Vec<Id>,
}

// === impl Order ===

impl Order {
    /// The order after an event. Lines that the event did not send stay.
    pub fn after(config: &Config, before: Option<&Order>, known: Known, recorded_ms: i64) -> Result<Order> {
        let lines: Vec<StoredLine> = match (known.lines, before) {
            (Some(lines), _) => lines.into_iter().map(StoredLine::new).collect(),
            (None, Some(before)) => before.lines.clone(),
            (None, None) => {
                return Err(Error::new(
                    "the items were not sent (PostgreSQL leaves out large values that did not change), and the order is not \
                     remembered: start from a snapshot, or set REPLICA IDENTITY FULL on the table",
                ));
            }
        };
        let at_ms = before.map(|before| before.at_ms).or(known.at_ms).unwrap_or(recorded_ms);
        let products = lines.iter().filter(|line| line.quantity != 0).count();
        let paired = known.counted && config.has_pairs && products <= config.pairs_products_max;
        Ok(Order { counted: known.counted, at_ms, paired, lines })
    }

    /// The lines that count.
    fn counted(order: Option<&Order>) -> &[StoredLine] {
        order.filter(|order| order.counted).map_or(&[], |order| &order.lines)
    }
}

impl StoredLine {
    fn new(Line { product_id, quantity, amount }: Line) -> Self {
        StoredLine { product_id, quantity, amount: amount.map(|amount| amount.to_string()) }
    }

    fn amount(&self) -> Result<Option<Decimal>> {
        Ok(self.amount.as_ref().map(|amount| Decimal::parse(amount.as_bytes())).transpose()?)
    }
}

// === Changes ===

/// The amounts to add to each product, so that the sum of all differences of the order is its present count.
pub fn differences(before: Option<&Order>, after: Option<&Order>) -> Result<Vec<Difference>> {
    let mut sums: BTreeMap<&Id, (i64, Option<Decimal>)> = BTreeMap::new();
    for (lines, sign) in [(Order::counted(before), -1), (Order::counted(after), 1)] {
        for line in lines {
            let (quantity, amount) = sums.entry(&line.product_id).or_default();
            let signed = if sign > 0 { quantity.checked_add(line.quantity) } else { quantity.checked_sub(line.quantity) };
            *quantity = signed.ok_or_else(|| Error::new("a change of quantity has more than 64 bits"))?;
            if let Some(more) = line.amount()? {
                let sum = amount.unwrap_or(Decimal::ZERO);
                let sum = if sign > 0 { sum.checked_add(more) } else { sum.checked_sub(more) };
                ensure!(sum.is_some(), "a change of an amount has more than 38 digits");
                *amount = sum;
            }
        }
    }
    let changed = |(_, (quantity, amount)): &(&Id, (i64, Option<Decimal>))| {
        *quantity != 0 || amount.is_some_and(|amount| !amount.is_zero())
    };
    let difference =
        |(product_id, (quantity, amount)): (&Id, _)| Difference { product_id: product_id.clone(), quantity, amount };
    Ok(sums.into_iter().filter(changed).map(difference).collect())
}

/// The changes of each product's company.
pub fn companies(before: Option<&Order>, after: Option<&Order>) -> Vec<Company> {
    let products = |order: Option<&'_ Order>| -> BTreeSet<Id> {
        let lines = Order::counted(order.filter(|order| order.paired)).iter().filter(|line| line.quantity > 0);
        lines.map(|line| line.product_id.clone()).collect()
    };
    let before = products(before);
    let after = products(after);
    let company = |product_id: &Id| {
        let others = |of: &BTreeSet<Id>, not: &BTreeSet<Id>| -> Vec<Id> {
            if !of.contains(product_id) {
                return Vec::new();
            }
            let is_new = |other: &&Id| *other != product_id && !(not.contains(*other) && not.contains(product_id));
            of.iter().filter(is_new).cloned().collect()
        };
        Company { product_id: product_id.clone(), joined: others(&after, &before), left: others(&before, &after) }
    };
    let companies = before.union(&after).map(company);
    companies.filter(|company| !company.joined.is_empty() || !company.left.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(counted: bool, lines: &[(i64, i64)]) -> Order {
        let lines =
            lines.iter().map(|&(product, quantity)| StoredLine { product_id: Id::Number(product), quantity, amount: None });
        Order { counted, at_ms: 0, paired: lines.len() <= 3, lines: lines.collect() }
    }

    #[test]
    fn differences_are_what_is_missing() {
        #[track_caller]
        fn check(before: Option<&Order>, after: Option<&Order>, expected: &[(i64, i64)]) {
            let found = differences(before, after).expect("small numbers");
            let expected = expected.iter().map(|&(product, quantity)| (Id::Number(product), quantity));
            let found = found.into_iter().map(|difference| (difference.product_id, difference.quantity));
            assert!(found.eq(expected), "{before:?} {after:?}");
        }
        let one = order(true, &[(1, 2)]);
        let two = order(true, &[(1, 3), (2, 1)]);
        check(None, Some(&two), &[(1, 3), (2, 1)]);
        check(Some(&one), Some(&two), &[(1, 1), (2, 1)]);
        check(Some(&two), Some(&one), &[(1, -1), (2, -1)]);
        check(Some(&two), Some(&two), &[]);
        check(Some(&two), None, &[(1, -3), (2, -1)]);
        check(Some(&two), Some(&order(false, &[(1, 3), (2, 1)])), &[(1, -3), (2, -1)]);
        check(Some(&order(false, &[(1, 3)])), None, &[]);
        check(None, None, &[]);
    }

    #[test]
    fn amounts_are_exact() {
        let priced = |quantity: i64, amount: &str| {
            let mut order = order(true, &[(1, quantity)]);
            order.lines[0].amount = Some(amount.to_owned());
            order
        };
        let change = |before: &Order, after: &Order| {
            let found = differences(Some(before), Some(after)).expect("small numbers");
            found.first().map(|found| (found.quantity, found.amount.map(|amount| amount.to_string())))
        };
        assert_eq!(change(&priced(2, "0.30"), &priced(2, "0.1")), Some((0, Some("-0.20".to_owned()))));
        assert_eq!(change(&priced(2, "0.30"), &priced(2, "0.3")), None);
        assert_eq!(change(&priced(2, "0.30"), &order(true, &[(1, 1)])), Some((-1, Some("-0.30".to_owned()))));
        // Pieces that were given back at another price leave an amount.
        assert_eq!(change(&priced(2, "0.30"), &priced(0, "0.10")), Some((-2, Some("-0.20".to_owned()))));
        assert_eq!(change(&priced(0, "0.10"), &order(true, &[])), Some((0, Some("-0.10".to_owned()))));
    }

    #[test]
    fn companies_change_only_where_somebody_joins_or_leaves() {
        #[track_caller]
        fn check(before: &[(i64, i64)], after: &[(i64, i64)], expected: &str) {
            let found = companies(Some(&order(true, before)), Some(&order(true, after)));
            let text = |ids: &[Id]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let found = found
                .iter()
                .map(|company| format!("{}+{}-{}", company.product_id, text(&company.joined), text(&company.left)));
            assert_eq!(found.collect::<Vec<_>>().join(" "), expected, "{before:?} {after:?}");
        }
        check(&[], &[(1, 1)], "");
        check(&[], &[(1, 1), (2, 5)], "1+2- 2+1-");
        check(&[(1, 1), (2, 5)], &[(1, 9), (2, 1)], "");
        check(&[(1, 1), (2, 5)], &[(1, 1), (2, 5), (3, 1)], "1+3- 2+3- 3+1,2-");
        check(&[(1, 1), (2, 5), (3, 1)], &[(1, 1), (3, 1)], "1+-2 2+-1,3 3+-2");
        check(&[(1, 1), (2, 1)], &[(1, 1), (3, 1)], "1+3-2 2+-1 3+1-");
        check(&[(1, 1), (2, 1)], &[(1, 1), (2, -1)], "1+-2 2+-1");
        // More than three are no company.
        check(&[(1, 1), (2, 1)], &[(1, 1), (2, 1), (3, 1), (4, 1)], "1+-2 2+-1");
    }
}
