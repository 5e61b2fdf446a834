//! The `config` of the spec. A [`Config`] has been checked, and is laid out for the work on a record.

use sandbar_debezium::condition::{Condition, ConditionSpec};
use sandbar_debezium::decimal::SCALE_MAX;
use sandbar_debezium::{Columns, Form};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The names of the computed fields.
pub const ORDER_TOTAL: &str = "order_total";
pub const ITEM_COUNT: &str = "item_count";

/// A checked configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Spec")]
pub struct Config {
    /// Every column that is looked for in a row.
    pub columns: Columns,
    /// The first fields of the output, in its order.
    pub keep: Vec<OutputField>,
    pub key: KeyField,
    /// The column that holds the items; with none there are no totals.
    pub items: Option<usize>,
    /// The condition under which the service does not need an order.
    pub drop_when: Option<Condition>,
}

/// A column that is kept.
#[derive(Clone, Debug)]
pub struct OutputField {
    pub column: usize,
    /// The text before the value in the output, for example `"status":`.
    pub label: Vec<u8>,
    /// The form of its values if the event has no schema.
    pub form: Form,
}

/// The column that is the key.
#[derive(Clone, Debug)]
pub struct KeyField {
    pub column: usize,
    /// The beginning of a key, for example `{"order_id":`.
    pub label: Vec<u8>,
}

/// The configuration as a user writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    keep: Vec<String>,
    drop_when: Option<ConditionSpec>,
    #[serde(default = "default_key_field")]
    key_field: String,
    #[serde(default = "default_items_field")]
    items_field: Option<String>,
    #[serde(default)]
    decimals: BTreeMap<String, u32>,
}

fn default_key_field() -> String {
    "order_id".to_owned()
}

fn default_items_field() -> Option<String> {
    Some("items".to_owned())
}

// === impl Config ===

impl TryFrom<Spec> for Config {
    type Error = String;

    fn try_from(spec: Spec) -> Result<Self, String> {
        spec.check()?;
        let mut columns = Columns::default();
        let keep = spec.keep.iter().map(|name| OutputField {
            column: columns.add(name),
            label: [json_text(name).as_slice(), b":"].concat(),
            form: match spec.decimals.get(name) {
                Some(&scale) => Form::Decimal { scale },
                None => Form::Plain,
            },
        });
        let keep = keep.collect();
        let label = [b"{", json_text(&spec.key_field).as_slice(), b":"].concat();
        let key = KeyField { column: columns.add(&spec.key_field), label };
        let items = spec.items_field.as_deref().map(|name| columns.add(name));
        let drop_when = spec.drop_when.map(|condition| Condition::new("drop_when", condition, &mut columns)).transpose()?;
        Ok(Config { columns, keep, key, items, drop_when })
    }
}

// === impl Spec ===

impl Spec {
    fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for name in &self.keep {
            if !names.insert(name.as_str()) {
                return Err(format!("`keep` names {name:?} twice"));
            }
            if self.items_field.is_some() && [ORDER_TOTAL, ITEM_COUNT].contains(&name.as_str()) {
                return Err(format!(
                    "`keep` names {name:?}, which is the name of a computed field; set `items_field` to null to compute none"
                ));
            }
        }
        for (name, scale) in &self.decimals {
            if !names.contains(name.as_str()) {
                return Err(format!("`decimals` names {name:?}, which `keep` does not"));
            }
            if *scale > SCALE_MAX {
                return Err(format!("`decimals` gives {name:?} {scale} decimal places; there can be {SCALE_MAX}"));
            }
        }
        if let Some(condition) = &self.drop_when
            && self.decimals.contains_key(&condition.field)
        {
            return Err(format!("`drop_when` cannot look at {:?}: it is a decimal, which comes encoded", condition.field));
        }
        Ok(())
    }
}

/// A text as JSON writes it, quotes included.
fn json_text(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_whole_or_refused() {
        #[track_caller]
        fn check(config: &str, expected: Result<usize, &str>) {
            let read =
                serde_json::from_str::<Config>(config).map(|config| config.keep.len()).map_err(|error| error.to_string());
            match (read, expected) {
                (Err(error), Err(part)) => assert!(error.contains(part), "{config}: {error}"),
                (read, expected) => assert_eq!(read, expected.map_err(str::to_owned), "{config}"),
            }
        }
        check(r#"{"keep":["a","b"]}"#, Ok(2));
        check(r#"{"keep":[]}"#, Ok(0));
        check(r#"{"keep":["order_total"],"items_field":null}"#, Ok(1));
        check(
            r#"{"keep":["total"],"decimals":{"total":2},"drop_when":{"field":"status","in":["cancelled",null,7]}}"#,
            Ok(1),
        );
        check("{}", Err("missing field `keep`"));
        check(r#"{"keep":["a"],"kep":1}"#, Err("unknown field `kep`"));
        check(r#"{"keep":["a","a"]}"#, Err(r#"names "a" twice"#));
        check(r#"{"keep":["order_total"]}"#, Err("computed field"));
        check(r#"{"keep":["item_count"]}"#, Err("computed field"));
        check(r#"{"keep":["a"],"decimals":{"b":2}}"#, Err(r#"`decimals` names "b""#));
        check(r#"{"keep":["a"],"decimals":{"a":39}}"#, Err("there can be 38"));
        check(r#"{"keep":["a"],"decimals":{"a":-1}}"#, Err("invalid value"));
        check(r#"{"keep":["a"],"decimals":{"a":2},"drop_when":{"field":"a","in":["x"]}}"#, Err("comes encoded"));
        check(r#"{"keep":["a"],"drop_when":{"field":"a","in":[]}}"#, Err("is empty"));
        check(r#"{"keep":["a"],"drop_when":{"field":"a","in":[[1]]}}"#, Err("takes texts"));
        check(r#"{"keep":["a"],"drop_when":{"field":"a","in":["x"],"not":1}}"#, Err("unknown field `not`"));
    }
}
