//! The `config` of the spec. A [`Config`] has been checked.

use sandbar_debezium::condition::{Condition, ConditionSpec};
use sandbar_debezium::{Columns, Envelope, KeyColumns, Placeholder};
use serde::Deserialize;

/// The column that names a product, in an item and in the keys of the outputs.
pub const PRODUCT_FIELD: &str = "product_id";

/// A checked configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Spec")]
pub struct Config {
    /// Every column that is looked for in a row.
    pub columns: Columns,
    /// The column that names the order.
    pub order: usize,
    /// That column, as the key of an order.
    pub key: KeyColumns,
    /// The column that holds the items.
    pub items: usize,
    /// The column that says when the order was placed.
    pub at: usize,
    /// The condition under which an order does not count: its lines are retracted.
    pub uncounted_when: Option<Condition>,
    /// True if the transform also sends the products that were bought together.
    pub has_pairs: bool,
    /// The largest order that counts for pairs: products of larger orders do not go together.
    pub pairs_products_max: usize,
    /// The form of the events.
    pub envelope: Envelope,
}

/// The configuration as a user writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Spec {
    order_field: String,
    items_field: String,
    at_field: String,
    uncounted_when: Option<ConditionSpec>,
    pairs: bool,
    pairs_products_max: usize,
    envelope: Envelope,
    unavailable_value_placeholder: Option<String>,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            order_field: "order_id".to_owned(),
            items_field: "items".to_owned(),
            at_field: "ordered_at".to_owned(),
            uncounted_when: None,
            pairs: true,
            pairs_products_max: 20,
            envelope: Envelope::Auto,
            unavailable_value_placeholder: None,
        }
    }
}

// === impl Config ===

impl TryFrom<Spec> for Config {
    type Error = String;

    fn try_from(spec: Spec) -> Result<Self, String> {
        let mut columns = Columns::default();
        if let Some(text) = &spec.unavailable_value_placeholder {
            columns.set_placeholder(Placeholder::new(text)?);
        }
        let numbers = [&spec.order_field, &spec.items_field, &spec.at_field].map(|name| columns.add(name));
        let [order, items, at] = numbers;
        if order == items || order == at || items == at {
            return Err("`order_field`, `items_field` and `at_field` are three different columns".to_owned());
        }
        if spec.pairs && !(2..=100).contains(&spec.pairs_products_max) {
            return Err("`pairs_products_max` is 2 to 100".to_owned());
        }
        let key = KeyColumns::new([spec.order_field.as_str()], &mut columns)?;
        let uncounted_when =
            spec.uncounted_when.map(|condition| Condition::new("uncounted_when", condition, &mut columns)).transpose()?;
        let Spec { pairs: has_pairs, pairs_products_max, envelope, .. } = spec;
        Ok(Config { columns, order, key, items, at, uncounted_when, has_pairs, pairs_products_max, envelope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_whole_or_refused() {
        #[track_caller]
        fn check(config: &str, expected: Result<usize, &str>) {
            let read = serde_json::from_str::<Config>(config).map(|config| config.columns.numbers().len());
            match (read.map_err(|error| error.to_string()), expected) {
                (Err(error), Err(part)) => assert!(error.contains(part), "{config}: {error}"),
                (read, expected) => assert_eq!(read, expected.map_err(str::to_owned), "{config}"),
            }
        }
        check("{}", Ok(3));
        check(r#"{"uncounted_when":{"field":"status","in":["cancelled"]}}"#, Ok(4));
        check(r#"{"order_field":"id","pairs":false,"pairs_products_max":0}"#, Ok(3));
        check(r#"{"items_field":"order_id"}"#, Err("three different columns"));
        check(r#"{"pairs_products_max":1}"#, Err("2 to 100"));
        check(r#"{"uncounted_when":{"field":"status","in":[]}}"#, Err("`uncounted_when.in` is empty"));
        check(r#"{"envelope":"debezium","unavailable_value_placeholder":"(gone)"}"#, Ok(3));
        check(r#"{"envelope":"avro"}"#, Err("unknown variant `avro`"));
        check(r#"{"unavailable_value_placeholder":""}"#, Err("is empty"));
        check(r#"{"unknown":1}"#, Err("unknown field"));
    }
}
