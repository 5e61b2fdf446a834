//! The sums over an order's items.

use sandbar_debezium::json::{Document, JsonError, Value};
use sandbar_debezium::{Decimal, DecimalError};

/// The sums over an order's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The sum of quantity times unit price, with as many decimals as the prices have.
    pub order_total: Decimal,
    /// The sum of the quantities.
    pub item_count: i128,
}

/// Why the items have no sum. Items are counted from 1, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemsError {
    #[error("not JSON: {0}")]
    Malformed(#[from] JsonError),
    #[error("not a JSON array")]
    NotAnArray,
    #[error("item {0} is not an object")]
    NotAnObject(usize),
    #[error("item {0} has no {1}")]
    Missing(usize, &'static str),
    #[error("item {0}: {1} {2:?} {3}")]
    Number(usize, &'static str, String, DecimalError),
    #[error("item {0}: qty {1} is not a whole number")]
    NotWhole(usize, String),
    #[error("item {0}: the sum has more than 38 digits")]
    TooLong(usize),
}

/// Sums up the value of an items column: an array, a text that holds one (as Debezium writes `jsonb`), or null, which
/// counts as no items.
pub fn totals(items: Value<'_>, document: &mut Document) -> Result<Totals, ItemsError> {
    let mut items = document.elements(items)?.ok_or(ItemsError::NotAnArray)?;
    let mut totals = Totals { order_total: Decimal::ZERO, item_count: 0 };
    let mut number = 0;
    while let Some(item) = items.next()? {
        number += 1;
        let mut quantity = None;
        let mut price = None;
        let mut members = item.members().ok_or(ItemsError::NotAnObject(number))?;
        while let Some((name, value)) = members.next()? {
            match name {
                b"qty" => quantity = Some(value),
                b"unit_price" => price = Some(value),
                _ => {}
            }
        }
        let quantity = decimal(number, "qty", quantity)?;
        let price = decimal(number, "unit_price", price)?;
        let whole = quantity.whole().ok_or_else(|| ItemsError::NotWhole(number, quantity.to_string()))?;
        let amount = price.checked_mul(whole.into()).ok_or(ItemsError::TooLong(number))?;
        totals.order_total = totals.order_total.checked_add(amount).ok_or(ItemsError::TooLong(number))?;
        totals.item_count = totals.item_count.checked_add(whole).ok_or(ItemsError::TooLong(number))?;
    }
    Ok(totals)
}

/// A number of an item, also where it is written as a text.
fn decimal(item: usize, name: &'static str, value: Option<Value<'_>>) -> Result<Decimal, ItemsError> {
    let value = value.ok_or(ItemsError::Missing(item, name))?;
    let number = Decimal::read(value).map_err(|error| {
        let text = String::from_utf8_lossy(value.text()).trim_matches('"').to_owned();
        ItemsError::Number(item, name, text, error)
    })?;
    number.ok_or(ItemsError::Missing(item, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbar_debezium::json;
    use sandbar_debezium::json::scan::Index;

    #[test]
    fn items_are_summed_up_exactly_or_not_at_all() {
        #[track_caller]
        fn check(items: &str, expected: Result<(&str, i128), &str>) {
            let mut index = Index::default();
            let mut document = Document::default();
            // The items as the column's value, and in a text, as Debezium writes it.
            let texts = [format!("{{\"items\":{items}}}"), format!("{{\"items\":{}}}", serde_json::Value::from(items))];
            for text in texts {
                let root = json::read(text.as_bytes(), &mut index).expect("the case is JSON");
                let value = root.member(b"items").expect("the case is JSON").expect("it has items");
                let totals = totals(value, &mut document).map(|totals| (totals.order_total.to_string(), totals.item_count));
                let totals = totals.map_err(|error| error.to_string());
                assert_eq!(
                    totals,
                    expected.map(|(total, count)| (total.to_owned(), count)).map_err(str::to_owned),
                    "{text}"
                );
            }
        }
        check("[]", Ok(("0", 0)));
        check(
            r#"[{"qty": 2, "product_id": 1, "unit_price": 7.90}, {"qty": 1, "product_id": 2, "unit_price": 12.00}]"#,
            Ok(("27.80", 3)),
        );
        check(r#"[{"qty": 3, "unit_price": 0.1}]"#, Ok(("0.3", 3)));
        check(r#"[{"qty": 3, "unit_price": "0.10", "note": "a \"b\" \\ [,{"}]"#, Ok(("0.30", 3)));
        check(r#"[{"qty": 1, "unit_price": 1.5}, {"qty": 1, "unit_price": 0.125}]"#, Ok(("1.625", 2)));
        check(r#"[{"qty": -1, "unit_price": 7.90}, {"qty": 2.0, "unit_price": 7.90}]"#, Ok(("7.90", 1)));
        check(r#"[{"qty": 1, "unit_price": 1e2}]"#, Ok(("100", 1)));
        // MongoDB's Decimal128.
        check(r#"[{"qty": 2, "unit_price": {"scale": 2, "value": "AxY="}}]"#, Ok(("15.80", 2)));
        check("null", Ok(("0", 0)));
        check(r#"[{"qty": 9007199254740993, "unit_price": 0.01}]"#, Ok(("90071992547409.93", 9007199254740993)));
        check(r#"{"qty": 1}"#, Err("not a JSON array"));
        check("[7]", Err("item 1 is not an object"));
        check(r#"[{"qty": 1, "unit_price": 1}, {"qty": 1}]"#, Err("item 2 has no unit_price"));
        check(r#"[{"qty": null, "unit_price": 1}]"#, Err("item 1 has no qty"));
        check(r#"[{"qty": true, "unit_price": 1}]"#, Err("item 1: qty \"true\" is not a number"));
        check(r#"[{"qty": 1.5, "unit_price": 1}]"#, Err("item 1: qty 1.5 is not a whole number"));
        check(
            r#"[{"qty": 1, "unit_price": "NaN"}]"#,
            Err("item 1: unit_price \"NaN\" is NaN or infinite, which no exact decimal can be"),
        );
        check(r#"[{"qty": 1, "unit_price": "free"}]"#, Err("item 1: unit_price \"free\" is not a number"));
        check(
            r#"[{"qty": 10, "unit_price": 99999999999999999999999999999999999999}]"#,
            Err("item 1: the sum has more than 38 digits"),
        );
    }
}
