//! The lines of an order: its items, summed up by product.

use crate::config::PRODUCT_FIELD;
use sandbar_debezium::json::{Document, JsonError, Value};
use sandbar_debezium::{Decimal, DecimalError, Id};
use std::collections::BTreeMap;

/// The quantity of a product in an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub product_id: Id,
    pub quantity: i64,
    /// Quantity times unit price, where all of its items have a price.
    pub amount: Option<Decimal>,
}

/// Why items are no lines. Items are counted from 1, for people.
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
    #[error("item {0}: qty {1} is not a whole number of 64 bits")]
    NotWhole(usize, String),
    #[error("item {0}: the sum is too large")]
    TooLarge(usize),
}

/// The members of an item that count.
#[derive(Default)]
struct Item<'a> {
    product_id: Option<Value<'a>>,
    qty: Option<Value<'a>>,
    unit_price: Option<Value<'a>>,
}

/// The lines of an items column: an array, a text that holds one (as Debezium writes `jsonb`), or null, which counts as
/// no items. They come in the order of their products. A product whose quantities and amounts sum up to zero is no line.
pub fn lines(items: Value<'_>, document: &mut Document) -> Result<Vec<Line>, ItemsError> {
    let mut items = document.elements(items)?.ok_or(ItemsError::NotAnArray)?;
    let mut lines: BTreeMap<Id, Line> = BTreeMap::new();
    let mut number = 0;
    while let Some(item) = items.next()? {
        number += 1;
        let item = line(number, &Item::read(number, item)?)?;
        match lines.get_mut(&item.product_id) {
            None => drop(lines.insert(item.product_id.clone(), item)),
            Some(line) => line.add(&item).ok_or(ItemsError::TooLarge(number))?,
        }
    }
    Ok(lines.into_values().filter(|line| !line.is_nothing()).collect())
}

fn line(number: usize, item: &Item<'_>) -> Result<Line, ItemsError> {
    let product_id = item.product_id.and_then(Id::read).ok_or(ItemsError::Missing(number, PRODUCT_FIELD))?;
    let quantity = decimal(number, "qty", item.qty)?.ok_or(ItemsError::Missing(number, "qty"))?;
    let whole = quantity.whole().and_then(|whole| i64::try_from(whole).ok());
    let whole = whole.ok_or_else(|| ItemsError::NotWhole(number, quantity.to_string()))?;
    let price = decimal(number, "unit_price", item.unit_price)?;
    let amount = price.map(|price| price.checked_mul(i128::from(whole).into()).ok_or(ItemsError::TooLarge(number)));
    Ok(Line { product_id, quantity: whole, amount: amount.transpose()? })
}

/// A number of an item, also where it is written as a text; `None` where there is none.
fn decimal(item: usize, name: &'static str, value: Option<Value<'_>>) -> Result<Option<Decimal>, ItemsError> {
    let Some(value) = value else { return Ok(None) };
    Decimal::read(value).map_err(|error| {
        let text = String::from_utf8_lossy(value.text()).trim_matches('"').to_owned();
        ItemsError::Number(item, name, text, error)
    })
}

// === impl Item ===

impl<'a> Item<'a> {
    fn read(number: usize, item: Value<'a>) -> Result<Self, ItemsError> {
        let mut read = Item::default();
        let mut members = item.members().ok_or(ItemsError::NotAnObject(number))?;
        while let Some((name, value)) = members.next()? {
            match name {
                b"product_id" => read.product_id = Some(value),
                b"qty" => read.qty = Some(value),
                b"unit_price" => read.unit_price = Some(value),
                _ => {}
            }
        }
        Ok(read)
    }
}

// === impl Line ===

impl Line {
    /// Returns true if it adds nothing. Pieces that were taken and given back at two prices leave an amount.
    fn is_nothing(&self) -> bool {
        self.quantity == 0 && self.amount.is_none_or(Decimal::is_zero)
    }

    fn add(&mut self, other: &Line) -> Option<()> {
        self.quantity = self.quantity.checked_add(other.quantity)?;
        self.amount = match (self.amount, other.amount) {
            (Some(amount), Some(more)) => Some(amount.checked_add(more)?),
            _ => None,
        };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbar_debezium::json;
    use sandbar_debezium::json::scan::Index;

    #[test]
    fn items_are_summed_up_by_product_or_refused() {
        #[track_caller]
        fn check(items: &str, expected: Result<&str, &str>) {
            let mut index = Index::default();
            let mut document = Document::default();
            // The items as the column's value, and in a text, as Debezium writes it.
            for text in [format!("[{items}]"), format!("[{}]", serde_json::Value::from(items))] {
                let root = json::read(text.as_bytes(), &mut index).expect("the case is JSON");
                let items = root.elements().expect("an array").next().expect("JSON").expect("one");
                let lines = lines(items, &mut document).map_err(|error| error.to_string()).map(|lines| {
                    let line = |line: &Line| {
                        let amount = line.amount.map_or("?".to_owned(), |amount| amount.to_string());
                        format!("{}x{}={amount}", line.quantity, line.product_id)
                    };
                    lines.iter().map(line).collect::<Vec<_>>().join(" ")
                });
                assert_eq!(lines, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
            }
        }
        check("[]", Ok(""));
        check(
            r#"[{"qty": 2, "product_id": 10, "unit_price": 7.90}, {"qty": 1, "product_id": 9, "unit_price": 12.00}]"#,
            Ok("1x9=12.00 2x10=15.80"),
        );
        check(
            r#"[{"qty": 2, "product_id": 1, "unit_price": 0.1}, {"qty": 1, "product_id": 1, "unit_price": 0.25}]"#,
            Ok("3x1=0.45"),
        );
        check(r#"[{"qty": 2, "product_id": 1}, {"qty": 1, "product_id": 1, "unit_price": 1}]"#, Ok("3x1=?"));
        check(r#"[{"qty": "3", "product_id": "SKU \"1\"", "unit_price": null}]"#, Ok("3xSKU \"1\"=?"));
        check(r#"[{"qty": 1, "product_id": 1}, {"qty": -1, "product_id": 1}, {"qty": 0, "product_id": 2}]"#, Ok(""));
        check(r#"[{"qty": -2.0, "product_id": 1, "unit_price": "3.5"}]"#, Ok("-2x1=-7.0"));
        // MongoDB's Decimal128.
        check(r#"[{"qty": 2, "product_id": 1, "unit_price": {"scale": 2, "value": "AxY="}}]"#, Ok("2x1=15.80"));
        check(
            r#"[{"qty": 2, "product_id": 1, "unit_price": 7.90}, {"qty": -2, "product_id": 1, "unit_price": 6}]"#,
            Ok("0x1=3.80"),
        );
        check(r#"[{"qty": 2, "product_id": 1, "unit_price": 6}, {"qty": -2, "product_id": 1, "unit_price": 6.00}]"#, Ok(""));
        check("null", Ok(""));
        check(r#"{"qty": 1}"#, Err("not a JSON array"));
        check("[7]", Err("item 1 is not an object"));
        check(r#"[{"qty": 1}]"#, Err("item 1 has no product_id"));
        check(r#"[{"qty": 1, "product_id": 1.5}]"#, Err("item 1 has no product_id"));
        check(r#"[{"qty": 1, "product_id": 1}, {"product_id": 1}]"#, Err("item 2 has no qty"));
        check(r#"[{"qty": 1.5, "product_id": 1}]"#, Err("item 1: qty 1.5 is not a whole number of 64 bits"));
        check(r#"[{"qty": "many", "product_id": 1}]"#, Err("item 1: qty \"many\" is not a number"));
        check(
            r#"[{"qty": 9223372036854775807, "product_id": 1}, {"qty": 1, "product_id": 1}]"#,
            Err("item 2: the sum is too large"),
        );
    }
}
